"""Told from what a container says: when its program is through."""

from __future__ import annotations

import itertools

import pytest

from pgops.local.engine.tools import Said


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_program_is_through_with_the_ends_of_both_streams(order: tuple[int, ...]) -> None:
    """The engine carries them one beside the other: a line of stderr may come after the end of stdout."""
    said = Said()
    out, err = [b"a list\n", said.whole.encode()], [b"a warning\n", f"\n{said.end}3\n".encode()]
    # Each stream in its own order.
    left = {1: iter(out), 2: iter(err)}
    for stream in (1 + each % 2 for each in order):
        assert not said.is_whole()
        said.take(stream, next(left[stream]))
    assert said.is_whole()
    assert said.out() == "a list\n"
    assert said.last_words()[::2] == ("a warning\n", "3\n")


def test_an_exit_code_that_is_not_there_yet() -> None:
    said = Said()
    said.take(1, said.whole.encode())
    said.take(2, f"\n{said.end}".encode())
    assert not said.is_whole()
    said.take(2, b"0\n")
    assert said.is_whole()


def test_marks_of_another_program_are_words() -> None:
    said, other = Said(), Said()
    said.take(1, other.whole.encode())
    said.take(2, f"\n{other.end}0\n".encode())
    assert not said.is_whole()
    assert said.out() == other.whole
    assert said.last_words()[1] == ""
