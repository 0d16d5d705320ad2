"""What went wrong inside somebody's env.py or revision, in one line: type, message, file and line."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pgops.errors import ConfigurationError, PgopsError, UsageError
from pgops.redaction import redact

QUERY_CANCELED = "57014"
READ_ONLY = "25006"


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
    told = f"{what} failed: {describe(error)}" + (f" ({where})" if where else "")
    return MigrationError(redact(told), where=where, sqlstate=sqlstate(error))


def describe(error: BaseException) -> str:
    """Type and message of an error in one line, without SQLAlchemy's epilogue."""
    shown: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        shown = error.orig
    text = (
        str(shown) if not isinstance(shown, SQLAlchemyError) else str(shown).split("\n(Background on", 1)[0]
    )
    line = " ".join(text.split())
    kind = type(shown).__name__
    return redact(f"{kind}: {line}" if line else kind)


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
    return ConfigurationError(f"Alembic: {text}", untouched="nothing was applied")


def _place(error: BaseException, directories: Iterable[Path]) -> str:
    known = [str(directory.resolve()) for directory in directories]
    for each in _chain(error):
        if isinstance(each, SyntaxError) and each.filename:
            return f"{_short(each.filename)}:{each.lineno}"
        for frame in reversed(traceback.extract_tb(each.__traceback__)):
            if any(str(Path(frame.filename).resolve()).startswith(directory) for directory in known):
                return f"{_short(frame.filename)}:{frame.lineno}"
    return ""


def _short(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
