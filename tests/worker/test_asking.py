"""Asks with real kernels: what they are given, what they show, what becomes of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from notebooks import cell, write

from runbooks_app.actions import asking, incidents, running, sweeping
from runbooks_app.actions.diagnosing import claim_run
from runbooks_app.core.asking import RUNBOOK_ID
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import Conflict, InvalidInput, NotFound, Refused
from runbooks_app.core.people import Person
from runbooks_app.core.run import RunState
from runbooks_app.library import Library
from runbooks_app.store import asks, audit, chat, proposals, runs
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.pages

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"approver:database"}))
WEB = {"surface": "web", "auth_time": 1}

SETUP = "half = 0.5\nfrom runbook_library import kit"


@pytest.fixture
def asked(house, library_folder):
    """A diagnosis of a runbook with a setup of its own, to ask on."""
    write(
        library_folder,
        "slow",
        cell("halve", "half = 0.5", "setup"),
        cell("look", "1 + 1", "diagnostic"),
        parameters="from runbook_library.kit import Connection\n"
        'database: Connection["postgres"] = "orders-db"  # Which database\nservice: str = "orders"',
    )
    return house.diagnosed(name="slow", service="billing")[0]


@pytest.fixture
def incident(house):
    return incidents.open_incident(house.service, ANA, WEB, "Slow", "C1")


def shown(house, run):
    """The run as it ended, and by its cells what they printed or gave."""
    assert house.do_all() == ["diagnose"]
    with reading(house.service.engine) as tx:
        ended = runs.get(tx, run.id)
        (attempt,) = runs.attempts(tx, run.id)
        cells = {c.cell_id: (str(c.state), c.outputs) for c in runs.cells(tx, attempt.id)}
    return ended, cells


def text(outputs):
    return "".join(str(o.get("text") or o.get("data", {}).get("text/plain", "")) for o in outputs)


def entries(house, event):
    with reading(house.service.engine) as tx:
        return [json.loads(entry.body) for entry in audit.entries(tx) if entry.event == event]


def test_on_a_run_cells_have_its_parameters_setup_and_connections(house, asked):
    source = "service, half\n# %%\nkit.postgres(database).execute('SELECT current_user').fetchone()\n# %%\n1 / 0"
    run = asking.ask_of_run(house.service, ANA, WEB, asked.id, source, "It is the index")
    ended, cells = shown(house, run)
    assert (ended.purpose, ended.state, ended.in_part) == ("ask", RunState.DIAGNOSED, True)
    assert ended.incident_id == asked.incident_id
    assert text(cells["ask-2"][1]) == "('billing', 0.5)"
    assert "runbook_d" in text(cells["ask-3"][1]) or "orders" in text(cells["ask-3"][1])
    assert cells["ask-4"][0] == "failed"
    with reading(house.service.engine) as tx:
        (kept,) = asks.of_incident(tx, asked.incident_id)
        assert asking.base_of(tx, run.id) == runs.get(tx, asked.id)
    assert (kept.ask.of_run, kept.ask.source, kept.ask.hypothesis) == (asked.id, source, "It is the index")
    body = entries(house, Event.RUN_REQUESTED)[-1]
    assert (body["purpose"], body["source"], body["hypothesis"]) == ("ask", source, "It is the index")
    assert body["requesters"] == [ANA.subject]


def test_what_is_asked_on_an_ask_stands_on_what_that_one_stood_on(house, asked, incident):
    first = asking.ask_of_run(house.service, ANA, WEB, asked.id, "1", "")
    again = asking.ask_of_run(house.service, ANA, WEB, first.id, "service", "")
    alone = asking.ask_of_incident(house.service, ANA, WEB, incident.id, "1", "")
    beside = asking.ask_of_run(house.service, ANA, WEB, alone.id, "service", "")
    with reading(house.service.engine) as tx:
        assert asks.get(tx, again.id).of_run == asked.id
        assert asks.get(tx, beside.id).of_run is None
        assert runs.get(tx, beside.id).parameters == {}


def test_one_that_is_asked_again_repeats_the_one_before_and_no_other_run(house, asked):
    other = Person("https://idp#cy", "Cy", roles=frozenset({"responder"}))
    first = asking.ask_of_run(house.service, other, WEB, asked.id, "1", "")
    again = asking.ask_of_run(house.service, ANA, WEB, asked.id, "1 + 1", "", rerun_of=first.id)
    alone = asking.ask_of_incident(house.service, ANA, WEB, asked.incident_id, "1", "", rerun_of=again.id)
    assert (again.rerun_of, alone.rerun_of) == (first.id, again.id)
    assert alone.requesters == sorted({ANA.subject, other.subject})
    for run_id, wrong in ((asked.id, InvalidInput), ("nothing", NotFound)):
        with pytest.raises(wrong):
            asking.ask_of_run(house.service, ANA, WEB, asked.id, "1", "", rerun_of=run_id)


def test_sql_is_one_statement_as_it_was_typed_and_what_it_gives_is_capped(house, incident):
    source = (
        "%%sql orders-db --rows 2\nSELECT n, '%s {x} $1 é' AS \"as it was\" FROM generate_series(1, 3) n\n"
        "# %%\n%%sql orders-db\nSELECT 1; SELECT 2"
    )
    run = asking.ask_of_incident(house.service, ANA, WEB, incident.id, source, "")
    _, cells = shown(house, run)
    state, outputs = cells["ask-1"]
    assert state == "ok", outputs
    assert "%s {x} $1 é" in text(outputs)
    assert "first 2 rows" in text(outputs)
    assert any("text/html" in output.get("data", {}) for output in outputs)
    assert cells["ask-2"][0] == "failed"


def test_it_only_reads(house, incident, orders_server):
    run = asking.ask_of_incident(
        house.service, ANA, WEB, incident.id, "%%sql orders-db\nUPDATE orders SET status = 'gone'", ""
    )
    ended, cells = shown(house, run)
    assert ended.state is RunState.FAILED
    assert cells["ask-1"][0] == "failed"


def test_what_it_proposes_is_told_as_a_problem(house, asked):
    run = asking.ask_of_run(house.service, ANA, WEB, asked.id, 'kit.propose("mend", what="a")', "")
    ended, _ = shown(house, run)
    assert [problem["where"] for problem in ended.problems] == ["mend"]
    assert "proposes nothing" in ended.problems[0]["message"]
    with reading(house.service.engine) as tx:
        assert proposals.of_run(tx, run.id) == []


def test_a_run_token_names_asks_and_never_the_runbook(house, asked):
    run = asking.ask_of_run(house.service, ANA, WEB, asked.id, "1", "")
    claim = claim_run(house.service, run.id, "w1")
    assert claim.runbook.id == RUNBOOK_ID
    assert claim.runbook.connections_used(run.parameters) == {"orders-db": "postgres"}


def test_connections_that_the_person_may_not_diagnose_are_refused(house, asked, incident):
    connections = {
        name: replace(connection, diagnosers=("dba",)) for name, connection in house.service.connections.items()
    }
    service = replace(house.service, connections=connections)
    with pytest.raises(Refused, match="Diagnosing on orders-db takes the role dba"):
        asking.ask_of_incident(service, ANA, WEB, incident.id, "%%sql orders-db\nSELECT 1", "")
    with pytest.raises(Refused, match="orders-db"):
        asking.ask_of_run(service, ANA, WEB, asked.id, "1", "")
    with pytest.raises(InvalidInput) as told:
        asking.ask_of_incident(service, ANA, WEB, incident.id, 'kit.http("nowhere")', "")
    assert [str(problem.where) for problem in told.value.problems] == ["nowhere"]
    with pytest.raises(InvalidInput, match="these connections"):
        asking.ask_of_incident(house.service, ANA, WEB, incident.id, 'kit.http("orders-db")', "")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("1\n# %%\nif:", "cannot be read in cell 2, line 1: invalid syntax."),
        ('kit.gate("mend", "Mend")', "opens a gate in cell 1"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_cell(house, incident, source, told):
    with pytest.raises(InvalidInput) as refused:
        asking.ask_of_incident(house.service, ANA, WEB, incident.id, source, "why")
    (problem,) = refused.value.problems
    assert (problem.where, problem.message.startswith(told)) == ("source", True), problem


def test_who_may_not_ask_and_where_nobody_does(house, incident):
    with pytest.raises(Refused, match="takes the role responder"):
        asking.ask_of_incident(house.service, BEN, WEB, incident.id, "1", "")
    off = replace(house.service, settings=house.service.settings.model_copy(update={"ask": "off"}))
    with pytest.raises(Refused, match="RUNBOOKS_ASK=off"):
        asking.ask_of_incident(off, ANA, WEB, incident.id, "1", "")
    incidents.close_incident(house.service, ANA, WEB, incident.id, "solved")
    with pytest.raises(Conflict, match="is closed"):
        asking.ask_of_incident(house.service, ANA, WEB, incident.id, "1", "")
    with reading(house.service.engine) as tx:
        assert asks.of_incident(tx, incident.id) == []


def test_no_channel_is_told_of_it(house, incident):
    run = asking.ask_of_incident(house.service, ANA, WEB, incident.id, "1", "")
    shown(house, run)
    with reading(house.service.engine) as tx:
        assert not chat.told_in(tx, f"run:{run.id}")


def test_quotas_count_it_and_one_that_is_lost_is_tried_again(house, incident):
    limited = replace(house.service, settings=house.service.settings.model_copy(update={"runs_per_person": 1}))
    first = asking.ask_of_incident(limited, ANA, WEB, incident.id, "1", "")
    second = asking.ask_of_incident(limited, ANA, WEB, incident.id, "2", "")
    assert claim_run(limited, first.id, "dead") is not None
    assert claim_run(limited, second.id, "w1") is None
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE attempts SET lease_until = now() - interval '1 second' WHERE ended_at IS NULL")
    sweeping.take_over(limited)
    with reading(house.service.engine) as tx:
        assert runs.get(tx, first.id).state is RunState.QUEUED


def test_a_conclusion_is_written_when_it_ended_and_never_over_anothers(house, incident):
    service = house.service
    run = asking.ask_of_incident(service, ANA, WEB, incident.id, "1", "It is the index")
    with pytest.raises(Conflict, match="still runs"):
        asking.conclude(service, ANA, WEB, run.id, "It is")
    shown(house, run)
    asking.conclude(service, ANA, WEB, run.id, "It is")
    with pytest.raises(Conflict, match="another conclusion"):
        asking.conclude(service, ANA, WEB, run.id, "It is not")
    asking.conclude(service, ANA, WEB, run.id, "It is not", was="It is")
    with pytest.raises(Refused):
        asking.conclude(service, BEN, WEB, run.id, "Oh", was="It is not")
    with reading(service.engine) as tx:
        ask = asks.get(tx, run.id)
    assert (ask.conclusion, ask.concluded_by["name"]) == ("It is not", "Ana")
    assert entries(house, Event.ASK_CONCLUDED) == [
        {"conclusion": "It is", "was": ""},
        {"conclusion": "It is not", "was": "It is"},
    ]
    with pytest.raises(NotFound, match="is no ask"):
        asking.conclude(service, ANA, WEB, "nothing", "x")


def test_a_draft_is_a_runbook_that_passes_the_check(house, asked, library_folder):
    service = house.service
    first = asking.ask_of_run(service, ANA, WEB, asked.id, "%%sql orders-db\nSELECT 1", "One")
    second = asking.ask_of_incident(service, ANA, WEB, asked.incident_id, "2", "Two")
    house.do_all()
    asking.conclude(service, ANA, WEB, first.id, "It is one")
    draft = asking.draft(service, ANA, WEB, asked.incident_id, [second.id, first.id], "Is it one?")
    assert draft.stem == "is-it-one"
    (library_folder / "is-it-one.ipynb").write_text(json.dumps(draft.notebook))
    library = Library(library_folder)
    assert library.reports()["is-it-one"].errors == ()
    runbook = library.get("is-it-one")
    assert runbook.connections == {"orders-db": "postgres"}
    assert [parameter.name for parameter in runbook.parameters] == ["database", "service"]
    assert [c.source for c in runbook.cells][-5:] == [
        "One",
        "%%sql orders-db\nSELECT 1",
        "**Concluded:** It is one",
        "Two",
        "2",
    ]
    (body,) = entries(house, Event.RUNBOOK_DRAFTED)
    assert body == {"asks": [first.id, second.id], "runbook": runbook.id, "title": "Is it one?"}


def test_a_draft_is_of_asks_of_this_incident_on_one_runbook(house, asked, incident, library_folder):
    service = house.service
    write(library_folder, "other", cell("look", "2", "diagnostic"))
    other = running.request_run(service, ANA, WEB, "other", {}, incident_id=asked.incident_id)
    ours = [asking.ask_of_run(service, ANA, WEB, run.id, "1", "").id for run in (asked, other)]
    theirs = asking.ask_of_incident(service, ANA, WEB, incident.id, "1", "")
    with pytest.raises(InvalidInput, match="no one runbook"):
        asking.draft(service, ANA, WEB, asked.incident_id, ours, "Both")
    with pytest.raises(InvalidInput, match="Choose"):
        asking.draft(service, ANA, WEB, asked.incident_id, [], "None")
    with pytest.raises(NotFound, match="has no ask"):
        asking.draft(service, ANA, WEB, asked.incident_id, [theirs.id], "Theirs")


def test_what_was_asked_of_a_run_goes_along_to_another_incident(house, asked, incident):
    ask = asking.ask_of_run(house.service, ANA, WEB, asked.id, "1", "")
    incidents.attach_run(house.service, ANA, WEB, asked.id, incident.id)
    with reading(house.service.engine) as tx:
        assert runs.get(tx, ask.id).incident_id == incident.id
