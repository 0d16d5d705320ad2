"""What has to be put away when a task ends, and what a failure of it may come from: for what is opened in its course."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pgops.errors import PgopsError

_put_away: list[Callable[[], None]] = []
_explain: list[Callable[[PgopsError], PgopsError]] = []


def at_the_end(put_away: Callable[[], None], explain: Callable[[PgopsError], PgopsError]) -> None:
    """Have ``put_away`` called when the task ends, and ``explain`` before, with the failure that ends it."""
    _put_away.append(put_away)
    _explain.append(explain)


@contextlib.contextmanager
def of_a_task() -> Iterator[None]:
    """Around a task.

    :raises PgopsError: what ended it, as what opened something explains it.
    """
    try:
        yield
    except PgopsError as error:
        for explain in _explain:
            if (told := explain(error)) is not error:
                raise told from error
        raise
    finally:
        _explain.clear()
        while _put_away:
            _put_away.pop()()
