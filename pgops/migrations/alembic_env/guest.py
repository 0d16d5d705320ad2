"""Somebody's code as a guest in our process: it does not end it, nor keep it from ending, nor take its output away.

For ``alembic`` an ``os._exit()`` in env.py is the end of a program whose exit code says what happened. Here more comes
after it, and a silent exit code 0 would say that all was done.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

from pgops.migrations.alembic_env import last_words

_LEFT = 5.0
"""Seconds that threads which the project's code has begun get to end by themselves, at the end of the process."""
_OUTPUT = frozenset([1, 2])
_begun: WeakSet[threading.Thread] = WeakSet()


@contextlib.contextmanager
def as_a_guest() -> Iterator[None]:
    """Serve what ends, closes or holds up the process in some other way, for the block."""
    modules: Any = {
        os: _of_the_system(),
        threading.Thread: {"start": _start(threading.Thread.start)},
        atexit: {"register": last_words.register},
    }
    original = {
        (holder, name): getattr(holder, name) for holder, methods in modules.items() for name in methods
    }
    for holder, methods in modules.items():
        for name, method in methods.items():
            setattr(holder, name, method)
    try:
        yield
    finally:
        for (holder, name), method in original.items():
            setattr(holder, name, method)
        last_words.get_ready()


def _of_the_system() -> dict[str, Callable[..., Any]]:
    here, close, close_range = os.getpid(), os.close, os.closerange

    def close_all_but_output(number: int) -> None:
        # The next connection would take its number, and what we print would go to the server.
        if number not in _OUTPUT or os.getpid() != here:
            close(number)

    def close_range_but_output(low: int, high: int) -> None:
        close_range(max(low, 3) if os.getpid() == here else low, high)

    return {
        "_exit": last_words.exit_of_a_guest(os._exit),
        "close": close_all_but_output,
        "closerange": close_range_but_output,
    }


def _start(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def start_as_a_daemon(thread: threading.Thread) -> None:
        if not thread.daemon:
            thread.daemon = True
            _begun.add(thread)
        start(thread)

    return start_as_a_daemon


def _wait_for_what_was_begun() -> None:
    deadline = time.monotonic() + _LEFT
    workers: Any = concurrent.futures.thread._threads_queues
    for thread in list(_begun):
        if thread in workers and _is_idle(thread):
            # Python itself tells them to end.
            continue
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            workers.pop(thread, None)


def _is_idle(worker: threading.Thread) -> bool:
    frame = sys._current_frames().get(worker.ident or 0)
    return frame is not None and frame.f_code is concurrent.futures.thread._worker.__code__


# Python waits for an executor's workers first of all, without a limit: this is registered after that, and called before.
threading._register_atexit(_wait_for_what_was_begun)  # type: ignore[attr-defined]
