"""The same work on many files, a few at once; when one fails, or we are interrupted, the rest is not done."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

_LEAVE_AFTER = 10.0


def for_each(items: Iterable[Item], work: Callable[[Item, threading.Event], None], *, at_once: int) -> None:
    """Do ``work`` for each item, in so many threads; return when all of them have ended.

    The threads are daemons, and after a failure or Ctrl-C they are waited for ten seconds at most: one that waits
    outside of Python, for a server that does not answer, must not keep the process from ending.

    :param work: gets the item, and an event that is set once nobody wants the result any more: work that
        takes long looks at it between two pieces, and returns or raises as it likes.
    :raises: what the first one that failed raised; what has not begun by then never does.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    unwanted = threading.Event()
    # Each thread says once how it ended.
    ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def labour() -> None:
        try:
            while not unwanted.is_set():
                work(waiting.get_nowait(), unwanted)
        except queue.Empty:
            ends.put(None)
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
            if (error := ends.get()) is not None:
                raise error
    except BaseException:
        unwanted.set()
        deadline = time.monotonic() + _LEAVE_AFTER
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        raise
