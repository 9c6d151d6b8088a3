"""What cells say to the service, as MIME bundles in their outputs: findings, proposals, kept values, checks.

A kernel is not trusted: sizes, types and depth are checked here, and a malformed bundle gives a `Problem`,
never an exception. Evidence is for people: texts that are too long are cut, further rows are counted, and
what JSON or the database cannot hold is replaced. Inputs of proposals and kept values are taken
exactly, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks_app.core import gates, parameters
from runbooks_app.core.errors import Problem
from runbooks_app.core.values import MAX_INTEGER, Unfit, storable
from runbooks_app.core.wording import one_line, show

FINDING = "application/vnd.runbook.finding+json"
PROPOSAL = "application/vnd.runbook.proposal+json"
KEEP = "application/vnd.runbook.keep+json"
CHECK = "application/vnd.runbook.check+json"

SEVERITIES = ("critical", "warning", "info")
"""Worst first."""

COLUMN_TYPES = ("text", "number", "time", "bool")

MAX_SUMMARY = 500
MAX_ROWS = 200
MAX_COLUMNS = 50
MAX_CELL = 1_000
MAX_NAME = 100
MAX_REASON = 1_000
MAX_DETAIL = 1_000
MAX_EVIDENCE = 20_000
"""Characters of textual evidence."""

MAX_VALUES = 100
"""Inputs of one proposal, and values that one cell keeps."""

MAX_DEPTH = 20
MAX_NODES = 20_000
MAX_LETTERS = 500_000
"""Characters of all texts in one JSON value."""

MAX_BUNDLES = 500
"""Bundles of one cell that are looked at."""


@dataclass(frozen=True)
class Finding:
    """What a cell found: `severity` of `SEVERITIES`, one sentence, and what shows it.

    `evidence` is None or one of

        {"kind": "table", "columns": [{"name", "type"}], "rows": [[…]], "omitted": 0}
        {"kind": "text", "text": "…"}
        {"kind": "json", "value": …}
    """

    severity: str
    summary: str
    evidence: dict[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Proposed:
    """A remediation that a cell proposes: name of its gate, inputs as JSON, why. Inputs are not validated yet."""

    gate: str
    inputs: dict[str, Any] = field(default_factory=dict, hash=False)
    reason: str = ""


@dataclass(frozen=True)
class Kept:
    """Values that a cell keeps for the verification."""

    values: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Checked:
    """Whether what a verification cell checks did hold, and after how many seconds."""

    name: str
    ok: bool
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Said:
    """Everything that the outputs of one cell say; later kept values replace earlier ones."""

    findings: tuple[Finding, ...] = ()
    proposed: tuple[Proposed, ...] = ()
    kept: dict[str, Any] = field(default_factory=dict, hash=False)
    checks: tuple[Checked, ...] = ()
    problems: tuple[Problem, ...] = ()


def read(outputs: Iterable[Any]) -> Said:
    """What the outputs (nbformat) of one cell say."""
    data = [output.get("data") for output in outputs if isinstance(output, Mapping)]
    said = [(mime, part[mime]) for part in data if isinstance(part, Mapping) for mime in _READERS if mime in part]
    found = [parse(mime, bundle) for mime, bundle in said[:MAX_BUNDLES]]
    problems = [item for item in found if isinstance(item, Problem)]
    if len(said) > MAX_BUNDLES:
        problems.append(Problem("output", f"says {len(said):,} things; {MAX_BUNDLES} were read.", "Say less."))
    return Said(
        findings=tuple(item for item in found if isinstance(item, Finding)),
        proposed=tuple(item for item in found if isinstance(item, Proposed)),
        kept={name: value for item in found if isinstance(item, Kept) for name, value in item.values.items()},
        checks=tuple(item for item in found if isinstance(item, Checked)),
        problems=tuple(problems),
    )


def parse(mime: str, bundle: Any) -> Finding | Proposed | Kept | Checked | Problem:
    """One bundle of this MIME type, or the problem with it."""
    noun, reader = _READERS[mime]
    if not isinstance(bundle, Mapping):
        return Problem(noun, "is not an object.")
    try:
        return reader(bundle)
    except Unfit as unfit:
        return Problem(noun, unfit.message, unfit.fix)


def _finding(bundle: Mapping[str, Any]) -> Finding:
    severity = bundle.get("severity")
    if severity not in SEVERITIES:
        raise Unfit(f"has the severity {show(severity)}.", f"Use one of {', '.join(SEVERITIES)}.")
    summary, evidence = _line(bundle, "summary", MAX_SUMMARY), bundle.get("evidence")
    try:
        shown = None if evidence is None else _evidence(evidence)
    except Unfit as unfit:  # the sentence still helps
        shown = {"kind": "text", "text": f"The evidence cannot be shown: it {unfit.message} {unfit.fix}".strip()}
    return Finding(str(severity), summary, shown)


def _proposal(bundle: Mapping[str, Any]) -> Proposed:
    gate = bundle.get("gate")
    if not isinstance(gate, str) or not gates.NAME.fullmatch(gate):
        raise Unfit(f"names the gate {show(gate)}.", "Name the gate of a remediation cell.")
    return Proposed(gate, _named(bundle, "inputs"), _line(bundle, "reason", MAX_REASON, optional=True))


def _keep(bundle: Mapping[str, Any]) -> Kept:
    return Kept(_named(bundle, "values"))


def _check(bundle: Mapping[str, Any]) -> Checked:
    ok, seconds = bundle.get("ok"), bundle.get("seconds", 0.0)
    if not isinstance(ok, bool):
        raise Unfit(f"says {show(ok)} instead of true or false.")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_INTEGER:
        raise Unfit(f"took {show(seconds)} seconds.")
    name = _line(bundle, "name", MAX_NAME)
    return Checked(name, ok, float(seconds), _line(bundle, "detail", MAX_DETAIL, optional=True))


_READERS: dict[str, tuple[str, Callable[[Mapping[str, Any]], Finding | Proposed | Kept | Checked]]] = {
    FINDING: ("finding", _finding),
    PROPOSAL: ("proposal", _proposal),
    KEEP: ("kept values", _keep),
    CHECK: ("check", _check),
}


def _line(bundle: Mapping[str, Any], key: str, limit: int, *, optional: bool = False) -> str:
    text = bundle.get(key, "" if optional else None)
    if not isinstance(text, str):
        raise Unfit(f"has no text as its {key}.")
    line = one_line(text, limit)
    if not line and not optional:
        raise Unfit(f"has an empty {key}.")
    return line


def _named(bundle: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Values by name, exactly as they came."""
    given = bundle.get(key)
    if not isinstance(given, Mapping) or len(given) > MAX_VALUES:
        raise Unfit(f"has no object with at most {MAX_VALUES} entries as its {key}.")
    for name in given:
        if not isinstance(name, str) or not parameters.NAME.fullmatch(name):
            raise Unfit(f"has {show(name)} as a name.", "Use names of letters, digits and underscores.")
    measure(given)
    exact = _Copy(lenient=False)
    return {str(name): exact.of(value, str(name)) for name, value in given.items()}


