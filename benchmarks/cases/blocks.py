"""What a backup makes the server read, beside pg_dump: counted, so that it is the same on a machine at work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from benchmarks.cases.backups import Bay, opened, small_database
from benchmarks.measure import Comparison, Measure, Sample, Side
from benchmarks.workbench import Workbench

_BLOCKS = "blocks"


@contextlib.contextmanager
def of_backups(bench: Workbench) -> Iterator[Measure]:
    """Blocks that the server takes from the disk or from its memory: the knowledge base, and many small tables."""
    title = "blocks that the server reads for a backup"
    megabytes, count = (20, 60) if bench.quick else (1000, 500)
    bays = {
        f"the knowledge base, {megabytes} MB": opened(
            bench, "blocks", title, lambda: bench.knowledge(megabytes)
        ),
        f"{count} small tables": opened(
            bench, "blocks-small", title, lambda: small_database(bench, "small_blocks", count)
        ),
    }
    sides, comparisons = [], []
    for name, bay in bays.items():
        ours, peer = _sides(bay, name)
        sides += [ours, peer]
        comparisons.append(
            Comparison(
                f"{title}, {name}",
                ours.name,
                peer.name,
                goal=1.05,
                figure=_BLOCKS,
                peer_figure=_BLOCKS,
                unit=_BLOCKS,
            )
        )
    facts = {key: value for key, value in bay.facts.items() if key in ("server", "tools", "jobs")}
    yield Measure("blocks", "Blocks that the server reads for a backup", sides, comparisons, facts)


def _sides(bay: Bay, name: str) -> tuple[Side, Side]:
    best = bay.stock.best_dump(bay.directory)

    def counted(run: Callable[[], Sample]) -> Callable[[], Sample]:
        def run_counted() -> Sample:
            before = bay.server.blocks(bay.target.dbname)
            sample = run()
            return {**sample, _BLOCKS: float(bay.server.blocks(bay.target.dbname) - before)}

        return run_counted

    return (
        Side(f"invoke backup, {name}", "invoke backup --json", counted(bay.backup), bay.clear),
        Side(f"pg_dump, {name}", bay.shown(best), counted(lambda: bay.stock_dump(best)), bay.clear),
    )
