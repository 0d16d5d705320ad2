-- Roles for the database app, each with what its tasks need. Run once in that database, as a superuser (or as what a cloud
-- gives you in its place), before the first migrate; passwords are set apart. PostgreSQL 14 and newer.

-- Owns the database, its schemas and tables, and the journal. Migrates. Nobody else changes the schema.
CREATE ROLE app_migrator LOGIN;
ALTER DATABASE app OWNER TO app_migrator;
ALTER SCHEMA public OWNER TO app_migrator;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE CONNECT, TEMPORARY ON DATABASE app FROM PUBLIC;

-- The application: rows, and no tables of its own.
CREATE ROLE app_runtime LOGIN;
GRANT CONNECT ON DATABASE app TO app_runtime;
GRANT USAGE ON SCHEMA public TO app_runtime;
ALTER DEFAULT PRIVILEGES FOR ROLE app_migrator IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app_runtime;
ALTER DEFAULT PRIVILEGES FOR ROLE app_migrator IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO app_runtime;

-- Plans: reads the version table and the journal, sees sizes and sessions, and no row of anybody's.
CREATE ROLE app_planner LOGIN;
GRANT CONNECT ON DATABASE app TO app_planner;
GRANT USAGE ON SCHEMA public TO app_planner;
CREATE TABLE IF NOT EXISTS public.alembic_version (
    version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY
);
ALTER TABLE public.alembic_version OWNER TO app_migrator;
REVOKE INSERT, UPDATE, DELETE ON public.alembic_version FROM app_runtime;
GRANT SELECT ON public.alembic_version TO app_planner;
CREATE SCHEMA IF NOT EXISTS pgops AUTHORIZATION app_migrator;
GRANT USAGE ON SCHEMA pgops TO app_planner;
GRANT SELECT ON ALL TABLES IN SCHEMA pgops TO app_planner;
ALTER DEFAULT PRIVILEGES FOR ROLE app_migrator IN SCHEMA pgops GRANT SELECT ON TABLES TO app_planner;
GRANT pg_read_all_stats TO app_planner;

-- Backs up: reads everything, past row security, and writes nothing.
CREATE ROLE app_backup LOGIN BYPASSRLS;
GRANT CONNECT ON DATABASE app TO app_backup;
GRANT pg_read_all_data TO app_backup;
ALTER ROLE app_backup SET default_transaction_read_only = on;

-- Restores: makes the new database, hands it to its owner, ends sessions, swaps the names.
CREATE ROLE app_restore LOGIN CREATEDB;
GRANT CONNECT ON DATABASE app TO app_restore;
GRANT app_migrator TO app_restore;
GRANT pg_signal_backend TO app_restore;
GRANT pg_read_all_data TO app_restore;
