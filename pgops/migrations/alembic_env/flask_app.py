"""``alembic: {app: "shop:create_app"}``: a Flask application's context around env.py, as ``flask db`` puts it there."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url

from pgops.environments import Environment
from pgops.errors import ConfigurationError, PgopsError, RefusedError
from pgops.migrations.alembic_env.config import TargetConfig, url_for
from pgops.migrations.alembic_env.failures import what_it_lacks
from pgops.migrations.alembic_env.guard import ConnectionGuard
from pgops.migrations.alembic_env.made_again import with_the_models_of_the_first_time
from pgops.migrations.alembic_env.output import OutputGuard
from pgops.migrations.alembic_env.runner import explained
from pgops.migrations.revisions.location import ScriptLocation
from pgops.postgres import Target

T = TypeVar("T")
_FACTORY = re.compile(r"^def (create_app|make_app)\(", re.MULTILINE)
_APPLICATION = re.compile(r"^(app|application)\b[^=\n]*=", re.MULTILINE)
_UNKNOWN = "package:create_app"
"""Where nothing suggests a name."""
_FLASK_APP = re.compile(r"^(?:export\s+)?FLASK_APP\s*=\s*['\"]?([^'\"\s#]+)", re.MULTILINE)


class FlaskApplication:
    """The application that ``app:`` names: made once, its context around every call.

    The engine that it made for its own database is led to the environment's.
    """

    def __init__(
        self,
        environment: Environment,
        location: ScriptLocation,
        target: Target,
        guard: ConnectionGuard,
        output: OutputGuard,
    ) -> None:
        self._environment = environment
        self._location = location
        self._target = target
        self._guard = guard
        self._output = output
        self._made: Any = None

    def around(self, config: TargetConfig, act: Callable[[], T]) -> T:
        """Run ``act`` inside the application's context.

        :raises ConfigurationError: Flask is not there, or there is no such application.
        """
        if self._made is None:
            self._made = self._load()
        with self._made.app_context():
            migrate = self._made.extensions.get("migrate")
            if migrate is not None and hasattr(migrate, "migrate"):
                # @migrate.configure: the application's own say over Alembic's Config.
                migrate.migrate.call_configure_callbacks(config)
            with self._led_to_the_target(migrate):
                return act()

    def _load(self) -> Any:
        name = self._environment.alembic.app
        what = f"alembic.app {name}"
        try:
            from flask.cli import NoAppException, ScriptInfo, load_dotenv
        except ImportError as error:
            raise ConfigurationError(
                f"{what} is a Flask application, and Flask can't be imported: {error}",
                untouched="no database was touched",
                hint="run pgops in the virtual environment that the application runs in",
            ) from error
        try:
            load_dotenv()
            try:
                return _make(ScriptInfo(app_import_path=name))
            except Exception as error:
                if not self._guard.lacks_writes(error):
                    raise
            # It writes at each start: a first row of settings, the time at which it was seen.
            with self._guard.writes_held_back():
                return _make(ScriptInfo(app_import_path=name))
        except NoAppException as error:
            raise ConfigurationError(
                f"{what}: {' '.join(str(error.message).split())}",
                untouched="no database was touched",
                hint=_write(suggested_app(self._environment.project, self._location.config), name),
            ) from error
        except (Exception, SystemExit) as error:
            found = explained(error, self._environment, what)
            lacking = "" if found.hint else what_it_lacks(error, self._environment)
            found.hint = "; ".join(filter(None, (found.hint, lacking, self._output.last_words())))
            raise found from error

    def one_database(self, act: Callable[[], T]) -> T:
        """Run ``act`` where env.py migrates no other database beside the application's own.

        :raises RefusedError: it does.
        """
        binds = self._made.config.get("SQLALCHEMY_BINDS") or {}
        if binds and "SQLALCHEMY_BINDS" in self._location.env_py():
            raise RefusedError(
                f"env.py migrates several databases in one go (flask db init --multidb): the application's own and "
                f"{', '.join(sorted(map(str, binds)))}; {self._environment.name} is one database",
                untouched="no database was touched",
                hint='only the application\'s own: alembic: {runner: "ops:run"} beside app:, and in ops.py '
                'def run(config, call): current_app.config["SQLALCHEMY_BINDS"] = {}; return call()',
            )
        return act()

    @contextlib.contextmanager
    def _led_to_the_target(self, migrate: Any) -> Iterator[None]:
        engine = _engine_of(getattr(migrate, "db", None))
        if engine is None or engine.dialect.name != "postgresql":
            # Whatever env.py opens then, the guard looks at it.
            yield
            return
        url = make_url(url_for(self._target, engine.dialect.driver))
        arguments, keywords = engine.dialect.create_connect_args(url)
        own = engine.dialect.create_connect_args(engine.url)[1]

        def lead(_dialect: Any, _record: Any, positional: Any, given: dict[str, Any]) -> None:
            positional[:] = arguments
            for key in own:
                given.pop(key, None)
            given.update(keywords)

        before = engine.url
        engine.dispose()
        engine.url = url
        event.listen(engine, "do_connect", lead)
        try:
            yield
        finally:
            event.remove(engine, "do_connect", lead)
            engine.url = before
            engine.dispose()


def _make(info: Any) -> Any:
    with with_the_models_of_the_first_time():
        return info.load_app()


def _engine_of(db: Any) -> Engine | None:
    """The engine of the application's own database, as Flask-Migrate's env.py asks for it."""
    try:
        try:
            found = db.get_engine()
        except (TypeError, AttributeError):
            found = db.engine
    except (AttributeError, KeyError, RuntimeError):
        return None
    found = getattr(found, "sync_engine", found)
    return found if isinstance(found, Engine) else None


def without_an_application(error: BaseException, environment: Environment) -> PgopsError | None:
    """What to write where env.py asks for ``current_app`` and nobody said which, or ``None`` for another error."""
    settings = environment.alembic
    if settings.app is not None or settings.runner is not None:
        return None
    if not isinstance(error, RuntimeError) or "outside of application context" not in str(error):
        return None
    return ConfigurationError(
        "env.py works inside a Flask application's context only (current_app), and no application is named",
        untouched="no database was touched",
        hint=_write(suggested_app(environment.project, settings.config)),
    )


def _write(app: str, tried: str | None = None) -> str:
    if app in (_UNKNOWN, tried):
        # Nothing better is known than what was tried.
        return (
            'in environments.yaml: alembic: {app: "module:factory"} or {app: "module:name"}, as FLASK_APP says it; '
            "the module is looked for beside environments.yaml and among what is installed"
        )
    return f'in environments.yaml: alembic: {{app: "{app}"}}'


def suggested_app(project: Path, config: Path) -> str:
    """What to write for ``app:`` as FLASK_APP, ``.flaskenv``, ``wsgi.py``, ``app.py`` or a package suggest it.

    :param config: alembic.ini; the package that it lies in is the likeliest.
    """
    if named := os.environ.get("FLASK_APP"):
        return named
    for file in (project / ".flaskenv", project / ".env"):
        if file.is_file() and (found := _FLASK_APP.search(_text(file))):
            return found[1]
    packages = sorted(
        each.parent for each in (*project.glob("*/__init__.py"), *project.glob("src/*/__init__.py"))
    )
    named_packages = [*_packages_around(config), *((each, each.name) for each in packages)]
    candidates = [(project / "wsgi.py", "wsgi"), (project / "app.py", "app")]
    candidates += [(each / file, name + end) for each, name in named_packages for file, end in _IN_A_PACKAGE]
    candidates += [(each, each.stem) for each in sorted(project.glob("*.py"))]
    for pattern in (_FACTORY, _APPLICATION):
        for file, module in candidates:
            text = _text(file) if file.is_file() else ""
            if "flask" in text.lower() and (named_in := pattern.search(text)):
                return f"{module}:{named_in[1]}"
    for package, name in named_packages:
        # Somewhere inside: the outermost factory.
        for file in sorted(package.rglob("*.py"), key=lambda each: (len(each.parts), each)):
            text = _text(file)
            if "flask" in text.lower() and (named_in := _FACTORY.search(text)):
                inside = file.relative_to(package).with_suffix("").parts
                return f"{'.'.join((name, *inside)).removesuffix('.__init__')}:{named_in[1]}"
    return _UNKNOWN


def _packages_around(config: Path) -> list[tuple[Path, str]]:
    """The packages that a file lies in with their dotted names, outermost first; its own directory need not be one."""
    found: list[Path] = []
    for directory in config.absolute().parents:
        if (directory / "__init__.py").is_file():
            found.insert(0, directory)
        elif found or directory != config.absolute().parent:
            break
    return [(each, ".".join(above.name for above in found[: at + 1])) for at, each in enumerate(found)]


_IN_A_PACKAGE = (("__init__.py", ""), ("app.py", ".app"), ("wsgi.py", ".wsgi"), ("factory.py", ".factory"))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
