#!/usr/bin/env python3
"""Trace each revision of a real project from the state before it, with rows, and hold the findings against the server.

    python tests/projects/real/trace.py ckan

The project is installed as adopt.py does it. Each table gets a few hundred made-up rows; then, revision by revision: a
traced plan, the real run, and what the server did meanwhile: tables written anew, columns and tables gone, tables
read from end to end, rows changed. Prints a line for each revision where both don't agree, and a count at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROWS = 300
FLUSHED = 0.5
"""Seconds until what a session counted is told by the server after it has ended."""
_STATE = """
SELECT c.oid::int8, c.oid::regclass::text, pg_relation_filenode(c.oid)::int8, pg_stat_get_numscans(c.oid),
       pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid),
       (SELECT array_agg(a.attnum) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')
   AND c.relname !~ 'alembic_version' AND c.reltuples > 0
"""
_EMPTY = """
SELECT c.oid::int8, c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')
   AND c.relname !~ 'alembic_version' AND pg_relation_size(c.oid) = 0
"""
_COLUMNS = """
SELECT quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), t.typtype::text, t.typcategory::text,
       a.attnotnull, a.atthasdef, (SELECT e.enumlabel FROM pg_enum AS e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder LIMIT 1)
  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""
_NULLS = """
SELECT c.oid::int8, c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')
   AND c.relname !~ 'alembic_version' AND pg_relation_size(c.oid) > 0
"""
_SAYS = {
    "rewrote": "rewritten",
    "read every row": "read",
    "built": "read",
    "dropped": "lost",
    "emptied": "rewritten",
    "one statement changes every": "changed",
    "one statement deletes every": "changed",
}
"""How a finding begins -> what the server has to show for it."""


@dataclasses.dataclass
class Count:
    """What came of the revisions of one project."""

    agreed: int = 0
    untraced: int = 0
    without_rows: int = 0
    findings: int = 0
    disagreements: list[str] = dataclasses.field(default_factory=list)


