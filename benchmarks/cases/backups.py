"""Backup and restore beside pg_dump and pg_restore: the same server, the same tools, the same data."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data
from benchmarks.measure import Comparison, Measure, MissingError, Sample, Side
from benchmarks.peers import program
from benchmarks.process import Finished, answer, require, shown, timed
from benchmarks.project import Project, new_project
from benchmarks.servers import Server
from benchmarks.stock import Stock, stock_for
from benchmarks.workbench import Workbench
from pgops.backups.load.pg_restore import lighter_compression
from pgops.pgtools import NoToolsError
from pgops.postgres import Target, connected, with_options

WITHOUT = "without verification"
_PGOPS = "invoke backup"
_RESTORE = "invoke restore"
_BEST = "best stock command"
_ALIKE = "best stock command, compressing alike"
_DEFAULT = "pg_dump -Fc"
_DEFAULT_RESTORE = "pg_restore"
_INTO = "restored"


@dataclass(frozen=True, slots=True)
class Bay:
    """A project whose environment ``bench`` is a database with data, and ``into`` one to restore into."""

    project: Project
    server: Server
    target: Target
    stock: Stock
    facts: dict[str, str | int | float]

    @property
    def backups(self) -> Path:
        """The project's repository of backups."""
        return self.project.path / "backups"

    @property
    def directory(self) -> Path:
        """Where the best stock command dumps to."""
        return self.project.path / "stock.dir"

    @property
    def file(self) -> Path:
        """Where ``pg_dump -Fc`` dumps to."""
        return self.project.path / "stock.dump"

    def invoke(self, *arguments: str) -> Finished:
        """Run a task."""
        return timed(
            [str(program("invoke")), *arguments],
            cwd=self.project.path,
            environ=self.project.environment(),
        )

    def clear(self) -> None:
        """Remove what earlier rounds wrote, and let the disk settle."""
        for path in (self.backups, self.directory):
            if path.exists():
                shutil.rmtree(path)
        self.file.unlink(missing_ok=True)
        os.sync()
        self.server.settle()

    def backup(self) -> Sample:
        """``invoke backup``; the time its read-back took is known from its proof."""
        done = self.invoke("backup", "--json")
        backup = answer(done)["backup"]
        require(lambda: backup["verified"] is True, done.out)
        reading = float(backup["proofs"][0]["seconds"])
        return {
            "seconds": done.seconds,
            "cpu": done.cpu,
            "verification": reading,
            WITHOUT: done.seconds - reading,
            "bytes": float(backup["bytes"]),
        }

    def shown(self, argv: list[str]) -> str:
        """A command, for people: without this project's directory."""
        return shown(argv).replace(f"{self.project.path}/", "")

    def stock_dump(self, argv: list[str]) -> Sample:
        """One of the stock commands."""
        return self.stock.runs(self.stock.dump, argv, self.project, self.target)


def bay_for(bench: Workbench, name: str, target: Target) -> Bay:
    """A bay for one database.

    :raises NoToolsError: there are no client tools for the server.
    """
    project = new_project(bench.place(name), bench.server.password)
    into = bench.server.target.with_database(f"{_INTO}_{name.replace('-', '_')}")
    project.environments({"bench": target, "into": into})
    stock = stock_for(bench.server, len(os.sched_getaffinity(0)))
    bench.versions["tools"] = stock.tools
    found = data.counted(target)
    return Bay(
        project,
        bench.server,
        target,
        stock,
        {
            "server": bench.server.kind,
            "tools": stock.tools,
            "jobs": stock.jobs,
            "database": f"{found['bytes'] / 1e6:.0f} MB, {found['tables']} tables, {found['rows']:,} rows",
        },
    )


def opened(bench: Workbench, name: str, title: str, make: Callable[[], Target]) -> Bay:
    """A bay for the database that ``make`` makes.

    :raises MissingError: there are no client tools for the server.
    """
    try:
        return bay_for(bench, name, make())
    except NoToolsError as error:
        raise MissingError(title, error.message) from error


def _megabytes(bench: Workbench) -> int:
    return 20 if bench.quick else 1000


def _backup_sides(bay: Bay) -> list[Side]:
    best, default = bay.stock.best_dump(bay.directory), bay.stock.default_dump(bay.file)
    return [
        Side(_PGOPS, "invoke backup --json", bay.backup, bay.clear),
        Side(_BEST, bay.shown(best), lambda: bay.stock_dump(best), bay.clear),
        Side(_DEFAULT, bay.shown(default), lambda: bay.stock_dump(default), bay.clear),
    ]


@contextlib.contextmanager
def backup(bench: Workbench) -> Iterator[Measure]:
    """The knowledge base, 1 GB."""
    bay = opened(bench, "backup", "backup", lambda: bench.knowledge(_megabytes(bench)))
    yield Measure(
        "backup",
        "Backup of the knowledge base",
        _backup_sides(bay),
        [
            Comparison("backup, without its verification", _PGOPS, _BEST, goal=1.03, figure=WITHOUT),
            Comparison("backup, verified", _PGOPS, _DEFAULT, goal=0.25),
            Comparison("backup, verified, beside a stock dump that is not", _PGOPS, _BEST, goal=1.12),
        ],
        bay.facts,
    )


