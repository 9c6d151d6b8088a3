"""Asks: a responder's own cells on a run or an incident, what they showed, and the draft of a runbook made of them."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from runbooks_app.actions.context import Service, person_actor
from runbooks_app.actions.delivering import Delivery, made, once
from runbooks_app.actions.incidents import still_open
from runbooks_app.actions.running import Wanted, connections_usable, earlier, request, usable_connections
from runbooks_app.core import asking, requesting
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import BrokenRunbook, Conflict, InvalidInput, Problem, Refused
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.run import ENDED
from runbooks_app.core.runbook import Stage
from runbooks_app.store import asks, incidents, revisions, runs
from runbooks_app.store.database import Transaction, transaction
from runbooks_app.store.records import Run

_CELL = re.compile(r"cell ([A-Za-z0-9_-]+)(.*)")


@dataclass(frozen=True)
class Draft:
    """A runbook's draft: the `stem` of its file's name, and the notebook."""

    stem: str
    notebook: dict[str, Any]


def ask_of_run(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    run_id: str,
    source: str,
    hypothesis: str,
    *,
    rerun_of: str | None = None,
    delivery: Delivery | None = None,
) -> Run:
    """Ask with the parameters and the setup of a run. Of an ask it is asked as that one was.

    `rerun_of`, here and below, is the ask that is asked again, edited perhaps; `delivery` the key of a client's
    request: a second one raises `Repeated`.
    """
    question = asking.question(source, hypothesis)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        # First the run, then its incident, as who attaches it locks them: neither waits for the other in a circle.
        base = base_of(tx, run_id, lock=True)
        run = _ask(tx, service, person, signed_in, question, runs.get(tx, run_id).incident_id, base, rerun_of)
        made(tx, delivery, run.id)
        return run


def ask_of_incident(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    incident_id: int,
    source: str,
    hypothesis: str,
    *,
    rerun_of: str | None = None,
    delivery: Delivery | None = None,
) -> Run:
    """Ask with nothing but the kit at hand."""
    question = asking.question(source, hypothesis)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        run = _ask(tx, service, person, signed_in, question, incident_id, None, rerun_of)
        made(tx, delivery, run.id)
        return run


def base_of(tx: Transaction, run_id: str, *, lock: bool = False) -> Run | None:
    """The run whose parameters and setup an ask of this run takes; None where it is an ask of an incident.

    `lock` holds its row until commit.
    """
    ask = asks.find(tx, run_id)
    if ask is None:
        return runs.get(tx, run_id, lock=lock)
    return runs.get(tx, ask.of_run, lock=lock) if ask.of_run else None


def conclude(
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    run_id: str,
    text: str,
    was: str = "",
    *,
    delivery: Delivery | None = None,
) -> None:
    """Write what an ask showed, in the place of what stood there when this person read it (`was`)."""
    person.require(Permission.ASK)
    conclusion = asking.conclusion(text)
    with transaction(service.engine) as tx:
        once(tx, delivery)
        ask, run = asks.get(tx, run_id), runs.get(tx, run_id, lock=True)
        if run.state not in ENDED:
            raise Conflict("It still runs: what it shows is concluded when it has ended.")
        if ask.conclusion != was.replace("\r\n", "\n"):
            raise Conflict("Somebody wrote another conclusion meanwhile; read it first.")
        actor = person_actor(person, signed_in)
        asks.conclude(tx, ask, conclusion, actor.as_json())
        tx.audit(
            actor,
            Event.ASK_CONCLUDED,
            {"run": run_id, "incident": run.incident_id},
            {"conclusion": conclusion, "was": ask.conclusion},
        )


def draft(
    service: Service, person: Person, signed_in: dict[str, Any], incident_id: int, run_ids: list[str], title: str
) -> Draft:
    """The draft of a runbook of some of an incident's asks. That it leaves the service is entered in the trail."""
    person.require(Permission.EXPORT)
    title = asking.draft_title(title)
    if not run_ids:
        raise InvalidInput("Choose what the draft is made of.", problems=(Problem("asks", "none is chosen."),))
    with transaction(service.engine) as tx:
        incidents.get(tx, incident_id)
        chosen = asks.those(tx, incident_id, run_ids)
        bases = {runs.get(tx, one.ask.of_run).revision for one in chosen if one.ask.of_run}
        if len(bases) > 1:
            point = "stand on runs of different runbooks, or of different versions of one."
            problem = Problem("asks", point, "Choose those of one.")
            raise InvalidInput("These make no one runbook.", problems=(problem,))
        base = revisions.get(tx, bases.pop())[1] if bases else None
        named: dict[str, str] = {}
        for one in chosen:
            _, asked = revisions.get(tx, one.run.revision)
            named |= asked["metadata"]["runbook"]["connections"]
        notebook = asking.draft(
            [asking.Answered(asking.question(o.ask.source, o.ask.hypothesis), o.ask.conclusion) for o in chosen],
            base,
            named,
            runbook_id=str(uuid.uuid4()),
            title=title,
            owner=(base["metadata"]["runbook"].get("owner") if base else "") or person.email or person.name,
        )
        tx.audit(
            person_actor(person, signed_in),
            Event.RUNBOOK_DRAFTED,
            {"incident": incident_id},
            {"asks": [one.run.id for one in chosen], "runbook": notebook["metadata"]["runbook"]["id"], "title": title},
        )
        return Draft(asking.stem(title), notebook)


