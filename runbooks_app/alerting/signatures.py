"""Whether a delivery comes from the source that it names.

Fails closed: an unknown source, no secret, no header, a wrong or old signature are all refused, in the same words to
the sender, so that nobody finds out which sources there are. What is compared is compared in constant time.

    alertmanager  `Authorization: Bearer …` (it cannot sign)
    grafana       the same, or HMAC-SHA256 in hex over the body in X-Grafana-Alerting-Signature; where a header with the
                  time is set there and named here, over `time:body`
    pagerduty     X-PagerDuty-Signature: `v1=…,v1=…`, one for each of its secrets, over the body
    json          X-Runbooks-Signature: `v1=…` over `time:body`, X-Runbooks-Timestamp: seconds since the epoch

https://developer.pagerduty.com/docs/verifying-webhook-signatures
https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING

from runbooks_app.core.errors import Refused

if TYPE_CHECKING:
    from runbooks_app.alerting.reading import Source

WINDOW = 5 * 60
"""Seconds for which a signed time is taken, before and after ours."""

Header = Callable[[str], str | None]
"""Gives a header of the request."""

MOST_SIGNATURES = 10
"""How many a delivery may bring."""


class Unproven(Refused):
    """This is not proven to come from a source of alerts that is known here; the settings of both sides must agree."""

    code = "unproven"


def by_bearer(secrets: tuple[str, ...], header: Header) -> None:
    """Raise `Unproven` unless the bearer token is the source's. Asked before the body is read."""
    scheme, _, token = (header("Authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not _any_of(secrets, [token.strip()]):
        raise Unproven


def by_signature(source: Source, secrets: tuple[str, ...], header: Header, body: bytes, *, now: float) -> str:
    """Raise `Unproven` unless the body, as it came, is signed by the source; the key of this very delivery.

    The key is empty where no time is signed along: a copy cannot be told from a repetition there.
    """
    if source.kind == "pagerduty":
        given = (header("X-PagerDuty-Signature") or "").split(",")
        signatures = [part.strip().removeprefix("v1=") for part in given if part.strip().startswith("v1=")]
        _signed(secrets, signatures, body)
        return ""
    if source.kind == "grafana":
        signature, name = header("X-Grafana-Alerting-Signature") or "", source.timestamp_header
    else:
        signature, name = (header("X-Runbooks-Signature") or "").removeprefix("v1="), "X-Runbooks-Timestamp"
    if not name:
        _signed(secrets, [signature], body)
        return ""
    told = header(name) or ""
    # int() would take "1_0", " 10" and digits of other scripts.
    if not (told.isascii() and told.isdigit() and len(told) <= 12) or abs(now - int(told)) > WINDOW:
        raise Unproven
    _signed(secrets, [signature], told.encode() + b":" + body)
    return hashlib.sha256(f"{told}:{signature}".encode()).hexdigest()


def sign(secret: str, signed: bytes) -> str:
    """HMAC-SHA256 in hex."""
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _signed(secrets: tuple[str, ...], signatures: list[str], signed: bytes) -> None:
    if not _any_of(tuple(sign(secret, signed) for secret in secrets if secret), signatures[:MOST_SIGNATURES]):
        raise Unproven


def _any_of(wanted: tuple[str, ...], given: list[str]) -> bool:
    pairs = [(good.encode(), found.encode("utf-8", "replace")) for good in wanted if good for found in given]
    return any([hmac.compare_digest(good, found) for good, found in pairs])  # noqa: C419 -- all of them, whichever fits
