-- What a database needs before the runbook service may reach it. For a DBA to read, adapt and run as a
-- superuser, in the database that runbooks shall diagnose (PostgreSQL 16 or later; running it again is harmless):
--
--     psql --set ON_ERROR_STOP=1 --single-transaction --file minter.sql orders
--     psql --command '\password runbooks_minter'
--
-- Write that password to the file (mode 0600) that the connections file names as `password_file`.
--
-- Three roles are made:
--
--     orders_reader      what a diagnosis may do: read the named tables and the statistics. Nobody logs in as it.
--     orders_operator    what an approved remediation may do on top: end or cancel other sessions.
--     runbooks_minter    the only one with a password. It makes a login for each stage of each run, a member of one
--                        of the two above that expires within minutes, and drops it at the stage's end.
--
-- Use one minter for each installation of the service: a minter sweeps away what it made and does not know.
--
-- Grants are explicit: never give these roles pg_read_all_data, pg_write_all_data or pg_monitor. What every login of
-- this cluster may do (temporary tables, NOTIFY, advisory locks, large objects in databases that it may connect to)
-- a diagnosis may do as well, unless you revoke it from PUBLIC.

-- A busy table must not have everybody queue up behind a grant: give up soon, and run it again in a quieter moment.
SET lock_timeout = '5s';

DO $$
DECLARE
  wanted text;
BEGIN
  IF current_setting('server_version_num')::int < 160000 THEN
    RAISE 'PostgreSQL 16 or later is needed: before, CREATEROLE may grant any role that is no superuser.';
  END IF;
  FOREACH wanted IN ARRAY ARRAY['orders_reader', 'orders_operator', 'runbooks_minter'] LOOP
    IF to_regrole(wanted) IS NULL THEN
      EXECUTE format('CREATE ROLE %I', wanted);
    END IF;
  END LOOP;
END
$$;

ALTER ROLE orders_reader NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE orders_operator NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE runbooks_minter LOGIN CREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 8;

-- The minter may make members of these two roles, and is no member itself: by its own password it reads no table.
GRANT orders_reader, orders_operator TO runbooks_minter WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;

-- In an outage the ordinary connections are often used up. These roles may take reserved ones, of which there are
-- none until you set them (needs a restart):
--     ALTER SYSTEM SET reserved_connections = 8;
GRANT pg_use_reserved_connections TO runbooks_minter, orders_reader, orders_operator;

-- Without this, other sessions' queries, waits and start times are hidden, and a diagnosis sees next to nothing.
GRANT pg_read_all_stats TO orders_reader, orders_operator;

-- Lets a remediation cancel and terminate sessions, those of superusers excepted.
GRANT pg_signal_backend TO orders_operator;

-- The tables that runbooks may read. Name them one by one.
GRANT USAGE ON SCHEMA public TO orders_reader, orders_operator;
GRANT SELECT ON customers, orders, order_items TO orders_reader, orders_operator;
