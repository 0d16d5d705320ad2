"""One consistent, parallel dump: a snapshot held open, pg_dump on it, the rows counted in it meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pgops.backups import inventory
from pgops.backups.inventory import DatabaseFacts, Relation
from pgops.backups.manifest import (
    DUMP_DIRECTORY,
    GLOBALS_NAME,
    Extension,
    SequenceValue,
    Table,
)
from pgops.errors import LockedError, PgopsError
from pgops.pgtools import (
    Child,
    Finished,
    ToolError,
    Toolset,
    dump_command,
    globals_command,
    running,
    wait,
)
from pgops.postgres import (
    Blocker,
    Connection,
    DatabaseError,
    ServerFacts,
    Target,
    connect,
    connected,
    execute,
    fetch_all,
    fetch_value,
    sessions,
)

SESSION_PREFIX = "pgops dump "
"""How the server sessions of a dump are called: those of a dead one are found and ended by it."""

_LOOK_EVERY = 0.5
_REAP_WITHIN = 10.0


class Observer(Protocol):
    """Who watches a backup."""

    def step(self, text: str) -> None:
        """A new step begins."""

    def progress(self, done: float, total: float, text: str) -> None:
        """How far the present step is; bytes. ``text`` names what is at work."""


class Unobserved:
    """Nobody watches."""

    def step(self, text: str) -> None:
        """Not shown."""

    def progress(self, done: float, total: float, text: str) -> None:
        """Not shown."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """What the dump's own snapshot says is in the archive."""

    snapshot: str
    heads: tuple[str, ...]
    tables: tuple[Table, ...]
    sequences: tuple[SequenceValue, ...]
    large_objects: int
    extensions: tuple[Extension, ...]
    roles: tuple[str, ...]
    database: DatabaseFacts
    warnings: tuple[str, ...]


def session_name(backup_id: str) -> str:
    """The application_name of every session that belongs to this dump."""
    return SESSION_PREFIX + backup_id


def dump(
    control: Connection,
    target: Target,
    facts: ServerFacts,
    *,
    backup_id: str,
    directory: Path,
    toolset: Toolset,
    jobs: int,
    lock_wait: float,
    observer: Observer,
) -> Dumped:
    """Write ``directory/dump`` and ``directory/globals.sql``, and say what is in them.

    :param control: an open autocommit connection to the same database; it holds the advisory locks.
    :param lock_wait: seconds to wait for the lock of a table.
    :raises LockedError: a table's lock was not given in time; names who holds it.
    :raises ToolError: pg_dump failed.
    :raises PgopsError: something can't be read by this role, or the server went away.
    """
    name = session_name(backup_id)
    try:
        with _reaped(control, target, name), _snapshot(target, facts, name) as (connection, snapshot):
            found = inventory.relations(connection)
            tables = [each for each in found if each.kind != "S"]
            _refuse_unreadable(target, found, standby=facts.in_recovery)
            countable = [each for each in tables if _is_counted(each, standby=facts.in_recovery)]
            sequences = inventory.sequences(connection, [each for each in found if each.kind == "S"])
            heads = inventory.alembic_heads(connection, countable)
            monitor = _Monitor(control, name, countable, observer)
            warnings = _warnings(tables, facts)
            globals_file = directory / GLOBALS_NAME
            with _tools(toolset, target, name, directory, globals_file, snapshot, jobs, lock_wait) as (
                dumping,
                globals_,
            ):
                counts = _count_while(dumping, connection, countable, monitor, lock_wait)
                warnings += _globals_warning(wait(globals_), globals_file)
            return Dumped(
                snapshot=snapshot,
                heads=heads,
                tables=tuple(
                    sorted(
                        (inventory.table_of(each, counts.get(each.oid)) for each in tables),
                        key=lambda each: (each.schema, each.name),
                    )
                ),
                sequences=sequences,
                large_objects=inventory.large_objects(connection),
                extensions=inventory.extensions(connection),
                roles=inventory.roles(connection),
                database=inventory.database_facts(connection),
                warnings=tuple(warnings),
            )
    except DatabaseError as error:
        said = " ".join(str(error).split())
        raise PgopsError(
            f"the backup of {target.environment} ended half-way: {said or 'the server closed the connection'}",
            untouched="the database was only read; no backup was written",
            hint=f"when the server is well again: invoke backup --env={target.environment}",
        ) from error


