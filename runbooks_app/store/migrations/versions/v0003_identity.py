"""Signed decisions, break-glass, the run identity's public keys, proofs of what connections may do."""

from alembic import context, op

revision = "0003"
down_revision = "0002"

UP = (
    # A quota held it when a worker wanted to begin it: so whoever frees a place sees at a glance whether anybody waits.
    "ALTER TABLE runs ADD COLUMN held boolean NOT NULL DEFAULT false",
    "CREATE INDEX runs_held ON runs (id) WHERE held AND state = 'queued'",
    "UPDATE runs SET held = true WHERE state = 'queued'",
    # The provider's name for the browser's sign-in there: a back-channel logout names it (OpenID Back-Channel 1.0).
    "ALTER TABLE sessions ADD COLUMN sid text NOT NULL DEFAULT ''",
    "CREATE INDEX sessions_by_sid ON sessions (sid) WHERE sid <> ''",
    # Tokens that count once: a second delivery is refused until the row is forgotten.
    "CREATE TABLE used_tokens (id text PRIMARY KEY, used_at timestamptz NOT NULL DEFAULT now())",
    "ALTER TABLE decisions ADD COLUMN id_token text NOT NULL DEFAULT ''",
    "ALTER TABLE decisions ADD COLUMN break_glass boolean NOT NULL DEFAULT false",
    # Who approved as one of several may still break the glass.
    "ALTER TABLE decisions DROP CONSTRAINT decisions_proposal_id_subject_verdict_key",
    "ALTER TABLE decisions ADD CONSTRAINT decisions_once UNIQUE (proposal_id, subject, verdict, break_glass)",
    # A decision between its form and the provider's answer: what was asked for, and by whom.
    """CREATE TABLE pending_decisions (
        ref         text PRIMARY KEY,
        proposal_id text NOT NULL REFERENCES proposals,
        digest      text NOT NULL,
        subject     text NOT NULL REFERENCES people,
        verdict     text NOT NULL CHECK (verdict IN ('approve', 'break-glass')),
        reason      text NOT NULL,
        begun_at    timestamptz NOT NULL DEFAULT now()
    )""",
    """CREATE TABLE break_glass (
        proposal_id text PRIMARY KEY REFERENCES proposals,
        subject     text NOT NULL REFERENCES people,
        name        text NOT NULL,
        reason      text NOT NULL,
        signed      boolean NOT NULL,
        at          timestamptz NOT NULL DEFAULT now(),
        reviewed_by text REFERENCES people,
        reviewer    text NOT NULL DEFAULT '',
        review      text NOT NULL DEFAULT '',
        reviewed_at timestamptz
    )""",
    "CREATE INDEX break_glass_open ON break_glass (at) WHERE reviewed_at IS NULL",
    # Public halves of the keys that sign run tokens; only workers have the private ones.
    """CREATE TABLE identity_keys (
        kid           text PRIMARY KEY,
        jwk           jsonb NOT NULL,
        published_at  timestamptz NOT NULL DEFAULT now(),
        seen_at       timestamptz NOT NULL DEFAULT now(),   -- when a worker last had its private half
        withdrawn_at  timestamptz                -- since when it is served no longer
    )""",
    "ALTER TABLE credentials ADD COLUMN provider text NOT NULL DEFAULT ''",
    "ALTER TABLE credentials ADD COLUMN scope text NOT NULL DEFAULT ''",
    # One with which a connection is tested belongs to no run.
    "ALTER TABLE credentials ALTER COLUMN attempt_id DROP NOT NULL",
    """CREATE TABLE connection_tests (
        connection text PRIMARY KEY,
        configured text NOT NULL,                -- digest of how it was configured: the result is of that alone
        reachable  boolean NOT NULL,
        holds      boolean,                      -- that diagnosing cannot write; NULL: cannot be proved
        says       text NOT NULL,
        tried      jsonb NOT NULL DEFAULT '[]',
        tested_at  timestamptz NOT NULL DEFAULT now(),
        entered_at timestamptz NOT NULL          -- when the audit trail was last told
    )""",
)
DOWN = (
    "DROP TABLE connection_tests",
    "DELETE FROM credentials WHERE attempt_id IS NULL",
    "ALTER TABLE credentials ALTER COLUMN attempt_id SET NOT NULL",
    "ALTER TABLE credentials DROP COLUMN scope",
    "ALTER TABLE credentials DROP COLUMN provider",
    "DROP TABLE identity_keys",
    "DROP TABLE break_glass",
    "DROP TABLE pending_decisions",
    "DELETE FROM decisions WHERE break_glass",
    "ALTER TABLE decisions DROP COLUMN break_glass",  # and the constraint with it
    "ALTER TABLE decisions ADD UNIQUE (proposal_id, subject, verdict)",
    "ALTER TABLE decisions DROP COLUMN id_token",
    "DROP TABLE used_tokens",
    "DROP INDEX runs_held",
    "ALTER TABLE runs DROP COLUMN held",
    "DROP INDEX sessions_by_sid",
    "ALTER TABLE sessions DROP COLUMN sid",
)


def upgrade() -> None:
    """New tables and columns, and what the application's role may do with them; what is there stays valid."""
    for statement in UP:
        op.execute(statement)
    role = '"' + context.config.attributes["application_role"].replace('"', '""') + '"'
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON used_tokens, pending_decisions TO {role}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON break_glass, identity_keys, connection_tests TO {role}")


def downgrade() -> None:
    """Without them: who broke the glass is then in the audit trail alone."""
    for statement in DOWN:
        op.execute(statement)
