"""What went wrong inside somebody's env.py or revision, in one line: type, message, file and line."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pgops.environments import Environment
from pgops.errors import ConfigurationError, PgopsError, UsageError
from pgops.migrations.alembic_env import uncommitted
from pgops.migrations.revisions import mistakes
from pgops.runtime import watchdog
from pgops.secrets.redaction import redact
from pgops.units import one_line

QUERY_CANCELED = "57014"
READ_ONLY = "25006"
_ATTRIBUTES = "pgops.migrations.alembic_env.config"
"""Where ``config.attributes`` is looked into."""
_DRIVERS = {"psycopg", "psycopg2", "asyncpg", "pg8000"}
_SURROUNDINGS = (
    'if it needs something around it: alembic: {environ: {NAME: "value"}} or {runner: "module:function"} '
    "in environments.yaml (docs/adopting.md)"
)
_NEEDED = ("revision", "down_revision", "upgrade", "downgrade")


class MigrationError(PgopsError):
    """A revision, or the env.py around it, failed.

    :param where: ``file:line`` of the innermost frame in the project's own files, or ``""``.
    """

    code = "migration_failed"

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        sqlstate: str | None = None,
        untouched: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, untouched=untouched, hint=hint)
        self.where = where
        self.sqlstate = sqlstate

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "where": self.where, "sqlstate": self.sqlstate}


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of the database error in ``error`` or behind it; drivers keep it under different names."""
    for each in _chain(error):
        for holder in (each, getattr(each, "orig", None)):
            for name in ("pgcode", "sqlstate"):
                found = getattr(holder, name, None)
                if isinstance(found, str):
                    return found
    return None


def connection_lost(error: BaseException) -> bool:
    """Whether the server or the network ended the connection."""
    return any(
        (isinstance(each, DBAPIError) and each.connection_invalidated)
        or (sqlstate(each) or "").startswith("57P")
        for each in _chain(error)
    )


def asks_for_the_context(error: BaseException) -> bool:
    """Whether ``alembic.context`` or ``op`` was asked for what is there only while env.py runs."""
    frames = _frames(error)
    inside_of = frames[0].f_globals.get("__name__") if frames else None
    if isinstance(error, AttributeError | NameError) and inside_of in ("alembic.context", "alembic.op"):
        return True
    return any(
        words in str(error)
        for words in (
            "module 'alembic.context' has no attribute",
            "from 'alembic.context'",
            "No context has been configured yet",
            "the proxy object has not yet been established",
        )
    )


def explain(error: BaseException, directories: Iterable[Path], *, what: str) -> PgopsError:
    """One message for whatever came out of env.py, a revision or Alembic.

    :param directories: where the project's own files are; the innermost frame in them is named.
    :param what: ``"revision 1a2b"`` or ``"env.py"``.
    """
    if isinstance(error, PgopsError):
        return error
    if isinstance(error, CommandError):
        return _alembics_own(error)
    where = _place(error, directories)
    if sqlstate(error) is None and (mistake := _in_the_files(error, where)) is not None:
        return mistake
    told = f"{what} failed: {_refused_commit(error) or describe(error)}" + (f" ({where})" if where else "")
    return MigrationError(redact(told), where=where, sqlstate=sqlstate(error), hint=_driver_hint(error))


def _refused_commit(error: BaseException) -> str:
    if not any(uncommitted.NAME in str(each) for each in _chain(error)):
        return ""
    return "it commits on the driver's own connection, and this only looks: that was refused; connection.commit() of SQLAlchemy is served"


def describe(error: BaseException) -> str:
    """Type and message of an error in one line, without SQLAlchemy's epilogue."""
    shown: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        shown = error.orig
    text = (
        str(shown) if not isinstance(shown, SQLAlchemyError) else str(shown).split("\n(Background on", 1)[0]
    )
    line = (connection_lost(error) and watchdog.lost()) or one_line(text) or _statement(error)
    kind = type(shown).__name__
    return redact(f"{kind}: {line}" if line else kind)


