"""The whole of a text that a cell printed, where a row has only its beginning; how often displays were updated."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Two columns, with what holds for cells so far."""
    op.execute("ALTER TABLE cells ADD COLUMN whole jsonb")  # {"artifact", "size", "lost"}, sizes in bytes
    op.execute("ALTER TABLE cells ADD COLUMN updates integer NOT NULL DEFAULT 0")


def downgrade() -> None:
    """Without them; artifacts stay where they are."""
    op.execute("ALTER TABLE cells DROP COLUMN whole")
    op.execute("ALTER TABLE cells DROP COLUMN updates")
