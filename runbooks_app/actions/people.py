"""Signing in and out, and tying chat accounts to people."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from runbooks_app.actions.context import Service, person_actor
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import NotSignedIn, Refused
from runbooks_app.core.id_tokens import LEEWAY, LOGOUT_AGE, UntrustedLogout
from runbooks_app.core.people import Actor, Person
from runbooks_app.store import people
from runbooks_app.store.database import Transaction, reading, transaction
from runbooks_app.store.records import Session

LINK_MINUTES = 15


def sign_in(service: Service, person: Person, signed_in: dict[str, Any], sid: str = "") -> tuple[str, Session]:
    """Open a session for a person whom the provider has just authenticated: the cookie's value, and the session.

    `sid` is the provider's name for the browser's session there: it may end this one by it.
    """
    secret = secrets.token_urlsafe(32)
    with transaction(service.engine) as tx:
        people.remember(tx, person)
        hours = service.settings.session_hours
        people.open_session(tx, secret, person.subject, secrets.token_urlsafe(24), signed_in, hours, sid)
        return secret, _entered(tx, secret, person, signed_in)


def sign_in_again(
    service: Service, secret: str, person: Person, signed_in: dict[str, Any], sid: str
) -> tuple[str, Session]:
    """Move a session on under a new cookie's value, now that the provider has authenticated its person afresh.

    The person's roles are those of this sign-in from here on. Raises `NotSignedIn` where the session has ended.
    """
    renewed = secrets.token_urlsafe(32)
    with transaction(service.engine) as tx:
        people.remember(tx, person)
        if not people.renew_session(tx, secret, renewed, person.subject, signed_in, sid):
            raise NotSignedIn
        return renewed, _entered(tx, renewed, person, signed_in)


def _entered(tx: Transaction, secret: str, person: Person, signed_in: dict[str, Any]) -> Session:
    tx.audit(
        person_actor(person, signed_in), Event.SIGNED_IN, {"person": person.subject}, {"roles": sorted(person.roles)}
    )
    session = people.session(tx, secret)
    assert session is not None  # noqa: S101 -- opened or renewed in this transaction
    return session


def sign_out(service: Service, secret: str) -> None:
    """End the session for good; a copy of its cookie is worth nothing from here on."""
    with transaction(service.engine) as tx:
        session = people.session(tx, secret)
        if session is None:
            return
        people.revoke_session(tx, secret)
        person = Person(session.subject, session.name, session.email, frozenset(session.roles))
        tx.audit(person_actor(person, session.signed_in), Event.SIGNED_OUT, {"person": person.subject})


def sign_out_by_provider(service: Service, issuer: str, token_id: str, *, subject: str, sid: str) -> None:
    """End the sessions that a believed logout token of the provider names, by its session's name, its subject or both.

    Raises `UntrustedLogout` for a token that came before.
    """
    with transaction(service.engine) as tx:
        if not people.first_use(tx, f"{issuer}#{token_id}", LOGOUT_AGE + 2 * LEEWAY):
            raise UntrustedLogout("This logout token was used already.")
        ended = people.revoke_sessions(tx, issuer, subject, sid)
        for person, sessions in ended.items():
            tx.audit(
                Actor("provider", issuer, "sign-in provider"),
                Event.SIGNED_OUT,
                {"person": person},
                {"sessions": sessions},
            )


def told_by_token(service: Service, person: Person, issued: float) -> Person:
    """The person whom an access token describes, without roles that the provider has taken away since it issued it.

    `issued` is in seconds since the epoch.
    """
    with reading(service.engine) as tx:
        roles = people.roles_since(tx, person.subject, issued)
    return person if roles is None else replace(person, roles=person.roles & roles)


def know(service: Service, person: Person) -> None:
    """Keep who an agent acts for, if nobody knew them: without a role, for an agent's token is no sign-in of theirs."""
    with transaction(service.engine) as tx:
        people.remember_as_of(tx, replace(person, roles=frozenset()), at=0)


def remember_by_token(service: Service, person: Person, signed_in: dict[str, Any], issued: float) -> None:
    """Keep what an access token says of a person, if nothing newer is known: as a sign-in at that moment."""
    with transaction(service.engine) as tx:
        if people.remember_as_of(tx, person, issued):
            tx.audit(
                person_actor(person, signed_in),
                Event.SIGNED_IN,
                {"person": person.subject},
                {"roles": sorted(person.roles)},
            )


def session_of(service: Service, secret: str) -> Session | None:
    """The live session of a cookie's value."""
    with reading(service.engine) as tx:
        return people.session(tx, secret)


def person_of_chat(service: Service, team: str, chat_user: str, *, hours: int | None = None) -> Person | None:
    """The person whom a chat account belongs to, with the roles of their latest sign-in, so many hours ago at most.

    Without `hours` it is as many days as the setting `slack_login_days` says.
    """
    with reading(service.engine) as tx:
        within = service.settings.slack_login_days * 24 if hours is None else hours
        return people.by_chat_user(tx, team, chat_user, within)


def offer_chat_link(service: Service, team: str, chat_user: str, chat_name: str) -> str:
    """A one-time code with which whoever signs in takes this chat account as their own, within 15 minutes."""
    code = secrets.token_urlsafe(24)
    with transaction(service.engine) as tx:
        people.offer_link(tx, code, team, chat_user, chat_name, LINK_MINUTES)
    return code


def chat_offer(service: Service, code: str) -> str | None:
    """Name of the chat account that a code would link; looking uses nothing up."""
    with transaction(service.engine) as tx:
        offer = people.link_offer(tx, code)
        return offer[2] if offer else None


def link_chat(service: Service, person: Person, signed_in: dict[str, Any], code: str) -> str:
    """Tie the chat account of a one-time code to the person who is signed in; the account's name."""
    with transaction(service.engine) as tx:
        offer = people.link_offer(tx, code)
        if offer is None:
            raise Refused("This link was used already or is older than 15 minutes; ask for a new one in the chat.")
        team, chat_user, chat_name = offer
        people.link(tx, code, team, chat_user, person.subject)
        tx.audit(
            person_actor(person, signed_in),
            Event.CHAT_LINKED,
            {"person": person.subject},
            {"team": team, "chat_user": chat_user, "chat_name": chat_name},
        )
        return chat_name
