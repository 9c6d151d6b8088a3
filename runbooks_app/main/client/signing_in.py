"""Signing in from a terminal (RFC 8628), staying signed in, and signing out (RFC 7009).

The service names its provider (RFC 9728); the provider shows its sign-in page in any browser, also on another machine.
No token is ever printed, logged or handed to another program.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from runbooks_app.core.wording import one_line
from runbooks_app.main.client import talking
from runbooks_app.main.client.failures import Failure, NeedsBrowser, Refusal, Unreachable
from runbooks_app.main.client.keeping import Session, Sessions

METADATA = "/.well-known/oauth-protected-resource"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_ENDPOINTS = ("device_authorization_endpoint", "token_endpoint", "revocation_endpoint")
CLIENTS = {False: "runbooks_cli_client_id", True: "runbooks_agent_client_id"}
"""Where a service names the client of its people's terminals, and that of their agents."""
USUAL_INTERVAL = 5.0
"""Seconds between two questions where the provider names none (RFC 8628, section 3.2)."""
_LONGEST_WAIT = 1800.0
_SHORTEST_LIFE = 300.0
"""Seconds that a token is taken to be good for where the provider says nothing of it."""
_EARLY = 30.0
"""Seconds before its end from which a token is renewed: it has to arrive while it is good."""


@dataclass(frozen=True)
class Provider:
    """Whose tokens a service takes, and where they are had."""

    url: str
    issuer: str
    client_id: str
    resource: str
    scope: str
    device_endpoint: str
    token_endpoint: str
    revocation_endpoint: str


@dataclass(frozen=True)
class Begun:
    """A sign-in under way: what its person opens and enters, in how many seconds, and what asks for its tokens."""

    address: str
    whole_address: str
    code: str
    seconds: float
    interval: float
    device_code: str = field(repr=False)


def provider_of(url: str, *, agent: bool = False) -> Provider:
    """The provider of the service at `url`, for a person or their agent.

    Raises `Failure` where it has none, or one that terminals cannot use.
    """
    answer = talking.ask("GET", url + METADATA)
    told = answer.json()
    if answer.status == 404:
        raise Failure(f"{url} takes no access tokens: it is no runbooks service, an older one, or has no provider.")
    issuers, resource = told.get("authorization_servers"), told.get("resource")
    client_id, scopes = told.get(CLIENTS[agent]), told.get("scopes_supported")
    if not (
        isinstance(issuers, list)
        and issuers
        and all(isinstance(text, str) and text for text in (issuers[0], resource, client_id))
        and isinstance(scopes, list)
    ):
        raise Unreachable(f"{url} does not answer as a runbooks service does (status {answer.status}).")
    assert isinstance(resource, str)  # noqa: S101 -- looked at above
    if "://" in resource and resource.split("://")[0] in {"http", "https"} and not talking.same_origin(resource, url):
        # RFC 9728, section 3.3: else a stranger's service could ask for tokens that open another one.
        raise Failure(
            f"{url} asks for tokens that are for {one_line(resource)}. If that is the service, name it by that address."
        )
    found = _discovered(str(issuers[0]))
    return Provider(
        url=url,
        issuer=str(issuers[0]),
        client_id=str(client_id),
        resource=resource,
        scope=" ".join(map(str, scopes)),
        device_endpoint=found["device_authorization_endpoint"],
        token_endpoint=found["token_endpoint"],
        revocation_endpoint=found.get("revocation_endpoint", ""),
    )


def begin(provider: Provider) -> Begun:
    """Ask the provider for a code that its person enters there."""
    form = {"client_id": provider.client_id, "scope": provider.scope, **_for(provider.resource)}
    answer = talking.ask("POST", provider.device_endpoint, form=form)
    told = answer.json()
    needed = {name: told.get(name) for name in ("device_code", "user_code", "verification_uri")}
    if answer.status != 200 or not all(isinstance(text, str) and text for text in needed.values()):
        raise Refusal(f"The sign-in provider {provider.issuer} begins no sign-in: {_fault(answer, told)}.")
    whole = told.get("verification_uri_complete")
    return Begun(
        address=one_line(str(needed["verification_uri"]), 500),
        whole_address=one_line(whole, 500) if isinstance(whole, str) else "",
        code=one_line(str(needed["user_code"])),
        seconds=min(_seconds(told.get("expires_in"), _LONGEST_WAIT), _LONGEST_WAIT),
        interval=_seconds(told.get("interval"), USUAL_INTERVAL),
        device_code=str(needed["device_code"]),
    )


