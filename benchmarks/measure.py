"""What is measured: sides that take turns, and the comparisons between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Spread, ratios, spread
from benchmarks.process import RoundFailedError

Sample = Mapping[str, float]
"""What one round of one side gave: ``seconds`` always, more by name (``cpu``, ``without verification`` …)."""

SECONDS = "seconds"


class MissingError(Exception):
    """A whole measure can't be taken here."""

    def __init__(self, title: str, reason: str) -> None:
        self.title = title
        self.reason = reason
        super().__init__(f"{title}: {reason}")


def nothing() -> None:
    """No preparation."""


@dataclass(frozen=True, slots=True)
class Side:
    """One that takes its turn in every round.

    :param name: how tables call it.
    :param command: what is run, for people.
    :param run: runs it once and gives its figures.
    :param prepare: puts things in place before each turn; not timed.
    :param missing: why it can't be run here; then it is named as missing and has no figures.
    """

    name: str
    command: str
    run: Callable[[], Sample]
    prepare: Callable[[], None] = nothing
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours by the peer's.

    :param figure: which figure of our side, and ``peer_figure`` of the peer's.
    :param goal: the ratio that we want to stay below; ``None`` where it is only told.
    :param ceiling: what our own figure has to stay below, too.
    """

    title: str
    ours: str
    peer: str
    goal: float | None = None
    figure: str = SECONDS
    peer_figure: str = SECONDS
    unit: str = "s"
    ceiling: float | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """Sides and comparisons of one thing, with the facts that explain them (server, sizes, tools)."""

    key: str
    title: str
    sides: Sequence[Side]
    comparisons: Sequence[Comparison]
    facts: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SideResult:
    """The figures of one side, round by round; none where it is missing."""

    name: str
    command: str
    samples: tuple[Sample, ...]
    missing: str = ""


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """``ratio`` is of the rounds' own ratios; ``missing`` says why there is none."""

    title: str
    ours: str
    peer: str
    figure: str
    unit: str
    goal: float | None
    ceiling: float | None
    our_figures: Spread | None = None
    peer_figures: Spread | None = None
    ratio: Spread | None = None
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; ``None`` where there is no goal or no figure."""
        if self.ratio is None or self.our_figures is None or (self.goal is None and self.ceiling is None):
            return None
        below_goal = self.goal is None or self.ratio.median <= self.goal
        return below_goal and (self.ceiling is None or self.our_figures.high <= self.ceiling)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a measure: ``outcome`` is ``measured``, ``missing`` or ``failed``, with the reason."""

    key: str
    title: str
    outcome: str
    reason: str = ""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    sides: tuple[SideResult, ...] = ()
    comparisons: tuple[ComparisonResult, ...] = ()


def take(
    measure: Measure, *, rounds: int, warm_up: int = 1, told: Callable[[str], None] = lambda _: None
) -> Result:
    """Let the sides take turns, ``rounds`` times each; the figures of ``warm_up`` rounds before are thrown away.

    A round that fails ends the measure: its result is ``failed`` and holds no figure.
    """
    if rounds < 1:
        raise ValueError("at least one round")
    present = [each for each in measure.sides if not each.missing]
    samples: dict[str, list[Sample]] = {each.name: [] for each in present}
    for number in range(-warm_up, rounds):
        told("warming up" if number < 0 else f"round {number + 1} of {rounds}")
        for side in present:
            try:
                side.prepare()
                sample = side.run()
            except RoundFailedError as error:
                return Result(
                    measure.key, measure.title, "failed", f"{side.name}: {error}", dict(measure.facts)
                )
            if number >= 0:
                samples[side.name].append(sample)
    sides = tuple(
        SideResult(each.name, each.command, tuple(samples.get(each.name, ())), each.missing)
        for each in measure.sides
    )
    compared = tuple(_compare(each, sides) for each in measure.comparisons)
    return Result(measure.key, measure.title, "measured", "", dict(measure.facts), sides, compared)


def _compare(comparison: Comparison, sides: Sequence[SideResult]) -> ComparisonResult:
    by_name = {each.name: each for each in sides}
    ours, peer = by_name[comparison.ours], by_name[comparison.peer]
    mine = _figures(ours, comparison.figure)
    theirs = _figures(peer, comparison.peer_figure)
    missing = "; ".join(f"{each.name}: {each.missing}" for each in (ours, peer) if each.missing)
    return ComparisonResult(
        title=comparison.title,
        ours=comparison.ours,
        peer=comparison.peer,
        figure=comparison.figure,
        unit=comparison.unit,
        goal=comparison.goal,
        ceiling=comparison.ceiling,
        our_figures=spread(mine) if mine else None,
        peer_figures=spread(theirs) if theirs else None,
        ratio=None if missing else spread(ratios(mine, theirs)),
        missing=missing,
    )


def _figures(side: SideResult, figure: str) -> list[float]:
    return [each[figure] for each in side.samples]
