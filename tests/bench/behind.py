"""What lies behind the pages that are measured: years of use, a long trail, a crowd of proposals, a long incident.

It is written in SQL as the database's owner, with constraints that refer to other rows taken as kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from bench.site import ANA

from runbooks_app.actions import diagnosing

if TYPE_CHECKING:
    from bench.site import Site

RUNS, INCIDENTS, PROPOSALS, ENTRIES = 1_000_000, 50_000, 100_000, 1_000_000
WITH_CELLS = 20_000
"""Runs, the latest, whose cells are there too: more than any page looks at."""
NOTES, RUNS_OF_ONE = 1_000, 200
"""Of the long incident."""
DIGIT = "lpad(n::text, 12, '0')"
AT = """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
ANA_ACTS = '{"kind":"person","name":"Ana","signed_in":{"surface":"web"},"subject":"https://idp#ana"}'


def _write(place: Site, *statements: str, **values: Any) -> None:
    with psycopg.connect(place.owner_url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        for statement in statements:
            owner.execute(statement, {name: value for name, value in values.items() if f"%({name})s" in statement})


def past(place: Site) -> None:
    """A million runs that have ended, of one runbook nearly all, and the incidents that they belonged to."""
    if place.sql("SELECT id FROM runs WHERE id LIKE 'past%%' LIMIT 1"):
        return
    claim = place.claimed("watched")
    diagnosing.finish_run(place.service, claim, diagnosing.Said(), "")
    _write(
        place,
        """INSERT INTO incidents (title, opened_at, opened_by, closed_at)
           SELECT 'Incident ' || n, now() - n * interval '10 min', '{"kind": "person", "name": "Ana", "subject": "a"}',
             now() - n * interval '9 min' FROM generate_series(1, %(incidents)s) n""",
        f"""INSERT INTO runs (id, incident_id, runbook, revision, parameters, purpose, requested_by, requesters,
             state, requested_at, ended_at)
           SELECT 'past' || {DIGIT}, i.least + n %% %(incidents)s, 'watched', r.revision, r.parameters,
             'diagnosis', r.requested_by, r.requesters, 'diagnosed', now() - n * interval '30 s', now()
           FROM runs r, (SELECT min(id) AS least FROM incidents WHERE title LIKE 'Incident %%') i,
             generate_series(1, %(runs)s) n WHERE r.id = %(like)s""",
        f"""INSERT INTO attempts (run_id, stage, number, worker, lease_until, started_at, ended_at)
           SELECT 'past' || {DIGIT}, 'diagnose', 1, 'bench', now(), now() - n * interval '30 s', now()
           FROM generate_series(1, %(with_cells)s) n""",
        """INSERT INTO cells (attempt_id, cell_id, position, stage, source, state, started_at, ended_at)
           SELECT id, 'cell-' || n, n, 'diagnostic', 'print(1)', CASE WHEN id %% 50 = n THEN 'failed' ELSE 'ok' END,
             started_at + n * interval '1 s', started_at + (n + 1) * interval '1 s'
           FROM attempts, generate_series(1, 6) n WHERE worker = 'bench' AND run_id LIKE 'past%%'""",
        "ANALYZE",
        incidents=INCIDENTS,
        runs=RUNS,
        with_cells=WITH_CELLS,
        like=claim.run.id,
    )


def trail(place: Site) -> None:
    """A million entries, nearly half of which are of one worker; somebody did three things long ago, one event is rare.

    Nothing here reads their hashes: they are none.
    """
    _write(
        place,
        """INSERT INTO people (subject, name, roles)
           SELECT 'https://idp#p' || n, 'Person ' || n, jsonb_build_array() FROM generate_series(1, 500) n
           UNION ALL SELECT 'https://idp#rita', 'Rare Rita', jsonb_build_array()""",
        f"""INSERT INTO audit_entries (seq, at, actor, event, objects, body, prev, hash)
           SELECT seq + n, {AT},
             CASE WHEN n %% 400000 = 7 THEN '{{"kind":"person","name":"Rare Rita","subject":"https://idp#rita"}}'
               WHEN n %% 5 < 2 THEN '{{"kind":"worker","name":"worker-1","subject":"worker-1"}}'
               ELSE '{{"kind":"person","name":"Person ' || n %% 500 || '","subject":"https://idp#p' || n %% 500 || '"}}'
             END,
             CASE WHEN n %% 300000 = 11 THEN 'break_glass.used'
               ELSE (ARRAY['run.requested', 'run.claimed', 'run.ended', 'person.signed_in'])[1 + n %% 4] END,
             '{{"incident":' || n / 20 || ',"run":"past' || {DIGIT} || '"}}',
             '{{"parameters":{{"database":"orders-db"}},"runbook":"watched"}}', '', md5(n::text) || md5((-n)::text)
           FROM audit_head, generate_series(1, %(entries)s) n""",
        "UPDATE audit_head SET (seq, hash) = (SELECT seq, hash FROM audit_entries ORDER BY seq DESC LIMIT 1)",
        "ANALYZE audit_entries, people",
        entries=ENTRIES,
    )


def proposals(place: Site, group: str, requester: str) -> None:
    """So many that wait for people of this group, in place of those before: as many of each run as one may make."""
    _write(
        place,
        "DELETE FROM proposals",
        f"""INSERT INTO proposals (id, run_id, gate, cell_id, title, target, inputs, identity, connections, policy,
             evidence, evidence_digest, source_digest, digest, requesters, state, expires_at)
           SELECT 'p' || lpad(n::text, 15, '0'), 'past' || lpad((n / 20 + 1)::text, 12, '0'), 'end-session', 'cell-6',
             'End session ' || n, 'orders', jsonb_build_object('pid', n), '["pid"]', '[]',
             jsonb_build_object('risk', 'medium', 'approvals', 1, 'approvers', jsonb_build_array(
               jsonb_build_array(%(group)s::text)), 'expires', 1800, 'recheck', true, 'sign_fresh', false),
             '[]', 'e', 's', 'd' || n, jsonb_build_array(%(requester)s::text), 'proposed',
             now() + interval '1 day' + n * interval '1 s'
           FROM generate_series(1, {PROPOSALS}) n""",
        "VACUUM ANALYZE proposals",
        group=group,
        requester=requester,
    )


def incident(place: Site) -> int:
    """The number of an incident with very many runs and notes, each with its entries."""
    incident_id: int = place.sql(
        "INSERT INTO incidents (title, opened_by) VALUES ('Everything is slow', %(by)s::jsonb) RETURNING id",
        by=ANA_ACTS,
    )[0][0]
    _write(
        place,
        """INSERT INTO runs (id, incident_id, runbook, revision, parameters, purpose, requested_by, requesters, state,
             requested_at, ended_at)
           SELECT 'many' || lpad(n::text, 12, '0'), %(id)s, r.runbook, r.revision, r.parameters, 'diagnosis',
             r.requested_by, r.requesters, 'diagnosed', now() + n * interval '1 s', now() + n * interval '2 s'
           FROM (SELECT * FROM runs WHERE id LIKE 'past%%' LIMIT 1) r, generate_series(1, %(runs)s) n""",
        """INSERT INTO attempts (run_id, stage, number, worker, lease_until, ended_at)
           SELECT id, 'diagnose', 1, 'bench', now(), now() FROM runs WHERE incident_id = %(id)s""",
        """INSERT INTO cells (attempt_id, cell_id, position, stage, source, state, outputs, started_at, ended_at)
           SELECT a.id, 'cell-' || n, n, 'diagnostic', 'print(1)', 'ok', jsonb_build_array(jsonb_build_object(
             'output_type', 'stream', 'name', 'stdout', 'text', repeat(md5(n::text), 300))), now(), now()
           FROM runs r JOIN attempts a ON a.run_id = r.id, generate_series(1, 6) n WHERE r.incident_id = %(id)s""",
        """INSERT INTO notes (incident_id, subject, name, text, at)
           SELECT %(id)s, %(ana)s, 'Ana', 'Note ' || n || ': still slow, and this is what was seen.',
             now() + n * interval '1 s' FROM generate_series(1, %(notes)s) n""",
        f"""INSERT INTO audit_entries (seq, at, actor, event, objects, body, prev, hash)
           SELECT seq + row_number() OVER (), {AT}, %(by)s, event, objects, '{{}}', '',
             md5(event || objects) || md5(objects)
           FROM audit_head, (
             SELECT 'note.added' AS event, format('{{"incident":%%s,"note":%%s}}', incident_id, id) AS objects
             FROM notes WHERE incident_id = %(id)s UNION ALL
             SELECT event, format('{{"incident":%%s,"run":"%%s"}}', incident_id, id)
             FROM runs, unnest(ARRAY['run.requested', 'run.claimed', 'run.ended']) event
             WHERE incident_id = %(id)s) entered""",
        "UPDATE audit_head SET (seq, hash) = (SELECT seq, hash FROM audit_entries ORDER BY seq DESC LIMIT 1)",
        "ANALYZE",
        id=incident_id,
        runs=RUNS_OF_ONE,
        notes=NOTES,
        ana=ANA.subject,
        by=ANA_ACTS,
    )
    return incident_id
