"""Very many rows behind what is asked for: they are not read, which the database itself counts."""

from __future__ import annotations

import psycopg
import pytest

from runbooks_app.store import health, proposals
from runbooks_app.store.database import Transaction, reading

pytestmark = pytest.mark.pages

MANY = 20_000
OWN = "https://idp#own"


@pytest.fixture
def much(database):
    """Twenty thousand runs of one runbook and three of another; as many proposals, all asked for by one person."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(
            f"""INSERT INTO revisions (digest, runbook_id, name, notebook) VALUES ('d', 'i', 'n', '{{}}');
            INSERT INTO incidents (title, opened_by) VALUES ('Slow', '{{}}');
            INSERT INTO runs (id, incident_id, runbook, revision, parameters, purpose, requested_by, requesters, state,
                requested_at, ended_at)
              SELECT 'r' || n, 1, CASE WHEN n > {MANY} THEN 'rare' ELSE 'busy' END, 'd', '{{}}', 'diagnosis', '{{}}',
                '[]', 'diagnosed', now() - n * interval '1 min', now() FROM generate_series(1, {MANY + 3}) n;
            INSERT INTO proposals (id, run_id, gate, cell_id, title, target, inputs, identity, connections, policy,
                evidence, evidence_digest, source_digest, digest, requesters, state, expires_at)
              SELECT 'p' || n, 'r' || n, 'g', 'c', 't', 'o', '{{}}', '[]', '[]',
                '{{"risk": "low", "approvals": 1, "approvers": [["database"]]}}', '[]', '', '', '',
                CASE WHEN n > {MANY} THEN '["https://idp#other"]'::jsonb ELSE '["{OWN}"]' END, 'proposed',
                now() + interval '1 day' + n * interval '1 s' FROM generate_series(1, {MANY + 3}) n;
            ANALYZE"""
        )
    return database


def rows_read(tx: Transaction, table: str) -> int:
    """Rows of a table that this transaction has read, by an index or not."""
    query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = :table"
    return int(tx.execute(query, table=table).scalar_one())


def test_the_last_runs_of_a_rare_runbook_are_found_without_reading_a_busy_ones(much):
    with reading(much.engine) as tx:
        found = health.last_runs(tx, ["busy", "rare"])
        assert set(found) == {"busy", "rare"}
        assert rows_read(tx, "runs") < 300


def test_what_waits_is_found_without_reading_what_its_reader_asked_for(much):
    with reading(much.engine) as tx:
        found = proposals.waiting_for(tx, OWN, ["database"], 50)
        assert [one.id for one, _ in found] == [f"p{MANY + n}" for n in (1, 2, 3)]
        assert rows_read(tx, "proposals") < 100


def test_nor_what_waits_for_other_groups(much):
    with reading(much.engine) as tx:
        assert proposals.waiting_for(tx, "https://idp#third", ["payments"], 50) == []
        assert rows_read(tx, "proposals") < 100


def test_of_very_many_that_wait_no_more_are_read_than_are_shown(much):
    with reading(much.engine) as tx:
        assert len(proposals.waiting_for(tx, "https://idp#third", ["database"], 50)) == 50
        assert rows_read(tx, "proposals") < 200


def test_entries_are_found_by_their_objects_as_soon_as_they_are_entered(database):
    """GIN would keep new entries in a list that each look reads through: 200 looks of a page took 40 ms for it."""
    with reading(database.engine) as tx:
        options = tx.execute("SELECT reloptions FROM pg_class WHERE relname = 'audit_by_object'").scalar_one()
    assert options == ["fastupdate=off"]
