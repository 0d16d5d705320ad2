"""Many looks at once, one deadline."""

from __future__ import annotations

import threading

from pgops.runtime.deadline import TooLateError, each_within


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