def end_sessions(connection: Connection, pattern: str) -> int:
    """End other sessions of this database whose application_name is LIKE ``pattern``; how many there were.

    Returns when they are gone, or after ten seconds: a backend that can't be interrupted is not waited for.
    """
    sql = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s"
        " AND datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user"
    )
    ended = 0
    deadline = time.monotonic() + _REAP_WITHIN
    while (found := len(fetch_all(connection, sql, (pattern,)))) and time.monotonic() < deadline:
        ended = max(ended, found)
        time.sleep(0.05)
    return ended


@contextlib.contextmanager
def _reaped(control: Connection, target: Target, name: str) -> Iterator[None]:
    """Whatever ends the block, no session of this dump stays behind on the server."""
    try:
        yield
    except BaseException:
        try:
            if control.closed:
                with connected(target) as fresh:
                    end_sessions(fresh, name)
            else:
                end_sessions(control, name)
        except (DatabaseError, PgopsError):
            # The server itself is gone, and its sessions with it; what ended the block says so.
            pass
        raise


@contextlib.contextmanager
def _snapshot(target: Target, facts: ServerFacts, name: str) -> Iterator[tuple[Connection, str]]:
    """A transaction that exports its snapshot and lives as long as the block."""
    settings = {
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        # Fail where a row-security policy would hide rows, as pg_dump does, instead of leaving them out.
        "row_security": "off",
        "max_parallel_workers_per_gather": "0",
        "search_path": "pg_catalog",
    }
    if facts.major >= 17:
        settings["transaction_timeout"] = "0"
    connection = connect(target, application_name=name, settings=settings)
    with contextlib.closing(connection):
        execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection, str(fetch_value(connection, "SELECT pg_export_snapshot()"))


@contextlib.contextmanager
def _tools(
    toolset: Toolset,
    target: Target,
    name: str,
    directory: Path,
    globals_file: Path,
    snapshot: str,
    jobs: int,
    lock_wait: float,
) -> Iterator[tuple[Child, Child]]:
    """pg_dump and pg_dumpall at work for the block."""
    argv = dump_command(
        directory / DUMP_DIRECTORY,
        jobs=jobs,
        snapshot=snapshot,
        compression=toolset.compression,
        lock_wait=lock_wait,
    )
    start = {"target": target, "paths": [directory], "application_name": name}
    with (
        running(toolset.runner, argv, **start) as dumping,  # type: ignore[arg-type]
        running(toolset.runner, globals_command(globals_file, target.dbname), **start) as globals_,  # type: ignore[arg-type]
    ):
        yield dumping, globals_


def _count_while(
    dumping: Child,
    connection: Connection,
    tables: Sequence[Relation],
    monitor: _Monitor,
    lock_wait: float,
) -> dict[int, int]:
    """Count rows until pg_dump has ended; a failure of either ends the other."""
    with ThreadPoolExecutor(1, thread_name_prefix="pgops-count") as pool:
        counting = pool.submit(inventory.count_rows, connection, tables)
        try:
            finished = wait(dumping, lambda: _look(monitor, counting))
            if finished.exit_code != 0:
                raise _explained(finished, monitor.blockers, lock_wait)
            while not counting.done():
                monitor.look()
                time.sleep(0.01)
            return counting.result()
        except BaseException:
            dumping.stop()
            with contextlib.suppress(DatabaseError):
                connection.cancel()
            raise


def _look(monitor: _Monitor, counting: Future[dict[int, int]]) -> None:
    monitor.look()
    if counting.done() and (error := counting.exception()) is not None:
        raise error


def _explained(finished: Finished, blockers: Sequence[Blocker], lock_wait: float) -> PgopsError:
    untouched = "the database was only read; no backup was written"
    said = finished.stderr
    if "lock timeout" in said or "could not obtain lock" in said:
        by = "; ".join(map(str, blockers)) or "a session that has gone since"
        return LockedError(
            f"a table could not be locked for reading within {lock_wait:g} s; in the way: {by}",
            untouched=untouched,
            hint="try again when that has ended, or give it more time with --lock-wait=<seconds>",
        )
    if "No space left on device" in said:
        hint = "free some space, or point backups.store elsewhere in environments.yaml"
    elif "permission denied" in said:
        hint = "grant pg_read_all_data to the role, or back up as the owner"
    else:
        hint = "invoke env.check says whether the server is well"
    return ToolError(finished, untouched=untouched, hint=hint)


