"""How often Python looks for cyclic garbage while a task runs."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_SELDOM = 20_000


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for it after every 20,000 new objects in the block, not every 700 or 2,000.

    A project and its env.py are some hundred thousand objects that stay. Going through them again and again took a
    seventh of the time of a large project's migration. Who has turned the search off has that.
    """
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(max(before[0], _SELDOM), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
