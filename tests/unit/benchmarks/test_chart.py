"""A chart that can be read: every name has its room."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import chart, record

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "full.json"
RUN = record.from_json(json.loads(RESULTS.read_text(encoding="utf-8")))


@pytest.mark.parametrize("key", [result.key for result in RUN.results])
def test_no_name_is_cut_off(key: str) -> None:
    (result,) = (each for each in RUN.results if each.key == key)
    text = chart.svg(result)
    width = int(re.search(r'viewBox="0 0 (\d+)', text)[1])  # type: ignore[index]
    for x, attributes, name in re.findall(r'<text x="([\d.]+)"([^>]*)>([^<]*)<', text):
        length = len(name) * 6.9
        ends_there = 'text-anchor="end"' in attributes
        assert float(x) - length >= 0 if ends_there else float(x) + length <= width, name
