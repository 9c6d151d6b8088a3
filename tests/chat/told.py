"""A run and a proposal as messages tell of them, and what a reader sees of a message."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from runbooks_app.chat import views
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import RunState
from runbooks_app.main.demo.slack.rendering import flat

URL = "https://runbooks.example/runs/1"
RUN = views.RunTold(
    "r1", "db-latency", URL, RunState.DIAGNOSED, "Ana", target="orders-db", cells_done=6, cells_total=6, seconds=1.4
)
PROPOSAL = views.ProposalTold(
    "p1", "db-latency", "End session 4711 on orders-db", "https://runbooks.example/proposals/p1",
    ProposalState.PROPOSED, targets=(views.TargetTold("orders-db", "orders_operator"),),
    approvers=(("database",), ("payments", "sre")), approvals=2, expires_at=datetime(2026, 11, 22, 3, 40, tzinfo=UTC),
)  # fmt: skip


def said(message: views.Message) -> str:
    return flat(json.loads(json.dumps(message.blocks)), message.text)


def buttons(message: views.Message) -> dict[str, dict]:
    found = [e for b in message.blocks for e in [*b.get("elements", ()), b.get("accessory") or {}]]
    return {e["action_id"]: e for e in found if e.get("type") == "button"}
