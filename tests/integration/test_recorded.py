"""The examples of docs/tasks.md are what is printed: each task is typed again, in a project without Docker."""

from __future__ import annotations

from pathlib import Path

from tests.support import recorded


def test_the_example_of_each_task_is_what_it_prints(tmp_path: Path) -> None:
    shown = recorded.recorded_session()
    found = recorded.run_session(tmp_path)
    assert shown.keys() == found.keys()
    for name, (typed, seen) in found.items():
        assert recorded.same(typed) == recorded.same(shown[name][0])
        assert recorded.same(seen) == recorded.same(shown[name][1]), (
            f"{name}: python -m tests.support.recorded records it anew"
        )
