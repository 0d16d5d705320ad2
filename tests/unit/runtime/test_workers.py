"""Work on many files: the first failure ends all of it, what is at work hears of it, what has not begun never does."""

from __future__ import annotations

import threading

import pytest

from pgops.runtime import workers
from pgops.runtime.workers import for_each


def test_everything_is_done_once() -> None:
    done: list[int] = []
    for_each(range(50), lambda item, _unwanted: done.append(item), at_once=4)
    assert sorted(done) == list(range(50))


def test_the_first_failure_is_raised_and_the_rest_is_not_done() -> None:
    begun: list[int] = []

    def work(item: int, unwanted: threading.Event) -> None:
        begun.append(item)
        if item == 1:
            raise ValueError("the first")
        if not unwanted.wait(30):
            raise AssertionError("nobody said that it is not wanted")
        raise RuntimeError("broken off")

    with pytest.raises(ValueError, match="the first"):
        for_each(range(200), work, at_once=2)
    assert begun == [0, 1]


def test_who_does_not_come_back_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_LEAVE_AFTER", 0.1)
    release, waits = threading.Event(), threading.Event()

    def work(item: int, _unwanted: threading.Event) -> None:
        if item == 0:
            waits.set()
            release.wait(60)
        else:
            assert waits.wait(60)
            raise ValueError("the other")

    try:
        with pytest.raises(ValueError, match="the other"):
            for_each([0, 1], work, at_once=2)
        assert not release.is_set()
    finally:
        release.set()


def test_nothing_to_do_is_done() -> None:
    for_each([], lambda _item, _unwanted: None, at_once=2)
