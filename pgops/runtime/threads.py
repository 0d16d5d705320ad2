"""Work for several threads: each item within one deadline, or all of them a few at once.

The threads are daemons: one that waits outside of Python, for a server that does not answer, must not keep the
process from ending.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Resource = TypeVar("Resource")

LEAVE_AFTER = 10.0
"""Seconds that work which nobody wants any more gets to clean up after itself."""
# The longest wait without a look at signals, in seconds.
_WAIT = 0.5


class TooLateError(Exception):
    """The deadline passed before the work was done."""


def _next(source: queue.SimpleQueue[Result], until: float) -> Result:
    """What comes next.

    A signal that comes in the instant before a wait begins does not end it: Python looks for it when the wait is over.
    So none is long.

    :param until: on the monotonic clock, seconds; ``inf`` waits for ever.
    :raises queue.Empty: nothing came until then.
    """
    while (left := until - time.monotonic()) > _WAIT:
        with contextlib.suppress(queue.Empty):
            return source.get(timeout=_WAIT)
    return source.get(timeout=max(0.0, left))


def each_within(
    seconds: float, items: Sequence[Item], work: Callable[[Item], Result]
) -> list[Result | Exception]:
    """Do ``work`` for each item in a thread of its own.

    The threads are daemons: one that hangs where no timeout reaches (a name server, a credential
    program) is left behind and does not keep the process from ending.

    :param seconds: how long to wait for all of them together.
    :return: in the order of the items, what the work returned or raised; :class:`TooLateError` where
        it was still at it.
    """
    done: queue.SimpleQueue[tuple[int, Result | Exception]] = queue.SimpleQueue()

    def labour(at: int, item: Item) -> None:
        try:
            done.put((at, work(item)))
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises or shows it
            done.put((at, error))

    for at, item in enumerate(items):
        threading.Thread(target=labour, args=(at, item), daemon=True).start()
    found: dict[int, Result | Exception] = {}
    deadline = time.monotonic() + seconds
    while len(found) < len(items):
        try:
            at, result = _next(done, deadline)
        except queue.Empty:
            break
        found[at] = result
    return [found.get(at, TooLateError()) for at in range(len(items))]


def for_each(
    items: Iterable[Item],
    work: Callable[[Item, threading.Event], None],
    *,
    at_once: int,
    leave_after: float = LEAVE_AFTER,
) -> None:
    """Do ``work`` for each item, in so many threads; see :func:`for_each_with`."""
    for_each_with(
        contextlib.nullcontext,
        items,
        lambda _nothing, item, unwanted: work(item, unwanted),
        at_once=at_once,
        leave_after=leave_after,
    )


def for_each_with(
    resource: Callable[[], AbstractContextManager[Resource]],
    items: Iterable[Item],
    work: Callable[[Resource, Item, threading.Event], None],
    *,
    at_once: int,
    leave_after: float = LEAVE_AFTER,
) -> None:
    """Do ``work`` for each item, in so many threads; return when all of them have ended.

    When one fails, or we are interrupted, what has not begun never does, and what has is waited for
    ``leave_after`` seconds at most.

    :param resource: opened once in each thread and handed to ``work``: a connection, say.
    :param work: gets the resource, the item, and an event that is set once nobody wants the result any more:
        work that takes long looks at it between two pieces, and returns or raises as it likes.
    :raises: what the first one that failed raised.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    unwanted = threading.Event()
    # Each thread says once how it ended.
    ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def labour() -> None:
        try:
            with resource() as opened:
                while not unwanted.is_set():
                    try:
                        item = waiting.get_nowait()
                    except queue.Empty:
                        break
                    work(opened, item, unwanted)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread and raised there
            ends.put(error)
        else:
            ends.put(None)

    threads = [threading.Thread(target=labour, daemon=True) for _ in range(min(at_once, waiting.qsize()))]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            # The others' errors follow from the first one.
            if (error := _next(ends, math.inf)) is not None:
                raise error
    except BaseException:
        unwanted.set()
        deadline = time.monotonic() + leave_after
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        raise
