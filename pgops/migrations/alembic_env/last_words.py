"""What somebody's code registers with ``atexit``: it gets its time at the end of the process, and no more.

A function that does not return would hold the process for ever after all is done, and ``os._exit(0)`` in one would call
a run good that was not.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_LEFT = 5.0
"""Seconds that all of them have together."""
_said: queue.SimpleQueue[LastWord] = queue.SimpleQueue()
_listeners: list[threading.Thread] = []
_registered: list[LastWord] = []
_until: list[float] = []


class LastWord:
    """A registered function: called at the end in a thread that can be left behind."""

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        self._function = function
        self._call: Callable[[], Any] = lambda: function(*arguments, **named)
        self._here = os.getpid()
        self._done = threading.Event()
        self._error: BaseException | None = None

    def __eq__(self, other: object) -> bool:
        # atexit.unregister() compares with what the project has.
        return other is self or other == self._function

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> None:
        if os.getpid() != self._here or not _listeners:
            # A child that was forked has no threads, and ends as it likes.
            self._call()
            return
        if not _until:
            _until.append(time.monotonic() + _LEFT)
        os._exit = exit_of_a_guest(os._exit)  # type: ignore[assignment]
        _said.put(self)
        if self._done.wait(max(0.0, _until[0] - time.monotonic())) and self._error is not None:
            raise self._error

    def say(self) -> None:
        """Call the function; what it raises is raised where the process ends."""
        try:
            self._call()
        except SystemExit:
            pass
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error
        finally:
            self._done.set()


def register(function: F, /, *arguments: Any, **named: Any) -> F:
    """``atexit.register`` for somebody's code."""
    word = LastWord(function, arguments, named)
    _registered.append(word)
    _atexit_register(word)
    return function


def get_ready() -> None:
    """Begin the threads now: Python begins none at its end, from 3.12 on."""
    while len(_listeners) < len(_registered):
        listener = threading.Thread(target=lambda: _said.get().say(), daemon=True)
        _listeners.append(listener)
        listener.start()


def exit_of_a_guest(leave: Callable[[int], Any]) -> Callable[[int], Any]:
    """``os._exit`` that ends a forked child, and whoever calls it here."""
    here = os.getpid()

    def exit_(status: int) -> None:
        if os.getpid() != here:
            # A child that was forked ends as it likes.
            leave(status)
        raise SystemExit(status)

    return exit_


_atexit_register = atexit.register
