"""Restore what can be had of a backup that can't be restored whole: beside its target, never in its place.

The archive is loaded by the code that restores, but no error ends it: every one is kept and told. What is in the way of
rows and can be moved is moved: a file that is damaged keeps no other from being read, and functions that need a
search_path have one while the rows are loaded. At the end the database is compared with the manifest, table by table.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pgops.backups.database.attributes import attributes_of, existing_roles, setting_statements
from pgops.backups.database.errors import database_errors, interrupt_errors
from pgops.backups.load.file_states import contents_hash
from pgops.backups.load.pg_restore import without_event_triggers
from pgops.backups.load.side_database import Hooks, Step, remove_leftovers, restore_lock, side_database
from pgops.backups.load.side_databases import new_marker, side_database_name
from pgops.backups.manifest.manifest import CONTENTS_NAME, DUMP_DIRECTORY, MANIFEST_NAME
from pgops.backups.repository.repository import Repository
from pgops.backups.restore.plan import RestorePlan
from pgops.backups.restore.rebuilt import read_header
from pgops.backups.restore.restore import attributes_for, restore_arguments
from pgops.backups.restore.salvaged import Salvaged, TableLeft
from pgops.backups.restore.tolerant_load import TolerantLoad
from pgops.backups.verify.against_manifest import compare
from pgops.backups.verify.reading import check_files
from pgops.errors import PgopsError, VerificationError
from pgops.pgtools import list_command, run, with_contents
from pgops.postgres import (
    Connection,
    DatabaseError,
    Target,
    connected,
    execute,
    fetch_all,
    fetch_value,
    identifier,
    literal,
)

_ENTRY = re.compile(r"^(\d+); \d+ \d+ (.*)$", re.MULTILINE)


def salvage(
    plan: RestorePlan,
    repository: Repository,
    hooks: Hooks,
    *,
    now: dt.datetime,
    jobs: int,
    lock_wait: float = 30.0,
) -> Salvaged:
    """Bring everything that can be had into ``<database>__salvaged_<id>``. The target is not touched.

    :param now: part of the name that the database gets.
    :param jobs: how many tables at once.
    :raises VerificationError: not even the table of contents can be read.
    :raises LockedError: a restore is under way.
    :raises UnreachableError: the server was lost; what was begun is dropped.
    """
    started = time.monotonic()
    target, manifest = plan.target, plan.backup.manifest
    untouched = f"{target.place} was not touched"
    lost: list[str] = []

    def not_opened(name: str, error: VerificationError) -> None:
        lost.append(f"{name}: {error.message}")

    with (
        database_errors(target, untouched=untouched),
        interrupt_errors(untouched=untouched),
        restore_lock(plan.admin, target, wait=lock_wait) as admin,
        repository.local(plan.backup.id, hooks.progress, not_opened) as directory,
        contextlib.ExitStack() as contents_from,
    ):
        hooks.step(Step.CHECKING)
        rebuilt = not manifest.files
        problems = (
            ["manifest.json: damaged or gone, so that nothing says what was backed up"]
            if rebuilt
            else check_files(directory, manifest, hooks.progress)
        )
        files = [*lost, *problems]
        archive = contents_from.enter_context(_readable_archive(directory, files))
        entries = _entries(plan, archive, untouched)
        remove_leftovers(admin, target.dbname)
        marker = new_marker(target.dbname, environment=target.environment, backup=plan.backup.id, now=now)
        new = without_event_triggers(admin, plan.admin, target.with_database(marker.name))
        attributes = attributes_for(plan, plan.around.here)
        with side_database(admin, new, attributes, marker, hooks, major=plan.around.facts.major):
            wanted = attributes_of(manifest)
            roles = existing_roles(admin, [each.role for each in wanted.settings if each.role])
            for statement in setting_statements(new.dbname, attributes, roles=roles):
                execute(admin, statement)
            hooks.step(Step.LOADING)
            # Where its own table of contents is damaged, what is read is no more than that.
            known = (
                "" if "toc.dat" in _damaged(files) or archive.parent != directory else contents_hash(manifest)
            )
            load = TolerantLoad(plan, archive, new, hooks, restore_arguments(plan, attributes), known)
            load.section("pre-data", jobs)
            with _with_search_path(new) as helped:
                _load_rows(load, entries, _damaged(files), jobs)
                _try_again(load, entries, _rows_missing(new, plan)[0])
                load.section("post-data", jobs)
                hooks.step(Step.COMPARING)
                tables, rows = _rows_missing(new, plan)
                count = len(manifest.tables) - len([each for each in tables if each.there is None])
                if rebuilt:
                    count, rows = _what_is_there(new)
                differences = () if rebuilt else _differences(new, plan, jobs)
            name = side_database_name(target.dbname, "salvaged", marker.restore)
            _keep(admin, new.dbname, name, plan.backup.id)
    return Salvaged(
        backup=plan.backup,
        database=name,
        tables=count,
        rows=rows,
        missing_tables=tuple(tables),
        objects=tuple(load.failed),
        files=tuple(files),
        differences=differences,
        helped=tuple(helped),
        seconds=time.monotonic() - started,
    )


@contextlib.contextmanager
def _readable_archive(directory: Path, problems: Sequence[str]) -> Iterator[Path]:
    """The archive with a table of contents that can be read: where its own is damaged or gone, the second one."""
    second = directory / CONTENTS_NAME
    damaged = {each.partition(": ")[0] for each in problems}
    name = f"{DUMP_DIRECTORY}/toc.dat"
    # Without a manifest nobody knows which of both is damaged.
    unknown = MANIFEST_NAME in damaged and not _begins_well(directory / name)
    if not (name in damaged or unknown) or CONTENTS_NAME in damaged or not _begins_well(second):
        yield directory / DUMP_DIRECTORY
        return
    with with_contents(directory / DUMP_DIRECTORY, second.read_bytes()) as archive:
        yield archive


def _begins_well(contents: Path) -> bool:
    if not contents.is_file() or contents.is_symlink():
        return False
    try:
        read_header(contents.read_bytes())
    except VerificationError:
        return False
    return True


def _what_is_there(new: Target) -> tuple[int, int]:
    """Tables and rows of a database, where nothing says what they should be."""
    with connected(
        new, application_name="pgops salvage: counting", settings={"statement_timeout": "0"}
    ) as connection:
        tables = fetch_all(
            connection,
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class AS c"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'",
        )
        counts = (
            fetch_value(connection, f"SELECT count(*) FROM ONLY {identifier(schema, name)}")
            for schema, name in tables
        )
        return len(tables), sum(map(int, counts))


def _entries(plan: RestorePlan, archive: Path, untouched: str) -> dict[int, str]:
    """The table of contents: what each entry is, by its number."""
    listed = run(plan.tools.toolset.runner, list_command(archive), paths=[archive])
    if listed.exit_code != 0:
        raise VerificationError(
            f"nothing of {plan.backup.id} can be had: its table of contents can't be read: {listed.stderr.strip()}",
            untouched=untouched,
            hint="use another backup: invoke backup.list",
        )
    # Statistics are of tables as they were, not as they are salvaged.
    return {
        int(number): what
        for number, what in _ENTRY.findall(listed.stdout)
        if not what.startswith("STATISTICS DATA ")
    }


def _damaged(problems: Sequence[str]) -> set[str]:
    """Names of the archive's files that are damaged or gone."""
    paths = [PurePosixPath(each.partition(": ")[0]) for each in problems]
    return {each.name for each in paths if each.parts[:1] == (DUMP_DIRECTORY,)}


