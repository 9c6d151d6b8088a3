"""Signing in afresh for one thing: the provider's id_token then speaks of it, by a nonce that the caller gives.

    stepup.FINISHERS["decision"] = finisher            # once, where the handlers are
    return stepup.begin("decision", ref, nonce, next)  # from a handler of somebody who is signed in

The browser goes to the provider, where the person has to sign in again. Back in `/login/callback` the finisher gets
`ref`, the id_token and its claims, and answers. By then `g.person` has the roles that this id_token gives, and the
session goes on under a new secret with a new time of sign-in; but nobody gets a session by this who had none.
`sessions.secret()` is still the one under which it was begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Response, after_this_request, g

from runbooks_app.actions import people
from runbooks_app.core.errors import Refused
from runbooks_app.core.id_tokens import LEEWAY
from runbooks_app.web import sessions
from runbooks_app.web.claims import person_of, sid_of, signed_in_of
from runbooks_app.web.client import client
from runbooks_app.web.context import service

Finisher = Callable[[str, str, dict[str, Any]], Response]

FINISHERS: dict[str, Finisher] = {}
"""What follows upon a fresh sign-in, by kind: it is given the reference, the id_token and its claims."""


def begin(kind: str, ref: str, nonce: str, next: str) -> Response:  # noqa: A002 -- named as in `/login?next=`
    """Send the browser to the provider to sign in afresh. `next` is where the person goes on where this fails.

    Raises `NoProvider` where the provider does not answer.
    """
    wanted = service().settings.step_up_acr
    kept = {"kind": kind, "ref": ref, "next": next, "begun": int(time.time())}
    strength = {"acr_values": wanted} if wanted else {}
    return client().send(kept, nonce=nonce, prompt="login", max_age=0, **strength)


def finish() -> Response:
    """Go on with what was begun, now that the provider has vouched afresh for who is signed in here."""
    session = sessions.current()
    if session is None:
        raise Refused("Your session has ended in the meantime. Sign in, and begin again; nothing was done.")
    g.session, g.person = session, sessions.person_of(session)  # whose refusal it is, where it is one
    answer = client().answered()
    person = person_of(answer.claims, service().settings)
    if session.subject != person.subject:
        raise Refused(
            f"The fresh sign-in was as {person.name}, and the session here is {session.name}'s; nothing was done."
            " Sign out here first to act as somebody else."
        )
    signed_in = signed_in_of(answer.claims)
    if signed_in["auth_time"] is None or signed_in["auth_time"] < answer.kept["begun"] - LEEWAY:
        raise Refused("The sign-in provider did not have you sign in afresh; nothing was done. Begin again.")
    strong_enough = service().settings.step_up_acr.split()
    if strong_enough and answer.claims.get("acr") not in strong_enough:
        raise Refused(
            f"This takes a stronger sign-in ({' or '.join(strong_enough)}) than the provider had you make;"
            " nothing was done. Begin again, and sign in as it asks."
        )
    secret, g.session = people.sign_in_again(service(), sessions.secret(), person, signed_in, sid_of(answer.claims))
    g.person = person

    @after_this_request
    def _give(response: Response) -> Response:
        """Also where the finisher refuses: the old secret is worth nothing by now."""
        sessions.give(response, secret)
        return response

    return FINISHERS[answer.kept["kind"]](answer.kept["ref"], answer.id_token, answer.claims)
