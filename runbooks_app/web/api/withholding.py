"""What agents are told of runs that reached restricted connections: that and when, not what they saw.

Every answer goes through `from_agents` on its way out, so no route can forget it; what is no such answer (a stream, one
cell) is refused to them as a whole by `require_tellable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import g

from runbooks_app.actions.restricting import held_restricted, restricted
from runbooks_app.core.errors import Refused
from runbooks_app.core.restricted import stays_on_pages
from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.web.api import answers
from runbooks_app.web.context import service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbooks_app.core.people import Person
    from runbooks_app.web.api.answers import Answer


def from_agents(told: Answer) -> Answer:
    """The answer, without what the agent that asks is not told; anybody else's as it is."""
    person: Person | None = g.get("person")
    if person is None or not stays_on_pages(person, restricted=True):
        return told
    with reading(service().engine) as tx:
        found = runs.those(tx, _runs_in(told))
        open_ones = frozenset(run.id for run in found if not restricted(tx, service(), run))
    tellable: Answer = _tellable(told, open_ones)
    return tellable


def require_tellable(run_id: str) -> None:
    """Raise `Refused` where an agent asks for what a run showed that is restricted."""
    person: Person = g.person
    if not stays_on_pages(person, restricted=True):
        return
    with reading(service().engine) as tx:
        if restricted(tx, service(), runs.get(tx, run_id)):
            raise Refused(_where("run", run_id))


def _runs_in(told: Any) -> Iterator[str]:
    """Ids of all runs that an answer tells of, and of those behind its proposals."""
    if isinstance(told, list):
        for one in told:
            yield from _runs_in(one)
    elif isinstance(told, answers.Answer):
        if isinstance(told, answers.Run):
            yield told.id
        if isinstance(told, answers.Proposal):
            yield told.run
        for name in told.model_fields_set:
            yield from _runs_in(getattr(told, name))


def _tellable(told: Any, open_ones: frozenset[str]) -> Any:
    """What is left of it: all that it tells of `open_ones`, the runs that are not restricted."""
    if isinstance(told, list):
        return [_tellable(one, open_ones) for one in told]
    if not isinstance(told, answers.Answer):
        return told
    changed = {name: _tellable(getattr(told, name), open_ones) for name in told.model_fields_set}
    if isinstance(told, answers.Run) and told.id not in open_ones:
        changed |= _of_run(told, changed)
    if isinstance(told, answers.Proposal) and (
        told.run not in open_ones or held_restricted(service(), told.connections)
    ):
        changed |= _of_proposal(told)
    return told.model_copy(update=changed)


def _of_run(run: answers.Run, told: dict[str, Any]) -> dict[str, Any]:
    asked = run.purpose == "ask"
    withheld = _where("run", run.id, "asked and showed" if asked else "showed")
    left: dict[str, Any] = {"reason": "", "problems": [], "withheld": withheld}
    if "findings" in told:
        left["findings"] = [finding.model_copy(update={"evidence": None}) for finding in told["findings"]]
        left["attempts"] = [
            attempt.model_copy(update={"cells": [_of_cell(cell) for cell in attempt.cells]})
            for attempt in told["attempts"]
        ]
    return left | _of_ask(told) if asked else left


def _of_ask(told: dict[str, Any]) -> dict[str, Any]:
    """An ask without the words of who asked, as `shareable_ask` has it: by whom it was asked and concluded stays."""
    left: dict[str, Any] = {"parameters": {}}
    if told.get("ask"):
        left["ask"] = told["ask"].model_copy(update={"source": "", "hypothesis": "", "conclusion": ""})
    if "findings" in told:
        left["findings"] = []
    return left


def _of_cell(cell: answers.Cell) -> answers.Cell:
    kept = cell.model_dump(include={"id", "stage", "state", "started_at", "ended_at"})
    return answers.Cell(**kept, reason="", whole=None)


def _of_proposal(told: answers.Proposal) -> dict[str, Any]:
    checks = [check.model_copy(update={"detail": ""}) for check in told.checks]
    return {
        "inputs": {},
        "reason": "",
        "evidence": [{**one, "evidence": None} for one in told.evidence],
        "state_reason": "",
        "verification_reason": "",
        "checks": checks,
        "withheld": _where("proposal", told.id),
    }


def _where(kind: str, named: str, what: str = "showed") -> str:
    page = f"{service().settings.public_url}/{kind}s/{named}"
    return f"What this {kind} {what} is restricted: agents are not told. A person sees it at {page}"