def _load_rows(load: TolerantLoad, entries: dict[int, str], damaged: set[str], jobs: int) -> None:
    """The rows: first those of sound files, all at once; then each of the others by itself, and no one spoils another."""
    numbers = {int(name.partition(".")[0]) for name in damaged if name.partition(".")[0].isdecimal()}
    large_objects = any(name.startswith("blob") for name in damaged)
    apart = [
        number
        for number, what in entries.items()
        if number in numbers or (large_objects and what.startswith(("BLOBS", "BLOB METADATA", "BLOB ")))
    ]
    load.entries([each for each in entries if each not in apart], jobs, "rows")
    for each in apart:
        load.entries([each], 1, entries[each])


def _try_again(load: TolerantLoad, entries: dict[int, str], missing: Sequence[TableLeft]) -> None:
    """Once more the tables that stayed empty, one by one: a CHECK may have looked at rows that are there only now."""
    for each in missing:
        if each.there != 0:
            continue  # a COPY brings all of its rows or none
        for number, what in entries.items():
            if what.startswith(f"TABLE DATA {each.schema} {each.name} "):
                # Where several worked at once an error may stand without its entry.
                said = f'COPY failed for table "{each.name}": '
                load.failed = [
                    failure
                    for failure in load.failed
                    if failure[0] != what and not failure[1].startswith(said)
                ]
                load.entries([number], 1, what)


