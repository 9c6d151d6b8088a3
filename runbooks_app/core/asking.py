"""Asks: what a responder wants to know in the middle of an incident, as a notebook that only reads.

An ask is a run like any other, of a notebook that is derived for it: the parameters and the setup of the run that it is
asked of (of an incident: nothing but the kit), the hypothesis as text, and the cells as they were typed. So whatever
holds for a diagnosis holds for it. It has no gates, and what its cells propose is told as a problem.

Here live the rules: what may be asked, the derived notebook, and the runbook's draft that asks become. Whose
connections they may reach is `runbooks_app.actions.asking`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runbooks_app.core import values
from runbooks_app.core.errors import InvalidInput, Problem
from runbooks_app.core.run import RunState
from runbooks_app.core.runbook import Runbook
from runbooks_app.core.wording import one_line
from runbooks_app.core.writing import unfit

RUNBOOK_ID = "a5c0de00-0a5c-4a5c-8a5c-00000000a5c0"
"""The id of every ask: run tokens name it, so no policy that trusts a runbook takes typed code for that runbook."""

NAME = "ask"
"""What asks are called where a run names its runbook."""

STATES = {RunState.DIAGNOSING: "answering", RunState.DIAGNOSED: "answered"}
"""What these states of a run are called where it is an ask; the others have the words of every run."""

MAX_SOURCE = 20_000
MAX_TEXT = 4_000
"""Characters of a hypothesis, and of a conclusion."""
MAX_CELLS = 20
MAX_TITLE = 100

TIMEOUTS = {"cell": "60s", "run": "10m"}
"""Those of an ask of an incident, and of a draft without a runbook behind it."""

_BREAK = re.compile(r"^# ?%%(?:[ \t].*)?$", re.MULTILINE)
_KEPT = ("timeouts", "limits", "parameters", "connections")
_SETUP = "from runbook_library import kit"


@dataclass(frozen=True)
class Question:
    """What is asked: `source` as it was typed, `cells` between its lines `# %%`, `hypothesis` what is believed."""

    source: str
    hypothesis: str
    cells: tuple[str, ...]

    @property
    def title(self) -> str:
        """One line that tells it from others."""
        return one_line(self.hypothesis or self.cells[0], MAX_TITLE)


@dataclass(frozen=True)
class Answered:
    """An ask that was made, with what it showed."""

    question: Question
    conclusion: str


def question(source: str, hypothesis: str = "") -> Question:
    """What was typed, read; raises `InvalidInput` with a problem for each field."""
    source, hypothesis = source.replace("\r\n", "\n"), hypothesis.replace("\r\n", "\n").strip()
    cells = tuple(found for piece in _BREAK.split(source) if (found := piece.strip("\n").rstrip()))
    problems = [
        *unfit("source", source, MAX_SOURCE),
        *unfit("hypothesis", hypothesis, MAX_TEXT),
    ]
    if not cells:
        problems.append(Problem("source", "is empty.", "Type what you want to know, as a cell of a notebook."))
    if len(cells) > MAX_CELLS:
        problems.append(Problem("source", f"has {len(cells)} cells; {MAX_CELLS} are the most.", "Ask in two steps."))
    if problems:
        raise InvalidInput("This cannot be asked as it stands.", problems=tuple(problems))
    return Question(source, hypothesis, cells)


def conclusion(text: str) -> str:
    """What was concluded, as it is kept; raises `InvalidInput`."""
    text = text.replace("\r\n", "\n").strip()
    problems = unfit("conclusion", text, MAX_TEXT)
    if not text:
        problems.append(Problem("conclusion", "is empty.", "Say what it showed, also where it showed nothing."))
    if problems:
        raise InvalidInput("This conclusion cannot be kept.", problems=tuple(problems))
    return text


def notebook(asked: Question, base: Mapping[str, Any] | None, named: Mapping[str, str]) -> dict[str, Any]:
    """The notebook of an ask. `base` is the one it takes parameters and setup from, `named` are its own connections."""
    metadata = {"id": RUNBOOK_ID, "title": asked.title, **_about(base, named)}
    cells = _prepared(base)
    free = _ids(cells, "ask")
    if asked.hypothesis:
        cells.append(_text(next(free), asked.hypothesis))
    cells += [_code(next(free), source, "diagnostic") for source in asked.cells]
    return _whole(metadata, cells)


def named(runbook: Runbook) -> dict[str, str]:
    """Names and kinds of the connections that the asked cells name literally."""
    return {opened.name: opened.kind for cell in runbook.diagnosis for opened in cell.opens if opened.name}


def draft(
    asks: Sequence[Answered],
    base: Mapping[str, Any] | None,
    named: Mapping[str, str],
    *,
    runbook_id: str,
    title: str,
    owner: str,
) -> dict[str, Any]:
    """A runbook's draft of what was asked, in order: hypothesis, cells, conclusion of each."""
    metadata = {
        "id": runbook_id,
        "title": title,
        "owner": owner,
        "description": "A draft, made of what was asked in an incident.",
        **_about(base, named),
    }
    prepared = _prepared(base)
    free = _ids(prepared, "asked")
    cells = [_text(next(free), f"# {title}"), *prepared]
    for ask in asks:
        if ask.question.hypothesis:
            cells.append(_text(next(free), ask.question.hypothesis))
        cells += [_code(next(free), source, "diagnostic") for source in ask.question.cells]
        if ask.conclusion:
            cells.append(_text(next(free), f"**Concluded:** {ask.conclusion}"))
    return _whole(metadata, cells)


