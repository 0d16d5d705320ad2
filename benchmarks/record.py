"""A run as JSON, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Spread
from benchmarks.measure import ComparisonResult, Result, SideResult

FORMAT = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """All that a run found. Times are ISO 8601 UTC, durations seconds; ``rounds`` where they were given."""

    started: str
    seconds: float
    quick: bool
    rounds: int | None
    only: tuple[str, ...]
    machine: Mapping[str, str | int | float]
    versions: Mapping[str, str]
    git: Mapping[str, str | bool | None]
    results: tuple[Result, ...]

    @property
    def whole(self) -> bool:
        """Every measure with all of its rounds and data."""
        return not self.quick and not self.only and self.rounds is None


def to_json(run: Run) -> dict[str, Any]:
    """What ``results/*.json`` holds."""
    found = {key: value for key, value in dataclasses.asdict(run).items() if key != "results"}
    return {
        "format": FORMAT,
        **found,
        "measures": [_result(each, judged=not run.quick) for each in run.results],
    }


def _result(result: Result, *, judged: bool) -> dict[str, Any]:
    found: dict[str, Any] = _rounded(dataclasses.asdict(result))
    for plain, each in zip(found["comparisons"], result.comparisons, strict=True):
        plain["met"] = each.met if judged else None
    return found


def _rounded(value: Any) -> Any:
    """Five decimals: what lies behind is noise."""
    match value:
        case float():
            return round(value, 5)
        case Mapping():
            return {key: _rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
        case _:
            return value


def from_json(found: Mapping[str, Any]) -> Run:
    """A run that was written by :func:`to_json`.

    :raises ValueError: another format.
    """
    if found["format"] != FORMAT:
        raise ValueError(f"results of format {found['format']}, not {FORMAT}")
    return Run(
        started=found["started"],
        seconds=found["seconds"],
        quick=found["quick"],
        rounds=found["rounds"],
        only=tuple(found["only"]),
        machine=found["machine"],
        versions=found["versions"],
        git=found["git"],
        results=tuple(_result_from(each) for each in found["measures"]),
    )


def _result_from(found: Mapping[str, Any]) -> Result:
    return Result(
        key=found["key"],
        title=found["title"],
        outcome=found["outcome"],
        reason=found["reason"],
        facts=found["facts"],
        sides=tuple(
            SideResult(each["name"], each["command"], tuple(each["samples"]), each["missing"])
            for each in found["sides"]
        ),
        comparisons=tuple(_comparison_from(each) for each in found["comparisons"]),
    )


def _comparison_from(found: Mapping[str, Any]) -> ComparisonResult:
    plain = {key: value for key, value in found.items() if key != "met"}
    for name in ("our_figures", "peer_figures", "ratio"):
        plain[name] = Spread(**plain[name]) if plain[name] else None
    return ComparisonResult(**plain)
