"""What a role of PostgreSQL may change: the queries that find it, each a `Look`.

Rights are read by the server's own functions (`has_table_privilege` and its like), which are what it judges statements
by: so what is inherited, granted to PUBLIC or to be had by SET ROLE counts as well.
"""

from __future__ import annotations

from dataclasses import dataclass

HARMLESS = (
    "pg_read_all_settings",
    "pg_read_all_stats",
    "pg_stat_scan_tables",
    "pg_monitor",
    "pg_read_all_data",
    "pg_use_reserved_connections",
)
"""Predefined roles that change nothing; each other one does, also those of versions to come."""


@dataclass(frozen=True)
class Look:
    """A query that gives one line for each thing found. `%(who)s` are the roles that the login is or may become.

    `of` says what was looked for. Where it `proves`, what it finds can write; else it only cannot be proved harmless.
    """

    of: str
    query: str
    proves: bool = True


IN_CLUSTER = (
    Look(
        "attributes of the role",
        """
        SELECT format('it %%s', a.may) || w.suffix
        FROM who w JOIN pg_roles r ON r.oid = w.oid,
             LATERAL (VALUES (r.rolsuper, 'is a superuser'), (r.rolcreaterole, 'may make roles (CREATEROLE)'),
                      (r.rolcreatedb, 'may make databases (CREATEDB)'),
                      (r.rolreplication, 'may replicate (REPLICATION)'),
                      (r.rolbypassrls, 'passes over row security (BYPASSRLS)')) AS a (has, may)
        WHERE a.has ORDER BY 1""",
    ),
    Look(
        "membership in predefined roles and in those of superusers",
        """
        SELECT format('it is a member of %%I', r.rolname) || w.suffix
        FROM who w JOIN pg_roles r ON r.oid <> w.oid AND pg_has_role(w.oid, r.oid, 'USAGE')
        WHERE r.rolsuper OR (r.rolname ~ '^pg_' AND r.rolname <> ALL (%(harmless)s)) ORDER BY 1""",
    ),
    Look(
        "roles that it may grant itself",
        """
        SELECT format('it may grant itself %%I (ADMIN OPTION)', r.rolname) || w.suffix
        FROM who w JOIN pg_roles r ON pg_has_role(w.oid, r.oid, 'MEMBER WITH ADMIN OPTION') ORDER BY 1""",
    ),
    Look(
        "settings of the server",
        """
        SELECT format('ALTER SYSTEM on the setting %%s', p.parname) || w.suffix
        FROM who w, pg_parameter_acl p WHERE has_parameter_privilege(w.oid, p.parname, 'ALTER SYSTEM') ORDER BY 1""",
    ),
)
"""Looked for once."""