@contextlib.contextmanager
def _with_search_path(new: Target) -> Iterator[list[str]]:
    """For the block every function without a search_path of its own has one: a restore has none.

    A CHECK, index or view that calls one that needs it would fail, and its table's rows would be lost.
    """
    helped: list[str] = []
    with connected(new, application_name="pgops salvage") as connection:
        schemas = [
            identifier(name)
            for (name,) in fetch_all(
                connection,
                "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\\_%'"
                " AND nspname <> 'information_schema' ORDER BY nspname <> 'public', nspname",
            )
        ]
        functions = fetch_all(
            connection,
            """
            SELECT pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
                   p.prokind = 'p'
              FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
              JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
             WHERE l.lanname IN ('sql', 'plpgsql') AND p.prokind IN ('f', 'p')
               AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
               AND coalesce(p.proconfig::text NOT LIKE '%search_path=%', true)
            """,
        )
        for name, is_procedure in functions if schemas else []:
            kind = "PROCEDURE" if is_procedure else "FUNCTION"
            execute(connection, f"ALTER {kind} {name} SET search_path = {', '.join(schemas)}, pg_temp")
            helped.append(f"{kind} {name}")
    yield helped
    with connected(new, application_name="pgops salvage") as connection:
        for each in helped:
            execute(connection, f"ALTER {each} RESET search_path")


def _differences(new: Target, plan: RestorePlan, jobs: int) -> tuple[str, ...]:
    """What else is not as the manifest says; a comparison that fails must not cost what was had."""
    try:
        return compare(new, plan.backup.manifest, jobs=jobs).problems
    except (PgopsError, DatabaseError) as error:
        return (f"the comparison with the manifest was broken off: {str(error).splitlines()[0]}",)


def _rows_missing(new: Target, plan: RestorePlan) -> tuple[list[TableLeft], int]:
    """Tables that have not the rows of the manifest, and the rows that are there in all."""
    found: list[TableLeft] = []
    total = 0
    settings = {"search_path": "pg_catalog", "row_security": "off", "statement_timeout": "0"}
    with connected(new, application_name="pgops salvage: counting", settings=settings) as connection:
        for table in plan.backup.manifest.tables:
            whole = identifier(table.schema, table.name)
            oid = fetch_value(connection, "SELECT pg_catalog.to_regclass(%s)::oid", (whole,))
            if oid is None:
                found.append(TableLeft(table.schema, table.name, table.rows or 0, None))
            elif table.rows is not None:
                there = int(fetch_value(connection, f"SELECT count(*) FROM ONLY {whole}"))
                total += there
                if there != table.rows:
                    found.append(TableLeft(table.schema, table.name, table.rows, there))
    return found, total


def _keep(admin: Connection, name: str, kept: str, backup_id: str) -> None:
    """Give the database its own name: from here on it belongs to whoever asked for it, and no restore drops it."""
    execute(admin, f"ALTER DATABASE {identifier(name)} RENAME TO {identifier(kept)}")
    execute(admin, f"ALTER DATABASE {identifier(kept)} CONNECTION LIMIT -1")
    said = f"salvaged by pgops from backup {backup_id}: not all of it"
    execute(admin, f"COMMENT ON DATABASE {identifier(kept)} IS {literal(said)}")