def _globals_warning(finished: Finished, file: Path) -> list[str]:
    """Roles are worth having, but their lack does not make the data worth less."""
    if finished.exit_code == 0:
        return []
    file.unlink(missing_ok=True)
    said = "; ".join(finished.stderr.split("\n")[:2]).strip()
    return [f"roles and tablespaces were not saved: pg_dumpall ended with {finished.exit_code}: {said}"]


def _is_counted(relation: Relation, *, standby: bool) -> bool:
    """Whether the archive holds this relation's rows."""
    return relation.kind == "r" and not (standby and relation.persistence == "u")


def _refuse_unreadable(target: Target, found: Sequence[Relation], *, standby: bool) -> None:
    untouched = "nothing was written"
    # Foreign tables and materialised views are dumped as definitions.
    data = [each for each in found if each.kind == "S" or _is_counted(each, standby=standby)]
    if unreadable := [each.quoted for each in data if not each.readable]:
        raise PgopsError(
            f"{target.user} may not read {_some(unreadable)}",
            untouched=untouched,
            hint=f"GRANT pg_read_all_data TO {target.user}; (PostgreSQL 14 and later), or back up as the owner",
        )
    if hidden := [each.quoted for each in data if each.row_security]:
        raise PgopsError(
            f"row security would hide rows of {_some(hidden)} from {target.user}",
            untouched=untouched,
            hint=f"ALTER ROLE {target.user} BYPASSRLS; or back up as a role that sees every row",
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _warnings(tables: Sequence[Relation], facts: ServerFacts) -> list[str]:
    warnings = []
    if foreign := [each.quoted for each in tables if each.kind == "f"]:
        warnings.append(f"rows of foreign tables are not in the backup: {_some(foreign)}")
    unlogged = [each.quoted for each in tables if each.persistence == "u"]
    if facts.in_recovery:
        warnings.append("taken from a standby: a migration on the primary was not kept waiting")
        if unlogged:
            warnings.append(f"a standby has no rows of unlogged tables: {_some(unlogged)}")
    return warnings


class _Monitor:
    """Looks at the server twice a second while pg_dump works: how far it is, and who stands in its way."""

    def __init__(
        self, control: Connection, name: str, tables: Sequence[Relation], observer: Observer
    ) -> None:
        self._control = control
        self._name = name
        self._tables = {each.oid: each for each in tables}
        self._total = float(sum(each.bytes for each in tables)) or 1.0
        self._observer = observer
        self._done: dict[int, float] = {}
        self._active: set[int] = set()
        self._next = 0.0
        # Since PostgreSQL 14.
        self._visible = bool(
            fetch_value(control, "SELECT to_regclass('pg_catalog.pg_stat_progress_copy') IS NOT NULL")
        )
        self.blockers: list[Blocker] = []

    def look(self) -> None:
        """Report progress, at most twice a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LOOK_EVERY
        self._find_blockers()
        if self._visible:
            self._report()

    def _find_blockers(self) -> None:
        pids = fetch_value(
            self._control,
            "SELECT array_agg(DISTINCT b) FROM pg_stat_activity AS a, unnest(pg_blocking_pids(a.pid)) AS b"
            " WHERE a.application_name = %s AND a.wait_event_type = 'Lock'",
            (self._name,),
        )
        if pids:
            self.blockers = sessions(self._control, pids)

    def _report(self) -> None:
        rows = fetch_all(
            self._control,
            "SELECT p.relid::bigint, p.bytes_processed, p.tuples_processed FROM pg_stat_progress_copy AS p"
            " JOIN pg_stat_activity AS a USING (pid) WHERE a.application_name = %s",
            (self._name,),
        )
        active = {int(row[0]) for row in rows}
        for oid in self._active - active:
            self._done[oid] = float(self._tables[oid].bytes) if oid in self._tables else 0.0
        self._active = active
        for oid, size, _rows in rows:
            # The copied text may be larger than the table on disk; a bar does not run over its end.
            limit = self._tables[oid].bytes if oid in self._tables else size
            self._done[oid] = float(min(size, limit))
        text = ", ".join(
            f"{self._tables[oid].name} {rows:,} rows" for oid, _size, rows in rows if oid in self._tables
        )
        self._observer.progress(sum(self._done.values()), self._total, text)
