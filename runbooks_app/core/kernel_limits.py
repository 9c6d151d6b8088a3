"""What one kernel may use up: which limits there are, what holds by itself, and how people write them.

A runbook asks for more or less in its metadata, times under `timeouts` and the rest under `limits`:

    "timeouts": {"cell": "60s", "run": "10m"},
    "limits": {"memory": "2GB", "processes": 64}

up to the installation's ceilings (`RUNBOOKS_CEILINGS`); what it does not name is the installation's default
(`RUNBOOKS_LIMITS`), and what that does not name either is the default here. Limits of parameters' values are another
thing, and live in `limits`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from runbooks_app.core import durations
from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.wording import did_you_mean, show

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
FORM = re.compile(r"([1-9][0-9]{0,5}) ?(KB|MB|GB)", re.ASCII)
MAX_COUNT = 1_000_000


@dataclass(frozen=True)
class Limit:
    """One limit: seconds, bytes or a number of things, by its `kind`. `default` 0 means that there is none."""

    kind: Literal["time", "size", "count"]
    least: int
    default: int
    ceiling: int
    meaning: str

    def parse(self, text: object) -> int:
        """The value that somebody wrote; InvalidInput, with the form that was expected."""
        value = durations.parse(text) if self.kind == "time" else self._size(text)
        if value < self.least:
            raise InvalidInput(f"{show(text)} is too little; the least is {self.tell(self.least)}.")
        return value

    def _size(self, text: object) -> int:
        if self.kind == "count":
            if isinstance(text, int) and not isinstance(text, bool) and 0 < text <= MAX_COUNT:
                return text
            raise InvalidInput(f"{show(text)} is no number of things. Write a whole number, as in 64.")
        found = FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidInput(f"{show(text)} is no size. Write a whole number and a unit, as in '500MB' or '2GB'.")
        return int(found[1]) * UNITS[found[2]]

    def tell(self, value: int) -> str:
        """The value as a person would write it; `parse` reads it back."""
        if self.kind == "time":
            return durations.tell(value) if value else "none"
        if self.kind == "count":
            return str(value)
        return size(value)


def size(count: int) -> str:
    """Bytes in the largest unit that loses nothing, such as `2 GB`."""
    unit = next((unit for unit in ("GB", "MB", "KB") if count and count % UNITS[unit] == 0), None)
    return f"{count // UNITS[unit]} {unit}" if unit else f"{count:,} bytes"


TIMES: dict[str, Limit] = {
    "cell": Limit("time", 1, 60, 3600, "one cell"),
    "run": Limit("time", 1, 600, 4 * 3600, "all cells of a stage"),
    "idle": Limit("time", 1, 0, 3600, "a cell that neither prints nor computes, nor does anything that it started"),
}
"""What `timeouts` may hold. A cell may wait for a lock or for a system to recover, and its own limit ends it anyway:
so nothing is too idle unless somebody says from when on."""

AMOUNTS: dict[str, Limit] = {
    "memory": Limit("size", 256 * 10**6, 10**9, 4 * 10**9, "memory of the kernel with all that it started"),
    "processes": Limit("count", 8, 100, 1000, "processes and threads at a time"),
    "open_files": Limit("count", 64, 1024, 4096, "open files and connections of each process"),
    "disk": Limit("size", 10**6, 256 * 10**6, 4 * 10**9, "files in the folder of the run"),
    "output": Limit("size", 10_000, 10**6, 20 * 10**6, "output of a cell that is kept in the run; the rest is a file"),
    "output_total": Limit("size", 10_000, 10**8, 10**9, "output of all cells that is kept, files included"),
}
"""What `limits` may hold."""

KNOWN: dict[str, Limit] = TIMES | AMOUNTS

CEILINGS: dict[str, int] = {name: limit.ceiling for name, limit in KNOWN.items()}


def parse(given: object, known: Mapping[str, Limit] = KNOWN) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Limits as people wrote them, and what is wrong with the others: name, and what is to be said of it."""
    if not isinstance(given, Mapping):
        return {}, [("", f"{show(given)} is not an object with limits by their names.")]
    found, wrong = {}, []
    for name, text in given.items():
        limit = known.get(str(name))
        if limit is None:
            wrong.append((str(name), f"is no limit. {did_you_mean(str(name), known)}"))
            continue
        try:
            found[str(name)] = limit.parse(text)
        except InvalidInput as error:
            wrong.append((str(name), error.message))
    return found, wrong


def settled(asked: Mapping[str, int], defaults: Mapping[str, int], ceilings: Mapping[str, int]) -> dict[str, int]:
    """Every limit of a kernel: what its runbook asks for, else the default; never more than the ceiling."""
    most = {**CEILINGS, **ceilings}
    return {
        name: min(asked.get(name) or defaults.get(name) or limit.default, most[name]) for name, limit in KNOWN.items()
    }


def above(asked: Mapping[str, int], ceilings: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """What is asked for beyond the ceilings: name, what was asked for, what is the most."""
    most = {**CEILINGS, **ceilings}
    return [
        (name, KNOWN[name].tell(value), KNOWN[name].tell(most[name]))
        for name, value in asked.items()
        if value > most[name]
    ]
