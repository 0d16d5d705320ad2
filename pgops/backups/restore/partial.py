"""Restoring part of a backup into a schema of its own, without touching anything else in the target.

The archive's definitions and the chosen tables' rows go into a scratch database beside the target.
There the tables move into a schema with a name of its own, lose what would tie them to live data
(foreign keys to other tables, triggers, rules), and that schema alone is dumped and restored into the
target in one transaction: it is there whole, or not at all.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops.backups.database.attributes import attributes_of, merged
from pgops.backups.database.errors import database_errors
from pgops.backups.load import side_databases
from pgops.backups.load.pg_restore import APPLICATION, load_archive
from pgops.backups.load.side_database import Hooks, Step, remove_leftovers, restore_lock, side_database
from pgops.backups.load.side_databases import new_marker
from pgops.backups.manifest.manifest import DUMP_DIRECTORY, Manifest, Table
from pgops.backups.repository.cache import private_directory
from pgops.backups.repository.repository import Repository
from pgops.backups.restore.plan import RestorePlan
from pgops.backups.verify.reading import undamaged_files
from pgops.errors import RefusedError, UsageError, VerificationError
from pgops.pgtools import check, list_command, restore_command, run
from pgops.postgres import (
    WORKING,
    Connection,
    Target,
    codec,
    connected,
    execute,
    fetch_all,
    fetch_value,
    identifier,
    with_options,
)

# Tied to live data, or computed from tables whose rows are not there.
_LEFT_OUT = (
    "FK CONSTRAINT",
    "EVENT TRIGGER",
    "TRIGGER",
    "RULE",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "SUBSCRIPTION",
    "SUBSCRIPTION TABLE",
    "MATERIALIZED VIEW DATA",
    "BLOB",
    "BLOBS",
    "BLOB METADATA",
    # May speak of something that was left out; and nobody but the owner gets at the copies.
    "COMMENT",
    "ACL",
    "DEFAULT ACL",
    "SECURITY LABEL",
)
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<rest>.*)")


@dataclass(frozen=True, slots=True)
class Parts:
    """Tables to restore, and the schema that is made for them."""

    tables: tuple[Table, ...]
    schema: str


@dataclass(frozen=True, slots=True)
class RestoredParts:
    """What was restored: rows of each table, now in ``schema``."""

    schema: str
    rows: dict[str, int]
    seconds: float


def choose_parts(manifest: Manifest, tables: Sequence[str], schemas: Sequence[str], restore_id: str) -> Parts:
    """The tables that these words name: ``name`` or ``schema.name``, and whole schemas.

    :raises UsageError: a word names nothing in the backup, or a bare name could be several tables.
    """
    chosen: dict[tuple[str, str], Table] = {}
    for schema in schemas:
        found = [each for each in manifest.tables if each.schema == schema and each.rows is not None]
        if not found:
            raise _unknown("schema", schema, sorted({each.schema for each in manifest.tables}))
        chosen |= {(each.schema, each.name): each for each in found}
    for word in tables:
        found = [each for each in manifest.tables if word in (each.name, f"{each.schema}.{each.name}")]
        if len(found) > 1:
            raise UsageError(
                f"{word!r} could be any of {', '.join(f'{each.schema}.{each.name}' for each in found)}",
                untouched="nothing was touched",
                hint="give the schema too: --table=schema.name",
            )
        if not found or found[0].rows is None:
            raise _unknown("table", word, [f"{each.schema}.{each.name}" for each in manifest.tables])
        chosen[found[0].schema, found[0].name] = found[0]
    names = [each.name for each in chosen.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"tables of several schemas are called {', '.join(twice)}; they can't be in one schema",
            untouched="nothing was touched",
            hint="restore the schemas one by one",
        )
    return Parts(tuple(chosen.values()), f"restored_{restore_id}")


def _unknown(what: str, word: str, known: Sequence[str]) -> UsageError:
    bare = {each.rpartition(".")[2]: each for each in known}
    near = difflib.get_close_matches(word, [*known, *bare], n=1)
    meant = f"; did you mean {bare.get(near[0], near[0])!r}?" if near else ""
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return UsageError(
        f"the backup holds no rows of {what} {word!r}{meant}",
        untouched="nothing was touched",
        hint=f"it holds: {shown}",
    )


def restore_parts(
    plan: RestorePlan,
    repository: Repository,
    parts: Parts,
    hooks: Hooks,
    *,
    now: dt.datetime,
    jobs: int,
    lock_wait: float = 30.0,
) -> RestoredParts:
    """Restore the chosen tables into a new schema of the target.

    :raises RefusedError: there is no target database.
    :raises VerificationError: the backup is damaged, or a table came back with another number of rows.
    :raises ToolError: a client program failed.
    """
    plan.refuse()
    if plan.around.oid is None:
        raise RefusedError(
            f"there is no database {plan.target.place} to restore tables into",
            untouched="nothing was touched",
            hint="restore the whole backup: leave --table and --schema out",
        )
    started = time.monotonic()
    target, manifest = plan.target, plan.backup.manifest
    untouched = f"{target.place} is what it was before"
    with database_errors(target, untouched=untouched), contextlib.ExitStack() as stack:
        admin = stack.enter_context(restore_lock(plan.admin, target, wait=lock_wait))
        hooks.step(Step.CHECKING)
        states = stack.enter_context(undamaged_files(plan.backup, repository, hooks.progress))
        directory = states.root
        remove_leftovers(admin, target.dbname)
        scratch = stack.enter_context(_scratch(admin, plan, hooks, now))
        room = stack.enter_context(private_directory())
        hooks.step(Step.LOADING)
        listed = check(
            run(plan.tools.toolset.runner, list_command(directory / DUMP_DIRECTORY), paths=[directory])
        )
        wanted = room / "list"
        wanted.write_text(filtered_list(listed.stdout, parts.tables, manifest.encoding), encoding="utf-8")
        load_archive(
            plan.tools.toolset,
            directory,
            manifest,
            target=scratch,
            admin=plan.admin,
            options=plan.options,
            jobs=jobs,
            extra=[f"--use-list={wanted}", *plan.left_out],
            reach=[room],
            progress=hooks.progress,
        )
        states.refuse_changes(plan.backup.id, untouched=untouched)
        hooks.step(Step.SETTING)
        with connected(scratch, application_name=APPLICATION, settings=WORKING) as connection:
            _move(connection, parts)
        _carry(plan, scratch, parts, room / "part")
        with database_errors(
            target, untouched=f"{target.place} has schema {parts.schema} now, and nothing else was changed"
        ):
            hooks.step(Step.COMPARING)
            rows = _counted(target, parts)
            _drop_scratch(plan, scratch.dbname)
    return RestoredParts(parts.schema, rows, time.monotonic() - started)


@contextlib.contextmanager
def _scratch(admin: Connection, plan: RestorePlan, hooks: Hooks, now: dt.datetime) -> Iterator[Target]:
    """A database for the whole of the archive's definitions; dropped when the block fails."""
    target = plan.target
    marker = new_marker(target.dbname, environment=target.environment, backup=plan.backup.id, now=now)
    attributes = merged(plan.around.here, attributes_of(plan.backup.manifest))
    scratch = target.with_database(marker.name)
    with side_database(admin, scratch, attributes, marker, hooks, major=plan.around.facts.major):
        yield scratch


