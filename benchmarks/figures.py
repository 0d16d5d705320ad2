"""The arithmetic: pure functions over the seconds of several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some figures, and how far they lie apart."""

    median: float
    low: float
    high: float


def spread(figures: Sequence[float]) -> Spread:
    """Median, least and greatest.

    :raises ValueError: there are none.
    """
    if not figures:
        raise ValueError("no figures")
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(ours: Sequence[float], peers: Sequence[float]) -> list[float]:
    """Round by round, ours by the peer's: what slows the machine down slows both of one round.

    :raises ValueError: different numbers of rounds, or a peer's figure that is not positive.
    """
    if len(ours) != len(peers):
        raise ValueError(f"{len(ours)} rounds of ours, {len(peers)} of the peer")
    if any(each <= 0 for each in peers):
        raise ValueError("a peer's figure is not positive")
    return [mine / theirs for mine, theirs in zip(ours, peers, strict=True)]


def figure(value: float, unit: str) -> str:
    """``1.23 s``, ``45 ms``, ``67.0 MB``, ``468,533 blocks``."""
    if unit == "blocks":
        return f"{value:,.0f} {unit}"
    if unit != "s":
        return f"{value:.1f} {unit}"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
