"""Running somebody's env.py: our EnvironmentContext, in the surroundings it expects, guarded."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionMap

from pgops.environments import Environment
from pgops.errors import PgopsError, RefusedError
from pgops.migrations.alembic_env.command_line import Command, command_options
from pgops.migrations.alembic_env.config import build_config
from pgops.migrations.alembic_env.context import (
    GuardedContext,
    VersionTable,
    commit_what_nobody_holds,
    version_table_of,
)
from pgops.migrations.alembic_env.failures import asks_for_the_context, explain, what_it_lacks
from pgops.migrations.alembic_env.flask_app import FlaskApplication, without_an_application
from pgops.migrations.alembic_env.guard import NOWHERE, ConnectionGuard
from pgops.migrations.alembic_env.guest import as_a_guest
from pgops.migrations.alembic_env.one_database import refuse_several_databases
from pgops.migrations.alembic_env.output import OutputGuard
from pgops.migrations.alembic_env.quiet import our_own_logging, quiet_warnings, without_alembics_lines
from pgops.migrations.alembic_env.runner import Call, explained, import_path, load_runner
from pgops.migrations.alembic_env.second_attempt import Seen
from pgops.migrations.alembic_env.self_migrating import left_to_pgops
from pgops.migrations.alembic_env.settings import look_settings
from pgops.migrations.alembic_env.surroundings import handed_over, surroundings
from pgops.migrations.revisions.history import History, duplicate, read_files
from pgops.migrations.revisions.location import ScriptLocation, locate
from pgops.migrations.revisions.revision import NotPlainError, Revision, file_hash
from pgops.postgres import (
    Identity,
    Target,
    identity,
    read_only_session,
)

T = TypeVar("T")
Work = Callable[[tuple[str, ...], MigrationContext], Iterable[Any]]
"""What runs inside env.py's ``run_migrations()``: heads and context in, steps out (Alembic's ``fn``)."""


@dataclass(frozen=True)
class Scripts:
    """Revision files that are loaded already, and what loading them put on the import path."""

    directory: ScriptDirectory
    import_path: tuple[str, ...]
    history: History


class AlembicEnvironment:
    """One environment's Alembic, ready to run; made by :func:`alembic_environment`."""

    def __init__(
        self,
        environment: Environment,
        target: Target,
        location: ScriptLocation,
        guard: ConnectionGuard,
        output: OutputGuard,
        command: Command,
        scripts: Scripts | None,
        carried: Path | None,
    ) -> None:
        self.environment = environment
        self.target = target
        self.location = location
        self._carried = carried
        self.guard = guard
        self.output = output
        self.config = build_config(environment.alembic, location, target, command)
        self._runner = load_runner(environment)
        self._app = (
            FlaskApplication(environment, location, target, guard, output)
            if environment.alembic.app
            else None
        )
        self.running: GuardedContext | None = None
        self.version_tables: list[VersionTable] = []
        self._moved: tuple[Path, ...] = ()
        self.scripts = scripts or self._translated("the revisions", self._load)
        self.script = self.scripts.directory
        if self._lie_elsewhere(self.script):
            self._moved = tuple({Path(each.path).parent: None for each in self.script.walk_revisions()})

    def _load(self) -> Scripts:
        before = set(sys.path)
        self.script = directory = self.project_code(lambda: ScriptDirectory.from_config(self.config))
        if self.location.moves_revisions() is not None:
            self._let_env_py_move_them()
        elsewhere = self._lie_elsewhere(directory)
        if self._carried is not None:
            directory.version_locations = [*map(str, directory._version_locations), str(self._carried)]
            # Kept since its first use, and read already where env.py has moved the revisions.
            directory.__dict__.pop("_version_locations", None)
            directory.revision_map = RevisionMap(directory._load_revisions)
        history = self._history(directory, elsewhere=elsewhere)
        return Scripts(directory, tuple(each for each in sys.path if each not in before), history)

    def _lie_elsewhere(self, directory: ScriptDirectory) -> bool:
        """Whether Alembic reads other files than those in the configured place: env.py, or what is around it, said so."""
        if self.location.moves_revisions() is not None:
            return True
        read = {Path(each).resolve() for each in directory._version_locations}
        return read != {each.resolve() for each in self.location.version_directories}

    def _history(self, directory: ScriptDirectory, *, elsewhere: bool) -> History:
        if elsewhere:
            return self._loading(directory, lambda: _history(directory))
        try:
            found = read_files(self.location.beside(self._carried) if self._carried else self.location)
        except NotPlainError:
            return self._loading(directory, lambda: _history(directory))
        # Loads the files: what they import may need what stands around env.py.
        self._loading(directory, directory.get_heads)
        return found

    def _loading(self, directory: ScriptDirectory, load: Callable[[], T]) -> T:
        """Load the revision files; inside env.py, as ``alembic upgrade`` does, where one asks for what is set there."""
        try:
            return self.project_code(load)
        except Exception as error:
            if not asks_for_the_context(error):
                raise
            loaded: list[T] = []

            def within(_heads: tuple[str, ...], _context: MigrationContext) -> Iterable[Any]:
                loaded.append(load())
                return ()

            try:
                self._run(within, "heads", mutate=False)
            except RefusedError:
                if self.guard.identity != NOWHERE or self.guard.refused is None:
                    raise
                # Nothing but files is wanted, and env.py wants its database for it.
                self.guard.refused = None
                raise error from None
            return loaded[0]

    def _let_env_py_move_them(self) -> None:
        """Run env.py before the files are loaded: it may set ``context.script.version_locations`` and the like."""
        try:
            self.run(lambda _heads, _context: (), mutate=False)
        except RefusedError:
            # Nothing but files is wanted: it has come as far as its first connection.
            if self.guard.identity != NOWHERE or self.guard.refused is None:
                raise
            self.guard.refused = None

    def stands_for(self, command: Command) -> None:
        """What runs from here on is another ``alembic`` command: ``config.cmd_opts`` says so."""
        self.config.cmd_opts = command_options(command, self.environment.alembic)

    def project_code(self, act: Callable[[], T]) -> T:
        """Call into the project's files with everything around them: variables, ``-x``, runner, application."""
        with handed_over(self.environment.alembic, self.config, self.target):
            if self._app is None:
                return self._through_the_runner(act)
            app = self._app
            return app.around(self.config, lambda: self._through_the_runner(lambda: app.one_database(act)))

    def _through_the_runner(self, act: Callable[[], T]) -> T:
        if self._runner is None:
            return act()
        name = f"alembic.runner {self.environment.alembic.runner}"
        call = Call(act, name)
        try:
            return call.through(self._runner, self.config)
        except (Exception, SystemExit) as error:
            if call.failed:
                raise
            raise explained(error, self.environment, name) from error

    def run(self, work: Work, *, destination: str = "heads", mutate: bool, **options: Any) -> None:
        """Execute env.py once; ``work`` runs wherever it calls ``run_migrations()``.

        :param mutate: whether the version table may be made.
        :raises PgopsError: whatever env.py or a revision raised, explained.
        """
        self._translated("env.py", lambda: self._run(work, destination, mutate=mutate, **options))

    def run_raw(self, work: Work, *, destination: str = "heads", mutate: bool, **options: Any) -> None:
        """:meth:`run` without translating errors, for a caller that decides by them."""
        self._run(work, destination, mutate=mutate, **options)

    def _run(self, work: Work, destination: str, *, mutate: bool, **options: Any) -> None:
        if not self.guard.looking:
            self._once(work, destination, mutate=mutate, **options)
            return
        seen = Seen(work)
        try:
            self._once(seen, destination, mutate=mutate, **options)
        except Exception as error:
            if seen.failed or not self.guard.lacks_writes(error):
                raise
            # It notes each run in a table, say.
            with self.guard.writes_held_back():
                self._once(seen.again(), destination, mutate=mutate, **options)

    def _once(self, work: Work, destination: str, *, mutate: bool, **options: Any) -> None:
        if not mutate:
            options["dont_mutate"] = True
        try:
            running = self._with_a_context_of_its_own(work, destination, options)
        except (AttributeError, TypeError):
            # An env.py may take what it finds among the attributes for an async engine; it can make its own, too.
            if self.running is None or self.running.ran or not self.config.lazy_connection.withhold():
                raise
            running = self._with_a_context_of_its_own(work, destination, options)
        if not running.ran:
            raise RefusedError(
                f"env.py of {self.environment.name} ran without running migrations",
                untouched="nothing was applied",
                hint="does it look at something to decide? run the same with plain Alembic to see",
            )

    def _with_a_context_of_its_own(
        self, work: Work, destination: str, options: Mapping[str, Any]
    ) -> GuardedContext:
        self.version_tables = []

        def noted(heads: tuple[str, ...], context: MigrationContext) -> Iterable[Any]:
            self.version_tables.append(version_table_of(context))
            for step in work(heads, context):
                yield step
                commit_what_nobody_holds(context.connection)

        self.running = running = GuardedContext(
            self.config,
            self.script,
            self.target,
            fn=noted,
            destination_rev=destination,
            tag=None,
            as_sql=False,
            **options,
        )
        try:
            self.project_code(lambda: self._run_env(running))
        finally:
            self.guard.let_locks_go()
            self.guard.raise_if_refused()
        return running

    def _run_env(self, running: GuardedContext) -> None:
        # Here: a runner may have chosen one.
        refuse_several_databases(self.config, self.location, self.environment)
        self.output.anew()
        # Here, and not around the application: one that migrates itself while it is made has a context of its own.
        with running:
            try:
                self.script.run_env()
            except SystemExit as ended:
                # sys.exit() as its last line: for `alembic` that is the end of a good run.
                if ended.code not in (None, 0):
                    raise

    def history(self) -> History:
        """The revisions: read from the files, or as Alembic reads them where those are not plain."""
        return self.scripts.history

    def _translated(self, what: str, act: Callable[[], T]) -> T:
        try:
            return act()
        except PgopsError:
            raise
        except (Exception, SystemExit) as error:
            raise self.explained(error, what) from error

    def explained(self, error: BaseException, what: str) -> PgopsError:
        """An error of this project's code as one of ours."""
        before = self.running is None or not self.running.ran
        found = (
            without_an_application(error, self.environment)
            or (self.guard.unreached(error) if before else None)
            or explain(error, self.own_directories(), what=what)
        )
        if not found.untouched:
            found.untouched = "nothing was applied"
        if not found.hint:
            early = what == "env.py" and self.running is not None and not self.running.ran
            told = (what_it_lacks(error, self.environment) if early else "", self.output.last_words())
            found.hint = "; ".join(filter(None, told))
        return found

    def own_directories(self) -> tuple[Path, ...]:
        """Where the project's own files are."""
        return (*self.location.version_directories, self.location.script_directory, *self._moved)


