"""Whether a request really comes from Slack.

Fails closed: no secret, no header, an unreadable timestamp or body all mean refused. `slack_sdk` computes and
compares the signature; what it leaves open is closed here: it raises ValueError on a timestamp that is no
number and TypeError on a signature that is not ASCII, and takes the same request again within its window. For
the last the caller gets a replay key to remember.

https://docs.slack.dev/authentication/verifying-requests-from-slack/
"""

from __future__ import annotations

import hashlib

from slack_sdk.signature import Clock, SignatureVerifier

from runbooks_app.core.errors import Refused

WINDOW = 5 * 60
"""Seconds for which a signed request is taken; a replay key must be remembered for twice as long, since the
timestamp may lie ahead as well as behind."""


class _At(Clock):
    """A clock that stands still."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now


def verify(secret: str | None, body: bytes, timestamp: str | None, signature: str | None, *, now: float) -> str:
    """Check a request's signature over its raw body; return its replay key (64 hexadecimal digits).

    `timestamp` and `signature` are the headers `X-Slack-Request-Timestamp` and `X-Slack-Signature`, `now`
    seconds since the epoch. The body must be the bytes as they came, never parsed and encoded again.

    Raises `Refused` in every other case. The key is the same only for the very same signed request, so a
    caller that has seen it before has been sent a copy.
    """
    if not secret or not secret.strip():
        raise Refused(
            "No Slack signing secret is configured, so requests from Slack are refused."
            " Set RUNBOOKS_SLACK_SIGNING_SECRET_FILE."
        )
    if not timestamp or not signature:
        raise Refused("The request carries no Slack signature.")
    # int() would take "1_0", " 10" and digits of other scripts; Slack sends none of these.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12 and signature.isascii()):
        raise Refused("The Slack signature's timestamp or value is malformed.")
    if abs(now - int(timestamp)) > WINDOW:
        raise Refused("The Slack request is older than five minutes, or its clock is ahead of ours.")
    try:
        good = SignatureVerifier(secret, _At(now)).is_valid(body, timestamp, signature)
    except (ValueError, TypeError):  # a body that is not UTF-8: Slack never sends one
        good = False
    if not good:
        raise Refused("The Slack signature does not match: wrong signing secret, or the body was altered.")
    return hashlib.sha256(f"{timestamp}:{signature}".encode()).hexdigest()
