"""Measure, print the table, write the JSON; a whole run also renews docs/performance.md and its charts."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES, Case
from benchmarks.machine import commit, machine, versions
from benchmarks.measure import MissingError, Result, take
from benchmarks.process import RoundFailedError
from benchmarks.project import REPOSITORY
from benchmarks.record import Run, to_json
from benchmarks.workbench import Workbench, workbench
from pgops.errors import PgopsError

RESULTS = REPOSITORY / "benchmarks" / "results"


def main(arguments: Sequence[str]) -> int:
    """Returns 0 when every measure was taken (or named as missing), 1 when one failed."""
    options = _options(arguments)
    chosen = {key: CASES[key] for key in CASES if not options.only or key in options.only}
    started, begun = dt.datetime.now(dt.UTC), time.monotonic()
    where = machine()
    with workbench(quick=options.quick, told=_tell) as bench:
        results = tuple(_taken(key, case, bench, options.rounds) for key, case in chosen.items())
        met = dict(bench.versions)
    run = Run(
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - begun, 1),
        quick=options.quick,
        rounds=options.rounds,
        only=tuple(options.only),
        machine=where,
        versions=versions(met),
        git=commit(REPOSITORY),
        results=results,
    )
    print(report.text(run))
    _write(options.output, run)
    if run.whole and not any(each.outcome == "failed" for each in results):
        _write(RESULTS / "full.json", run)
        report.renew_docs(REPOSITORY / "docs", run)
    return 1 if any(each.outcome == "failed" for each in results) else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data, few rounds: about two minutes")
    parser.add_argument("--rounds", type=int, help="rounds of each measure, instead of its own number")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / "last.json", help="the JSON; benchmarks/results/last.json"
    )
    parser.add_argument(
        "--only",
        type=lambda text: [each.strip() for each in text.split(",") if each.strip()],
        default=[],
        help=f"only these measures, separated by commas: {', '.join(CASES)}",
    )
    options = parser.parse_args(arguments)
    unknown = [each for each in options.only if each not in CASES]
    if unknown:
        parser.error(f"no such measure: {', '.join(unknown)}; there are: {', '.join(CASES)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def _taken(key: str, case: Case, bench: Workbench, rounds: int | None) -> Result:
    """One measure: figures, or the reason why there are none; the others go on."""
    count = rounds or (case.quick_rounds if bench.quick else case.rounds)
    _tell(f"{key}: preparing")
    try:
        with case.open(bench) as measure:
            result = take(
                measure,
                rounds=count,
                warm_up=0 if bench.quick else 1,
                told=lambda text: _tell(f"{key}: {text}"),
            )
    except MissingError as error:
        result = Result(key, error.title, "missing", error.reason)
    except (RoundFailedError, PgopsError) as error:
        result = Result(key, key, "failed", f"while preparing: {error}")
    _tell(report.line(result))
    return result


def _tell(text: str) -> None:
    print(f"{dt.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def _write(file: Path, run: Run) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(to_json(run), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