def _drop_scratch(plan: RestorePlan, scratch: str) -> None:
    """Drop the scratch database, over a new connection: the old one had nothing to do for a long time."""
    with connected(plan.admin, application_name=APPLICATION, settings=WORKING) as connection:
        side_databases.drop(connection, scratch)


def filtered_list(listing: str, tables: Sequence[Table], encoding: str) -> str:
    """The archive's table of contents with all definitions and only these tables' rows.

    pg_restore writes each entry on one line, newlines in names as spaces. A name that is ambiguous in
    that form at worst lets another table's rows in, which are not carried on.

    :param encoding: the archive's, by PostgreSQL's name. Its names are in it, and were read as UTF-8 like all
        that programs say; the wanted ones go the same way. Only an entry's number counts in the end.
    """
    bytes_of = "utf-8" if encoding == "SQL_ASCII" else codec(encoding)
    wanted = tuple(
        f"TABLE DATA {each.schema} {each.name} ".replace("\n", " ")
        .replace("\r", " ")
        .encode(bytes_of, "replace")
        .decode("utf-8", "replace")
        for each in tables
    )
    kept = []
    # Not splitlines: a name may hold what Unicode takes for a line's end.
    for line in listing.split("\n"):
        match = _ENTRY.match(line)
        if match is None:
            continue
        rest = match["rest"]
        if rest.startswith("TABLE DATA "):
            if rest.startswith(wanted):
                kept.append(line)
        elif not rest.startswith(tuple(f"{each} " for each in _LEFT_OUT)):
            kept.append(line)
    return "\n".join(kept) + "\n"


