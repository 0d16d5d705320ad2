"""One measure as a bar chart in SVG: a bar for each side's median, a whisker from its least to its greatest."""

from __future__ import annotations

from html import escape

from benchmarks.figures import Spread, figure, spread
from benchmarks.measure import SECONDS, Result

_WIDTH = 760
_CHARACTER = (
    7.2  # the widest that 13 px of a system font are on average; a name that is cut off tells nothing
)
_BAR, _GAP, _TOP = 22, 12, 40
_OURS, _PEER, _INK, _FAINT = "#2f6db3", "#b9c2cc", "#1f2328", "#6e7781"


def svg(result: Result) -> str:
    """The chart of a measure; figures are seconds, or what it compares instead: megabytes, blocks.

    A page that shows it may be dark: it brings its own light ground.
    """
    ours = {each.ours for each in result.comparisons}
    unit = next((each.unit for each in result.comparisons), "s")
    name = _figure_name(result)
    bars = [
        (each.name, spread([sample[name] for sample in each.samples]))
        for each in result.sides
        if each.samples and name in each.samples[0]
    ]
    greatest = max(each.high for _, each in bars)
    label = round(max(len(side) for side, _ in bars) * _CHARACTER) + 26
    value = round(max(len(figure(each.median, unit)) for _, each in bars) * _CHARACTER) + 16
    scale = (_WIDTH - label - value) / greatest
    height = _TOP + len(bars) * (_BAR + _GAP) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(result.title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        f'<text x="16" y="25" font-weight="600" fill="{_INK}">{escape(result.title)}</text>',
    ]
    for number, (side, found) in enumerate(bars):
        y = _TOP + number * (_BAR + _GAP)
        parts += _bar(side, found, scale, y, label, unit, _OURS if side in ours else _PEER)
    return "\n".join([*parts, "</svg>\n"])


def _figure_name(result: Result) -> str:
    return next((each.figure for each in result.comparisons if each.unit != "s"), SECONDS)


def _bar(side: str, found: Spread, scale: float, y: int, label: int, unit: str, colour: str) -> list[str]:
    middle = y + _BAR / 2
    low, high = label + found.low * scale, label + found.high * scale
    return [
        f'<text x="{label - 10}" y="{middle + 4.5:.1f}" text-anchor="end" fill="{_INK}">{escape(side)}</text>',
        f'<rect x="{label}" y="{y}" width="{max(1.0, found.median * scale):.1f}" height="{_BAR}" rx="2" fill="{colour}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="{_FAINT}" stroke-width="2"/>',
        f'<text x="{high + 8:.1f}" y="{middle + 4.5:.1f}" fill="{_INK}">{escape(figure(found.median, unit))}</text>',
    ]
