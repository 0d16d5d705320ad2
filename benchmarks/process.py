"""A whole process, from before it is started until after it is reaped: wall time, processor time, exit code."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LONGEST = 1800.0
_KEPT = 1200
# What would decide behind a command's back where it connects to, or slow its start down.
_OWN_PREFIXES = ("PG", "PGOPS_", "INVOKE_", "COMPOSE_", "PYTHON", "ALEMBIC", "PYTEST")


class RoundFailedError(Exception):
    """A command that was measured ended as it must not, or did not do its work: there is no figure."""


@dataclass(frozen=True, slots=True)
class Finished:
    """``seconds`` of wall time; ``cpu`` seconds of the process and every child that it waited for."""

    seconds: float
    cpu: float
    out: str
    err: str


def plain_environment(
    extra: Mapping[str, str], *, inherited: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The environment every side gets: ours without settings of pgops, libpq, Invoke or Python."""
    kept = {
        key: value
        for key, value in inherited.items()
        if not key.startswith(_OWN_PREFIXES) and key != "DATABASE_URL"
    }
    return {**kept, **extra}


def shown(argv: Sequence[str]) -> str:
    """A command for people: the program's name without its directory."""
    return shlex.join([Path(argv[0]).name, *argv[1:]])


def timed(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    accepted: Collection[int] = (0,),
    deadline: float = _LONGEST,
) -> Finished:
    """Run a program to its end.

    :param accepted: exit codes that mean it did its work.
    :param deadline: seconds after which it is killed and the round has failed.
    :raises RoundFailedError: another exit code; with the end of what it said.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.perf_counter()
        child = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        killer = threading.Timer(deadline, os.killpg, (child.pid, signal.SIGKILL))
        killer.daemon = True
        killer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - begun
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            os.wait4(child.pid, 0)
            raise
        finally:
            killer.cancel()
            killer.join()
        child.returncode = code = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    if code not in accepted:
        said = (texts[1] + texts[0]).strip()[-_KEPT:]
        raise RoundFailedError(f"{shown(argv)} ended with {code} after {seconds:.1f} s: {said}")
    return Finished(seconds, usage.ru_utime + usage.ru_stime, *texts)


def answer(done: Finished) -> dict[str, Any]:
    """What a task with ``--json`` said.

    :raises RoundFailedError: it was not one object that says ``ok``.
    """
    try:
        found = json.loads(done.out)
    except ValueError as error:
        raise RoundFailedError(f"no JSON on standard output: {done.out[-_KEPT:]!r}") from error
    if not isinstance(found, dict) or found.get("ok") is not True:
        raise RoundFailedError(f"it did not say ok: {done.out[-_KEPT:]!r}")
    return found


def require(fact: Callable[[], bool], what: str) -> None:
    """Look after a round whether the work was really done.

    :raises RoundFailedError: it was not.
    """
    if not fact():
        raise RoundFailedError(f"the work was not done: {what}")
