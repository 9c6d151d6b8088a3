"""`/styleguide`: every component of the pages in every state, made by the macros that pages themselves use.

For who changes how pages look, and for tests that look at them. Nothing here is real; it is served where the setting
`styleguide` says so, which the demo does.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Blueprint, render_template

from runbooks_app.core import bundles
from runbooks_app.core.connection_tests import Standing
from runbooks_app.core.errors import NotFound, Problem
from runbooks_app.core.forms import Field
from runbooks_app.core.people import Permission
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.core.runbook import Stage
from runbooks_app.documents import markdown, source
from runbooks_app.documents.outputs import pieces
from runbooks_app.store.records import Cell, CellOutline, DecisionRow, Proposal
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard
from runbooks_app.web.pages import words
from runbooks_app.web.pages.evidence import CellView, finding, highlighted
from runbooks_app.web.pages.health_page import Bar
from runbooks_app.web.pages.icons import ICONS

blueprint = Blueprint("styleguide", __name__)

_SHEET = Path(__file__).parent.parent / "static" / "app.css"
_AT = datetime(2026, 1, 31, 3, 12, tzinfo=UTC)
_CODE = 'tree = kit.table("SELECT pid, blocked_by FROM blocking")\nkit.finding("info", f"{len(tree)} sessions wait")'
_BEFORE = 'tree = kit.table("SELECT pid FROM blocking")\nkit.finding("info", f"{len(tree)} sessions wait")'
_TABLE = {
    "kind": "table",
    "columns": [
        {"name": "pid", "type": "number"},
        {"name": "state", "type": "text"},
        {"name": "since", "type": "time"},
    ],
    "rows": [[4711, "idle in transaction", "2026-01-31T03:06:00Z"], [4712, "active", "2026-01-31T03:11:59Z"]],
}
_PROSE = "# A text cell\n\nWhat to look at **first**, with a [link](https://example.org/) and `code`.\n\n- one\n- two"
_MANY = "".join(f"line {number} of what a cell printed\n" for number in range(1, 200))


@blueprint.get("/styleguide")
@guard(Permission.READ)
def show() -> str:
    """Show all components; `NotFound` where this installation does not serve the page."""
    if service().settings.styleguide == "off":
        raise NotFound("There is no style guide here: the setting styleguide is off, as everywhere but in a demo.")
    return render_template(
        "styleguide.html",
        tokens=tokens(),
        icons=ICONS,
        states=_states(),
        fields=_fields(),
        problems=[Problem("lag", "must be at most 60.", "Give a number from 1 to 60.")],
        findings=[
            finding(severity, "Session 4711 blocks 37 others", _TABLE if severity == "critical" else None)
            for severity in ("critical", "warning", "info")
        ],
        cells=_cells(),
        outputs=_outputs(),
        proposals=[_proposal(state) for state in ProposalState],
        source=source.lines(_CODE),
        difference=source.unified(_BEFORE, _CODE),
        prose=markdown.render(_PROSE, deeper=2),
        timed=_Timed([replace(view, cell=_moved(view.cell, at)) for at, view in enumerate(_cells())], _AT),
        bars=[
            Bar(f"{hour:02d}:00 UTC", (("good", hour), ("warn", hour % 3), ("bad", hour == 3)), f"{hour} good")
            for hour in range(6)
        ],
        at=_AT,
    )


@dataclass(frozen=True)
class _Timed:
    """As much of a run as its bar of times asks for."""

    cells: list[CellView]
    now: datetime


def _moved(cell: CellOutline, place: int) -> CellOutline:
    """The cell as one that began `place` seconds later."""
    later = timedelta(seconds=place)
    return replace(
        cell,
        started_at=cell.started_at and cell.started_at + later,
        ended_at=cell.ended_at and cell.ended_at + later,
    )


def tokens() -> list[tuple[str, str]]:
    """The stylesheet's colours: token and light value, in the sheet's order."""
    light = _SHEET.read_text().split("@media (prefers-color-scheme: dark)")[0]
    return re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light)


def _states() -> dict[str, list[words.Shown]]:
    """Every state that there is, by what it is of."""
    return {
        "Runs": [*(words.run_state(state) for state in RunState), words.run_state(RunState.DIAGNOSED, in_part=True)],
        "Cells": [words.cell_state(state) for state in CellState],
        "Proposals": [
            *(words.proposal_state(state) for state in ProposalState),
            *(words.proposal_state(ProposalState.APPLIED, checked) for checked in Verification),
        ],
        "Risks": [words.risk(risk) for risk in Risk],
        "Findings": [words.severity(name) for name in ("critical", "warning", "info")],
        "Connections": [words.standing(standing) for standing in Standing],
    }


def _fields() -> list[Field]:
    """A field of each control, and one that is wrong."""
    services = ("orders", "billing")
    wrong = "Must be at most 60."
    return [
        Field("service", "service", "Whose database is slow", "select", "orders", required=True, options=services),
        Field("note", "note", "For the record", "text", example="what you saw", longest=200),
        Field("lag", "lag", "Seconds that count as slow", "number", "99", whole=True, least=1, most=60, error=wrong),
        Field("since", "since", "", "date", "2026-01-31"),
        Field("deep", "deep", "Looks at every table, which takes a minute", "checkbox", checked=True),
    ]


def _view(cell_id: str, stage: Stage, state: CellState, outputs: list[dict[str, Any]], reason: str = "") -> CellView:
    """A cell on its page; its outputs have no addresses."""
    begun = None if state in {CellState.WAITING, CellState.SKIPPED, CellState.NEVER_RAN} else _AT
    cell = Cell(
        attempt_id=0,
        cell_id=cell_id,
        position=0,
        stage=stage,
        source=_CODE,
        state=state,
        reason=reason,
        outputs=outputs,
        artifact="",
        execution_count=1,
        started_at=begun,
        ended_at=None if begun is None or state is CellState.RUNNING else _AT + timedelta(seconds=1.2),
    )
    return CellView(cell=cell, address="", pieces=pieces(outputs), lines=highlighted(_CODE))


def _cells() -> list[CellView]:
    """A cell in each state, and the one that is gated."""
    reasons = {
        CellState.SKIPPED: "It needs `tree`, which blocking-tree would have made.",
        CellState.TIMED_OUT: "It took longer than 60 s.",
        CellState.DIED: "The kernel used more than 1 GiB and was ended.",
    }
    said = [_stream("37 sessions wait\n")]
    views = [
        _view(state, Stage.DIAGNOSTIC, state, said if state is CellState.OK else [], reasons.get(state, ""))
        for state in CellState
    ]
    return [*views, _view("terminate-session", Stage.REMEDIATION, CellState.OK, said)]


def _outputs() -> list[CellView]:
    """An output of each kind, in a cell each."""
    kinds: dict[str, list[dict[str, Any]]] = {
        "text": [_stream("\x1b[32mgreen\x1b[0m and \x1b[1;31mbold red\x1b[0m\n")],
        "long-text": [_stream(_MANY)],
        "stderr": [_stream("a warning\n", "stderr")],
        "error": [{"output_type": "error", "ename": "KeyError", "evalue": "'pid'", "traceback": ["KeyError: 'pid'"]}],
        "table": [_said(bundles.FINDING, severity="info", summary="2 sessions wait", evidence=_TABLE)],
        "proposes": [_said(bundles.PROPOSAL, gate="terminate-session", inputs={"pid": 4711}, reason="It blocks 37")],
        "checked": [_said(bundles.CHECK, name="nobody is blocked", ok=True, seconds=2.5, detail="0 left")],
        "kept": [_said(bundles.KEEP, values={"baseline": 812.5})],
        "data-frame": [_bundle({"text/html": _FRAME, "text/plain": "   pid  waits\n0  4711   37.5"})],
        "html": [_bundle({"text/html": "<p>HTML of a notebook, in a frame of its own</p>", "text/plain": "HTML"})],
        "markdown": [_bundle({"text/markdown": "What the cell found, **in words**."})],
        "json": [_bundle({"application/json": {"locks": [{"pid": 4711, "granted": True}], "waiting": 37}})],
        "image": [_bundle({"image/png": _png(), "text/plain": "p99 of reads"})],
        "drawing": [_bundle({"application/vnd.vegalite.v5+json": {"mark": "line"}, "text/plain": "alt.Chart(...)"})],
    }
    return [_view(name, Stage.DIAGNOSTIC, CellState.OK, shown) for name, shown in kinds.items()]


_FRAME = (
    '<table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th><th>pid</th><th>waits</th></tr>'
    "</thead><tbody><tr><th>0</th><td>4711</td><td>37.5</td></tr><tr><th>1</th><td>4712</td><td>0.2</td></tr></tbody></table>"
)


def _stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def _bundle(data: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": {}}


def _said(mime: str, **told: Any) -> dict[str, Any]:
    return _bundle({mime: told})


def _png() -> str:
    """A small picture: 64 by 24 pixels of one blue."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + b"\x1c\x5b\xc9" * 64 for _ in range(24))
    header = struct.pack(">IIBBBBB", 64, 24, 8, 2, 0, 0, 0)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(image).decode()


