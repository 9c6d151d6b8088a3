"""What cells said, ready for templates: findings with their evidence, cells with their outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape

from runbooks_app.actions.outputs import outputs_of
from runbooks_app.core.run import CellState
from runbooks_app.core.runbook import Stage
from runbooks_app.documents import bundled, outputs, source
from runbooks_app.documents.pieces import Found, Html, Piece, trouble
from runbooks_app.documents.text import revealed
from runbooks_app.documents.unreadable import Unreadable
from runbooks_app.store.records import Attempt, Cell, Finding
from runbooks_app.web.context import service

FEW = 60
"""Cells up to which a page shows each cell's output at length."""

WHOLE_ARTIFACTS = 6
"""Large outputs that a page loads by itself; the others are fetched on demand."""

_LINES = re.compile(r"<(?:tr|p|li|br|h[1-6]|div|pre)\b")

_AS_SETUP = {Stage.PARAMETERS, Stage.SETUP}


def finding(severity: str, summary: str, evidence: Any) -> Found:
    """A stored finding as the piece that its cell's output would be; malformed evidence is told."""
    shown: Piece | None = None
    if evidence is not None:
        try:
            shown = bundled.evidence(evidence, lines=40, characters=8_000)
        except (Unreadable, ValueError, TypeError, KeyError, RecursionError):
            shown = trouble(0, "The evidence of this finding is malformed and not shown.")
    return Found(0, severity=severity, summary=summary, evidence=shown)


def frame_height(piece: Html) -> int:
    """Pixels for a document's frame: by its lines, since nobody outside of a sandbox can measure it."""
    lines = len(_LINES.findall(piece.fragment))
    return max(64, min(28 * (lines + 1), 480)) if lines else 320


@dataclass(frozen=True)
class Told:
    """A finding on a page, with the address of the cell that made it."""

    piece: Found
    link: str


def told(findings: list[Finding]) -> list[Told]:
    """Findings, worst first, as the store gives them."""
    return [Told(finding(f.severity, f.summary, f.evidence), f"#cell-{f.attempt_id}-{f.cell_id}") for f in findings]


@dataclass(frozen=True)
class CellView:
    """One cell of one attempt: `address` is where its outputs are served; `before` is text from the runbook."""

    cell: Cell
    address: str
    pieces: tuple[Piece, ...]
    lines: tuple[Markup, ...]
    before: tuple[Markup, ...] = ()
    on_demand: bool = False

    @property
    def key(self) -> str:
        """Its id on the page."""
        return f"{self.cell.attempt_id}-{self.cell.cell_id}"

    @property
    def took(self) -> timedelta | None:
        """How long it ran; None while it runs, and where it never did."""
        if self.cell.started_at is None or self.cell.ended_at is None or self.cell.state is CellState.NEVER_RAN:
            return None
        return max(self.cell.ended_at - self.cell.started_at, timedelta(0))

    @property
    def prepares(self) -> bool:
        """Whether it is the parameters cell or a setup cell."""
        return self.cell.stage in _AS_SETUP

    @property
    def went_well(self) -> bool:
        """Whether it ran well or still waits to."""
        return self.cell.state in {CellState.OK, CellState.WAITING}

    @property
    def quiet(self) -> bool:
        """Whether it is worth one line only: a preparation that went well and said nothing."""
        return self.prepares and self.went_well and not self.pieces


@lru_cache(maxsize=512)
def highlighted(code: str) -> tuple[Markup, ...]:
    """The lines of a cell's source, highlighted; the same sources are shown again and again."""
    return source.lines(code)


def _plain(code: str) -> tuple[Markup, ...]:
    """Its lines without colours: highlighting a thousand cells takes seconds."""
    return tuple(escape(line) for line in revealed(code).split("\n"))


def cell_views(
    attempt: Attempt, cells: list[Cell], texts: dict[str, tuple[Markup, ...]] | None = None
) -> list[CellView]:
    """The cells of an attempt; of many cells, and of large outputs, only the beginning."""
    at_length = len(cells) <= FEW
    artifacts = 0
    views = []
    for cell in cells:
        artifacts += bool(cell.artifact)
        on_demand = bool(cell.artifact) and artifacts > WHOLE_ARTIFACTS
        shown: tuple[Piece, ...] = ()
        if not on_demand:
            found = outputs_of(service(), cell)
            shown = outputs.pieces(found) if at_length else outputs.pieces(found, 12, 2_000)
        views.append(
            CellView(
                cell=cell,
                address=f"/runs/{attempt.run_id}/cells/{attempt.id}/{cell.cell_id}",
                pieces=shown,
                lines=highlighted(cell.source) if at_length else _plain(cell.source),
                before=(texts or {}).get(cell.cell_id, ()),
                on_demand=on_demand,
            )
        )
    return views
