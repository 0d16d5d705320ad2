"""The same work on many files, a few at once; when one fails, or we are interrupted, the rest is not done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def for_each(items: Iterable[Item], work: Callable[[Item, threading.Event], None], *, at_once: int) -> None:
    """Do ``work`` for each item, in so many threads; return when all of them have ended.

    :param work: gets the item, and an event that is set once nobody wants the result any more: work that
        takes long looks at it between two pieces, and returns or raises as it likes.
    :raises: what the first one that failed raised; what has not begun by then never does.
    """
    unwanted, turn = threading.Event(), threading.Lock()
    failed: list[BaseException] = []

    def one(item: Item) -> None:
        if unwanted.is_set():
            return
        try:
            work(item, unwanted)
        except BaseException as error:  # noqa: BLE001 - the first one is raised below, the others follow from it
            with turn:
                if not unwanted.is_set():
                    failed.append(error)
                    unwanted.set()

    with ThreadPoolExecutor(at_once) as pool:
        try:
            list(pool.map(one, items))
        except BaseException:
            unwanted.set()
            raise
    if failed:
        raise failed[0]
