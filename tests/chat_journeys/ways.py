"""The ways in which Slack's stand-in delivers, besides its own by HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runbooks_app.main.demo.slack.delivery import Delivery

if TYPE_CHECKING:
    from runbooks_app.main.demo.slack.delivery import Carrier


def by_socket(server: Any) -> Carrier:
    """Over Socket Mode (`slack_socket`): envelopes instead of posts, acknowledged by what a post would be answered."""

    def carry(kind: str, payload: dict[str, Any], retry: int) -> Delivery:
        told = server.deliver(kind, payload, retry_attempt=retry)
        given = json.dumps(told.get("payload") or {}) if told else "operation_timeout"
        return Delivery(kind, json.dumps(payload).encode(), {}, status=200 if told else 0, answer=given)

    return carry