def _driver_hint(error: BaseException) -> str:
    """What to write where the driver that a URL asks for is not installed; SQLAlchemy 2.1 asks for another one."""
    if not isinstance(error, ModuleNotFoundError) or error.name not in _DRIVERS:
        return ""
    return (
        f"install {error.name}, or name the driver that is there: {{url:psycopg2}} in the place of {{url}} "
        "(without a name SQLAlchemy takes psycopg2, from 2.1 on psycopg)"
    )


def what_it_lacks(error: BaseException, environment: Environment) -> str:
    """What to write for an env.py that failed before it ran any migration, or ``""``."""
    if variable := _variable(error):
        return variable
    if environment.alembic.app is not None and isinstance(error, KeyError) and error.args == ("migrate",):
        return (
            "the application does not set Flask-Migrate up, its own program does: "
            'alembic: {runner: "ops:run"} beside app:, and in ops.py '
            "def run(config, call): Migrate(current_app, db); return call()"
        )
    if put_there := _put_on_the_config(error):
        return (
            'its own program puts that on Alembic\'s Config: alembic: {runner: "ops:run"}, and in ops.py '
            f"def run(config, call): {put_there} = …; return call() (docs/adopting.md)"
        )
    if sqlstate(error) == READ_ONLY:
        return "it writes by itself, and this only looks: written in a transaction (engine.begin(), not AUTOCOMMIT) it is rolled back"
    if isinstance(error, ModuleNotFoundError):
        return _where_its_module_is(error, environment)
    if isinstance(error, SyntaxError | ImportError | NameError) or environment.alembic.runner is not None:
        return ""
    return _SURROUNDINGS


def _variable(error: BaseException) -> str:
    """What to write where a variable was asked for in vain, or ``""``."""
    frames = _frames(error)
    if isinstance(error, KeyError) and frames and frames[0].f_globals.get("__name__") == "os":
        # What os.environ does not have.
        named = f'alembic: {{environ: {{{error.args[0]}: "{{url}}"}}}} in environments.yaml'
        return f"if that is where it looks for its database: {named}"
    return ""


def _where_its_module_is(error: ModuleNotFoundError, environment: Environment) -> str:
    """What to write for a module that lies in the project, off the import path, or is not installed here."""
    name = (error.name or "").partition(".")[0]
    if not name or importlib.util.find_spec(name) is not None:
        # It is a part of it that is missing.
        return ""
    config = environment.alembic.config
    for place in (config.parent / "src", environment.project / "src", config.parent, environment.project):
        for each in (place, *sorted(place.glob("[!.]*/"))):
            if (each / f"{name}.py").is_file() or any((each / name).glob("*.py")):
                here = os.path.relpath(each, config.parent)
                return (
                    f"{name} lies in {mistakes.shown(each)}: add %(here)s/{here} to prepend_sys_path in {config.name}, "
                    "or install the project where pgops runs"
                )
    return (
        f"{name} is not installed where pgops runs ({sys.prefix}): install it there, or pgops into the virtual environment "
        "that Alembic runs in"
    )


def _put_on_the_config(error: BaseException) -> str:
    """``config.NAME`` or ``config.attributes["NAME"]`` where env.py asked Alembic's Config for it in vain, or ``""``."""
    if isinstance(error, AttributeError) and isinstance(error.obj, Config):
        return f"config.{error.name}"
    frames = _frames(error)
    if isinstance(error, KeyError) and frames and frames[0].f_globals.get("__name__") == _ATTRIBUTES:
        return f'config.attributes["{error.args[0]}"]'
    return ""


def _statement(error: BaseException) -> str:
    """The line of code that raised: all there is to say of a bare ``assert``."""
    frames = traceback.extract_tb(error.__traceback__)
    return one_line(frames[-1].line or "") if frames and isinstance(error, AssertionError) else ""