def finish(
    provider: Provider,
    begun: Begun,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Session:
    """Ask until the person has signed in. Raises `Refusal` when they refused, or when the time is over."""
    interval, end = begun.interval, clock() + begun.seconds
    form = {
        "grant_type": DEVICE,
        "device_code": begun.device_code,
        "client_id": provider.client_id,
        **_for(provider.resource),
    }
    while True:
        sleep(min(interval, max(end - clock(), 0)))
        if clock() >= end:
            raise Refusal("The code has expired before you signed in. For a new one, enter the same command again.")
        try:
            answer = talking.ask("POST", provider.token_endpoint, form=form)
        except Unreachable:
            interval = min(interval * 2, 60)  # RFC 8628, section 3.5
            continue
        told = answer.json()
        error = told.get("error")
        if error == "slow_down":
            interval += 5
        elif error == "access_denied":
            raise Refusal("The sign-in was refused in the browser.")
        elif error == "expired_token":
            raise Refusal("The code has expired before you signed in. For a new one, enter the same command again.")
        elif error != "authorization_pending" and answer.status < 500:
            return _session(provider, answer, told)


def renewed(sessions: Sessions, session: Session, *, rejected: str = "") -> Session:
    """The session with an access token that is good; `rejected` is one that the service did not take.

    One command at a time asks, and finds out first whether another has just done so. Raises `NeedsBrowser` when the
    session has ended.
    """
    if not _worn(session, rejected):
        return session
    with sessions.locked(session.url):
        session = sessions.load(session.url) or session
        if not _worn(session, rejected):
            return session
        if not session.refresh_token:
            sessions.remove(session.url)
            raise _ended(sessions, session.url)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": session.refresh_token,
            "client_id": session.client_id,
            **_for(session.resource),
        }
        answer = talking.ask("POST", session.token_endpoint, form=form)
        told = answer.json()
        if answer.status < 500 and told.get("error") == "invalid_grant":
            sessions.remove(session.url)
            raise _ended(sessions, session.url)
        fresh = _tokens(session.issuer, answer, told)
        # Some providers give a new refresh token each time, which ends the one before; others keep to the first.
        session = replace(session, **{"refresh_token": session.refresh_token, **fresh})
        sessions.save(session)
        return session


def revoke(session: Session) -> bool:
    """Have the provider end the session's tokens; whether it said that it did."""
    if not session.revocation_endpoint:
        return False
    done = True
    for kind in ("refresh_token", "access_token"):
        token = getattr(session, kind)
        if token:
            form = {"token": token, "token_type_hint": kind, "client_id": session.client_id}
            answer = talking.ask("POST", session.revocation_endpoint, form=form)
            # A JWT that nobody keeps cannot be revoked, and providers say so (RFC 7009, section 2.2.1).
            done = done and (answer.status == 200 or kind == "access_token")
    return done


def _discovered(issuer: str) -> dict[str, str]:
    """The provider's endpoints, from its discovery document."""
    # Loaded here: it brings along more than other commands should wait for.
    from runbooks_app.oidc import OpenIDProvider  # noqa: PLC0415

    talking.require_private(issuer)
    found = OpenIDProvider(issuer, patience=talking.PATIENCE).metadata()
    if "device_authorization_endpoint" not in found:
        raise Failure(
            f"The sign-in provider {one_line(issuer)} signs nobody in from a terminal:"
            " it offers no device flow (RFC 8628)."
        )
    places = {name: str(found[name]) for name in _ENDPOINTS if found.get(name)}
    for place in places.values():
        talking.require_private(place)
    return places


def _session(provider: Provider, answer: talking.Answer, told: dict[str, Any]) -> Session:
    return Session(
        url=provider.url,
        issuer=provider.issuer,
        client_id=provider.client_id,
        resource=provider.resource,
        token_endpoint=provider.token_endpoint,
        revocation_endpoint=provider.revocation_endpoint,
        signed_in_at=time.time(),
        **{"refresh_token": "", **_tokens(provider.issuer, answer, told)},
    )


def _tokens(issuer: str, answer: talking.Answer, told: dict[str, Any]) -> dict[str, Any]:
    """What a token endpoint gave, as a session keeps it."""
    access, refresh = told.get("access_token"), told.get("refresh_token")
    if answer.status >= 500:
        raise Unreachable(f"The sign-in provider {issuer} cannot answer right now ({answer.status}). Try again.")
    if answer.status != 200 or not isinstance(access, str) or not access:
        raise Refusal(f"The sign-in provider {issuer} gives no token: {_fault(answer, told)}.")
    kept: dict[str, Any] = {
        "access_token": access,
        "expires_at": time.time() + _seconds(told.get("expires_in"), _SHORTEST_LIFE),
    }
    return kept | ({"refresh_token": refresh} if isinstance(refresh, str) and refresh else {})


def _worn(session: Session, rejected: str) -> bool:
    return session.expires_at - _EARLY < time.time() or session.access_token == rejected


def _ended(sessions: Sessions, url: str) -> NeedsBrowser:
    return NeedsBrowser(f"Your sign-in at {url} has ended. Sign in again: {sessions.login} --url {url}")


def _for(resource: str) -> dict[str, str]:
    """Names the service that tokens are for (RFC 8707), where the provider knows services by their addresses."""
    return {"resource": resource} if "://" in resource else {}


def _seconds(value: Any, otherwise: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**31
    return float(value) if good else otherwise


def _fault(answer: talking.Answer, told: dict[str, Any]) -> str:
    """Why a provider refused, from its answer (RFC 6749, section 5.2)."""
    words = [one_line(told[name], 200) for name in ("error", "error_description") if isinstance(told.get(name), str)]
    return " — ".join(words) or f"status {answer.status}"
