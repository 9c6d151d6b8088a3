"""The first schema: state, audit trail, and the job queue's own tables."""

from pathlib import Path
from typing import Any

from alembic import context, op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None


def _driver() -> Any:
    """The driver's own connection: a script of many statements goes through it as it is."""
    return op.get_bind().connection.driver_connection


def upgrade() -> None:
    """Create everything, and grant the application's role what it needs and no more."""
    role = context.config.attributes["application_role"]
    run = _driver().execute
    run(Path(__file__).with_suffix(".sql").read_text())
    run(SchemaManager.get_schema())
    quoted = '"' + role.replace('"', '""') + '"'
    run(
        f"""
        GRANT USAGE ON SCHEMA public TO {quoted};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {quoted};
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {quoted};
        REVOKE ALL ON audit_entries, audit_head, alembic_version FROM {quoted};
        GRANT SELECT ON audit_entries, audit_head, alembic_version TO {quoted};
        GRANT EXECUTE ON FUNCTION audit_append TO {quoted};
        REVOKE DELETE ON decisions, proposals, attempts, runs, revisions FROM {quoted};
        """
    )


def downgrade() -> None:
    """Back to an empty schema."""
    _driver().execute(
        """
        DO $$ DECLARE thing record; BEGIN
            FOR thing IN SELECT tablename AS name FROM pg_tables
                WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
                EXECUTE format('DROP TABLE public.%I CASCADE', thing.name);
            END LOOP;
            FOR thing IN SELECT p.oid::regprocedure AS name FROM pg_proc p
                WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') LOOP
                EXECUTE format('DROP FUNCTION %s CASCADE', thing.name);
            END LOOP;
            FOR thing IN SELECT typname AS name FROM pg_type
                WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'c')
                AND typname LIKE 'procrastinate%' LOOP
                EXECUTE format('DROP TYPE IF EXISTS public.%I CASCADE', thing.name);
            END LOOP;
        END $$
        """
    )
