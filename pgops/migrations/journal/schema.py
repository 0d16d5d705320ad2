"""The journal's tables, by version. Each version's DDL runs once, in one transaction, under the run's lock."""

from __future__ import annotations

from collections.abc import Collection

from pgops.errors import PgopsError, UsageError
from pgops.migrations.journal import trust
from pgops.postgres import Connection, DatabaseError, execute, fetch_all, fetch_value, identifier

_VERSIONS: tuple[str, ...] = (
    """
    CREATE TABLE pgops.runs (
        id text PRIMARY KEY,
        environment text NOT NULL,
        action text NOT NULL,
        from_heads text[] NOT NULL,
        to_heads text[] NOT NULL,
        plan_hash text NOT NULL,
        started_at timestamptz NOT NULL,
        finished_at timestamptz,
        outcome text NOT NULL,
        error text,
        operator text NOT NULL,
        host text NOT NULL,
        git_commit text,
        git_dirty boolean,
        tool_version text NOT NULL,
        backup text,
        hazards_accepted text[] NOT NULL,
        promotion_overridden boolean NOT NULL,
        reason text,
        version_table text NOT NULL
    );
    CREATE INDEX runs_by_time ON pgops.runs (started_at DESC);
    CREATE TABLE pgops.revisions (
        ordinal bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run text NOT NULL REFERENCES pgops.runs (id),
        revision text NOT NULL,
        file text NOT NULL,
        file_hash text NOT NULL,
        message text NOT NULL,
        version_table text NOT NULL,
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        finished_at timestamptz,
        outcome text NOT NULL,
        error text,
        leftovers text[] NOT NULL DEFAULT '{}'
    );
    CREATE INDEX revisions_by_run ON pgops.revisions (run);
    CREATE INDEX revisions_by_revision ON pgops.revisions (revision, ordinal DESC);
    """,
    # What was predicted for a run: the seconds of its rehearsal, beside which its own stand.
    "ALTER TABLE pgops.runs ADD COLUMN rehearsal jsonb",
    # What a revision emitted: its file may read and import others.
    "ALTER TABLE pgops.revisions ADD COLUMN sql_hash text",
    # The text of each revision file, once: pgops.revisions knows it by its hash.
    """
    CREATE TABLE pgops.files (
        hash text PRIMARY KEY,
        content bytea NOT NULL,
        CHECK (encode(sha256(content), 'hex') = hash)
    )
    """,
    # A history is known by its version table; this is what environments.yaml called it at the time.
    "ALTER TABLE pgops.runs ADD COLUMN history text",
    # How much had been written to each table when the run ended: what was written since is the difference.
    "ALTER TABLE pgops.runs ADD COLUMN written jsonb",
    # Who signed the plan, and who will have to sign the next one.
    "ALTER TABLE pgops.runs ADD COLUMN approval jsonb",
    # The named restore point that was made in front of the run.
    "ALTER TABLE pgops.runs ADD COLUMN restore_point text",
)
VERSION = len(_VERSIONS)
# Through JSON: a journal that no run has brought up to date since lacks the column.
HISTORY = "pg_catalog.to_jsonb(r) ->> 'history'"
"""What a row ``r`` of pgops.runs says of its history; NULL where it had no name."""

_FIRST = """
CREATE SCHEMA IF NOT EXISTS pgops;
CREATE TABLE IF NOT EXISTS pgops.journal (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL DEFAULT 0,
    environment text NOT NULL,
    system_identifier text,
    database text NOT NULL,
    stamped_at timestamptz NOT NULL
);
COMMENT ON SCHEMA pgops IS 'journal of migration runs, kept by pgops';
"""


READABLE = """
SELECT CASE WHEN pg_catalog.has_schema_privilege(n.oid, 'USAGE')
            THEN coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass('pgops.journal'), 'SELECT')
                      AND pg_catalog.has_table_privilege(pg_catalog.to_regclass('pgops.runs'), 'SELECT')
                      AND pg_catalog.has_table_privilege(pg_catalog.to_regclass('pgops.revisions'), 'SELECT'), false)
            ELSE false END
  FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) 'pgops'
"""
"""Whether there is a journal and this role may read it; no row where there is none."""


def present(connection: Connection, trusted: Collection[str] = ()) -> bool:
    """Whether there is a journal and this role may read it.

    :param trusted: roles whose journal counts besides this one's own (``trusted_owners``).
    :raises UntrustedError: it belongs to somebody else, or holds what is not ours.
    """
    readable = fetch_value(connection, READABLE)
    if readable is None:
        return False
    trust.check(connection, trusted)
    return bool(readable)


def bring_up_to_date(connection: Connection, trusted: Collection[str] = ()) -> None:
    """Create or upgrade the tables; does nothing when they are current.

    :raises UntrustedError: what stands under their names is not ours.
    :raises UsageError: a newer pgops made them.
    :raises PgopsError: the role may not.
    """
    trust.check(connection, trusted)
    found = fetch_value(connection, "SELECT to_regclass('pgops.journal')")
    version = (
        0 if found is None else int(fetch_value(connection, "SELECT max(version) FROM pgops.journal") or 0)
    )
    if version == VERSION:
        return
    if version > VERSION:
        raise UsageError(
            f"the journal in this database is of version {version}, and this pgops knows {VERSION}",
            untouched="nothing was applied",
            hint="upgrade pgops here to the version that was used last",
        )
    try:
        execute(connection, "BEGIN")
        try:
            execute(connection, _FIRST)
            _close(connection)
            # Somebody may have been quicker between the look above and here.
            trust.check(connection, trusted)
            for ddl in _VERSIONS[version:]:
                execute(connection, ddl)
            execute(
                connection,
                "INSERT INTO pgops.journal (version, environment, database, stamped_at) VALUES (%s, '', '', now()) "
                "ON CONFLICT (only_row) DO UPDATE SET version = excluded.version",
                (VERSION,),
            )
            _close(connection)
            execute(connection, "COMMIT")
        except BaseException:
            execute(connection, "ROLLBACK")
            raise
    except DatabaseError as error:
        role = fetch_value(connection, "SELECT current_user")
        raise PgopsError(
            f"the journal can't be made in schema pgops: {' '.join(str(error).split())}",
            untouched="nothing was applied",
            hint=f"as an owner of the database: CREATE SCHEMA pgops AUTHORIZATION {role}",
        ) from error


def _close(connection: Connection) -> None:
    """Take away the rights to write that ALTER DEFAULT PRIVILEGES gave others to the tables just made."""
    rows = fetch_all(
        connection,
        """
        SELECT DISTINCT c.relname, coalesce(g.rolname, '')
          FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
               pg_catalog.aclexplode(c.relacl) AS a LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
         WHERE n.nspname = 'pgops' AND c.relname = ANY(%s) AND a.grantee <> c.relowner
           AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES')
         ORDER BY 1, 2
        """,
        (list(trust.TABLES),),
    )
    for table, role in rows:
        execute(
            connection,
            f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES ON {identifier('pgops', table)} "
            f"FROM {identifier(role) if role else 'PUBLIC'}",
        )
