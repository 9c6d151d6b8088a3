"""db-latency against a real PostgreSQL that is really ill."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from runbook_library import kit
from runbooks_app.core import checking
from runbooks_app.library import Library

NOTEBOOK = Path(kit.__file__).parent.parent / "db-latency.ipynb"
IDENTITY = ("pid", "backend_start", "xact_start")


def identity(proposal):
    return {name: proposal["inputs"][name] for name in IDENTITY}


def exclusive_locks(shop):
    return shop.ask(
        "SELECT pid FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation = 'orders'::regclass"
    )


@pytest.fixture
def migration(shop):
    """A migration that took its lock and went idle, and what piled up behind it."""
    session = shop.session("deploy-migration")
    session.execute("ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text")
    shop.pile_up(12, "SELECT state FROM orders WHERE id = 7", 0.3)
    return session.info.backend_pid


@pytest.fixture
def report(shop):
    """A statement that runs for long and holds a lock, and what piled up behind it."""
    pid = shop.run("LOCK TABLE orders", "SELECT pg_sleep(120)", application="nightly-report")
    shop.pile_up(6, "UPDATE orders SET state = 'paid' WHERE id = 7", 0.3)
    return pid


def test_a_migration_that_holds_a_lock_is_found_ended_and_seen_gone(shop, kernel, migration):
    found = kernel.diagnose(setup={"PROBE_TIME": 1.5})

    assert not found.errors
    assert f"session {migration} (deploy-migration) has held a lock for" in found.told("critical")
    assert "blocks 12 others" in found.told("critical")
    assert "Reads are slow" in found.told("critical")
    assert found.kept["baseline"]["p99"] >= 0.2
    (proposal,) = found.proposals
    assert proposal["gate"] == "terminate-session"
    assert proposal["inputs"]["pid"] == migration
    assert proposal["inputs"]["application"] == "deploy-migration"
    assert proposal["inputs"]["blocked"] == 12
    assert "there is no statement to cancel" in proposal["reason"]

    assert identity(kernel.propose()) == identity(proposal)
    assert exclusive_locks(shop) == [(migration,)]

    done = kernel.remediate(proposal)
    assert not done.errors
    assert f"Session {migration} was told to end." in done.text

    seen = kernel.verify(proposal, found)
    assert not seen.errors
    assert [check["ok"] for check in seen.checks] == [True, True, True], seen.checks
    assert exclusive_locks(shop) == []
    assert not shop.alive(migration)


def test_a_row_lock_left_in_an_idle_transaction_is_found_and_freed(shop, kernel):
    holder = shop.session("back-office")
    holder.execute("UPDATE orders SET state = 'held' WHERE id = 7")
    shop.pile_up(3, "UPDATE orders SET state = 'paid' WHERE id = 7", 0.3)

    found = kernel.diagnose(slow_after=5.0)

    assert not found.errors
    assert f"session {holder.info.backend_pid} (back-office) has held a lock" in found.told("warning")
    assert "blocks 3 others" in found.told("warning")
    assert "Reads are quick" in found.told("info"), "a row lock does not slow reads"
    (proposal,) = found.proposals
    assert proposal["gate"] == "terminate-session"
    assert not kernel.remediate(proposal).errors
    seen = kernel.verify(proposal, found)
    assert [check["ok"] for check in seen.checks] == [True, True, True], seen.checks
    assert shop.ask("SELECT state FROM orders WHERE id = 7") == [("paid",)]


def test_a_long_statement_is_cancelled_and_its_session_stays(shop, kernel, report):
    found = kernel.diagnose("latency", "blocking-tree", "longest-transactions", "what-would-help")

    (proposal,) = found.proposals
    assert proposal["gate"] == "cancel-query"
    assert identity(proposal)["pid"] == report
    assert "blocks 6 others" in found.told("critical")
    assert not kernel.remediate(proposal).errors
    seen = kernel.verify(proposal, found)
    assert [check["ok"] for check in seen.checks] == [True, True, True], seen.checks
    assert not seen.proposals
    assert shop.alive(report)


def test_when_cancelling_does_not_help_ending_the_session_is_proposed_next(shop, kernel):
    stubborn = shop.run(
        "LOCK TABLE orders",
        "DO $$ BEGIN PERFORM pg_sleep(120); EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(120); END $$",
    )
    shop.pile_up(2, "SELECT state FROM orders WHERE id = 7", 0.3)
    found = kernel.diagnose("latency", "blocking-tree", "what-would-help")
    (proposal,) = found.proposals
    assert proposal["gate"] == "cancel-query"
    assert not kernel.remediate(proposal).errors

    short = {"ENDED_WITHIN": "0s", "FREED_WITHIN": "0s", "QUICK_WITHIN": "0s"}
    seen = kernel.verify(proposal, found, setup=short)

    assert [check["ok"] for check in seen.checks] == [False, False, False]
    (successor,) = seen.proposals
    assert successor["gate"] == "terminate-session"
    assert identity(successor) == identity(proposal)
    assert not kernel.remediate(successor).errors
    shop.until(lambda: not shop.alive(stubborn))


def test_a_healthy_shop_with_short_lock_waits_gives_no_cause_for_worry(shop, kernel):
    for _ in range(4):
        shop.run(*["UPDATE orders SET state = 'paid' WHERE id = 7", "SELECT pg_sleep(0.01)", "COMMIT"] * 400)

    found = kernel.diagnose(blocked_after=20.0, slow_after=5.0)

    assert not found.errors
    assert found.worst == {"info"}
    assert not found.proposals
    assert 0 < found.kept["baseline"]["p99"] < 5
    (picture,) = found.pictures
    assert picture["image/png"]["alt"].startswith("Reads: p50")


def test_an_empty_database_is_healthy_too(kernel):
    found = kernel.diagnose(database="bare", slow_after=5.0)

    assert not found.errors
    assert found.worst == {"info"}
    assert not found.proposals
    assert "only SELECT 1 was timed" in found.text


@pytest.mark.parametrize("moved", ["backend_start", "xact_start"])
def test_another_session_with_the_same_pid_or_its_next_transaction_is_never_hit(shop, kernel, migration, moved):
    proposal = kernel.propose()
    proposal["inputs"][moved] = "2026-01-01T00:00:00.000001+00:00"

    done = kernel.remediate(proposal)

    assert "is gone or has moved on: nothing was done" in str(done.errors["terminate-session"])
    assert shop.alive(migration)


def test_a_session_that_went_on_to_its_next_transaction_is_left_alone(shop, kernel):
    holder = shop.session("back-office")
    holder.execute("UPDATE orders SET state = 'held' WHERE id = 7")
    shop.pile_up(1, "UPDATE orders SET state = 'paid' WHERE id = 7", 0.3)
    proposal = kernel.propose()
    holder.rollback()
    holder.execute("SELECT 1")

    done = kernel.remediate(proposal)

    assert "nothing was done" in str(done.errors["terminate-session"])
    assert shop.alive(holder.info.backend_pid)


def test_the_reading_role_cannot_end_a_session_even_with_the_gate_open(shop, kernel, migration):
    proposal = kernel.propose()

    done = kernel.run("remediate", ["terminate-session"], user="reader", inputs=proposal["inputs"])

    assert isinstance(done.errors["terminate-session"], psycopg.errors.InsufficientPrivilege)
    assert shop.alive(migration)


@pytest.mark.parametrize("gate", ["cancel-query", "terminate-session"])
@pytest.mark.parametrize("stage", ["diagnose", "verify"])
def test_a_remediation_cell_does_nothing_in_another_stage(shop, kernel, migration, gate, stage):
    inputs = {"pid": migration, "backend_start": "x", "xact_start": "x"}

    done = kernel.run(stage, [gate], user="operator", inputs=inputs)

    assert type(done.errors[gate]).__name__ == "GateClosed"


def test_the_session_at_the_head_is_proposed_not_the_migration_that_waits_in_between(shop, kernel):
    reader = shop.session("export")
    reader.execute("SELECT count(*) FROM orders")
    waiting = shop.run("ALTER TABLE orders ADD COLUMN IF NOT EXISTS other text", application="deploy-migration")
    shop.until(lambda: shop.ask("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", waiting))
    shop.pile_up(6, "SELECT state FROM orders WHERE id = 7", 0.3)

    found = kernel.diagnose("blocking-tree", "what-would-help")

    (proposal,) = found.proposals
    assert proposal["inputs"]["pid"] == reader.info.backend_pid
    assert proposal["inputs"]["blocked"] == 7
    (tree,) = [f for f in found.findings if "has held a lock" in f["summary"]]
    rows = [
        dict(zip([c["name"] for c in tree["evidence"]["columns"]], row, strict=True))
        for row in tree["evidence"]["rows"]
    ]
    assert {row["pid"]: row["blocked_by"] for row in rows}[waiting] == str(reader.info.backend_pid)


def test_a_role_that_cannot_look_into_other_sessions_says_so_and_proposes_nothing(shop, kernel, migration):
    found = kernel.diagnose("activity", "blocking-tree", "what-would-help", user="blind_reader")

    assert not found.errors
    assert "blocks 12 others" in found.told("critical")
    assert "Grant pg_read_all_stats" in found.told("warning")
    assert "cannot look into other sessions" in found.told("info")
    assert not found.proposals


def test_when_all_connections_are_taken_the_diagnosis_still_gets_in(shop, kernel):
    holder = shop.session("deploy-migration")
    holder.execute("LOCK TABLE orders")
    shop.take_all_connections()

    found = kernel.diagnose("activity", "blocking-tree")

    assert not found.errors
    assert "connections for everybody are taken: soon nobody else gets in" in found.told("warning")


def test_a_prepared_transaction_is_told_and_not_aimed_at(shop, kernel):
    holder = shop.session("coordinator", autocommit=True)
    holder.execute("BEGIN; LOCK TABLE orders; PREPARE TRANSACTION 'forgotten'")
    try:
        shop.pile_up(2, "SELECT state FROM orders WHERE id = 7", 0.3)
        found = kernel.diagnose("blocking-tree", "what-would-help")
    finally:
        holder.execute("ROLLBACK PREPARED 'forgotten'")

    assert not found.errors
    assert "a prepared transaction has held a lock" in found.told("warning")
    assert "ROLLBACK PREPARED" in found.told("warning")
    assert not found.proposals


def test_what_ends_by_itself_or_starts_again_is_not_proposed(kernel):
    remedy = kernel.run("diagnose", []).names["remedy"]
    client = {
        "pid": 7,
        "backend_type": "client backend",
        "backend_start": 1,
        "xact_start": 1,
        "in_transaction": 60.0,
        "state": "active",
        "in_statement": 60.0,
        "in_state": 60.0,
        "wait_event_type": None,
        "superuser": False,
    }

    assert remedy(client)[0] == "cancel-query"
    assert remedy({**client, "wait_event_type": "Client"})[0] == "terminate-session"
    assert remedy({**client, "in_statement": 0.01})[0] == "terminate-session"
    assert "superuser" in remedy({**client, "superuser": True})[1]
    for head, why in (
        ({"backend_type": "autovacuum worker"}, "Autovacuum"),
        ({"backend_type": "walsender"}, "walsender"),
        ({"in_transaction": 0.01}, "contention"),
        ({"xact_start": None, "in_transaction": None}, "outside any transaction"),
    ):
        gate, told = remedy({**client, **head})
        assert gate is None
        assert why in told


def test_the_notebook_is_stored_clean_and_names_its_cells(kernel):
    for id_, cell in kernel.cells.items():
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert len(cell["metadata"]["tags"]) == 1
        assert id_.replace("-", "").isalpha()


def test_the_service_reads_the_runbook_without_a_complaint():
    library = Library(NOTEBOOK.parent)
    runbook = library.get("db-latency")
    report = checking.check(runbook, library.notebook("db-latency"))

    assert not library.broken()
    assert report == checking.Report((), ())
    assert [section.identity for section in runbook.sections] == [IDENTITY, IDENTITY]
    assert [section.gate.risk for section in runbook.sections] == ["low", "high"]


def test_a_session_left_idle_in_its_transaction_is_told_even_if_it_blocks_nobody(shop, kernel):
    holder = shop.session("back-office")
    holder.execute("SELECT 1")
    shop.until(lambda: "back-office" in kernel.diagnose("longest-transactions", idle_after=0.05).told("warning"))

    assert not kernel.diagnose("longest-transactions").findings


def test_verification_says_what_was_measured_when_the_diagnosis_kept_nothing(shop, kernel):
    seen = kernel.run("verify", ["terminate-latency"])

    (check,) = seen.checks
    assert check["ok"]
    assert check["name"] == "p99 of reads is at most 200 ms"
    assert "in the diagnosis an unknown time" in check["detail"]
