"""What is told where and by whom, incidents of several channels, alerts, waking, decisions signed together."""

from alembic import context, op

revision = "0004"
down_revision = "0003"

UP = (
    # One row for each conversation in each channel. Whoever changes what it tells raises `wanted`; one worker tells at
    # a time, by lease, with no transaction open.
    """CREATE TABLE chat_threads (
        about      text NOT NULL,                -- run:<id>, incident:<id>, storm:<id>, waking:<id>
        channel    text NOT NULL,                -- a channel as it was named, or a person's id for a direct message
        place      text NOT NULL DEFAULT '',     -- the id that the chat gave it, once it is known
        wanted     bigint NOT NULL DEFAULT 1,
        told       bigint NOT NULL DEFAULT 0,    -- what `wanted` was when all of it was last told
        due_at     timestamptz NOT NULL DEFAULT now(),
        holder     text NOT NULL DEFAULT '',
        held_until timestamptz,
        shown_at   timestamptz,                  -- when its first message last changed: the pace goes by it
        turn_at    timestamptz,                  -- its turn to post in its channel, where it waits for that
        tries      integer NOT NULL DEFAULT 0,
        trouble    text NOT NULL DEFAULT '',     -- what the chat said last, for people
        made_at    timestamptz NOT NULL DEFAULT now(),
        ended_at   timestamptz,                  -- given up: `trouble` says why, and somebody was told
        PRIMARY KEY (about, channel)
    )""",
    "CREATE INDEX chat_threads_turns ON chat_threads (about, channel) WHERE turn_at IS NOT NULL",
    "CREATE INDEX chat_threads_due ON chat_threads (due_at) WHERE wanted > told AND ended_at IS NULL",
    """CREATE TABLE chat_channels (
        channel text PRIMARY KEY,                -- or a method of the chat's; empty: the whole workspace
        name    text NOT NULL DEFAULT '',
        next_at timestamptz NOT NULL DEFAULT now(),  -- when the chat takes the next message here
        gone    text NOT NULL DEFAULT '',        -- why nothing can be told here
        gone_at timestamptz
    )""",
    # A message may stand in several channels. What was begun and never posted is begun anew.
    "DELETE FROM chat_messages WHERE ts = ''",
    "ALTER TABLE chat_messages ADD COLUMN about text NOT NULL DEFAULT ''",
    "ALTER TABLE chat_messages ADD COLUMN file text NOT NULL DEFAULT ''",  # uploaded and not yet shared
    "ALTER TABLE chat_messages ADD COLUMN begun_at timestamptz NOT NULL DEFAULT now()",
    "ALTER TABLE chat_messages DROP CONSTRAINT chat_messages_pkey",
    "ALTER TABLE chat_messages ADD PRIMARY KEY (key, channel)",
    """UPDATE chat_messages m SET about = 'run:' || CASE WHEN key LIKE 'run:%' THEN split_part(key, ':', 2)
        ELSE coalesce((SELECT run_id FROM proposals p WHERE p.id = split_part(m.key, ':', 2)), '') END""",
    "CREATE INDEX chat_messages_by_place ON chat_messages (channel, ts) WHERE ts <> ''",
    "CREATE INDEX chat_messages_by_about ON chat_messages (about)",
    """INSERT INTO chat_threads (about, channel, place, told)
        SELECT 'run:' || r.id, r.channel, coalesce(m.channel, ''), 1
        FROM runs r LEFT JOIN chat_messages m ON m.key = 'run:' || r.id
        WHERE r.channel <> '' AND r.purpose = 'diagnosis'""",
    "CREATE INDEX chat_people_by_subject ON chat_people (subject)",
    "CREATE INDEX people_by_email ON people (lower(email)) WHERE email <> ''",
    """CREATE TABLE incident_channels (
        incident_id bigint NOT NULL REFERENCES incidents,
        channel     text NOT NULL,
        attached_at timestamptz NOT NULL DEFAULT now(),
        attached_by jsonb NOT NULL,              -- actor
        PRIMARY KEY (incident_id, channel)
    )""",
    "CREATE INDEX incident_channels_by_channel ON incident_channels (channel)",
    """INSERT INTO incident_channels (incident_id, channel, attached_at, attached_by)
        SELECT id, channel, opened_at, opened_by FROM incidents WHERE channel <> ''""",
    "ALTER TABLE incidents ADD COLUMN merged_into bigint REFERENCES incidents",
    # A pinned message: where it stands, who wrote it, and its address. Pinned twice it is one note.
    "ALTER TABLE notes ADD COLUMN source text NOT NULL DEFAULT ''",
    "ALTER TABLE notes ADD COLUMN author text NOT NULL DEFAULT ''",
    "ALTER TABLE notes ADD COLUMN link text NOT NULL DEFAULT ''",
    "CREATE UNIQUE INDEX notes_pinned ON notes (incident_id, source) WHERE source <> ''",
    # Digests of all proposals that one signature speaks of; NULL: of this one alone.
    "ALTER TABLE decisions ADD COLUMN batch jsonb",
    "ALTER TABLE pending_decisions DROP CONSTRAINT pending_decisions_pkey",
    "ALTER TABLE pending_decisions ADD PRIMARY KEY (ref, proposal_id)",
    """CREATE TABLE wakings (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        proposal_id text NOT NULL REFERENCES proposals,
        step        smallint NOT NULL CHECK (step IN (0, 1, 2)),  -- on call; all who may; break-glass is offered
        way         text NOT NULL CHECK (way IN ('slack', 'pagerduty', 'opsgenie')),
        whom        text NOT NULL,               -- a person's subject, or the name of a paging service
        name        text NOT NULL DEFAULT '',
        made_at     timestamptz NOT NULL DEFAULT now(),
        sent_at     timestamptz,
        ended_at    timestamptz,
        trouble     text NOT NULL DEFAULT '',
        UNIQUE (proposal_id, step, way, whom)
    )""",
    "CREATE INDEX wakings_paging ON wakings (proposal_id) WHERE way <> 'slack' AND ended_at IS NULL",
    """CREATE TABLE alerts (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source      text NOT NULL,
        fingerprint text NOT NULL,
        starts_at   timestamptz NOT NULL,
        rule        text NOT NULL DEFAULT '',
        group_key   text NOT NULL,
        status      text NOT NULL CHECK (status IN ('firing', 'resolved')),
        labels      jsonb NOT NULL,
        annotations jsonb NOT NULL,
        link        text NOT NULL DEFAULT '',
        outcome     text NOT NULL CHECK (outcome IN
            ('run', 'joined', 'storm', 'maintenance', 'unmatched', 'refused', 'resolved')),
        why         text NOT NULL DEFAULT '',
        incident_id bigint REFERENCES incidents,
        run_id      text REFERENCES runs,
        seen        integer NOT NULL DEFAULT 1,  -- deliveries
        received_at timestamptz NOT NULL DEFAULT now(),
        last_at     timestamptz NOT NULL DEFAULT now(),
        resolved_at timestamptz,
        UNIQUE (source, fingerprint, starts_at)
    )""",
    "CREATE INDEX alerts_by_group ON alerts (source, rule, group_key, received_at DESC)",
    "CREATE INDEX alerts_by_run ON alerts (run_id) WHERE run_id IS NOT NULL",
    "CREATE INDEX alerts_by_incident ON alerts (incident_id) WHERE incident_id IS NOT NULL",
    "CREATE INDEX alerts_by_time ON alerts (last_at)",
    """CREATE TABLE alert_storms (
        id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        channel  text NOT NULL,
        held     integer NOT NULL DEFAULT 0,
        rules    jsonb NOT NULL DEFAULT '{}',    -- how many of each
        began_at timestamptz NOT NULL DEFAULT now(),
        last_at  timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz
    )""",
    "CREATE UNIQUE INDEX alert_storms_open ON alert_storms (channel) WHERE ended_at IS NULL",
    # Other chats read the audit trail, each from where it stands; one worker at a time, by lease.
    """CREATE TABLE elsewhere_places (
        place   text PRIMARY KEY,                -- SHA-256 of the address, which holds a secret
        seq     bigint NOT NULL,                 -- the last entry that was told there or wants no telling
        due_at  timestamptz NOT NULL DEFAULT now(),  -- when a worker may take it
        told_at timestamptz,
        slack_gone_at timestamptz,               -- since when Slack takes nothing, as it was told there
        tries   integer NOT NULL DEFAULT 0,      -- of the entry after `seq`
        trouble text NOT NULL DEFAULT ''
    )""",
)
DOWN = (
    "DROP TABLE elsewhere_places",
    "DROP TABLE alert_storms",
    "DROP TABLE alerts",
    "DROP TABLE wakings",
    "DELETE FROM pending_decisions",  # whoever is at the provider's page just now begins anew
    "ALTER TABLE pending_decisions DROP CONSTRAINT pending_decisions_pkey",
    "ALTER TABLE pending_decisions ADD PRIMARY KEY (ref)",
    "ALTER TABLE decisions DROP COLUMN batch",
    "ALTER TABLE notes DROP COLUMN source",  # and the index with it
    "ALTER TABLE notes DROP COLUMN author",
    "ALTER TABLE notes DROP COLUMN link",
    "ALTER TABLE incidents DROP COLUMN merged_into",
    "DROP TABLE incident_channels",
    "DROP INDEX people_by_email",
    "DROP INDEX chat_people_by_subject",
    "DELETE FROM chat_messages a USING chat_messages b WHERE a.key = b.key AND a.channel > b.channel",
    "DROP INDEX chat_messages_by_place",
    "DROP INDEX chat_messages_by_about",
    "ALTER TABLE chat_messages DROP CONSTRAINT chat_messages_pkey",
    "ALTER TABLE chat_messages ADD PRIMARY KEY (key)",
    "ALTER TABLE chat_messages DROP COLUMN begun_at",
    "ALTER TABLE chat_messages DROP COLUMN file",
    "ALTER TABLE chat_messages DROP COLUMN about",
    "DROP TABLE chat_channels",
    "DROP TABLE chat_threads",
)


def upgrade() -> None:
    """New tables and columns, and what the application's role may do with them; what was told stays where it stands."""
    for statement in UP:
        op.execute(statement)
    role = '"' + context.config.attributes["application_role"].replace('"', '""') + '"'
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON incident_channels, wakings, alert_storms TO {role}")
    forgotten = "alerts, chat_threads, chat_channels, elsewhere_places"
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {forgotten} TO {role}")


def downgrade() -> None:
    """Without them: alerts are then in the audit trail alone, and each message stands where it stood first."""
    for statement in DOWN:
        op.execute(statement)