def _proposal(state: ProposalState) -> Proposal:
    """A proposal in this state, with a decision where there was one."""
    policy = Policy(risk=Risk.HIGH, approvals=1, approvers=(("database",),), expires=1800, recheck=True)
    verdict = "deny" if state is ProposalState.DENIED else "approve"
    decided = state not in {ProposalState.PROPOSED, ProposalState.EXPIRED, ProposalState.WITHDRAWN}
    decision = DecisionRow(1, state, "", "dev", "Dev Patel", verdict, "Seen it", {}, _AT)
    return Proposal(
        id=f"sample-{state}",
        run_id="sample",
        gate="terminate-session",
        cell_id="terminate-session",
        title="End session 4711 on orders-db",
        target="orders-db",
        inputs={"pid": 4711},
        identity=["pid"],
        connections=[],
        policy=policy.as_json(),
        reason="It blocks 37 others",
        evidence=[],
        evidence_digest="",
        source_digest="",
        digest="",
        by_hand=False,
        requesters=[],
        sponsor="",
        predecessor=None,
        state=state,
        state_reason="The lock is gone." if state is ProposalState.STALE else "",
        verification=Verification.VERIFIED if state is ProposalState.APPLIED else None,
        verification_reason="",
        checks=[],
        proposed_at=_AT,
        expires_at=datetime.now(UTC) + timedelta(minutes=30),
        decided_at=_AT if decided else None,
        ended_at=None,
        decisions=(decision,) if decided else (),
    )
