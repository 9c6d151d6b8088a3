"""Short words for segments, and for what they told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from runbooks_app.core.run import CellState
from runbooks_app.kernels.events import CellEnded, CellStarted, Printed, SegmentEnded
from runbooks_app.kernels.limits import Limits
from runbooks_app.kernels.segment import Code, Segment

PASSWORD = "k7#Pq/9+zW=&é<x>'\"Lm"


def code(cell_id: str, source: str, *, timeout: float = 20, defines: str = "", needs: str = "") -> Code:
    return Code(cell_id, source, timeout, frozenset(defines.split()), frozenset(needs.split()))


LIMITS = Limits(
    memory=1_000_000_000,
    processes=64,
    open_files=1024,
    disk=256_000_000,
    output=100_000,
    output_total=1_000_000,
)


def segment(*sources: str | Code, **given: Any) -> Segment:
    """A diagnosis whose cells are c0, c1 and so on; what is named like a limit is one."""
    bounds = {name: given.pop(name) for name in Limits.__dataclass_fields__ if name in given}
    cells = tuple(
        source if isinstance(source, Code) else code(f"c{number}", source) for number, source in enumerate(sources)
    )
    usual: dict[str, Any] = {
        "run_id": "run-1",
        "stage": "diagnose",
        "parameters": None,
        "values": {},
        "setup": (),
        "inputs": {},
        "cells": cells,
        "kept": {},
        "connections": {},
        "secrets": (),
        "timeout": 60,
    }
    return Segment(**(usual | {"limits": replace(LIMITS, **bounds)} | given))


@dataclass
class Ran:
    """What a segment told."""

    events: list[Any]
    ended: dict[str, CellEnded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ended = {event.cell_id: event for event in self.events if isinstance(event, CellEnded)}
        assert isinstance(self.events[-1], SegmentEnded)
        started = {event.cell_id for event in self.events if isinstance(event, CellStarted)}
        assert started == {cell_id for cell_id, end in self.ended.items() if end.started_at}

    @property
    def states(self) -> list[CellState]:
        return [end.state for end in self.ended.values()]

    @property
    def reason(self) -> str:
        return self.events[-1].reason

    @property
    def live(self) -> list[dict[str, Any]]:
        return [event.output for event in self.events if isinstance(event, Printed)]

    def text(self, cell_id: str = "c0", name: str = "stdout") -> str:
        return "".join(o["text"] for o in self.ended[cell_id].outputs if o.get("name") == name)
