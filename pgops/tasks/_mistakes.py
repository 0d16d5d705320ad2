"""A name that is mistyped is told as that where the server does not answer too: no server needs to be up to see it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgops.environments import Environment


@contextlib.contextmanager
def mistakes_first(look: Callable[[], object]) -> Iterator[None]:
    """Say first what ``look`` finds wrong with what was typed, where the block could not reach a server.

    Only then, since a name may be one that only the server knows, and a good one is not worth a second look.

    :param look: raises a :class:`UsageError` for what can be known without the server.
    """
    from pgops.errors import PgopsError, UnreachableError, UsageError

    try:
        yield
    except UnreachableError as error:
        try:
            look()
        except UsageError as mistake:
            joint = " And" if mistake.message.endswith("?") else "; and"
            raise UsageError(
                f"{mistake.message}{joint} {error.message}", untouched=mistake.untouched, hint=mistake.hint
            ) from error
        except PgopsError:
            pass  # the files can't be read either: the server is what was asked for first
        raise


def look_for_revision(environments: Sequence[Environment], to: str | None) -> None:
    """Look for the revision that a person named among the files on disk.

    :raises UsageError: it is in none of them.
    """
    from pgops.migrations.revisions.history import known_revision
    from pgops.migrations.revisions.revision import NotPlainError
    from pgops.migrations.status.status import history_of

    if to is None:
        return
    for each in environments:
        with contextlib.suppress(NotPlainError):  # only Alembic can read these, on the server
            known_revision(history_of(each), to)
