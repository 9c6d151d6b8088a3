"""Ways in which a role that should only read may write after all."""

from __future__ import annotations

HOLES = {
    "a table": (
        "UPDATE on table public.customers",
        ["GRANT UPDATE ON customers TO orders_reader"],
        "REVOKE UPDATE ON customers FROM orders_reader",
    ),
    "a column": (
        "UPDATE (of columns) on table public.orders",
        ["GRANT UPDATE (status) ON orders TO orders_reader"],
        "REVOKE UPDATE (status) ON orders FROM orders_reader",
    ),
    "what everybody has": (
        "DELETE, TRUNCATE on table public.order_items",
        ["GRANT DELETE, TRUNCATE ON order_items TO PUBLIC"],
        "REVOKE DELETE, TRUNCATE ON order_items FROM PUBLIC",
    ),
    "a trigger": (
        "TRIGGER on table public.orders",
        ["GRANT TRIGGER ON orders TO orders_reader"],
        "REVOKE TRIGGER ON orders FROM orders_reader",
    ),
    "maintenance, which locks": (
        "MAINTAIN on table public.orders",
        ["GRANT MAINTAIN ON orders TO orders_reader"],
        "REVOKE MAINTAIN ON orders FROM orders_reader",
    ),
    "a right to pass on": (
        "SELECT WITH GRANT OPTION on table public.orders",
        ["GRANT SELECT ON orders TO orders_reader WITH GRANT OPTION"],
        "REVOKE GRANT OPTION FOR SELECT ON orders FROM orders_reader",
    ),
    "a partition": (
        "INSERT on table public.events_2026",
        [
            "CREATE TABLE events (at date) PARTITION BY RANGE (at)",
            "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
            "GRANT SELECT ON events TO orders_reader",
            "GRANT INSERT ON events_2026 TO orders_reader",
        ],
        "DROP TABLE events",
    ),
    "a sequence": (
        "sequence public.orders_id_seq can be moved on",
        ["GRANT USAGE ON SEQUENCE orders_id_seq TO orders_reader"],
        "REVOKE USAGE ON SEQUENCE orders_id_seq FROM orders_reader",
    ),
    "a schema": (
        "CREATE in schema public",
        ["GRANT CREATE ON SCHEMA public TO PUBLIC"],
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ),
    "the database": (
        "CREATE in database orders",
        ["GRANT CREATE ON DATABASE orders TO orders_reader"],
        "REVOKE CREATE ON DATABASE orders FROM orders_reader",
    ),
    "a view that is updatable": (
        "DELETE on view public.placed",
        ["CREATE VIEW placed AS SELECT * FROM orders", "GRANT SELECT, DELETE ON placed TO orders_reader"],
        "DROP VIEW placed",
    ),
    "a foreign table": (
        "INSERT on foreign table public.remote",
        [
            "CREATE FOREIGN DATA WRAPPER nowhere",
            "CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere",
            "CREATE FOREIGN TABLE remote (id int) SERVER elsewhere",
            "GRANT INSERT ON remote TO orders_reader",
        ],
        "DROP FOREIGN DATA WRAPPER nowhere CASCADE",
    ),
    "a foreign server": (
        "USAGE on foreign server elsewhere",
        [
            "CREATE FOREIGN DATA WRAPPER nowhere",
            "CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere",
            "GRANT USAGE ON FOREIGN SERVER elsewhere TO orders_reader",
        ],
        "DROP FOREIGN DATA WRAPPER nowhere CASCADE",
    ),
    "a large object": (
        "UPDATE on large object 424242",
        ["SELECT lo_create(424242)", "GRANT UPDATE ON LARGE OBJECT 424242 TO orders_reader"],
        "SELECT lo_unlink(424242)",
    ),
    "everybody's large objects": (
        "any large object, since lo_compat_privileges is on",
        ["SELECT lo_create(424242)", "ALTER DATABASE orders SET lo_compat_privileges = on"],
        "SELECT lo_unlink(424242); ALTER DATABASE orders RESET lo_compat_privileges",
    ),
    "a function of the server": (
        "EXECUTE on pg_reload_conf()",
        ["GRANT EXECUTE ON FUNCTION pg_reload_conf() TO orders_reader"],
        "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM orders_reader",
    ),
    "a setting of the server": (
        "ALTER SYSTEM on the setting work_mem",
        ["GRANT ALTER SYSTEM ON PARAMETER work_mem TO orders_reader"],
        "REVOKE ALTER SYSTEM ON PARAMETER work_mem FROM orders_reader",
    ),
    "an owner's rights": (
        "it owns table public.orders",
        ["GRANT orders_owner TO orders_reader"],
        "REVOKE orders_owner FROM orders_reader",
    ),
    "a role that it may grant itself": (
        "it may grant itself orders_owner (ADMIN OPTION)",
        ["GRANT orders_owner TO orders_reader WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"],
        "REVOKE orders_owner FROM orders_reader",
    ),
} | {
    role: (f"it is a member of {role}", [f"GRANT {role} TO orders_reader"], f"REVOKE {role} FROM orders_reader")
    for role in (
        "pg_write_all_data",
        "pg_write_server_files",
        "pg_execute_server_program",
        "pg_read_server_files",
        "pg_signal_backend",
        "pg_maintain",
        "pg_checkpoint",
        "pg_create_subscription",
    )
}
"""What is told of each, what makes it, what undoes it."""
