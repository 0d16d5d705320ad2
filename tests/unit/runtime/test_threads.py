"""Work in threads: many looks within one deadline; all of a list, where the first failure ends the rest."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pgops.runtime.threads import TooLateError, each_within, for_each, for_each_with


def test_results_in_the_order_of_the_items() -> None:
    barrier = threading.Barrier(3, timeout=10)

    def work(number: int) -> int:
        barrier.wait()  # only passes when all three are at work at once
        return number * 2

    assert each_within(20, [1, 2, 3], work) == [2, 4, 6]


def test_an_error_stays_with_its_item() -> None:
    def work(number: int) -> float:
        return 1 / number

    first, second = each_within(20, [0, 1], work)
    assert isinstance(first, ZeroDivisionError)
    assert second == 1.0


def test_what_hangs_is_left_behind() -> None:
    release = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            release.wait(30)
        return number

    first, second = each_within(0.2, [1, 2], work)
    release.set()
    assert isinstance(first, TooLateError)
    assert second == 2


def test_nothing_to_do() -> None:
    assert each_within(0.0, [], str) == []


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


def test_who_does_not_come_back_is_left_behind() -> None:
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
            for_each([0, 1], work, at_once=2, leave_after=0.1)
        assert not release.is_set()
    finally:
        release.set()


def test_nothing_to_do_is_done() -> None:
    for_each([], lambda _item, _unwanted: None, at_once=2)


def test_each_thread_has_a_resource_of_its_own_and_closes_it() -> None:
    opened: list[int] = []
    closed: list[int] = []
    barrier = threading.Barrier(2, timeout=10)

    @contextmanager
    def resource() -> Iterator[int]:
        opened.append(threading.get_ident())
        yield threading.get_ident()
        closed.append(threading.get_ident())

    def work(mine: int, item: int, _unwanted: threading.Event) -> None:
        assert mine == threading.get_ident()
        if item < 2:
            barrier.wait()

    for_each_with(resource, range(10), work, at_once=2)
    assert len(set(opened)) == 2
    assert sorted(closed) == sorted(opened)


def test_a_resource_that_does_not_open_fails_the_work() -> None:
    @contextmanager
    def resource() -> Iterator[None]:
        raise ConnectionError("no server")
        yield

    with pytest.raises(ConnectionError, match="no server"):
        for_each_with(resource, [1], lambda _mine, _item, _unwanted: None, at_once=1)
