"""Slack's request signature, computed here anew, so that tests can also sign what slack_sdk would not."""

from __future__ import annotations

import hashlib
import hmac

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


def signed(body: bytes, at: str, secret: str = SIGNING_SECRET) -> dict[str, str]:
    """The headers of a request with this body, sent at `at` (seconds since the epoch, as text)."""
    digest = hmac.digest(secret.encode(), b"v0:" + at.encode() + b":" + body, hashlib.sha256)
    return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": "v0=" + digest.hex()}
