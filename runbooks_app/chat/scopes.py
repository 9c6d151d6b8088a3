"""What the Slack app may do and is told: the least that the service needs.

`deploy/slack-manifest.yaml` and `deploy/slack-manifest-socket.yaml` make the app with exactly these, and
`runbooks doctor` compares them with what the bot token really holds.
https://docs.slack.dev/reference/scopes and https://docs.slack.dev/reference/events
"""

from __future__ import annotations

from collections.abc import Mapping

SCOPES: Mapping[str, str] = {
    "chat:write": "one message per run, its thread",
    "commands": "/runbook, and the shortcut on a message",
    "files:write": "charts and long tables",
    "im:write": "direct messages to approvers",
    "channels:history": "finds a message again whose posting was interrupted, so that none is posted twice",
    "groups:history": "the same in private channels",
    "im:history": "the same in direct messages",
    "app_mentions:read": "commands by mention, which also work in threads",
    "pins:read": "pinned messages go onto the incident's timeline",
}
"""Each scope of the bot token, and what for."""

EVENTS = ("app_mention", "pin_added")
"""The events that the app is told of."""

APP_TOKEN_SCOPE = "connections:write"  # noqa: S105 (a scope's name)
"""The one scope of the app-level token of Socket Mode: it opens connections, and can neither read nor post."""

SHORTCUT = "run_runbook"
"""`callback_id` of the message shortcut."""