IN_DATABASE = (
    Look(
        "ownership of anything",
        """
        SELECT DISTINCT 'it owns ' || pg_describe_object(d.classid, d.objid, d.objsubid) || w.suffix
        FROM who w JOIN pg_shdepend d ON d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o'
        WHERE pg_has_role(w.oid, d.refobjid, 'USAGE')
          AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        ORDER BY 1""",
    ),
    Look(
        "INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER and the like on tables, partitions, views and foreign tables, "
        "also on single columns or to pass on",
        """
        SELECT format('%%s on %%s %%s', array_to_string(p.rights, ', '), k.kind, g.oid::regclass) || g.suffix
        FROM (
            SELECT w.oid AS role, w.suffix, c.oid, c.relkind
            FROM who w, pg_class c
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid <> 'pg_settings'::regclass
              AND (has_table_privilege(w.oid, c.oid, %(on_tables)s)
                   OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL
                                AND has_column_privilege(w.oid, c.oid, a.attnum, 'INSERT, UPDATE, REFERENCES')))
              AND has_schema_privilege(w.oid, c.relnamespace, 'USAGE')
              AND NOT pg_has_role(w.oid, c.relowner, 'USAGE')
            OFFSET 0) AS g,
            LATERAL (SELECT array_agg(CASE WHEN has_table_privilege(g.role, g.oid, p) THEN p
                                           ELSE p || ' (of columns)' END ORDER BY n)
                     FROM unnest(string_to_array(%(on_tables)s, ', ')) WITH ORDINALITY AS u (p, n)
                     WHERE has_table_privilege(g.role, g.oid, p)
                        OR CASE WHEN p IN ('INSERT', 'UPDATE', 'REFERENCES')
                                THEN has_any_column_privilege(g.role, g.oid, p) END) AS p (rights),
            LATERAL (SELECT CASE g.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                                           WHEN 'f' THEN 'foreign table' ELSE 'table' END) AS k (kind)
        WHERE CASE WHEN g.relkind = 'v' THEN pg_relation_is_updatable(g.oid, true) & 28 <> 0 ELSE true END
        ORDER BY 1""",
    ),
    Look(
        "USAGE and UPDATE on sequences",
        """
        SELECT format('sequence %%s can be moved on', c.oid::regclass) || w.suffix
        FROM who w, pg_class c
        WHERE c.relkind = 'S' AND has_sequence_privilege(w.oid, c.oid, 'USAGE, UPDATE')
          AND NOT pg_has_role(w.oid, c.relowner, 'USAGE') ORDER BY 1""",
    ),
    Look(
        "CREATE in schemas and in the database",
        """
        SELECT format('CREATE in schema %%I', n.nspname) || w.suffix
        FROM who w, pg_namespace n
        WHERE n.nspname !~ '^pg_(toast_)?temp_' AND has_schema_privilege(w.oid, n.oid, 'CREATE')
        UNION ALL
        SELECT format('CREATE in database %%I', current_database()) || w.suffix
        FROM who w WHERE has_database_privilege(w.oid, current_database(), 'CREATE')
        ORDER BY 1""",
    ),
    Look(
        "use of foreign servers",
        """
        SELECT format('USAGE on foreign server %%I', s.srvname) || w.suffix
        FROM who w, pg_foreign_server s WHERE has_server_privilege(w.oid, s.oid, 'USAGE')
        UNION ALL
        SELECT format('USAGE on foreign-data wrapper %%I', f.fdwname) || w.suffix
        FROM who w, pg_foreign_data_wrapper f WHERE has_foreign_data_wrapper_privilege(w.oid, f.oid, 'USAGE')
        ORDER BY 1""",
    ),
    Look(
        "large objects of others",
        """
        SELECT format('UPDATE on large object %%s', m.oid) || w.suffix
        FROM who w, pg_largeobject_metadata m
        WHERE m.lomacl IS NOT NULL AND EXISTS (
            SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'UPDATE'
              AND CASE WHEN a.grantee = 0 THEN true ELSE pg_has_role(w.oid, a.grantee, 'USAGE') END)
        UNION ALL
        SELECT 'any large object, since lo_compat_privileges is on'
        WHERE current_setting('lo_compat_privileges')::boolean AND EXISTS (SELECT FROM pg_largeobject_metadata)
        ORDER BY 1""",
    ),
    Look(
        "functions that PostgreSQL keeps from ordinary roles",
        """
        SELECT format('EXECUTE on %%s', p.oid::regprocedure) || w.suffix
        FROM who w, pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege(w.oid, p.oid, 'EXECUTE')
          AND NOT has_function_privilege('public', p.oid, 'EXECUTE')
          AND NOT has_function_privilege('pg_monitor', p.oid, 'EXECUTE') ORDER BY 1""",
    ),
    Look(
        "functions that run with other rights than the caller's",
        """
        SELECT format('%%s runs with the rights of %%I', p.oid::regprocedure, o.rolname) || w.suffix
        FROM who w, pg_proc p JOIN pg_roles o ON o.oid = p.proowner
        WHERE p.prosecdef AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
          AND has_function_privilege(w.oid, p.oid, 'EXECUTE') AND has_schema_privilege(w.oid, p.pronamespace, 'USAGE')
          AND NOT pg_has_role(w.oid, p.proowner, 'USAGE')
        UNION ALL
        SELECT format('%%s runs on the server without its rules (%%s)', p.oid::regprocedure, l.lanname) || w.suffix
        FROM who w, pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c')
          AND has_function_privilege(w.oid, p.oid, 'EXECUTE') AND has_schema_privilege(w.oid, p.pronamespace, 'USAGE')
        ORDER BY 1""",
        proves=False,
    ),
    Look(
        "rights that new tables, sequences and schemas will give it",
        """
        SELECT format('%%s on each new %%s that %%I makes', string_agg(DISTINCT a.privilege_type, ', '),
                      CASE d.defaclobjtype WHEN 'r' THEN 'table' WHEN 'S' THEN 'sequence' ELSE 'schema' END, o.rolname)
        FROM who w, pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole, LATERAL aclexplode(d.defaclacl) a
        WHERE d.defaclobjtype IN ('r', 'S', 'n') AND a.grantee <> d.defaclrole
          AND a.privilege_type <> 'SELECT' AND NOT (d.defaclobjtype = 'n' AND a.privilege_type = 'USAGE')
          AND CASE WHEN a.grantee = 0 THEN true ELSE pg_has_role(w.oid, a.grantee, 'USAGE') END
        GROUP BY d.oid, d.defaclobjtype, o.rolname ORDER BY 1""",
        proves=False,
    ),
)
"""Looked for in each database."""

WHO = """
WITH who AS (
    SELECT r.oid,
           CASE WHEN r.rolname = session_user THEN '' ELSE format(', after SET ROLE %%I', r.rolname) END AS suffix
    FROM pg_roles r WHERE r.oid = ANY (%(who)s))
"""
ON_TABLES = "INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES"
PASSED_ON = "SELECT WITH GRANT OPTION"