def _alembics_own(error: CommandError) -> PgopsError:
    text = redact(" ".join(str(error).split()))
    if (
        "Can't locate revision" in text
        or "No such revision" in text
        or "is not a valid" in text
        or "Relative" in text
    ):
        return UsageError(text, untouched="nothing was applied", hint="invoke migrate.history")
    if "ultiple head" in text:
        return UsageError(
            text, untouched="nothing was applied", hint="--to=heads, or merge them: alembic merge heads"
        )
    hint = "correct down_revision or depends_on" if "is detected in revisions" in text else ""
    return ConfigurationError(f"Alembic: {text}", untouched="nothing was applied", hint=hint)


def _in_the_files(error: BaseException, where: str) -> ConfigurationError | None:
    """The error as a mistake in a revision file that came out before any revision ran, or ``None``."""
    frames = _frames(error)
    if lacking := _lacks(error, frames):
        return mistakes.unloadable(*lacking)
    for frame in frames:
        # Alembic's own, private; a test pins them at both ends of the supported versions.
        if _is_alembics(frame, "base", ("_from_path", "_from_filename")):
            file = Path(frame.f_locals["dir_"], frame.f_locals["filename"])
            if isinstance(error, SyntaxError) and error.filename in (None, str(file)):
                return mistakes.not_python(str(file), file.read_bytes(), error)
            named = where.rpartition(":")[0] == mistakes.shown(file)
            at = where if named else mistakes.shown(file)
            if asks_for_the_context(error):
                return mistakes.asks_too_early(at, describe(error))
            if isinstance(error, ImportError | SyntaxError) or frames[0].f_code.co_filename == str(file):
                return mistakes.unloadable(at, describe(error))
            return mistakes.lacks_its_surroundings(at, describe(error), _variable(error) or _SURROUNDINGS)
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return _missing_parent(error.args[0], frames)
    return None


def _lacks(error: BaseException, frames: list[FrameType]) -> tuple[str, str] | None:
    """(file, what Alembic looked for in it and did not find), or ``None``."""
    if (
        not frames
        or not str(frames[0].f_globals.get("__name__")).startswith("alembic.")
        or not isinstance(error, AttributeError)
        or not isinstance(error.obj, ModuleType)
        or error.name not in _NEEDED
    ):
        return None
    word = "function" if error.name in ("upgrade", "downgrade") else "assignment to"
    return mistakes.shown(error.obj.__file__ or error.obj.__name__), f"it has no {word} {error.name}"


def _missing_parent(parent: str, frames: Iterable[FrameType]) -> ConfigurationError | None:
    """A KeyError out of Alembic's map of revisions."""
    for frame in frames:
        for method, variable in (("_revision_map", "rev"), ("_add_depends_on", "revision")):
            if _is_alembics(frame, "revision", (method,)):
                script: Any = frame.f_locals[variable]
                name = "down_revision" if parent in script._versioned_down_revisions else "depends_on"
                return mistakes.missing_parent(script.revision, str(script.path), name, parent)
    return None


def _is_alembics(frame: FrameType, module: str, functions: tuple[str, ...]) -> bool:
    return frame.f_code.co_name in functions and frame.f_globals.get("__name__") == f"alembic.script.{module}"


def _frames(error: BaseException) -> list[FrameType]:
    """Where the error came through, innermost first."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]


def _place(error: BaseException, directories: Iterable[Path]) -> str:
    known = [str(directory.resolve()) for directory in directories]
    for each in _chain(error):
        if isinstance(each, SyntaxError) and each.filename:
            return f"{mistakes.shown(each.filename)}:{each.lineno}"
        for frame in reversed(traceback.extract_tb(each.__traceback__)):
            if any(str(Path(frame.filename).resolve()).startswith(directory) for directory in known):
                return f"{mistakes.shown(frame.filename)}:{frame.lineno}"
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
