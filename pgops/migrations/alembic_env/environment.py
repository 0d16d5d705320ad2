"""Running somebody's env.py: our EnvironmentContext, in the surroundings it expects, guarded."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import alembic.context  # noqa: F401 - fills the register that GuardedContext is entered in
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionMap
from sqlalchemy.engine import Connection as AlchemyConnection

from pgops.environments import Environment
from pgops.errors import PgopsError, RefusedError
from pgops.migrations.alembic_env.command_line import Command, command_options
from pgops.migrations.alembic_env.config import TargetConfig, build_config
from pgops.migrations.alembic_env.failures import explain, what_it_lacks
from pgops.migrations.alembic_env.flask_app import FlaskApplication, without_an_application
from pgops.migrations.alembic_env.guard import NOWHERE, ConnectionGuard, ask, begun_explicitly, has_written
from pgops.migrations.alembic_env.guest import as_a_guest
from pgops.migrations.alembic_env.one_database import refuse_several_databases
from pgops.migrations.alembic_env.output import OutputGuard
from pgops.migrations.alembic_env.runner import Call, explained, import_path, load_runner
from pgops.migrations.alembic_env.second_attempt import Seen
from pgops.migrations.alembic_env.settings import look_settings
from pgops.migrations.alembic_env.surroundings import handed_over, surroundings
from pgops.migrations.revisions.history import (
    History,
    NotPlainError,
    Revision,
    duplicate,
    file_hash,
    read_files,
)
from pgops.migrations.revisions.location import ScriptLocation, locate
from pgops.postgres import (
    READ_ONLY,
    Connection,
    Identity,
    Target,
    connected,
    fetch_all_on_search_path,
    identifier,
    identity,
    literal,
)

T = TypeVar("T")
Work = Callable[[tuple[str, ...], MigrationContext], Iterable[Any]]
"""What runs inside env.py's ``run_migrations()``: heads and context in, steps out (Alembic's ``fn``)."""


@dataclass(frozen=True, slots=True)
class VersionTable:
    """Where a history keeps its heads.

    ``schema`` is what env.py says; where it says nothing, ``found_in`` is where its own connection's search_path
    leads: an application's engine may have one of its own.
    """

    name: str = "alembic_version"
    schema: str | None = None
    found_in: str | None = None

    def seen_from(self, connection: Connection) -> VersionTable:
        """The same for a connection of ours: its schema is named where our search_path leads elsewhere."""
        if self.schema is not None or self.found_in is None:
            return VersionTable(self.name, self.schema)
        own = fetch_all_on_search_path(connection, _where(self.name))[0][0]
        return VersionTable(self.name, None if own == self.found_in else self.found_in)

    def as_sql(self) -> str:
        """The name as SQL takes it."""
        return identifier(self.schema, self.name) if self.schema else identifier(self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


def _where(table: str) -> str:
    """SQL for the schema in which a connection finds this table, or would make it; all else in it is qualified."""
    return (
        "SELECT coalesce((SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n "
        "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE c.oid OPERATOR(pg_catalog.=) "
        f"pg_catalog.to_regclass({literal(identifier(table))})::pg_catalog.oid), pg_catalog.current_schema()::pg_catalog.text)"
    )


def _version_table(context: MigrationContext) -> VersionTable:
    name, schema = context.version_table, context.version_table_schema
    if schema is not None or context.connection is None:
        return VersionTable(name, schema)
    return VersionTable(name, None, context.connection.exec_driver_sql(_where(name)).scalar())


class GuardedContext(EnvironmentContext):
    """Alembic's EnvironmentContext with one transaction per revision, whatever env.py asks for."""

    def __init__(
        self, config: TargetConfig, script: ScriptDirectory, host: AlembicEnvironment, **options: Any
    ) -> None:
        super().__init__(config, script, **options)
        self._host = host
        self._own: list[AlchemyConnection] = []
        self.external = False
        self.ran = 0
        self.arguments: dict[str, Any] = {}

    def configure(self, connection: Any = None, **options: Any) -> None:  # type: ignore[override]
        """Alembic's ``configure``, called by env.py."""
        options["transaction_per_migration"] = True
        if isinstance(connection, AlchemyConnection):
            connection = self._usable(connection)
        super().configure(connection=connection, **options)

    def run_migrations(self, **arguments: Any) -> None:
        """Alembic's ``run_migrations``, called by env.py."""
        self.ran += 1
        self.arguments = arguments
        try:
            super().run_migrations(**arguments)
        finally:
            # Inside env.py's own frame: an async engine's connection can be closed only there.
            while self._own:
                self._own.pop().close()

    def _usable(self, connection: AlchemyConnection) -> AlchemyConnection:
        """The connection Alembic may run transactions of its own on.

        Alembic leaves a transaction that is already open alone: then nothing is committed unless
        env.py does it, revisions share one transaction, and autocommit_block fails.
        """
        if connection.dialect.name != "postgresql":
            raise RefusedError(
                f"env.py migrates a {connection.dialect.name} database, and {self._host.target.environment} is {self._host.target.place}",
                untouched="neither database was touched",
            )
        self.external = False
        if not connection.in_transaction():
            if _commits_each_statement(connection):
                return connection.execution_options(isolation_level="READ COMMITTED")
            return connection
        if not begun_explicitly(connection) and hasattr(connection, "commit"):
            connection.commit()
            return connection
        if has_written(connection):
            # Part of the work is in env.py's own transaction; splitting it would tear it apart.
            self.external = True
            return connection
        fresh = connection.engine.connect()
        self._own.append(fresh)
        _copy_session(connection.connection, fresh.connection)
        return fresh


