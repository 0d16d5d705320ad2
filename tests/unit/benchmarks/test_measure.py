"""Sides take turns; failures are loud; what is missing is named."""

from __future__ import annotations

import pytest

from benchmarks.figures import Spread
from benchmarks.measure import Comparison, Measure, Sample, Side, take
from benchmarks.process import RoundFailedError


class Turns:
    """Sides whose figures are given, and the order in which they were asked."""

    def __init__(self, **figures: list[float]) -> None:
        self.seen: list[str] = []
        self._figures = {name: iter(each) for name, each in figures.items()}

    def side(self, name: str, missing: str = "") -> Side:
        def run() -> Sample:
            self.seen.append(name)
            return {"seconds": next(self._figures[name])}

        return Side(name, f"run {name}", run, lambda: self.seen.append(f"before {name}"), missing)


def measured(turns: Turns, *comparisons: Comparison, missing: str = "") -> Measure:
    return Measure(
        "key", "Title", [turns.side("ours"), turns.side("peer", missing)], comparisons, {"fact": 1}
    )


def test_sides_take_turns_and_warming_up_does_not_count() -> None:
    turns = Turns(ours=[99.0, 1.0, 3.0], peer=[99.0, 2.0, 4.0])
    result = take(measured(turns, Comparison("c", "ours", "peer", goal=0.7)), rounds=2)
    assert turns.seen == ["before ours", "ours", "before peer", "peer"] * 3
    assert result.outcome == "measured"
    assert [each.samples for each in result.sides] == [
        ({"seconds": 1.0}, {"seconds": 3.0}),
        ({"seconds": 2.0}, {"seconds": 4.0}),
    ]
    (compared,) = result.comparisons
    assert compared.ratio == Spread(0.625, 0.5, 0.75)
    assert compared.our_figures == Spread(2.0, 1.0, 3.0)
    assert compared.met is True


def test_a_goal_is_missed() -> None:
    turns = Turns(ours=[2.0], peer=[1.0])
    result = take(measured(turns, Comparison("c", "ours", "peer", goal=1.99)), rounds=1, warm_up=0)
    assert result.comparisons[0].met is False


@pytest.mark.parametrize(("ceiling", "met"), [(2.0, True), (1.9, False)])
def test_a_ceiling_holds_for_the_greatest_figure(ceiling: float, met: bool) -> None:
    turns = Turns(ours=[1.0, 2.0], peer=[2.0, 2.0])
    result = take(measured(turns, Comparison("c", "ours", "peer", ceiling=ceiling)), rounds=2, warm_up=0)
    assert result.comparisons[0].met is met


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    turns = Turns(ours=[2.0], peer=[1.0])
    assert (
        take(measured(turns, Comparison("c", "ours", "peer")), rounds=1, warm_up=0).comparisons[0].met is None
    )


def test_a_missing_peer_is_named_and_we_are_measured_all_the_same() -> None:
    turns = Turns(ours=[1.0])
    result = take(
        measured(turns, Comparison("c", "ours", "peer", goal=1.0), missing="it is not installed"),
        rounds=1,
        warm_up=0,
    )
    assert turns.seen == ["before ours", "ours"]
    (compared,) = result.comparisons
    assert compared.missing == "peer: it is not installed"
    assert (compared.ratio, compared.peer_figures, compared.met) == (None, None, None)
    assert compared.our_figures == Spread(1.0, 1.0, 1.0)
    assert result.sides[1].missing == "it is not installed"


@pytest.mark.parametrize("step", ["run", "prepare"])
def test_a_failing_round_ends_the_measure_without_a_figure(step: str) -> None:
    def fail() -> None:
        raise RoundFailedError("it ended with 3")

    def run() -> Sample:
        if step == "run":
            fail()
        return {"seconds": 1.0}

    def prepare() -> None:
        if step == "prepare":
            fail()

    turns = Turns(ours=[1.0, 1.0])
    measure = Measure(
        "key",
        "Title",
        [turns.side("ours"), Side("peer", "peer", run, prepare)],
        [Comparison("c", "ours", "peer")],
    )
    result = take(measure, rounds=2, warm_up=0)
    assert (result.outcome, result.reason) == ("failed", "peer: it ended with 3")
    assert (result.sides, result.comparisons) == ((), ())


def test_there_is_at_least_one_round() -> None:
    with pytest.raises(ValueError, match="one round"):
        take(measured(Turns()), rounds=0)
