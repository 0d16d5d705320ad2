"""What this machine remembers of an environment between two scheduled runs: the last run, and who was told of what.

One small file for each environment, in this user's state directory; replaced as a whole, never written into. A state
directory that can't be written to costs memory, never a backup: then the same trouble is told at every run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgops.environments import Environment
from pgops.errors import LockedError
from pgops.runtime.files import put_in_place
from pgops.units import timestamp

_LARGEST = 1024 * 1024
_LONGEST = 2000
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last scheduled run. ``outcome`` is ``running`` (or killed, where no run holds the lock), ``succeeded`` or
    ``failed``; ``message`` says why it failed."""

    started_at: dt.datetime
    outcome: str
    finished_at: dt.datetime | None = None
    message: str = ""
    exit_code: int = 0
    backup: str | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A trouble that somebody was told of: since when, what, and when each channel was last told."""

    since: dt.datetime
    message: str
    told: Mapping[str, dt.datetime] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Memory:
    """All that is remembered of one environment. ``alarms`` go by what they are about: ``run``, ``freshness``."""

    run: LastRun | None = None
    alarms: Mapping[str, Alarm] = field(default_factory=lambda: MappingProxyType({}))


class MemoryFile:
    """The file of one environment.

    :param environ: the environment variables, for the state directory: ``XDG_STATE_HOME``, else ``~/.local/state``.
    :param warn: told in a sentence what can't be remembered, and why.
    """

    def __init__(self, environment: Environment, environ: Mapping[str, str], warn: Warn) -> None:
        home = (
            environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "/nonexistent") / ".local" / "state"
        )
        project = hashlib.sha256(str(environment.project).encode()).hexdigest()[:16]
        self._name = environment.name
        self._path = Path(home) / "pgops" / project / f"{environment.name}.json"
        self._warn = warn

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        return self._path

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The block is the only scheduled run of this environment on this machine.

        Where no lock is to be had (a directory that can't be written to), the database's own lock still keeps two
        backups apart; that is said.

        :raises LockedError: another one is under way.
        """
        with contextlib.ExitStack() as stack:
            try:
                descriptor = self._opened(".lock")
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError(
                    f"another scheduled run of {self._name} is under way{self._since()}",
                    untouched="nothing was touched",
                    hint=f"wait for it to end; what is there: invoke backup.list --env={self._name}",
                ) from error
            except OSError as error:
                self._warn(
                    f"{self._path.parent}: {error.strerror}, so nothing but the database's own lock keeps two scheduled runs apart"
                )
            yield

    def is_running(self) -> bool:
        """Whether a scheduled run holds the lock now, as far as it can be told."""
        try:
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False  # no run ever was here, or none of ours
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _NO_LOCKS
        finally:
            os.close(descriptor)
        return False

    def read(self) -> Memory:
        """What is remembered; nothing where nothing is, or where it can't be read, which is said."""
        try:
            with self._path.open("rb") as stream:
                text = stream.read(_LARGEST)
        except FileNotFoundError:
            return Memory()
        except OSError as error:
            self._warn(f"{self._path}: {error.strerror}; nothing is known of earlier runs")
            return Memory()
        try:
            return _memory(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._warn(f"{self._path} is damaged and is written anew; nothing is known of earlier runs")
            return Memory()

    def change(self, change: Callable[[Memory], Memory]) -> Memory:
        """Replace what is remembered by what ``change`` makes of it, one process after the other; what it is now."""
        with contextlib.ExitStack() as stack:
            try:
                descriptor = self._opened(".memory-lock")
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                new = change(self.read())
                text = json.dumps(_plain(new), ensure_ascii=False)
                put_in_place(self._path, text.encode(), mode=0o600)
            except OSError as error:
                new = change(self.read())
                self._warn(f"{self._path}: {error.strerror}; this run is not remembered")
        return new

    def _opened(self, suffix: str) -> int:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path.with_suffix(suffix), flags, 0o600)

    def _since(self) -> str:
        run = self.read().run
        return f" since {timestamp(run.started_at)}" if run is not None and run.outcome == "running" else ""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, dt.datetime):
        return timestamp(value)
    return value[:_LONGEST] if isinstance(value, str) else value


def _memory(found: Any) -> Memory:
    return Memory(
        None if found["run"] is None else _run(found["run"]),
        {
            str(name): Alarm(
                _time(each["since"]),
                str(each["message"]),
                {str(channel): _time(at) for channel, at in each["told"].items()},
            )
            for name, each in found["alarms"].items()
        },
    )


def _run(found: Any) -> LastRun:
    return LastRun(
        _time(found["started_at"]),
        str(found["outcome"]),
        None if found["finished_at"] is None else _time(found["finished_at"]),
        str(found["message"]),
        int(found["exit_code"]),
        None if found["backup"] is None else str(found["backup"]),
    )


def _time(text: Any) -> dt.datetime:
    found = dt.datetime.fromisoformat(str(text))
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found
