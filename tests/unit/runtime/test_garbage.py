"""Garbage is collected seldom while a task runs, and as before afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pgops.runtime.garbage import seldom_collected


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(("before", "within"), [(700, 20_000), (50_000, 50_000), (0, 0)])
def test_seldom_in_the_block_and_as_before_after_it(before: int, within: int) -> None:
    gc.set_threshold(before, 10, 10)
    with pytest.raises(ZeroDivisionError), seldom_collected():
        assert gc.get_threshold()[0] == within
        raise ZeroDivisionError
    assert gc.get_threshold()[:2] == (before, 10)