def trace_all(work: Path) -> Count:
    """Every revision of the project in ``work``; runs where the project is installed."""
    from pgops.environments import HazardSettings, load
    from pgops.local.scratch import scratch_server
    from pgops.migrations.plan.make import make_plan
    from pgops.postgres import connected, execute
    from pgops.targets import target_for

    count = Count()
    with scratch_server() as server, scratch_server() as lent:
        with connected(server.target) as connection:
            execute(connection, "CREATE DATABASE trial")
        password = server.target.secret()
        os.environ["TRIAL_DATABASE_URL"] = (
            f"postgresql://{server.target.user}:{password.reveal() if password else ''}"
            f"@{server.target.host}:{server.target.port}/trial"
        )
        environment = dataclasses.replace(
            load(work / "environments.yaml", environ=os.environ).environments["trial"],
            hazards=HazardSettings(large_rows=ROWS // 2),
        )
        target = target_for(environment)
        for each in make_plan(environment, target).pending:
            one(environment, target, lent.target, each.revision, count)
    return count


def one(environment: Any, target: Any, lent: Any, revision: str, count: Count) -> None:
    """Trace one revision, run it, and compare."""
    from pgops.errors import PgopsError
    from pgops.local.tools import tool_sources
    from pgops.migrations.plan.make import make_plan
    from pgops.migrations.tracing.trace import with_trace
    from pgops.postgres import connected

    with connected(target) as connection:
        fill(connection)
        before = state(connection)
    plan = make_plan(environment, target, to=revision)

    @contextlib.contextmanager
    def scratch(_majors: Sequence[int], _extensions: Collection[str]) -> Iterator[tuple[Any, str]]:
        try:
            yield lent, "lent"
        finally:
            gc.collect()  # what the project's env.py left open goes while the server is there
            clean(lent)

    plan = with_trace(plan, scratch, tool_sources(), of_backup=lambda: ("", ""))
    if plan.trace is None or plan.trace.untraced:
        count.untraced += bool(before)
        for note in plan.notes if before else ():
            print(f"{revision}: {note}", flush=True)
    try:
        run(environment, target, plan)
    except PgopsError as error:
        # The made-up rows are in its way: without them it has to run.
        print(f"{revision}: made-up rows keep it from running: {str(error)[:150]}", flush=True)
        count.without_rows += 1
        empty(target)
        run(environment, target, make_plan(environment, target, to=revision))
        return
    if plan.trace is None:
        return
    gc.collect()
    time.sleep(FLUSHED)
    with connected(target) as connection:
        did = differences(before, state(connection))
    told = [(each.table or "", each.message) for each in plan.all_hazards if each.rows]
    count.findings += len(told)
    wrong = list(disagreements(did, told))
    count.agreed += not wrong
    count.disagreements += [f"{revision}: {each}" for each in wrong]


def run(environment: Any, target: Any, plan: Any) -> None:
    """Carry a plan out for real."""
    from pgops.migrations.run.attempt import Approval
    from pgops.migrations.run.run import Run
    from pgops.migrations.tracing.trace import _Follower

    class Silent:
        revision = None

    del environment, target
    Run(plan, Approval(), _Follower(Silent()), lock_wait=5).carry_out()  # type: ignore[arg-type]


def disagreements(did: dict[str, set[str]], told: list[tuple[str, str]]) -> Iterator[str]:
    """What the server did and nobody told, and what was told and the server did not do."""
    named = {table for table, _ in told}
    for what in ("rewritten", "lost"):
        for table in sorted(did[what] - named):
            yield f"missed: {table} {what}"
    for table, message in told:
        for words, what in _SAYS.items():
            of_an_index = words == "dropped" and " under " in message.partition(" (about ")[0]
            if message.startswith(words) and not of_an_index and table not in did[what] | did["lost"]:
                yield f"refuted: {message[:120]}"


def differences(before: dict[int, tuple[Any, ...]], after: dict[int, tuple[Any, ...]]) -> dict[str, set[str]]:
    """Tables by what happened to them, under the names they had."""
    found: dict[str, set[str]] = {"rewritten": set(), "read": set(), "lost": set(), "changed": set()}
    for oid, (name, filenode, scans, changed, columns) in before.items():
        now = after.get(oid)
        if now is None or set(columns) - set(now[4]):
            found["lost"].add(name)
        if now is None:
            continue
        if now[1] != filenode:
            found["rewritten"].add(name)
        if now[2] > scans:
            found["read"].add(name)
        if now[3] > changed:
            found["changed"].add(name)
    return found


def state(connection: Any) -> dict[int, tuple[Any, ...]]:
    """Tables with rows, and what the server has counted of each until now."""
    from pgops.postgres import execute, fetch_all

    execute(connection, "SELECT pg_catalog.pg_stat_force_next_flush()")
    execute(connection, "SET search_path = public")
    return {row[0]: tuple(row[1:]) for row in fetch_all(connection, _STATE)}


def fill(connection: Any) -> None:
    """Rows for every empty table, values for columns that are NULL; foreign keys and triggers are not asked."""
    from pgops.postgres import DatabaseError, execute, fetch_all

    execute(connection, "SET session_replication_role = replica")
    execute(connection, "SET search_path = public")
    for oid, table in fetch_all(connection, _NULLS):
        for name, *rest in fetch_all(connection, _COLUMNS, (oid,)):
            with contextlib.suppress(DatabaseError):  # a value that another row has, or that a CHECK forbids
                value = made_up(*rest) if not rest[4] else "DEFAULT"
                if value not in {"", "NULL"}:
                    execute(
                        connection,
                        f"UPDATE {table} AS t SET {name} = {value} FROM (SELECT ctid AS at, row_number() OVER () AS i"
                        f" FROM {table}) AS s WHERE t.ctid = s.at AND t.{name} IS NULL",
                    )
    for oid, table in fetch_all(connection, _EMPTY):
        columns = fetch_all(connection, _COLUMNS, (oid,))
        # A default is a value that the application knows.
        values = {name: made_up(*rest) for name, *rest in columns if not rest[4]}
        names = [name for name, value in values.items() if value]
        if not names:
            continue
        try:
            execute(
                connection,
                f"INSERT INTO {table} ({', '.join(names)}) OVERRIDING SYSTEM VALUE"
                f" SELECT {', '.join(values[name] for name in names)} FROM generate_series(1, {ROWS}) AS i"
                " ON CONFLICT DO NOTHING",
            )
        except DatabaseError as error:
            print(f"{table}: stays empty: {str(error).splitlines()[0]}", flush=True)
    execute(connection, "ANALYZE")


def made_up(
    kind: str, typtype: str, category: str, not_null: bool, _has_default: bool, label: str | None
) -> str:
    """A value of a type for row ``i``, as SQL; ``""`` for none."""
    if typtype == "e":
        return f"'{label}'::{kind}"
    if kind == "uuid":
        return "pg_catalog.md5(i::text)::uuid"
    if kind in {"json", "jsonb"}:
        return f"'{{}}'::{kind}"
    by_category = {
        "N": f"(i %% 30000)::{kind}",
        "S": f"i::text::{kind}",
        "B": "(i %% 2 = 0)",
        "D": f"'2026-01-01'::{kind}",
        "T": f"'1 day'::{kind}",
        "A": f"'{{}}'::{kind}",
    }
    found = by_category.get(category, f"'\\x00'::{kind}" if kind == "bytea" else "")
    return found.replace("%%", "%") if found or not not_null else "NULL"


def empty(target: Any) -> None:
    """No rows in any table but the version's."""
    from pgops.postgres import connected, execute, fetch_all

    with connected(target) as connection:
        tables = [row[1] for row in state_names(connection, fetch_all)]
        if tables:
            execute(connection, f"TRUNCATE {', '.join(tables)} CASCADE")


def state_names(connection: Any, fetch_all: Any) -> list[tuple[int, str]]:
    """Every table that rows were made up for."""
    query = _EMPTY.replace("AND pg_relation_size(c.oid) = 0", "")
    return [(row[0], row[1]) for row in fetch_all(connection, query)]


def clean(lent: Any) -> None:
    """The lent server as it was."""
    from pgops.postgres import connected, execute, fetch_all, identifier

    with connected(lent) as connection:
        execute(connection, "DROP DATABASE IF EXISTS trial WITH (FORCE)")
        for (role,) in fetch_all(
            connection,
            "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user",
        ):
            execute(connection, f"DROP ROLE {identifier(role)}")


def main() -> int:
    """Install, then run this file where the project is installed; 1 where findings and server disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("project")
    parser.add_argument("--cache", type=Path, default=HERE.parents[2] / "build" / "real-projects")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        count = trace_all(given.inside)
        print(
            f"{given.project}: {count.agreed} revisions agree, {count.findings} findings about tables with rows,"
        )
        print(f"  {count.untraced} not traced to the end, {count.without_rows} run without rows")
        for line in count.disagreements:
            print(line)
        return 1 if count.disagreements else 0
    sys.path.insert(0, str(HERE))
    import adopt

    cache = given.cache.absolute()
    programs = adopt.make_environment(given.project, cache)
    work = cache / f"trace-{given.project}"
    environ = {**os.environ, **adopt.adopt(given.project, work, programs)}
    done = subprocess.run(
        [str(programs / "python"), str(Path(__file__).resolve()), given.project, "--inside", str(work)],
        env=environ,
        cwd=work,
        check=False,
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
