"""What somebody's code does to the process that it is a guest in."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pgops.migrations.alembic_env.guest import as_a_guest


def test_the_end_of_the_process_is_the_end_of_the_guest() -> None:
    with pytest.raises(SystemExit) as ended, as_a_guest():
        os._exit(3)
    assert ended.value.code == 3


def test_a_child_that_it_forks_ends_as_it_likes() -> None:
    with as_a_guest():
        child = os.fork()
        if child == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_our_output_stays_open() -> None:
    before = [os.fstat(number) for number in (1, 2)]
    with as_a_guest():
        os.close(1)
        os.closerange(1, 3)
    assert [os.fstat(number) for number in (1, 2)] == before


_LEAVES_THREADS = """
import concurrent.futures, sys, threading, time
from pgops.migrations.alembic_env import guest

guest._LEFT = 0.5
pool = concurrent.futures.ThreadPoolExecutor()
with guest.as_a_guest():
    threading.Thread(target=threading.Event().wait).start()
    threading.Thread(target=lambda: (time.sleep(0.2), print("it ended"))).start()
    pool.submit(threading.Event().wait)
    pool.submit(lambda: None)
print("done")
sys.exit(4)
"""


def test_threads_that_do_not_end_are_not_waited_for() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _LEAVES_THREADS], capture_output=True, text=True, check=False, timeout=60
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (4, "done\nit ended\n", "")


_REGISTERS_FOR_THE_END = """
import atexit, os, sys, threading
from pgops.migrations.alembic_env import guest, last_words

last_words._LEFT = 0.5
with guest.as_a_guest():
    atexit.register(print, "it was not kept", flush=True)  # the last one called: no time is left, it is tried
    atexit.register(threading.Event().wait)
    atexit.register(os._exit, 0)
    atexit.register(int, "no number")
    atexit.register(sys.exit, 5)
    atexit.register(print, "it said", end="!\\n", flush=True)
    @atexit.register
    def taken_back():
        print("taken back")
    atexit.unregister(taken_back)
sys.exit(4)
"""


def test_what_it_registers_for_the_end_does_not_hold_it_up() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _REGISTERS_FOR_THE_END],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 4
    assert ended.stdout.splitlines()[0] == "it said!"
    assert "taken back" not in ended.stdout
    assert ended.stderr.strip().endswith("invalid literal for int() with base 10: 'no number'")