@contextlib.contextmanager
def alembic_environment(
    environment: Environment,
    target: Target,
    identity: Identity,
    *,
    settings: Mapping[str, str],
    looking: bool,
    command: Command,
    scripts: Scripts | None = None,
    carried: Path | None = None,
    find: Callable[[], Identity] | None = None,
) -> Iterator[AlembicEnvironment]:
    """An environment's Alembic with everything around it for the block: output, variables, listeners.

    :param identity: the database that every connection has to reach.
    :param settings: server settings for every connection that env.py opens.
    :param looking: keep env.py quiet and its hands off; otherwise its words go to stderr.
    :param command: the ``alembic`` command that this stands for, as ``config.cmd_opts``.
    :param scripts: what an earlier look loaded: the run carries out the very code that was planned.
    :param carried: a directory of revision files that stand beside the project's own.
    :param find: as of :class:`ConnectionGuard`.
    :raises RefusedError: later, from ``run``, when it reaches another database.
    """
    location = locate(environment.alembic, environment.project)
    guard = ConnectionGuard(target=target, identity=identity, settings=settings, looking=looking, find=find)
    path = list(sys.path)
    output = OutputGuard(keep_stderr=not looking)
    with contextlib.ExitStack() as stack:
        stack.callback(output.close)
        stack.callback(sys.path.__setitem__, slice(None), path)
        sys.path[:0] = scripts.import_path if scripts else ()
        stack.enter_context(quiet_warnings())
        stack.enter_context(without_alembics_lines())
        stack.enter_context(our_own_logging())
        stack.enter_context(import_path(environment, location))
        stack.enter_context(surroundings(location, target))
        stack.enter_context(as_a_guest())
        stack.enter_context(guard.installed())
        stack.enter_context(left_to_pgops(location.script_directory, guard.leave_its_own_migration_out))
        stack.enter_context(output)
        alembic = AlembicEnvironment(environment, target, location, guard, output, command, scripts, carried)
        stack.callback(alembic.config.lazy_connection.close)
        yield alembic


@contextlib.contextmanager
def reading(environment: Environment, target: Target, command: Command) -> Iterator[AlembicEnvironment]:
    """:func:`alembic_environment` for what needs the revision files only: any connection is refused.

    What stands around env.py may open its database all the same, as an application does while it is made: that reads.
    """

    def find() -> Identity:
        with read_only_session(target) as connection:
            return identity(connection)

    surrounded = environment.alembic.app is not None or environment.alembic.runner is not None
    with alembic_environment(
        environment,
        target,
        NOWHERE,
        settings=look_settings(environment),
        looking=True,
        command=command,
        find=find if surrounded else None,
    ) as alembic:
        yield alembic


def _history(script: ScriptDirectory) -> History:
    found: dict[str, Revision] = {}
    for each in script.walk_revisions():
        if each.revision in found:
            raise duplicate(each.revision, found[each.revision].file, Path(each.path))
        file = Path(each.path)
        found[each.revision] = Revision(
            id=each.revision,
            down=tuple(each._versioned_down_revisions),
            depends=tuple(each._resolved_dependencies),
            labels=tuple(each._orig_branch_labels),
            path=str(file),
            hash=file_hash(file.read_bytes()),
        )
    return History(found)