# alembic.context hands env.py's calls to the class it was made for; a subclass has to be entered under
# its own name. Alembic keeps that register private; a test pins it at both ends of the supported versions.
GuardedContext._setups[GuardedContext] = EnvironmentContext._setups[EnvironmentContext]


def _commits_each_statement(connection: AlchemyConnection) -> bool:
    """Whether the engine was made with ``isolation_level="AUTOCOMMIT"``: a failing revision would stay half done."""
    raw = connection.connection
    driver = getattr(raw, "dbapi_connection", None) or raw.connection
    return bool(getattr(driver, "autocommit", False))


def _copy_session(source: Any, destination: Any) -> None:
    """Give a second connection the search_path, role and settings that env.py gave the first."""
    rows = ask(
        source,
        "SELECT name, setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'",
    )
    rows += ask(source, "SELECT 'role', pg_catalog.current_setting('role')")
    listed = ", ".join(
        f"pg_catalog.set_config({literal(name)}, {literal(value)}, false)" for name, value in rows
    )
    ask(destination, f"SELECT {listed}")


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
            FlaskApplication(environment, location, target, guard) if environment.alembic.app else None
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
            return self.project_code(lambda: _history(directory))
        try:
            found = read_files(self.location.beside(self._carried) if self._carried else self.location)
        except NotPlainError:
            return self.project_code(lambda: _history(directory))
        # Loads the files: what they import may need what stands around env.py.
        self.project_code(directory.get_heads)
        return found

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
        self.version_tables = []

        def noted(heads: tuple[str, ...], context: MigrationContext) -> Iterable[Any]:
            self.version_tables.append(_version_table(context))
            return work(heads, context)

        self.running = GuardedContext(
            self.config,
            self.script,
            self,
            fn=noted,
            destination_rev=destination,
            tag=None,
            as_sql=False,
            **options,
        )
        with self.running:
            try:
                self.project_code(self._run_env)
            finally:
                self.guard.let_locks_go()
                self.guard.raise_if_refused()
        if not self.running.ran:
            raise RefusedError(
                f"env.py of {self.environment.name} ran without running migrations",
                untouched="nothing was applied",
                hint="does it look at something to decide? run the same with plain Alembic to see",
            )

    def _run_env(self) -> None:
        # Here: a runner may have chosen one.
        refuse_several_databases(self.config, self.location, self.environment)
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
        found = without_an_application(error, self.environment) or explain(
            error, self.own_directories(), what=what
        )
        if not found.untouched:
            found.untouched = "nothing was applied"
        said = self.output.captured()
        if said and not found.hint:
            found.hint = "it said: " + " | ".join(said.splitlines()[-3:])
        if not found.hint and what == "env.py" and self.running is not None and not self.running.ran:
            found.hint = what_it_lacks(error, self.environment)
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
        stack.enter_context(_quiet_warnings())
        stack.enter_context(_without_alembics_lines())
        stack.enter_context(_our_own_logging())
        stack.enter_context(import_path(environment, location))
        stack.enter_context(surroundings(location, target))
        stack.enter_context(as_a_guest())
        stack.enter_context(guard.installed())
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
        with connected(target, application_name="pgops look", settings=READ_ONLY) as connection:
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


@contextlib.contextmanager
def _quiet_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        yield


@contextlib.contextmanager
def _without_alembics_lines() -> Iterator[None]:
    """Alembic's INFO lines say what we say; a filter stays on its logger even when env.py calls fileConfig."""
    logger = logging.getLogger("alembic.runtime.migration")

    def at_least_warning(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    logger.addFilter(at_least_warning)
    try:
        yield
    finally:
        logger.removeFilter(at_least_warning)


@contextlib.contextmanager
def _our_own_logging() -> Iterator[None]:
    """The root logger's level and handlers are env.py's in the block only: its DEBUG would be told by every library."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


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
