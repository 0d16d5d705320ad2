"""Stands between pgops and a tunnel's program, as a process of its own: the program ends when pgops does, kill -9 included.

Run as a script by its path, with the program's words as arguments. Its stdin is a pipe that pgops holds: the kernel closes
that whatever pgops dies of. Nothing of pgops is imported, so that it starts at once.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_GRACE = 2.0


def _end_with_us() -> None:
    # Somebody may kill the keeper itself. Nothing like it on other systems than Linux.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the program and all that it started in its session."""
    deadline = time.monotonic() + _GRACE
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        while number == signal.SIGTERM and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    child.wait()


def main(argv: list[str]) -> int:
    """Run a program until it ends, or our stdin does; its exit code."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    asked_to_end = False

    def on_term(_number: int, _frame: object) -> None:
        nonlocal asked_to_end
        asked_to_end = True

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_us,  # noqa: PLW1509 - there are no threads here
        )
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
        return 127
    try:
        while child.poll() is None and not asked_to_end:
            ready, _, _ = select.select([0, woken], [], [])
            if woken in ready:
                os.read(woken, 512)
            if 0 in ready and not os.read(0, 512):
                break
        return child.returncode if child.poll() is not None else 0
    finally:
        _end(child)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
