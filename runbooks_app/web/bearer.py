"""Access tokens on the API: `Authorization: Bearer …` (RFC 6750), and nowhere else.

The token is a JWT that the sign-in provider issued for this service (`core.id_tokens.believed_access`). It is read
from the one header: never from a query, a form or a cookie, which end up in logs and histories or come along with
whatever another site sends. A request that brings a session as well is refused: whose it is must not be a question
of order. What is told about a token never repeats any of it.

A token of the client `RUNBOOKS_AGENT_CLIENT_ID` is an agent's, whoever signed in to get it and whatever else the
request says; so is one that names no client. The header `Runbooks-Agent` is what the agent calls itself: it is shown,
and believed in nothing.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import g, request

from runbooks_app.core.errors import NotSignedIn, Refused, RunbooksError
from runbooks_app.core.id_tokens import CLIENT_CLAIMS, Untrusted, believed_access
from runbooks_app.core.people import through
from runbooks_app.web.claims import person_of, shown, signed_in_of
from runbooks_app.web.context import service, web

if TYPE_CHECKING:
    from runbooks_app.core.people import Person

LARGEST = 8_000
"""Characters of a token that are looked at; servers cut headers off at about this length."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, section 2.1; two headers arrive joined by a comma, which is none of these."""
METADATA = "/.well-known/oauth-protected-resource"
AGENT_HEADER = "Runbooks-Agent"
LONGEST_NAME = 100
"""Characters of what an agent calls itself that are kept."""


class BadToken(NotSignedIn):
    """The access token cannot be used."""

    code = "invalid_token"


class TwoWays(Refused):
    """The request brings a session and an access token; send one of them."""

    code = "invalid_request"


class NotPermitted(Refused):
    """None of your roles allows this."""


@dataclass(frozen=True)
class Bearer:
    """Whom a token stands for; `issued` and `expires` are seconds since the epoch.

    `person` is who acts, `behind` who signed in: another one where an agent acts for them.
    """

    person: Person
    behind: Person
    signed_in: dict[str, Any]
    issued: float
    expires: float

    @property
    def expires_at(self) -> datetime:
        """When it is good no longer."""
        return datetime.fromtimestamp(self.expires, UTC)


def presented() -> str | None:
    """The token that the request brings; None where its header has none. Raises `BadToken` for what can be none."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    g.bearer = token.strip()
    if len(g.bearer) > LARGEST:
        raise BadToken(f"The access token is longer than {LARGEST:,} characters.")
    if not _TOKEN.fullmatch(g.bearer):
        raise BadToken("The header Authorization holds no single access token.")
    return str(g.bearer)


def believed(token: str) -> Bearer:
    """Whom the token stands for; raises `BadToken`, or `Unavailable` where the provider's keys cannot be had."""
    provider, settings = web().provider, service().settings
    if provider is None:
        raise BadToken("No sign-in provider is configured here, so nobody's access token can be believed.")
    try:
        claims = believed_access(
            token,
            provider,
            issuer=settings.oidc_issuer,
            audience=settings.audience,
            now=time.time(),
            agents=settings.agent_client_id,
        )
    except Untrusted as error:
        raise BadToken(error.message) from error
    clients = [client for name in CLIENT_CLAIMS if (client := shown(claims.get(name)))]
    behind = person_of(claims, settings)
    how = {**signed_in_of(claims), "jti": shown(claims.get("jti"))}
    person = behind
    if not clients or settings.agent_client_id in clients:
        claimed = shown(request.headers.get(AGENT_HEADER))[:LONGEST_NAME]
        person = through(behind, settings.agent_client_id, claimed)
        how |= {"surface": "agent", "client_id": clients[0] if clients else "", "agent": claimed}
    else:
        how |= {"surface": "cli" if clients[0] == settings.cli_client_id else "api", "client_id": clients[0]}
    return Bearer(person, behind, how, float(claims["iat"]), float(claims["exp"]))


def challenge(error: RunbooksError) -> str:
    """What `WWW-Authenticate` says to a client that was refused; empty where no token is the matter.

    RFC 6750, section 3; RFC 9728, section 5.1.
    """
    parts = ['realm="runbooks"']
    code = "insufficient_scope" if isinstance(error, NotPermitted) else error.code
    if g.get("bearer") is not None and isinstance(error, BadToken | TwoWays | NotPermitted):
        parts += [f'error="{code}"', f'error_description="{_quotable(error.message)}"']
    elif not isinstance(error, NotSignedIn):
        return ""
    parts.append(f'resource_metadata="{service().settings.public_url}{METADATA}"')
    return "Bearer " + ", ".join(parts)


def _quotable(text: str) -> str:
    """RFC 6750 allows printable ASCII without quotes and backslashes."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)[:300]