def _move(connection: Connection, parts: Parts) -> None:
    """Put the tables into the schema that is carried over; partitions leave their parents first."""
    schema = identifier(parts.schema)
    execute(connection, f"CREATE SCHEMA {schema}")
    for table in parts.tables:
        name = identifier(table.schema, table.name)
        parent = fetch_value(
            connection,
            "SELECT i.inhparent::regclass::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
            " WHERE i.inhrelid = %s::regclass AND c.relispartition",
            (name,),
        )
        if parent is not None:
            execute(connection, f"ALTER TABLE {parent} DETACH PARTITION {name}")
        for (ancestor,) in fetch_all(
            connection,
            "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = %s::regclass",
            (name,),
        ):
            execute(connection, f"ALTER TABLE {name} NO INHERIT {ancestor}")
        execute(connection, f"ALTER TABLE {name} SET SCHEMA {schema}")


def _carry(plan: RestorePlan, scratch: Target, parts: Parts, archive: Path) -> None:
    """Dump the schema from the scratch database and restore it into the target, all or nothing."""
    runner = plan.tools.toolset.runner
    dump = [
        "pg_dump",
        "--format=custom",
        "--compress=0",
        f"--file={archive}",
        f"--schema={parts.schema}",
        "--no-publications",
        "--no-subscriptions",
        "--no-password",
    ]
    check(run(runner, dump, target=scratch, paths=[archive.parent], application_name=APPLICATION))
    extra = ["--single-transaction", *plan.left_out]
    command = [
        each
        for each in restore_command(archive, database=plan.target.dbname, jobs=1, extra=extra)
        if not each.startswith("--jobs")
    ]
    into = with_options(plan.target, plan.options)
    check(run(runner, command, target=into, paths=[archive.parent], application_name=APPLICATION))


def _counted(target: Target, parts: Parts) -> dict[str, int]:
    problems, rows = [], {}
    with connected(
        target, application_name=APPLICATION, settings={**WORKING, "row_security": "off"}
    ) as connection:
        for table in parts.tables:
            found = int(
                fetch_value(connection, f"SELECT count(*) FROM ONLY {identifier(parts.schema, table.name)}")
            )
            rows[f"{table.schema}.{table.name}"] = found
            if found != table.rows:
                problems.append(f"{table.schema}.{table.name} has {found} rows, the backup has {table.rows}")
    if problems:
        raise VerificationError(
            f"what was restored into schema {parts.schema} is not what the manifest says: {'; '.join(problems)}",
            untouched=f"nothing but schema {parts.schema} was changed",
            hint=f"DROP SCHEMA {identifier(parts.schema)} CASCADE",
        )
    return rows
