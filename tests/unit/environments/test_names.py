"""Names for a shell: from good files, from bad ones, and only what can be a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.environments.names import names

GOOD = b"environments:\n  a: {aliases: [x, y]}\n  b:\n    aliases:\n      - z\n  c: {}\n"


def test_names_and_aliases() -> None:
    assert names(GOOD) == ["a", "x", "y", "b", "z", "c"]
    assert names(GOOD, aliases=False) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("environments: 5\n", []),
        ("environments: [a]\n", []),
        ("version: 7\nenvironments: {a: {prt: 1}, a: {}}\n", ["a"]),
        ("environments:\n  a: {}\n  b: [\n  c: {}\nother:\n  d: {}\n", ["a", "b", "c"]),
        ("bad: [\nenvironments:\n  'a': {}\n  # d: {}\n  b :\n    e: {}\n", ["a", "b"]),
        ("environments:\n\ta: {}\n  b: {}\n", ["b"]),
        ("environments: {$(id): {}, 'x y': {}, ok: {aliases: ['$(id)', fine]}}\n", ["ok", "fine"]),
        ("bad: [\nenvironments:\n  $(id): {}\n  ok: {}\n", ["ok"]),
    ],
)
def test_what_can_be_had(text: str, found: list[str]) -> None:
    assert names(text.encode()) == found


@given(st.binary(max_size=200))
def test_whatever_stands_there(raw: bytes) -> None:
    names(raw)
    names(GOOD + raw)
