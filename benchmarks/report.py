"""A run for people: a line while it goes, a table at its end, docs/performance.md after a whole one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import chart
from benchmarks.figures import Spread, figure
from benchmarks.measure import ComparisonResult, Result
from benchmarks.record import Run

_HEADERS = ("", "pgops", "peer", "", "ratio", "goal", "")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def spread_of(found: Spread, unit: str) -> str:
    """Median, with the least and the greatest: ``1.23 s [1.20 s … 1.31 s]``."""
    return f"{figure(found.median, unit)} [{figure(found.low, unit)} … {figure(found.high, unit)}]"


def ratio_of(found: Spread) -> str:
    """``0.48 [0.45 … 0.52]``."""
    return f"{found.median:.2f} [{found.low:.2f} … {found.high:.2f}]"


def goal_of(found: ComparisonResult) -> str:
    """``≤ 0.50``, with the ceiling where there is one."""
    parts = [f"≤ {found.goal:.2f}"] if found.goal is not None else []
    if found.ceiling is not None:
        parts.append(f"< {found.ceiling:.0f} {found.unit}")
    return ", ".join(parts)


def verdict(found: ComparisonResult, run: Run) -> str:
    """``met``, ``missed`` or nothing; a quick run's data is too small for a goal."""
    return "" if run.quick else {True: "met", False: "missed", None: ""}[found.met]


def rows(run: Run) -> list[tuple[str, ...]]:
    """A row for each comparison, and for each measure that has none."""
    found: list[tuple[str, ...]] = []
    for result in run.results:
        if result.outcome != "measured":
            found.append((result.title, f"{result.outcome}: {result.reason}", "", "", "", "", ""))
        found += [_row(each, run) for each in result.comparisons]
    return found


def _row(found: ComparisonResult, run: Run) -> tuple[str, ...]:
    ours = spread_of(found.our_figures, found.unit) if found.our_figures else "missing"
    theirs = spread_of(found.peer_figures, found.unit) if found.peer_figures else "missing"
    ratio = ratio_of(found.ratio) if found.ratio else f"missing: {found.missing}"
    return (found.title, ours, found.peer, theirs, ratio, goal_of(found), verdict(found, run))


def text(run: Run) -> str:
    """The table for a terminal, with what it needs to be read."""
    table = [_HEADERS, *rows(run)]
    widths = [max(len(row[at]) for row in table if row[at] is not None) for at in range(len(_HEADERS))]
    # A reason may be long; it does not widen the table.
    widths[1] = max((len(row[1]) for row in table if row[2]), default=len(_HEADERS[1]))
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join([*lines, "", *about(run)])


def about(run: Run) -> list[str]:
    """Machine, versions, commit and duration, one sentence each."""
    where = run.machine
    dirty = {True: ", with uncommitted changes", False: "", None: ""}[_flag(run.git.get("dirty"))]
    kind = "quick run: the figures only show that the harness works" if run.quick else "figures of one run"
    return [
        f"{kind}; {run.started}, {run.seconds / 60:.0f} min; median [least … greatest]; "
        "a ratio is the median of the rounds' own ratios",
        f"{where['processors']} × {where['processor']}, {where['memory_gb']} GB, {where['system']}, "
        f"Linux {where['kernel']}, load average {where['load_average']} at the start",
        ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        f"commit {run.git.get('commit')}{dirty}",
    ]


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def line(result: Result) -> str:
    """One line when a measure is done."""
    if result.outcome != "measured":
        return f"{result.key}: {result.outcome.upper()}: {result.reason}"
    parts = [
        f"{each.title}: {ratio_of(each.ratio) if each.ratio else 'missing: ' + each.missing}"
        for each in result.comparisons
    ]
    return f"{result.key}: {'; '.join(parts)}"


def markdown(run: Run) -> str:
    """The generated part of docs/performance.md."""
    lines = ["| what | pgops | peer | ratio | goal | |", "|---|---|---|---|---|---|"]
    for name, ours, peer, theirs, ratio, goal, said in rows(run):
        peers = f"{peer}: {theirs}" if peer else ""
        lines.append(f"| {name} | {ours} | {peers} | {ratio} | {goal} | {said} |")
    lines += ["", *(f"- {each}" for each in about(run)), "", *_facts(run.results)]
    for result in charted(run):
        lines += [f"![{result.title}](performance/{result.key}.svg)", ""]
    return "\n".join(lines)


def _facts(results: Sequence[Result]) -> list[str]:
    lines = ["| measure | with what |", "|---|---|"]
    for result in results:
        facts = "; ".join(f"{name}: {value}" for name, value in result.facts.items())
        commands = "; ".join(f"`{each.command}`" for each in result.sides)
        lines.append(f"| {result.title} | {commands}{'. ' + facts if facts else ''} |")
    return [*lines, ""]


def charted(run: Run) -> list[Result]:
    """The measures that have something to draw."""
    return [each for each in run.results if any(side.samples for side in each.sides)]


def renew_docs(docs: Path, run: Run) -> None:
    """Put this run's figures between the markers of performance.md, and its charts beside it.

    :raises ValueError: the page has no markers.
    """
    page = docs / "performance.md"
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks {BEGIN} or {END}")
    charts = docs / "performance"
    charts.mkdir(exist_ok=True)
    for stale in charts.glob("*.svg"):
        stale.unlink()
    for result in charted(run):
        (charts / f"{result.key}.svg").write_text(chart.svg(result), encoding="utf-8")
    page.write_text(f"{before}{BEGIN}\n{markdown(run)}\n{END}{after}", encoding="utf-8")
