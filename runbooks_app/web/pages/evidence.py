"""What cells said, ready for templates: findings with their evidence, cells with their outputs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from runbooks_app.actions.outputs import outputs_of
from runbooks_app.core import folding
from runbooks_app.core.run import CellState
from runbooks_app.core.runbook import Stage
from runbooks_app.documents import bundled, outputs, source
from runbooks_app.documents.pieces import Found, Html, Piece, trouble
from runbooks_app.documents.unreadable import Unreadable
from runbooks_app.store import runs
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Attempt, Cell, CellOutline, Finding
from runbooks_app.web.context import service

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
    """A finding on a page, by its id in the trail, with the address of the cell that made it."""

    id: int
    piece: Found
    link: str


def told(findings: list[Finding]) -> list[Told]:
    """Findings, worst first, as the store gives them."""
    return [
        Told(f.id, finding(f.severity, f.summary, f.evidence), f"#cell-{f.attempt_id}-{f.cell_id}") for f in findings
    ]


@dataclass(frozen=True)
class CellView:
    """One cell of one attempt: `address` is where its outputs are served; `before` is text from the runbook.

    Of one that is `folded` a line is shown, and neither outputs nor code were read.
    """

    cell: CellOutline
    address: str
    before: tuple[Markup, ...] = ()
    pieces: tuple[Piece, ...] = ()
    lines: tuple[Markup, ...] = ()
    whole: dict[str, Any] | None = None
    folded: bool = False

    @property
    def key(self) -> str:
        """Its id on the page."""
        return f"{self.cell.attempt_id}-{self.cell.cell_id}"

    @property
    def page(self) -> str:
        """Address of its run's page."""
        return self.address.partition("/cells/")[0]

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


Key = tuple[int, str]
"""Names a cell among a run's: its attempt, and its id."""

Texts = Mapping[str, tuple[Markup, ...]]


def cell_views(
    tx: Transaction,
    attempt: Attempt,
    texts: Texts = MappingProxyType({}),
    unfolded: Collection[Key] = (),
    before: Mapping[Key, CellView] = MappingProxyType({}),
) -> list[CellView]:
    """The cells of an attempt, of a long run or of large outputs mostly folded; those `unfolded` are not.

    Neither are those that were not in the look `before`; of these only what has changed since is read.
    """
    found = runs.outlines(tx, attempt.id)
    fit = folding.opened(folding.Weight(cell.state, size if size >= 0 else folding.LARGE) for cell, size in found)
    views: dict[str, CellView] = {}
    wanted = []
    for (cell, _), is_open in zip(found, fit, strict=True):
        key = cell.attempt_id, cell.cell_id
        was = before.get(key)
        if was is not None and not was.folded and _ended_as(was.cell, cell):
            views[cell.cell_id] = was
        elif is_open or key in unfolded or (was is not None and not was.folded):
            wanted.append(cell.cell_id)
    at_length = runs.cells_named(tx, attempt.id, wanted) if wanted else {}
    return [
        views.get(cell.cell_id)
        or cell_view(attempt.run_id, at_length.get(cell.cell_id, cell), texts.get(cell.cell_id, ()))
        for cell, _ in found
    ]


def _ended_as(was: CellOutline, cell: CellOutline) -> bool:
    """Whether a cell had ended, and nothing has happened to it since."""
    same = (was.state, was.updates, was.ended_at) == (cell.state, cell.updates, cell.ended_at)
    return same and cell.ended_at is not None


def cell_view(run_id: str, cell: CellOutline, before: tuple[Markup, ...] = ()) -> CellView:
    """One cell; folded where what it printed was not read."""
    address = f"/runs/{run_id}/cells/{cell.attempt_id}/{cell.cell_id}"
    if not isinstance(cell, Cell):
        return CellView(cell, address, before, folded=True)
    shown = outputs.pieces(outputs_of(service(), cell))
    return CellView(cell, address, before, shown, highlighted(cell.source), cell.whole)
