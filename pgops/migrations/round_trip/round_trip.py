"""Every revision up, down and up again on a scratch database, the schema compared at each turn.

What a review can't see: a downgrade that forgets an index, an enum that stays behind and makes the
next upgrade fail, a revision that reports success and applies nothing.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationStep

from pgops.environments import Environment
from pgops.errors import ConfigurationError, PgopsError, UsageError
from pgops.migrations.alembic_env import command_line
from pgops.migrations.alembic_env.environment import AlembicEnvironment, alembic_environment
from pgops.migrations.alembic_env.status import no_revisions
from pgops.migrations.autogenerate import drift
from pgops.migrations.autogenerate.other_tables import TableName, owned_by
from pgops.migrations.revisions.history import History, known_revision
from pgops.migrations.revisions.revision import Revision
from pgops.migrations.round_trip.carried import CarriedFiles
from pgops.migrations.round_trip.data import MigrationData, count_rows, lost
from pgops.migrations.round_trip.result import Base, RoundTrip, Step
from pgops.migrations.round_trip.schema import Schema, differences, read_schema
from pgops.migrations.run.watch import Watcher
from pgops.postgres import Connection, Target, connected, execute, fetch_all, fetch_value, identity
from pgops.runtime import temporary, watchdog

_LOCK_TIMEOUT = "10s"


class _StopError(Exception):
    """The database is not where the next step could start from."""


def run_round_trip(
    environment: Environment,
    scratch: Target,
    *,
    data: Path | None = None,
    base: Base | None = None,
    up_and_down: bool = True,
    since: str | None = None,
    on_step: Callable[[Step], None] = lambda _step: None,
    before: Sequence[Environment] = (),
    named: Collection[str] = (),
) -> RoundTrip:
    """Run a project's whole history on an empty database.

    :param environment: whose Alembic settings count; its own database is not touched.
    :param scratch: an empty database that nobody minds.
    :param data: the project's rows, see :mod:`pgops.migrations.round_trip.data`.
    :param up_and_down: also down and up again, each revision; else only up.
    :param since: what this revision builds on only goes up: an old history's downgrades are what they are.
    :param on_step: told after each revision.
    :param before: histories that are in the database already; what is theirs is not compared.
    :param named: revisions besides its own that functions of ``data`` may be named after.
    :raises UsageError: the history is empty.
    :raises PgopsError: env.py or the data file can't be loaded, or env.py connects elsewhere.
    """
    rows = MigrationData(data)
    if base is not None:
        with connected(scratch) as ours:
            # The base is the project's own code, and finds what the project's sessions find.
            execute(ours, "RESET ALL")
            execute(ours, base.sql.read_text(encoding="utf-8"))
    theirs = owned_by(before, scratch)
    with connected(scratch) as look:
        # Ctrl-C ends a statement that runs long; nobody is in the way on a scratch database.
        application = f"pgops migrate.test {scratch.dbname}"
        watcher = Watcher(scratch, application, interval=60, on_progress=lambda _progress: None)
        settings = {
            "application_name": application,
            "lock_timeout": _LOCK_TIMEOUT,
            "statement_timeout": f"{round(environment.timeouts.statement * 1000)}ms",
        }
        with (
            temporary.directory_below(temporary.own_directory("revisions")) as room,
            watcher.watching(),
            alembic_environment(
                environment,
                scratch,
                identity(look),
                settings=settings,
                looking=False,
                command=command_line.CURRENT,
            ) as alembic,
        ):
            history = alembic.history()
            if not history.revisions:
                raise UsageError(
                    f"there is nothing to test: {no_revisions(alembic.location)}",
                    untouched="no environment's database was touched",
                    hint="invoke migrate.revision -m '…' writes the first; is script_location the right directory?",
                )
            rows.check_names({*history.revisions, *named})
            carried = CarriedFiles(room)
            run = _Run(alembic, history, scratch, look, rows, carried)
            run.begin(base.revision if base else None)
            steps = list(run.walk(_only_up(history, up_and_down=up_and_down, since=since), on_step))
            lines, remark = _models(alembic, theirs, complete=run.complete)
    # An env.py may leave its connections to the garbage collector. They are collected while the server is
    # still there; Alembic keeps the module, and whatever it holds, under this name.
    sys.modules.pop("env_py", None)
    gc.collect()
    return RoundTrip(
        history.heads,
        history.unintended_heads(),
        tuple(steps),
        lines,
        (*run.remarks, *remark),
        tuple(carried.lacking),
    )


def _only_up(history: History, *, up_and_down: bool, since: str | None) -> Collection[str]:
    if not up_and_down:
        return history.revisions.keys()
    if since is None:
        return ()
    if since not in history.revisions:
        known_revision(history, since)
        raise UsageError(
            f"{since} is not the whole id of a revision",
            untouched="nothing was touched",
            hint="invoke migrate.history",
        )
    return history.ancestors([since]) - {since}


def _models(
    alembic: AlembicEnvironment, theirs: Collection[TableName], *, complete: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not complete:
        return (), ("the models were not compared: not every revision was applied",)
    try:
        alembic.stands_for(command_line.check())
        return drift.compare(alembic, theirs).lines, ()
    except ConfigurationError as error:
        return (), (f"the models were not compared: {error.message}",)


@dataclass
class _Run:
    alembic: AlembicEnvironment
    history: History
    scratch: Target
    look: Connection
    rows: MigrationData
    carried: CarriedFiles
    complete: bool = True
    remarks: list[str] = field(default_factory=list)
    _start: tuple[str, ...] = ()
    _without: tuple[str, ...] = ()

    def begin(self, revision: str | None) -> None:
        """Learn where the version table is, and stamp the base's revision if there is one."""
        found: list[str] = []

        def stamp(heads: tuple[str, ...], context: MigrationContext) -> Iterable[Any]:
            connection = context.connection
            assert connection is not None, "never offline here"
            # Asked on env.py's own connection: it may have a search_path of its own.
            schema = context.version_table_schema or str(
                connection.exec_driver_sql("SELECT pg_catalog.current_schema()").scalar()
            )
            found.append(self._quoted(schema, context.version_table))
            if revision:
                return self.alembic.script._stamp_revs(revision, heads)
            # Alembic commits with each step and here is none; an env.py that never closes its
            # connection would keep this transaction open for the whole round trip.
            running = self.alembic.running
            if hasattr(connection, "rollback") and not (running and running.external):
                connection.rollback()
            return []

        self.alembic.stands_for(command_line.stamp(revision) if revision else command_line.CURRENT)
        self.alembic.run(stamp, mutate=revision is not None)
        self._start = (revision,) if revision else ()
        self._without = tuple(found)

    def walk(self, only_up: Collection[str], on_step: Callable[[Step], None]) -> Iterator[Step]:
        """Every revision, parents first; stops where the next one could not start."""
        pending = self.history.pending(self._start)
        for place, revision in enumerate(pending):
            turn = self._there if revision in only_up else self._there_and_back
            problems: list[str] = []
            stopped = False
            before = self._schema()
            began = time.monotonic()
            try:
                after = turn(self.history.revisions[revision], before, problems)
            except _StopError:
                stopped, after = True, self._schema()
            step = Step(
                revision,
                self.history.revisions[revision].message,
                time.monotonic() - began,
                tuple(each.as_change() for each in differences(before, after)),
                tuple(problems),
            )
            with self.alembic.output.outside():
                on_step(step)
            yield step
            if stopped:
                self.complete = False
                if rest := len(pending) - place - 1:
                    self.remarks.append(f"{rest} later revisions were not tried")
                return

    def _there(self, revision: Revision, _before: Schema, problems: list[str]) -> Schema:
        problems += self.rows.run("before", revision.id, self.scratch)
        counted = self._counts()
        self._apply(revision, "upgrade", problems)
        problems += lost(counted, self._counts(), self.rows.may_lose(revision.id), "upgrade")
        problems += self.rows.run("after", revision.id, self.scratch)
        return self._schema()

    def _there_and_back(self, revision: Revision, before: Schema, problems: list[str]) -> Schema:
        after = self._there(revision, before, problems)
        counted = self._counts()
        try:
            self._down(revision, after, problems)
        except _StopError:
            if differences(after, self._schema()):
                problems.append("the failed downgrade left the database half done")
                raise
            return after
        problems += [
            f"after the downgrade, {each.as_fault()}" for each in differences(before, self._schema())
        ]
        problems += lost(counted, self._counts(), self.rows.may_lose(revision.id), "downgrade")
        self._apply(revision, "upgrade", problems, again=" after a downgrade")
        problems += [
            f"after the second upgrade, {each.as_fault()}" for each in differences(after, self._schema())
        ]
        return after

    def _down(self, revision: Revision, after: Schema, problems: list[str]) -> None:
        """By the file alone, as an older checkout would; where that fails and leaves no trace, by the one in its place."""
        script = self.alembic.script.get_revision(revision.id)
        found: list[str] = []
        with self.carried.standing_for(revision, script) as loaded:
            if loaded:
                try:
                    self._apply(revision, "downgrade", found)
                except _StopError as error:
                    self.carried.note(revision, error.__cause__)
                    if differences(after, self._schema()):
                        problems += found
                        raise
                else:
                    return
        self._apply(revision, "downgrade", problems)

    def _apply(self, revision: Revision, way: str, problems: list[str], *, again: str = "") -> None:
        script = self.alembic.script.get_revision(revision.id)
        self.alembic.stands_for(
            command_line.upgrade(revision.id) if way == "upgrade" else command_line.downgrade("-1")
        )
        make = MigrationStep.upgrade_from_script if way == "upgrade" else MigrationStep.downgrade_from_script
        step = make(self.alembic.script.revision_map, script)
        try:
            self.alembic.run_raw(lambda _heads, _context: [step], mutate=True)
        except PgopsError:
            raise
        except (Exception, SystemExit) as error:
            if watchdog.interrupted():
                raise KeyboardInterrupt from error
            problems.append(self.alembic.explained(error, f"{way}{again}").message)
            raise _StopError from error
        applied = revision.id in self.history.ancestors(self._heads_now())
        if applied != (way == "upgrade"):
            problems.append(f"the {way}{again} reported success and changed nothing")
            raise _StopError

    def _heads_now(self) -> list[str]:
        found: list[str] = []
        for table in self._without:
            found += [row[0] for row in fetch_all(self.look, f"SELECT version_num FROM {table}")]
        return found

    def _schema(self) -> Schema:
        return read_schema(self.look, without=self._without)

    def _counts(self) -> dict[str, int]:
        return count_rows(self.look, without=self._without) if self.rows.present else {}

    def _quoted(self, schema: str, table: str) -> str:
        return str(fetch_value(self.look, "SELECT format('%%I.%%I', %s::text, %s::text)", (schema, table)))
