"""The most memory that our own process takes, for databases of very different sizes."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import data
from benchmarks.cases.backups import Bay, bay_for, emptied
from benchmarks.measure import Comparison, Measure, MissingError, Sample, Side
from benchmarks.peers import program
from benchmarks.process import timed
from benchmarks.workbench import Workbench
from pgops.pgtools import NoToolsError

_OWN = "own"
_PROBE = Path(__file__).resolve().parent.parent / "probe.py"


def _peak(bay: Bay, *arguments: str) -> Sample:
    file = bay.project.path / "peak.json"
    file.unlink(missing_ok=True)
    # -P: the probe's own directory is not to be imported from.
    done = timed(
        [sys.executable, "-P", str(_PROBE), str(file), str(program("invoke")), *arguments],
        cwd=bay.project.path,
        environ=bay.project.environment(),
    )
    found = json.loads(file.read_text(encoding="utf-8"))
    return {"seconds": done.seconds, _OWN: found["own"], "greatest child": found["greatest child"]}


def _backing_up(bay: Bay) -> Side:
    return Side(f"backup, {bay.facts['size']}", "invoke backup", lambda: _peak(bay, "backup"), bay.clear)


def _restoring(bay: Bay) -> Side:
    into = bay.server.target.with_database(f"restored_{bay.project.path.name.replace('-', '_')}")

    def prepare() -> None:
        bay.clear()
        bay.backup()
        emptied(bay, into)

    arguments = ("restore", "--env=into", "--from=bench", "--no-safety-backup", "--yes")
    return Side(
        f"restore, {bay.facts['size']}",
        "invoke restore --no-safety-backup --yes",
        lambda: _peak(bay, *arguments),
        prepare,
    )


@contextlib.contextmanager
def peak(bench: Workbench) -> Iterator[Measure]:
    """Backup and restore of databases from small to large."""
    title = "Peak memory of our own process"
    sizes = (10, 20) if bench.quick else (10, 100, 1000)
    try:
        bays = [_bay(bench, size) for size in sizes]
    except NoToolsError as error:
        raise MissingError(title, error.message) from error
    comparisons, sides = [], []
    for name, side_of in _WORK.items():
        made = [side_of(bay) for bay in bays]
        sides += made
        comparisons.append(
            Comparison(
                f"peak memory of {name}, {sizes[-1]} MB beside {sizes[0]} MB",
                made[-1].name,
                made[0].name,
                goal=1.10,
                figure=_OWN,
                peer_figure=_OWN,
                unit="MB",
                ceiling=100.0,
            )
        )
    yield Measure(
        "memory",
        title,
        sides,
        comparisons,
        {key: value for key, value in bays[-1].facts.items() if key in ("server", "tools", "jobs")},
    )
    for bay in bays:
        for name in bay.server.names():
            if name.startswith("restored_memory"):
                bay.server.drop(name)


_WORK: dict[str, Callable[[Bay], Side]] = {"backup": _backing_up, "restore": _restoring}


def _bay(bench: Workbench, megabytes: int) -> Bay:
    target = bench.knowledge(megabytes)
    bay = bay_for(bench, f"memory-{megabytes}", target)
    bay.facts["size"] = f"{data.counted(target)['bytes'] / 1e6:.0f} MB"
    return bay
