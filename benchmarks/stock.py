"""PostgreSQL's own tools, the ones that pgops chooses for the same server, called as a person would."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Sample
from benchmarks.process import RoundFailedError, shown, timed
from benchmarks.project import Project
from benchmarks.servers import Server
from pgops import postgres
from pgops.local.tools import tool_sources
from pgops.pgtools import Choice, HostRunner, choose_for_dump, choose_for_restore, run
from pgops.postgres import Target, child_environment


@dataclass(frozen=True, slots=True)
class Stock:
    """``jobs`` and ``compression`` are what pgops uses as well: what differs is who calls."""

    dump: Choice
    restore: Choice
    jobs: int

    @property
    def compression(self) -> str:
        """The best this build can do."""
        return self.dump.toolset.compression

    @property
    def tools(self) -> str:
        """For people: which, and where from."""
        return f"pg_dump {self.dump.toolset.version} ({self.dump.toolset.origin}), {self.compression}"

    def best_dump(self, directory: Path) -> list[str]:
        """Directory format, a worker for each processor, the best compression."""
        return [
            "pg_dump",
            "--format=directory",
            f"--jobs={self.jobs}",
            f"--compress={self.compression}",
            f"--file={directory}",
        ]

    def default_dump(self, file: Path) -> list[str]:
        """What most people type."""
        return ["pg_dump", "-Fc", f"--file={file}"]

    def best_restore(self, directory: Path, database: str) -> list[str]:
        """A worker for each processor."""
        return ["pg_restore", f"--jobs={self.jobs}", f"--dbname={database}", str(directory)]

    def default_restore(self, file: Path, database: str) -> list[str]:
        """What most people type."""
        return ["pg_restore", f"--dbname={database}", str(file)]

    def runs(self, choice: Choice, argv: Sequence[str], project: Project, target: Target) -> Sample:
        """Run one of these commands on ``target``.

        A program of this host is a process of its own. One that pgops found in an image is run in a
        container just as pgops runs it, but without pgops' own start: that is in the peer's favour.

        :raises RoundFailedError: it did not succeed.
        """
        runner = choice.toolset.runner
        if isinstance(runner, HostRunner):
            environ = {**project.environment(), **child_environment(target)}
            done = timed([str(runner.directory / argv[0]), *argv[1:]], cwd=project.path, environ=environ)
            return {"seconds": done.seconds, "cpu": done.cpu}
        begun = time.perf_counter()
        finished = run(runner, argv, target=target, paths=[project.path])
        seconds = time.perf_counter() - begun
        if finished.exit_code != 0:
            raise RoundFailedError(f"{shown(argv)} ended with {finished.exit_code}: {finished.stderr}")
        return {"seconds": seconds}


def stock_for(server: Server, processors: int) -> Stock:
    """The tools that pgops would choose for this server.

    :raises NoToolsError: none fits.
    """
    with postgres.connected(server.target) as connection:
        major = postgres.server_facts(connection).major
    dump = choose_for_dump(major, tls=False, sources=tool_sources())
    restore = choose_for_restore(
        major,
        archive_major=dump.toolset.major,
        compression=dump.toolset.compression,
        tls=False,
        sources=tool_sources(),
    )
    return Stock(dump, restore, min(4, processors))