def measure(value: Any) -> None:
    """Raise `Unfit` where a JSON value is too deep or too large to be walked."""
    nodes = letters = 0
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        nodes += 1
        if isinstance(item, Mapping):
            waiting.extend((child, depth + 1) for child in item.values())
            letters += sum(len(key) for key in item if isinstance(key, str))
        elif isinstance(item, list):
            waiting.extend((child, depth + 1) for child in item)
        elif isinstance(item, str):
            letters += len(item)
        if depth > MAX_DEPTH:
            raise Unfit(f"is nested deeper than {MAX_DEPTH} levels.", "Make it flatter.")
        if nodes + len(waiting) > MAX_NODES or letters > MAX_LETTERS:
            raise Unfit("is too large.", f"Keep it under {MAX_NODES:,} values and {MAX_LETTERS:,} characters.")


@dataclass(frozen=True)
class _Copy:
    """Copies measured JSON values. Lenient, it mends what cannot be stored; else it raises `Unfit`."""

    lenient: bool

    def of(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value, where)
        if isinstance(value, int | float):
            return self._number(value, where)
        if isinstance(value, list):
            return [self.of(item, where) for item in value]
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {self._text(key, where): self.of(item, where) for key, item in value.items()}
        raise Unfit(f"holds what is no JSON, in {one_line(where)}.")

    def _text(self, text: str, where: str) -> str:
        if storable(text):
            return text
        if not self.lenient:
            raise Unfit(f"holds a NUL or half a character, in {one_line(where)}.")
        return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()

    def _number(self, number: float, where: str) -> Any:
        if abs(number) <= MAX_INTEGER:
            return number
        if not self.lenient:
            raise Unfit(f"holds a number from 2^53, infinite or none, in {one_line(where)}.", "Send it as text.")
        return None if number != number else show(number)  # noqa: PLR0124 - true of NaN alone


def _evidence(evidence: Any) -> dict[str, Any]:
    if not isinstance(evidence, Mapping) or evidence.get("kind") not in ("table", "text", "json"):
        raise Unfit("is no table, text or JSON.")
    lenient = _Copy(lenient=True)
    if evidence["kind"] == "text":
        text = evidence.get("text")
        if not isinstance(text, str):
            raise Unfit("has no text.")
        return {"kind": "text", "text": _cut(lenient.of(text[: MAX_EVIDENCE + 1], "text"), MAX_EVIDENCE)}
    if evidence["kind"] == "json":
        measure(evidence.get("value"))
        return {"kind": "json", "value": lenient.of(evidence.get("value"), "value")}
    return _table(evidence, lenient)


def _table(table: Mapping[str, Any], lenient: _Copy) -> dict[str, Any]:
    columns, rows, omitted = table.get("columns"), table.get("rows"), table.get("omitted", 0)
    if not isinstance(columns, list) or len(columns) > MAX_COLUMNS:
        raise Unfit(f"has no list of at most {MAX_COLUMNS} columns.")
    for column in columns:
        known = isinstance(column, Mapping) and column.get("type") in COLUMN_TYPES
        if not known or not isinstance(column.get("name"), str):
            raise Unfit(f"has the column {show(column)}.", f"Types are {', '.join(COLUMN_TYPES)}.")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        raise Unfit("has rows that do not fit its columns.")
    if isinstance(omitted, bool) or not isinstance(omitted, int) or not 0 <= omitted <= MAX_INTEGER - len(rows):
        raise Unfit("does not count the rows it leaves out.")
    kept = rows[:MAX_ROWS]
    measure(kept)
    return {
        "kind": "table",
        "columns": [{"name": one_line(column["name"], MAX_NAME), "type": column["type"]} for column in columns],
        "rows": [[_table_cell(lenient.of(cell, "table")) for cell in row] for row in kept],
        "omitted": omitted + len(rows) - len(kept),
    }


def _table_cell(cell: Any) -> Any:
    if isinstance(cell, list | dict):
        cell = json.dumps(cell, ensure_ascii=False)
    return _cut(cell, MAX_CELL) if isinstance(cell, str) else cell


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
