"""The parent of :mod:`tests.support.preloaded`: imports everything, and becomes a command in each of its forks."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pgops.pgtools import toolset
from tests.support import clusters
from tests.support.preloaded import Parent, Preloaded

# What Python, the loader and pgops read when they start.
_OF_THE_START = ("PYTHON", "LD_", "LC_", "LANG", "PGOPS_PROGRAM")
_OTHERS = (
    "alembic.autogenerate",
    "alembic.command",
    "docker",
    "invoke.main",
    "sqlalchemy.dialects.postgresql.psycopg2",
)


def _of_the_start(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are read once, when an interpreter starts."""
    return {name: value for name, value in environ.items() if name.startswith(_OF_THE_START)}


_STARTED_WITH = _of_the_start(os.environ)


def _ask_the_programs() -> None:
    """What PostgreSQL's programs on this machine can do is known to each fork from here; another program it asks."""
    for source in toolset.DEFAULT_SOURCES:
        list(source(0))


def _import_all() -> None:
    import pgops

    for found in pkgutil.walk_packages(pgops.__path__, "pgops."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    for name in _OTHERS:
        importlib.import_module(name)
    _ask_the_programs()
    gc.collect()
    gc.freeze()


def _serve(life: socket.socket, listening: socket.socket) -> list[str]:
    """Fork for each request until nobody asks any more; in a fork, returns the command's ``argv``."""
    waiting: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(life, selectors.EVENT_READ)
        selector.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is life:
                    sys.exit(0)
                if key.fileobj is not listening:
                    descriptor = int(key.fd)
                    selector.unregister(descriptor)
                    pid, answers = waiting.pop(descriptor)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    os.close(descriptor)
                    with answers, contextlib.suppress(OSError):  # who asked may have gone
                        answers.send(str(code).encode())
                    continue
                answers, _ = listening.accept()
                text, streams, _, _ = socket.recv_fds(answers, 1_000_000, 3)
                if not text:  # who asked has gone before
                    answers.close()
                    continue
                pid = os.fork()
                if pid == 0:
                    for descriptor, (_, other) in waiting.items():
                        os.close(descriptor)
                        other.close()
                    for each in (answers, life, listening):
                        each.close()
                    return _become(json.loads(text), streams)
                for stream in streams:
                    os.close(stream)
                with contextlib.suppress(OSError):
                    answers.send(str(pid).encode())
                descriptor = os.pidfd_open(pid)
                waiting[descriptor] = (pid, answers)
                selector.register(descriptor, selectors.EVENT_READ)


def _become(request: dict[str, object], streams: Sequence[int]) -> list[str]:
    """Make this fork what a new process would be; returns the command's ``argv``."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    environ, argv, mask = request["environ"], request["argv"], request["umask"]
    assert isinstance(environ, dict) and isinstance(argv, list) and isinstance(mask, int)
    os.chdir(str(request["cwd"]))
    os.umask(mask)
    if _of_the_start(environ) != _STARTED_WITH:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve(argv[0], argv, environ)
    os.environ.clear()
    os.environ.update(environ)
    # Asked for before this process began, perhaps: its own TMPDIR counts.
    tempfile.tempdir = None
    time.tzset()
    random.seed()
    return argv


def _carry_out(argv: Sequence[str]) -> None:
    """Run what a new interpreter would with this command line."""
    program, *arguments = argv
    if program == sys.executable and arguments[0].endswith(".py"):
        program, *arguments = arguments
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if program != sys.executable:
        # The script's own directory comes first, as for every script; and that script is the main module.
        sys.path[0] = str(Path(program).parent)
        sys.argv = [program, *arguments]
        main.__file__ = program
        exec(compile(Path(program).read_bytes(), program, "exec"), main.__dict__)
        return
    if arguments[0] == "-P":
        del sys.path[0], arguments[0]
    else:
        sys.path[0] = "" if arguments[0] == "-c" else str(Path.cwd())
    option, what, *rest = arguments
    sys.argv = [option, *rest]
    if option == "-c":
        exec(compile(what, "<string>", "exec"), main.__dict__)
    else:
        assert option == "-m", f"no fork is like a new interpreter with {option}"
        runpy.run_module(what, run_name="__main__", alter_sys=True)


def _fork_for_ours_too(parent: Parent) -> None:
    """What a command itself starts as ``[sys.executable, "-m", "pgops.…"]`` is a fork as well."""
    begin, others = subprocess.run, Preloaded(parent)
    plain = {"capture_output": True, "check": False}

    def run(argv: Any, **options: Any) -> Any:
        words = list(argv) if isinstance(argv, list | tuple) else []
        known = {"cwd", "env", "stdin", "text", "timeout"}
        ours = words[:1] == [sys.executable] and "-m" in words[1:3] and "pgops" in " ".join(words[2:4])
        if (
            not ours
            or {name: value for name, value in options.items() if name not in known} != plain
            or options.get("stdin", subprocess.DEVNULL) != subprocess.DEVNULL
        ):
            return begin(argv, **options)
        done: subprocess.CompletedProcess[Any] = others.run(
            words,
            cwd=options.get("cwd") or Path.cwd(),
            environ=options.get("env") or os.environ,
            timeout=options.get("timeout") or 600,
        )
        if not options.get("text"):
            done.stdout, done.stderr = done.stdout.encode(), done.stderr.encode()
        return done

    subprocess.run = run  # type: ignore[assignment]


def _end(status: SystemExit) -> NoReturn:
    """End as Python does with this, but leave the objects where they are.

    To free each of them would write to, and so copy, nearly every page that this fork shares with its parent.
    """
    code = status.code
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
    except OSError:
        code = 120  # as Python ends where nobody reads what it wrote
    os._exit(code or 0)


if __name__ == "__main__":
    _import_all()
    if directory := os.environ.get(clusters.NAMED_BY):
        clusters.Copied(Path(directory)).use()
    begun = Parent(Path(sys.argv[1]))
    command = _serve(*(socket.socket(fileno=int(each)) for each in sys.argv[2:]))
    _fork_for_ours_too(begun)
    try:
        _carry_out(command)
        sys.exit()
    except SystemExit as status:
        _end(status)
