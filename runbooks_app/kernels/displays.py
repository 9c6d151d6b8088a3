"""The displays of one kernel by their ids: a cell may update what a cell before it showed.

As nbclient has it, an update changes every output that was shown under its id, and one of an id that nobody knows
changes nothing. What was found or proposed does not change: it was read when its cell ended.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from runbooks_app.kernels.events import Output
from runbooks_app.kernels.redaction import Redactor

BUNDLE = "application/vnd.runbook."
"""Findings, proposals and the like have a limit of their own, as high: a flood of prints must not drown them."""

MOST_IDS = 10_000
"""Ids that are known; a display under a further one cannot be updated."""

MOST_SETTLED = 4_000_000
"""Bytes of outputs of ended cells that are kept for updates; those of the earliest cells are let go."""


@dataclass(eq=False)
class Settled:
    """Outputs of a cell that has ended; `places` are the numbers of displays by the place of their output."""

    cell_id: str
    outputs: list[Output]
    places: dict[int, str]
    redactor: Redactor
    limit: int

    def __post_init__(self) -> None:
        self.size = len(json.dumps(self.outputs, ensure_ascii=False).encode())
        self.redacted = 0

    def update(self, number: str, new: Output) -> bool:
        """Show `new` in the place of every display under this number; whether any changed."""
        changed = False
        data, places = self.redactor.value({"data": new["data"], "metadata": new["metadata"]})
        for at in (at for at, known in self.places.items() if known == number):
            old = self.outputs[at]
            if is_bundle(old):
                continue
            updated = old | data
            growth = len(json.dumps(updated, ensure_ascii=False).encode()) - len(
                json.dumps(old, ensure_ascii=False).encode()
            )
            if self.size + growth > 2 * self.limit:
                continue
            self.outputs[at] = updated
            if self.redactor.smuggled("".join(part for output in self.outputs for part in content(output))):
                self.outputs[at] = old
                continue
            self.size += growth
            self.redacted += places
            changed = True
        return changed


class Displays:
    """Knows the ids, and the ended cells whose outputs can be updated."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, str] = {}
        self._settled: list[Settled] = []
        self._changed: dict[str, Settled] = {}

    def known_as(self, display_id: str) -> str | None:
        """A number for an id: the kernel chooses it, so it may hold a secret as any text may, and be of any length."""
        key = hashlib.sha256(display_id.encode(errors="replace")).digest()
        if key not in self._numbers and len(self._numbers) >= MOST_IDS:
            return None
        return self._numbers.setdefault(key, str(len(self._numbers) + 1))

    def add(self, settled: Settled) -> None:
        """A cell that showed displays has ended."""
        self._settled.append(settled)
        while sum(each.size for each in self._settled) > MOST_SETTLED:
            del self._settled[0]

    def update(self, number: str, new: Output) -> None:
        """Show `new` wherever ended cells have a display under this number."""
        for settled in self._settled:
            if number in settled.places.values() and settled.update(number, new):
                self._changed[settled.cell_id] = settled

    def changed(self) -> list[Settled]:
        """Those that have changed since the last call."""
        changed, self._changed = list(self._changed.values()), {}
        return changed

    @property
    def has_changed(self) -> bool:
        """Whether there are any."""
        return bool(self._changed)


def is_bundle(output: Output) -> bool:
    """Whether a display holds a finding, a proposal or the like."""
    return any(mime.startswith(BUNDLE) for mime in output.get("data", ()))


def content(output: Output) -> list[str]:
    """Every text that an output shows, in order; what only frames it would hide that two texts are neighbours."""
    if output["output_type"] == "stream":
        return [output["text"]]
    if output["output_type"] == "error":
        return [output["ename"], output["evalue"], *output["traceback"]]
    shown = [text for value in output["data"].values() for text in _strings(value)]
    return [*shown, *output["data"], *_strings(output["metadata"])]


def _strings(value: Any) -> list[str]:
    """Every text in a JSON value, in order, numbers as they are written."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *_strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [] if value is None else [str(value)]