def small_database(bench: Workbench, name: str, tables: int) -> Target:
    """A database of that many tables with 2,000 rows each."""
    target = bench.server.create(name)
    data.fill_small_tables(target, tables, rows=2000)
    return target


@contextlib.contextmanager
def small_tables(bench: Workbench) -> Iterator[Measure]:
    """Many tables, little in each."""
    count = 60 if bench.quick else 500
    bay = opened(bench, "backup-500", "backup of small tables", lambda: small_database(bench, "small", count))
    yield Measure(
        "backup-500",
        f"Backup of {count} small tables",
        _backup_sides(bay)[:2],
        [
            Comparison(
                f"backup of {count} small tables, without its verification",
                _PGOPS,
                _BEST,
                goal=1.10,
                figure=WITHOUT,
            ),
            Comparison(f"backup of {count} small tables, verified", _PGOPS, _BEST),
        ],
        bay.facts,
    )


@contextlib.contextmanager
def huge_table(bench: Workbench) -> Iterator[Measure]:
    """All in one table: only one worker has work."""

    def make() -> Target:
        target = bench.server.create("huge")
        data.fill_huge_table(target, (20 if bench.quick else 500) * 1_000_000)
        return target

    bay = opened(bench, "backup-huge", "backup of one huge table", make)
    yield Measure(
        "backup-huge",
        "Backup of one huge table",
        _backup_sides(bay)[:2],
        [
            Comparison(
                "backup of one huge table, without its verification",
                _PGOPS,
                _BEST,
                goal=1.05,
                figure=WITHOUT,
            ),
            Comparison("backup of one huge table, verified", _PGOPS, _BEST),
        ],
        bay.facts,
    )


@contextlib.contextmanager
def restore(bench: Workbench) -> Iterator[Measure]:
    """Everything pgops does except the safety backup: hashes, load, comparison, settings, swap."""
    bay = opened(bench, "restore", "restore", lambda: bench.knowledge(_megabytes(bench)))
    into = bay.server.target.with_database(f"{_INTO}_restore")
    bay.clear()
    bay.backup()
    bay.stock_dump(bay.stock.best_dump(bay.directory))
    bay.stock_dump(bay.stock.default_dump(bay.file))
    best = bay.stock.best_restore(bay.directory, into.dbname)
    default = bay.stock.default_restore(bay.file, into.dbname)
    expected = data.counted(bay.target)["tables"]

    def stock(argv: list[str], target: Target = into) -> Callable[[], Sample]:
        def run() -> Sample:
            sample = bay.stock.runs(bay.stock.restore, argv, bay.project, target)
            require(lambda: data.counted(into)["tables"] == expected, "tables are missing")
            return sample

        return run

    # What pgops tells pg_restore about large values, told to the best stock command too.
    with connected(into.with_database("postgres")) as connection:
        compression = lighter_compression(connection, ())
    told = f"-c default_toast_compression={compression}" if compression else ""
    like_ours = stock(best, with_options(into, told))
    command = f"PGOPTIONS='{told}' {bay.shown(best)}"
    alike = [Side(_ALIKE, command, like_ours, lambda: emptied(bay, into))] if told else []

    yield Measure(
        "restore",
        "Restore of the knowledge base",
        [
            Side(
                _RESTORE,
                "invoke restore --env=into --from=bench --no-safety-backup --yes --json",
                lambda: restored(bay, into, expected),
                lambda: emptied(bay, into),
            ),
            Side(_BEST, bay.shown(best), stock(best), lambda: emptied(bay, into)),
            Side(
                _DEFAULT_RESTORE,
                bay.shown(default),
                stock(default),
                lambda: emptied(bay, into),
            ),
            *alike,
        ],
        [
            Comparison("restore, checked and swapped", _RESTORE, _BEST, goal=1.10),
            *(
                Comparison("restore, large values compressed alike", _RESTORE, each.name, goal=1.10)
                for each in alike
            ),
            Comparison(
                "restore, beside pg_restore with its defaults", _RESTORE, _DEFAULT_RESTORE, goal=0.625
            ),
        ],
        bay.facts,
    )
    emptied(bay, into)
    bay.server.drop(into.dbname)


def restored(bay: Bay, into: Target, tables: int) -> Sample:
    """``invoke restore`` of the newest backup into ``into``."""
    done = bay.invoke("restore", "--env=into", "--from=bench", "--no-safety-backup", "--yes", "--json")
    answer(done)
    require(lambda: data.counted(into)["tables"] == tables, "tables are missing")
    return {"seconds": done.seconds, "cpu": done.cpu}


def emptied(bay: Bay, into: Target) -> None:
    """An empty database to restore into, nothing beside it."""
    for name in bay.server.names():
        if name.startswith(into.dbname):
            bay.server.drop(name)
    bay.server.create(into.dbname, template="template0")
    os.sync()
    bay.server.settle()
