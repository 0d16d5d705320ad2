"""A run survives being written, and the table, the page and the charts say all of it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import chart, report
from benchmarks.figures import Spread
from benchmarks.measure import ComparisonResult, Result, SideResult
from benchmarks.record import Run, from_json, to_json

MEASURED = Result(
    "backup",
    "Backup <of> the base",
    "measured",
    facts={"server": "PostgreSQL 17.2"},
    sides=(
        SideResult("ours", "invoke backup", ({"seconds": 0.5}, {"seconds": 0.7})),
        SideResult("peer", "pg_dump", ({"seconds": 1.0}, {"seconds": 2.0})),
        SideResult("other", "other", (), "it is not installed"),
    ),
    comparisons=(
        ComparisonResult(
            "backup",
            "ours",
            "peer",
            "seconds",
            "s",
            0.5,
            None,
            Spread(0.6, 0.5, 0.7),
            Spread(1.5, 1.0, 2.0),
            Spread(0.425, 0.35, 0.5),
        ),
        ComparisonResult(
            "backup, again",
            "ours",
            "other",
            "seconds",
            "s",
            1.1,
            None,
            Spread(0.6, 0.5, 0.7),
            missing="other: it is not installed",
        ),
    ),
)
RUN = Run(
    started="2026-11-22T18:00:00+00:00",
    seconds=61.0,
    quick=False,
    rounds=None,
    only=(),
    machine={
        "processor": "Some CPU",
        "processors": 2,
        "memory_gb": 8.0,
        "system": "Linux of some kind",
        "kernel": "6.1",
        "load_average": 0.1,
    },
    versions={"python": "3.11.2", "pgops": "0.1.0"},
    git={"commit": "abc", "dirty": True},
    results=(
        MEASURED,
        Result("up", "db.up", "missing", "no Docker engine answers"),
        Result("restore", "Restore", "failed", "invoke restore ended with 1"),
    ),
)


def test_a_run_comes_back_as_it_was() -> None:
    assert from_json(json.loads(json.dumps(to_json(RUN)))) == RUN


def test_where_readers_of_the_json_look_first() -> None:
    found = to_json(RUN)
    assert found["format"] == 1
    assert found["git"] == {"commit": "abc", "dirty": True}
    assert [(each["key"], each["outcome"], each["reason"]) for each in found["measures"]] == [
        ("backup", "measured", ""),
        ("up", "missing", "no Docker engine answers"),
        ("restore", "failed", "invoke restore ended with 1"),
    ]
    first, second = found["measures"][0]["comparisons"]
    assert (first["ratio"], first["goal"], first["met"]) == (
        {"median": 0.425, "low": 0.35, "high": 0.5},
        0.5,
        True,
    )
    assert (second["ratio"], second["missing"], second["met"]) == (None, "other: it is not installed", None)
    assert found["measures"][0]["sides"][0]["samples"] == [{"seconds": 0.5}, {"seconds": 0.7}]


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2"):
        from_json({**to_json(RUN), "format": 2})


def test_the_table_leaves_nothing_out() -> None:
    lines = report.text(RUN).splitlines()
    assert " ".join(lines[1].split()) == (
        "backup 600 ms [500 ms … 700 ms] peer 1.50 s [1.00 s … 2.00 s] 0.42 [0.35 … 0.50] ≤ 0.50 met"
    )
    assert "missing: other: it is not installed" in lines[2]
    assert "missing: no Docker engine answers" in lines[3]
    assert "failed: invoke restore ended with 1" in lines[4]
    assert lines[-1] == "commit abc, with uncommitted changes"


def test_a_quick_run_compares_nothing() -> None:
    quick = replace(RUN, quick=True)
    assert "only show that the harness works" in report.about(quick)[0]
    assert report.rows(quick)[0][-1] == ""
    assert to_json(quick)["measures"][0]["comparisons"][0]["met"] is None


def test_the_page_gets_the_figures_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    (tmp_path / "performance").mkdir()
    (tmp_path / "performance" / "stale.svg").write_text("", encoding="utf-8")
    report.renew_docs(tmp_path, RUN)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "![Backup <of> the base](performance/backup.svg)" in text
    assert [each.name for each in (tmp_path / "performance").iterdir()] == ["backup.svg"]


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("by hand\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks"):
        report.renew_docs(tmp_path, RUN)
    assert page.read_text(encoding="utf-8") == "by hand\n"


def test_a_chart_has_a_bar_for_each_side_with_figures() -> None:
    root = ElementTree.fromstring(chart.svg(MEASURED))
    space = "{http://www.w3.org/2000/svg}"
    assert [each.text for each in root.iter(f"{space}text")] == [
        "Backup <of> the base",
        "ours",
        "600 ms",
        "peer",
        "1.50 s",
    ]
    bars = [float(each.attrib["width"]) for each in root.iter(f"{space}rect")][1:]
    assert bars[1] / bars[0] == pytest.approx(2.5, rel=0.01)
    right = [float(each.attrib["x2"]) for each in root.iter(f"{space}line")]
    assert max(right) <= float(root.attrib["width"])