def _ask(
    tx: Transaction,
    service: Service,
    person: Person,
    signed_in: dict[str, Any],
    question: asking.Question,
    incident_id: int,
    base: Run | None,
    rerun_of: str | None,
) -> Run:
    person.require(Permission.ASK)
    if service.settings.ask == "off":
        raise Refused("Nobody asks in cells of their own here (RUNBOOKS_ASK=off); run a runbook.")
    still_open(incidents.get(tx, incident_id), "what is asked belongs to an open one.")
    basis = revisions.get(tx, base.revision)[1] if base else None
    values = base.parameters if base else {}
    plain = _read(service, asking.notebook(question, basis, {}))[0]
    named = asking.named(plain)
    used = {**plain.connections_used(values), **named}
    connections_usable(service, "What is asked", used, usable_connections(service, person))
    runbook, notebook = _read(service, asking.notebook(question, basis, named))
    run = request(
        tx,
        service,
        person_actor(person, signed_in),
        requesting.requesters(person, runbook.id, earlier(tx, rerun_of)),
        Wanted(runbook, notebook, values),
        incident_id=incident_id,
        rerun_of=rerun_of,
        ask={"hypothesis": question.hypothesis, "source": question.source, "of_run": base.id if base else None},
    )
    asks.insert(tx, run.id, base.id if base else None, question.source, question.hypothesis)
    return run


def _read(service: Service, notebook: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The derived notebook as a runbook; what cannot be read of the asked cells is told by their numbers."""
    try:
        return service.library.read_revision(asking.NAME, notebook), notebook
    except BrokenRunbook as broken:
        asked = [cell["id"] for cell in notebook["cells"] if Stage.DIAGNOSTIC in cell["metadata"].get("tags", ())]
        raise InvalidInput(
            "This cannot be asked as it stands.", problems=tuple(_told(problem, asked) for problem in broken.problems)
        ) from None


def _told(problem: Problem, asked: list[str]) -> Problem:
    found = _CELL.fullmatch(problem.where)
    if found is None or found[1] not in asked:
        return problem
    where = f"in cell {asked.index(found[1]) + 1}{found[2]}"
    if "kit.gate" in problem.message:
        return Problem("source", f"opens a gate {where}.", "An ask changes nothing: propose it from a run's page.")
    return Problem("source", f"cannot be read {where}: {problem.message}", problem.fix)
