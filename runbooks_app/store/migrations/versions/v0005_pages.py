"""Questions asked beside runbooks, texts that people change, requests that are sent twice, what health is told from."""

from alembic import context, op

revision = "0005"
down_revision = "0004"

UP = (
    # An ask is a run of a notebook of its own: what a responder wanted to know, in cells that only read.
    "ALTER TABLE runs DROP CONSTRAINT runs_purpose_check",
    "ALTER TABLE runs ADD CONSTRAINT runs_purpose_check CHECK (purpose IN ('diagnosis', 'recheck', 'ask'))",
    "CREATE INDEX runs_asks ON runs (incident_id, requested_at) WHERE purpose = 'ask'",
    """CREATE TABLE asks (
        run_id       text PRIMARY KEY REFERENCES runs,
        of_run       text REFERENCES runs,       -- whose parameters and setup it took; NULL: asked of the incident
        source       text NOT NULL,              -- as it was typed
        hypothesis   text NOT NULL DEFAULT '',   -- what was believed before
        conclusion   text NOT NULL DEFAULT '',   -- what it showed
        concluded_by jsonb,                      -- actor
        concluded_at timestamptz
    )""",
    "CREATE INDEX asks_of_run ON asks (of_run) WHERE of_run IS NOT NULL",
    # Notes and the prose of a postmortem may be changed; what they said before stays.
    "ALTER TABLE notes ADD COLUMN edited_at timestamptz, ADD COLUMN version integer NOT NULL DEFAULT 1",
    "ALTER TABLE notes ADD COLUMN edited_by text NOT NULL DEFAULT ''",  # name, as that of who wrote it
    """CREATE TABLE note_versions (
        note_id bigint NOT NULL REFERENCES notes,
        version integer NOT NULL,                -- 1 is the text that was written first
        text    text NOT NULL,
        subject text NOT NULL REFERENCES people,
        name    text NOT NULL,
        at      timestamptz NOT NULL,
        PRIMARY KEY (note_id, version)
    )""",
    """CREATE TABLE postmortem_texts (
        incident_id bigint NOT NULL REFERENCES incidents,
        section     text NOT NULL CHECK (section IN ('summary', 'impact', 'lessons', 'actions')),
        version     integer NOT NULL,
        text        text NOT NULL,
        subject     text NOT NULL REFERENCES people,
        name        text NOT NULL,
        at          timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (incident_id, section, version)
    )""",
    # By hand, by a program that no human stands behind: whoever asked for its run does not answer for it.
    "ALTER TABLE proposals ADD COLUMN by_program boolean NOT NULL DEFAULT false",
    # What a client's Idempotency-Key did: written in the transaction of its effect, forgotten after a day.
    """CREATE TABLE idempotent_requests (
        subject  text NOT NULL,
        key      text NOT NULL,
        request  text NOT NULL,                  -- SHA-256 over method, path and body
        location text NOT NULL DEFAULT '',       -- of what it made or changed
        made_at  timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (subject, key)
    )""",
    "CREATE INDEX idempotent_requests_by_time ON idempotent_requests (made_at)",
    # Who may decide finds what waits for their groups, however many wait for others, or were asked for by themselves.
    """CREATE INDEX proposals_waiting ON proposals (jsonb_hash_extended(policy -> 'approvers', 0),
        hashtextextended(CAST(requesters AS text) || sponsor, 0), expires_at, id) WHERE state = 'proposed'""",
    # Open incidents are few among very many.
    "CREATE INDEX incidents_open ON incidents (opened_at DESC, id DESC) WHERE closed_at IS NULL",
    "CREATE INDEX incidents_merged ON incidents (merged_into) WHERE merged_into IS NOT NULL",
    # Who looks for what one person did finds the latest of it.
    "CREATE INDEX audit_by_actor ON audit_entries ((actor::jsonb ->> 'subject'), seq)",
    "CREATE INDEX runs_repeated ON runs (requested_at DESC) WHERE purpose = 'recheck' OR rerun_of IS NOT NULL",
    # What was entered lately is found by its objects as quickly as all else: an incident's page looks 200 times.
    "ALTER INDEX audit_by_object SET (fastupdate = off)",
    "SELECT gin_clean_pending_list('audit_by_object')",
    # However long an alert's past is, what was told of it last is found.
    "DROP INDEX alerts_by_group",
    "CREATE INDEX alerts_by_group ON alerts (source, rule, group_key, last_at DESC)",
    "CREATE INDEX alerts_by_fingerprint ON alerts (source, fingerprint, last_at DESC)",
    # An alert that is told again and belongs to another incident then goes on in a row of its own.
    "ALTER TABLE alerts ADD COLUMN past boolean NOT NULL DEFAULT false",
    "ALTER TABLE alerts DROP CONSTRAINT alerts_source_fingerprint_starts_at_key",
    "CREATE UNIQUE INDEX alerts_once ON alerts (source, fingerprint, starts_at) WHERE NOT past",
    # What the tables of runs do not say by themselves. A row for each worker: none waits for another's.
    """CREATE TABLE service_counts (
        name   text NOT NULL,
        hour   timestamptz NOT NULL,
        worker text NOT NULL,
        count  bigint NOT NULL,
        PRIMARY KEY (name, hour, worker)
    )""",
)
DOWN = (
    "DROP TABLE service_counts",
    "DELETE FROM alerts WHERE past",  # the version before knows one row of each; the entries say where it was too
    "ALTER TABLE alerts DROP COLUMN past",  # and the index with it
    "ALTER TABLE alerts ADD UNIQUE (source, fingerprint, starts_at)",
    "DROP INDEX alerts_by_fingerprint",
    "DROP INDEX alerts_by_group",
    "CREATE INDEX alerts_by_group ON alerts (source, rule, group_key, received_at DESC)",
    "ALTER INDEX audit_by_object RESET (fastupdate)",
    "DROP INDEX runs_repeated",
    "DROP INDEX audit_by_actor",
    "DROP INDEX incidents_merged",
    "DROP INDEX incidents_open",
    "DROP INDEX proposals_waiting",
    "DROP TABLE idempotent_requests",
    "ALTER TABLE proposals DROP COLUMN by_program",
    "DROP TABLE postmortem_texts",
    "DROP TABLE note_versions",
    "ALTER TABLE notes DROP COLUMN edited_at, DROP COLUMN version, DROP COLUMN edited_by",
    "DROP TABLE asks",
    "DROP INDEX runs_asks",
    # What was asked stays a run; the version before knows such runs as diagnoses.
    "UPDATE runs SET purpose = 'diagnosis' WHERE purpose = 'ask'",
    "ALTER TABLE runs DROP CONSTRAINT runs_purpose_check",
    "ALTER TABLE runs ADD CONSTRAINT runs_purpose_check CHECK (purpose IN ('diagnosis', 'recheck'))",
)


def upgrade() -> None:
    """New tables and columns, and what the application's role may do with them."""
    for statement in UP:
        op.execute(statement)
    role = '"' + context.config.attributes["application_role"].replace('"', '""') + '"'
    op.execute(f"GRANT SELECT, INSERT ON note_versions, postmortem_texts TO {role}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON asks, service_counts TO {role}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON idempotent_requests TO {role}")


def downgrade() -> None:
    """Without them: notes keep their latest text, what was asked stays in runs and in the trail."""
    for statement in DOWN:
        op.execute(statement)
