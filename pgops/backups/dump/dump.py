"""One consistent, parallel dump: a snapshot held open, pg_dump on it, everything else read in it.

Rows are read once, by pg_dump. How many they are is known when the archive is read back.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pgops.backups.database import inventory
from pgops.backups.database.inventory import Beside, Relation
from pgops.backups.database.progress import Monitor, Observer, reading
from pgops.backups.database.restorable import what_hinders_a_restore
from pgops.backups.manifest.manifest import (
    CONTENTS_NAME,
    DUMP_DIRECTORY,
    GLOBALS_NAME,
    InvalidIndex,
    SequenceValue,
)
from pgops.errors import LockedError, PgopsError
from pgops.pgtools import (
    Child,
    Finished,
    ToolError,
    Toolset,
    dump_command,
    globals_command,
    remove_column_versions,
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
    identifier,
    no_session_timeouts,
)
from pgops.units import human_bytes

SESSION_PREFIX = "pgops dump "
"""How the server sessions of a dump are called: those of a dead one are found and ended by it."""

_DUMPS_STATISTICS = 18
_FEW_TABLES = 300
_LOCK_NOT_AVAILABLE = "55P03"
UNTOUCHED = "the database was only read; no backup was written"
_REAP_WITHIN = 10.0
# Text compresses to a quarter or less; indexes are not in a dump at all.
_EXPECTED_SHARE = 4
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Dumped:
    """What the dump's own snapshot says is in the archive; of ``filled`` tables it has the rows."""

    snapshot: str
    heads: tuple[str, ...]
    filled: tuple[Relation, ...]
    others: tuple[Relation, ...]
    sequences: tuple[SequenceValue, ...]
    beside: Beside
    warnings: tuple[str, ...]
    text_bytes: int
    """About how long the rows are as text, uncompressed: what reading them back has to go through."""


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
    :raises PgopsError: something can't be read by this role.
    :raises DatabaseError: the server went away, or refuses something.
    """
    name = session_name(backup_id)
    monitor = Monitor(control, name, observer)
    try:
        with (
            _reaped(control, target, name),
            _snapshot(target, facts, name, lock_wait) as (connection, snapshot),
            reading(connection, monitor) as reader,
        ):
            found = reader.wait_for(inventory.relations)
            tables = [each for each in found if each.kind != "S"]
            _refuse_unreadable(target, found, standby=facts.in_recovery)
            filled = [each for each in tables if _has_rows(each, standby=facts.in_recovery)]
            monitor.expect(filled)
            _refuse_too_little_room(directory, filled)
            sequences = [each for each in found if each.kind == "S"]
            before = reader.wait_for(_unlocked(lambda through: inventory.sequences(through, sequences)))
            heads = reader.wait_for(_unlocked(lambda through: inventory.alembic_heads(through, filled)))
            warnings = _warnings(tables, facts)
            globals_file = directory / GLOBALS_NAME
            extra = _statistics(facts, toolset, len(tables))
            with _tools(toolset, target, name, directory, globals_file, snapshot, jobs, lock_wait, extra) as (
                dumping,
                globals_,
            ):
                looking = reader.start(inventory.beside)
                finished = wait(dumping, lambda: reader.look(looking))
                if finished.exit_code != 0:
                    raise _explained(finished, monitor.blockers, lock_wait)
                remove_column_versions(directory / DUMP_DIRECTORY)
                _keep_the_contents_twice(directory)
                left = inventory.still_there(control, sequences)
                after = reader.wait_for(_unlocked(lambda through: inventory.sequences(through, left)))
                warnings += _globals_warning(wait(globals_), globals_file)
            beside = looking.result()
            warnings += _invalid_index_warnings(beside.invalid_indexes)
            warnings += reader.wait_for(lambda through: what_hinders_a_restore(through, facts.major))
            return Dumped(
                snapshot=snapshot,
                heads=heads,
                filled=tuple(filled),
                others=tuple(each for each in tables if not _has_rows(each, standby=facts.in_recovery)),
                sequences=_least(before, after, beside.descending),
                beside=beside,
                warnings=tuple(warnings),
                text_bytes=monitor.text_bytes,
            )
    except DatabaseError as error:
        if error.pgcode == _LOCK_NOT_AVAILABLE:
            raise _not_locked(monitor.blockers, lock_wait) from error
        raise


def _keep_the_contents_twice(directory: Path) -> None:
    """A table of contents that is damaged would cost the whole archive; it is small. Where it is missing, reading tells."""
    contents = directory / DUMP_DIRECTORY / "toc.dat"
    if contents.is_file():
        shutil.copyfile(contents, directory / CONTENTS_NAME)


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
def _snapshot(
    target: Target, facts: ServerFacts, name: str, lock_wait: float
) -> Iterator[tuple[Connection, str]]:
    """A transaction that exports its snapshot and lives as long as the block."""
    settings = {
        "statement_timeout": "0",
        "lock_timeout": f"{max(1, round(lock_wait * 1000))}ms",
        "idle_in_transaction_session_timeout": "0",
        # Fail where a row-security policy would hide rows, as pg_dump does, instead of leaving them out.
        "row_security": "off",
        "max_parallel_workers_per_gather": "0",
        "search_path": "pg_catalog",
        **no_session_timeouts(facts.major),
    }
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
    extra: Sequence[str],
) -> Iterator[tuple[Child, Child]]:
    """pg_dump and pg_dumpall at work for the block."""
    argv = dump_command(
        directory / DUMP_DIRECTORY,
        jobs=jobs,
        snapshot=snapshot,
        compression=toolset.compression,
        lock_wait=lock_wait,
        extra=extra,
    )
    start = {"target": target, "paths": [directory], "application_name": name}
    with (
        running(toolset.runner, argv, **start) as dumping,  # type: ignore[arg-type]
        running(toolset.runner, globals_command(globals_file, target.dbname), **start) as globals_,  # type: ignore[arg-type]
    ):
        yield dumping, globals_


def _statistics(facts: ServerFacts, toolset: Toolset, tables: int) -> list[str]:
    """Whether pg_dump takes the planner's statistics along: a restore then needs no ANALYZE.

    pg_dump asks for them table by table. Of 2,000 small tables it takes half as long again for that, and ANALYZE
    of those takes a second: so not where there are many.
    """
    able = min(facts.major, toolset.major) >= _DUMPS_STATISTICS
    return ["--statistics"] if able and tables <= _FEW_TABLES else []


def _not_locked(blockers: Sequence[Blocker], lock_wait: float) -> LockedError:
    by = "; ".join(map(str, blockers)) or "a session that has gone since"
    return LockedError(
        f"a table could not be locked for reading within {lock_wait:g} s; in the way: {by}",
        untouched=UNTOUCHED,
        hint="try again when that has ended, or give it more time with --lock-wait=<seconds>",
    )


def _explained(finished: Finished, blockers: Sequence[Blocker], lock_wait: float) -> PgopsError:
    said = finished.stderr
    if "lock timeout" in said or "could not obtain lock" in said:
        return _not_locked(blockers, lock_wait)
    if "No space left on device" in said:
        hint = "free some space, or point backups.store elsewhere in environments.yaml"
    elif "max_locks_per_transaction" in said:
        # Each worker locks its tables, the first one all of them.
        hint = (
            "raise max_locks_per_transaction in the server (that takes its restart), or set backups.jobs to 1"
        )
    elif "permission denied" in said:
        hint = "grant pg_read_all_data to the role, or back up as the owner"
    else:
        hint = "invoke env.check says whether the server is well"
    return ToolError(finished, untouched=UNTOUCHED, hint=hint)


def _unlocked(query: Callable[[Connection], _T]) -> Callable[[Connection], _T]:
    """The query, with nothing that it read kept locked.

    Whoever waits to drop or truncate that would wait for our transaction, and pg_dump for him: for ever.
    """

    def run(connection: Connection) -> _T:
        execute(connection, "SAVEPOINT before_reading")
        found = query(connection)
        execute(connection, "ROLLBACK TO SAVEPOINT before_reading")
        return found

    return run


def _least(
    before: Sequence[SequenceValue], after: Sequence[SequenceValue], descending: Collection[tuple[str, str]]
) -> tuple[SequenceValue, ...]:
    """Of two looks at the same sequences the value of each that was less far on.

    Between them pg_dump looked for itself. A sequence may have been drawn from before that, or set back; one
    that was dropped since keeps its first value.
    """
    later = {(each.schema, each.name): each for each in after}
    pairs = ((each, later.get((each.schema, each.name), each)) for each in before)
    return tuple(there if inventory.is_before(there, here, descending) else here for here, there in pairs)


def _invalid_index_warnings(found: Sequence[InvalidIndex]) -> list[str]:
    warnings = []
    if kept := [identifier(each.schema, each.name) for each in found if each.partitioned]:
        warnings.append(
            f"these indexes are invalid, and a restored database has them so: {_some(kept)}; "
            "a partition lacks an index of its own"
        )
    if left_out := [identifier(each.schema, each.name) for each in found if not each.partitioned]:
        warnings.append(
            f"these indexes are invalid and not in the backup: {_some(left_out)}; "
            "REINDEX INDEX CONCURRENTLY or drop them"
        )
    return warnings


def _globals_warning(finished: Finished, file: Path) -> list[str]:
    """Roles are worth having, but their lack does not make the data worth less."""
    if finished.exit_code == 0:
        return []
    file.unlink(missing_ok=True)
    said = "; ".join(line.strip() for line in finished.stderr.splitlines()[:2])
    return [f"roles and tablespaces were not saved: pg_dumpall ended with {finished.exit_code}: {said}"]


def _refuse_too_little_room(directory: Path, tables: Sequence[Relation]) -> None:
    """A dump that can't fit is not begun. What it will need nobody knows; a quarter of the tables is little."""
    free, needed = shutil.disk_usage(directory).free, sum(each.bytes for each in tables) // _EXPECTED_SHARE
    if free < needed:
        raise PgopsError(
            f"{directory.parent} has {human_bytes(free)} free; the backup is likely to need {human_bytes(needed)}",
            untouched=UNTOUCHED,
            hint="free some space, or point backups.store elsewhere in environments.yaml",
        )


def _has_rows(relation: Relation, *, standby: bool) -> bool:
    """Whether the archive holds this relation's rows: those of foreign tables and materialised views it does not."""
    return relation.kind == "r" and not (standby and relation.persistence == "u")


def _refuse_unreadable(target: Target, found: Sequence[Relation], *, standby: bool) -> None:
    untouched = "nothing was written"
    # Foreign tables and materialised views are dumped as definitions.
    data = [each for each in found if each.kind == "S" or _has_rows(each, standby=standby)]
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
