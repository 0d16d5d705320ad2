"""The same look at many things at once, with one deadline for all of them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class TooLateError(Exception):
    """The deadline passed before the work was done."""


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
            at, result = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[at] = result
    return [found.get(at, TooLateError()) for at in range(len(items))]