def draft_title(text: str) -> str:
    """A draft's title as it was typed; raises `InvalidInput`."""
    title = " ".join(text.split())
    if title and len(title) <= MAX_TITLE and values.storable(title) and stem(title):
        return title
    problem = Problem("title", f"is no text of at most {MAX_TITLE} characters.", "Say what the runbook finds out.")
    raise InvalidInput("A draft needs a title.", problems=(problem,))


def stem(title: str) -> str:
    """What a draft's file is called; empty for a title without a letter or digit of ASCII."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].strip("-")


def _about(base: Mapping[str, Any] | None, named: Mapping[str, str]) -> dict[str, Any]:
    """What the derived notebook's metadata take from the base's."""
    found = base["metadata"]["runbook"] if base else {}
    about = {"timeouts": TIMEOUTS, **{key: found[key] for key in _KEPT if key in found}}
    return about | {"connections": {**about.get("connections", {}), **named}}


def _prepared(base: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The base's parameters cell and its setup cells as they are, and between them the kit, which brings the magics."""
    cells = list(base["cells"]) if base else []
    parameters, setup = (
        [cell for cell in cells if tag in cell["metadata"].get("tags", ())] for tag in ("parameters", "setup")
    )
    kit = _code(next(_ids([*parameters, *setup], "kit")), _SETUP, "setup")
    return [*parameters, *([] if _SETUP in map(_source, setup) else [kit]), *setup]


def _source(cell: Mapping[str, Any]) -> str:
    source = cell["source"]
    return "".join(source) if isinstance(source, list) else str(source)


def _ids(cells: Iterable[Mapping[str, Any]], prefix: str) -> Iterator[str]:
    """Ids that none of these cells has, in order."""
    taken = {str(cell["id"]) for cell in cells}
    number = 0
    while True:
        number += 1
        if (found := f"{prefix}-{number}") not in taken:
            yield found


def _text(cell_id: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": cell_id, "metadata": {}, "source": source}


def _code(cell_id: str, source: str, tag: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": cell_id,
        "metadata": {"tags": [tag]},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def _whole(metadata: dict[str, Any], cells: list[dict[str, Any]]) -> dict[str, Any]:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel, "runbook": metadata}, "cells": cells}
