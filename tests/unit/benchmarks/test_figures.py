"""The arithmetic of the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks.figures import Spread, figure, ratios, spread


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([2.0], Spread(2.0, 2.0, 2.0)),
        ([3.0, 1.0, 2.0], Spread(2.0, 1.0, 3.0)),
        ([4.0, 1.0, 2.0, 3.0], Spread(2.5, 1.0, 4.0)),
    ],
)
def test_spread(figures: list[float], expected: Spread) -> None:
    assert spread(figures) == expected


def test_no_figures_have_no_spread() -> None:
    with pytest.raises(ValueError, match="no figures"):
        spread([])


def test_ratios_are_of_one_round_each() -> None:
    # The machine was ten times slower in the second round: that changes no ratio.
    assert ratios([1.0, 10.0], [2.0, 20.0]) == [0.5, 0.5]


def test_rounds_have_to_match() -> None:
    with pytest.raises(ValueError, match="2 rounds of ours, 1 of the peer"):
        ratios([1.0, 2.0], [1.0])


def test_a_peer_that_took_no_time_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not positive"):
        ratios([1.0], [0.0])


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.1234, "s", "123 ms"),
        (12.345, "s", "12.35 s"),
        (52.96, "MB", "53.0 MB"),
        (468533.0, "blocks", "468,533 blocks"),
    ],
)
def test_figure(value: float, unit: str, expected: str) -> None:
    assert figure(value, unit) == expected
