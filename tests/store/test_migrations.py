"""Each migration from the schema before it, with rows in it as that version wrote them."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.rows import dict_row

from runbooks_app.store.migrate import migrate

BEFORE_0004 = """
INSERT INTO incidents (id, title, channel, opened_by) OVERRIDING SYSTEM VALUE VALUES
    (1, 'db-latency in #inc-7', 'C7', '{"kind": "person", "subject": "https://idp#ana"}'),
    (2, 'from a page', '', '{"kind": "person", "subject": "https://idp#ana"}');
INSERT INTO revisions (digest, runbook_id, name, notebook) VALUES ('d', 'u', 'look', '{}');
INSERT INTO runs (id, incident_id, runbook, revision, parameters, purpose, requested_by, requesters, channel, state)
VALUES
    ('r1', 1, 'look', 'd', '{}', 'diagnosis', '{}', '[]', '#inc-7', 'diagnosed'),
    ('r2', 1, 'look', 'd', '{}', 'diagnosis', '{}', '[]', 'C8', 'queued');
INSERT INTO chat_messages (key, channel, ts, digest) VALUES
    ('run:r1', 'C7', '17.1', 'd1'), ('proposal:p1', 'C7', '17.2', 'd2'), ('run:r2', '', '', '');
"""


@pytest.fixture
def owner(database):
    with psycopg.connect(database.owner_url, autocommit=True, row_factory=dict_row) as session:
        yield session


def test_what_stands_in_a_channel_and_which_incident_it_has_is_kept_by_0004(database, owner):
    migrate(database.owner_url, "", "runbooks_app", to="0003")
    owner.execute(BEFORE_0004)
    assert migrate(database.owner_url, "", "runbooks_app", to="0004") == ("0003", "0004")
    assert owner.execute("SELECT key, channel, ts, about FROM chat_messages ORDER BY key").fetchall() == [
        {"key": "proposal:p1", "channel": "C7", "ts": "17.2", "about": "run:"},
        {"key": "run:r1", "channel": "C7", "ts": "17.1", "about": "run:r1"},
    ]
    assert owner.execute("SELECT about, channel, place, wanted, told FROM chat_threads ORDER BY about").fetchall() == [
        {"about": "run:r1", "channel": "#inc-7", "place": "C7", "wanted": 1, "told": 1},
        {"about": "run:r2", "channel": "C8", "place": "", "wanted": 1, "told": 1},
    ]
    assert owner.execute("SELECT incident_id, channel FROM incident_channels").fetchall() == [
        {"incident_id": 1, "channel": "C7"}
    ]
    assert migrate(database.owner_url, "", "runbooks_app", to="0003") == ("0004", "0003")
    assert owner.execute("SELECT key, ts FROM chat_messages ORDER BY key").fetchall() == [
        {"key": "proposal:p1", "ts": "17.2"},
        {"key": "run:r1", "ts": "17.1"},
    ]


def test_what_was_asked_stays_a_run_when_0005_is_undone(database, owner):
    migrate(database.owner_url, "", "runbooks_app", to="0004")
    owner.execute(BEFORE_0004.rpartition("INSERT INTO chat_messages")[0])
    assert migrate(database.owner_url, "", "runbooks_app", to="0005") == ("0004", "0005")
    owner.execute("UPDATE runs SET purpose = 'ask' WHERE id = 'r2'")
    owner.execute("INSERT INTO asks (run_id, of_run, source) VALUES ('r2', 'r1', '1 + 1')")
    assert migrate(database.owner_url, "", "runbooks_app", to="0004") == ("0005", "0004")
    assert owner.execute("SELECT id, purpose FROM runs ORDER BY id").fetchall() == [
        {"id": "r1", "purpose": "diagnosis"},
        {"id": "r2", "purpose": "diagnosis"},
    ]
    assert migrate(database.owner_url, "", "runbooks_app", to="0005") == ("0004", "0005")


def test_an_alert_that_was_told_for_two_incidents_is_one_again_when_0005_is_undone(database, owner):
    migrate(database.owner_url, "", "runbooks_app", to="0005")
    owner.execute(
        """INSERT INTO incidents (title, opened_by) VALUES ('one', '{}'), ('two', '{}');
        INSERT INTO alerts (source, fingerprint, starts_at, group_key, status, labels, annotations, outcome,
            incident_id, past)
        SELECT 'prod', 'f', '2026-11-23 03:12Z', 'g', 'firing', '{}', '{}', 'run', n, n = 1
        FROM generate_series(1, 2) n"""
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute("UPDATE alerts SET past = false")
    assert migrate(database.owner_url, "", "runbooks_app", to="0004") == ("0005", "0004")
    assert owner.execute("SELECT incident_id FROM alerts").fetchall() == [{"incident_id": 2}]
    with pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute(
            """INSERT INTO alerts (source, fingerprint, starts_at, group_key, status, labels, annotations, outcome)
            SELECT source, fingerprint, starts_at, group_key, status, labels, annotations, outcome FROM alerts"""
        )
    assert migrate(database.owner_url, "", "runbooks_app", to="0005") == ("0004", "0005")
