"""What roles may no longer do, between two looks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgops.migrations.hazards.observed import Change
from pgops.migrations.tracing.grants import Grants

NEWEST = 20_000
SEQUENCE = ["rights", 17_000, 0, "sequence numbers", "{o=rwU/o}", "{o=rwU/o,app=U/o}"]
COLUMN = ["rights", 17_001, 2, "column note of orders", "", "{app=r/o}"]
MEMBER = ["membership", 16_500, 0, "app", "readers", "member"]
LOGIN = ["login", 16_500, 0, "app", "", "login"]
PATH = ["search-path", 16_500, 0, "app", "false", "search_path=shop, public"]


def changes(before: list[Any], after: list[Any]) -> list[Change]:
    return list(Grants(json.dumps(before), NEWEST).seen(json.dumps(after)))


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ([SEQUENCE, COLUMN, MEMBER, LOGIN, PATH], [SEQUENCE, COLUMN, MEMBER, LOGIN, PATH], []),
        ([SEQUENCE], [[*SEQUENCE[:3], "sequence public.numbers", *SEQUENCE[4:]]], []),
        ([SEQUENCE], [[*SEQUENCE[:5], "{o=rwU/o}"]],
         [Change("grants", "", "sequence numbers", "{o=rwU/o,app=U/o} -> {o=rwU/o}")]),
        ([], [["rights", 17_002, 0, "function f()", "{=X/o,o=X/o}", "{o=X/o}"]],
         [Change("grants", "", "function f()", "{=X/o,o=X/o} -> {o=X/o}")]),
        ([], [["rights", NEWEST + 1, 0, "function f()", "{=X/o,o=X/o}", "{o=X/o}"]], []),
        ([COLUMN], [], [Change("grants", "", "column note of orders", "{app=r/o} -> ")]),
        ([MEMBER, LOGIN], [LOGIN], [Change("membership", "", "app", "readers")]),
        ([MEMBER, LOGIN], [MEMBER], [Change("login", "", "app")]),
        ([], [PATH], [Change("search-path", "", "app", "shop, public")]),
        ([PATH], [[*PATH[:5], "search_path=elsewhere"]], [Change("search-path", "", "app", "elsewhere")]),
        ([PATH], [], [Change("search-path", "", "app")]),
        ([], [MEMBER, LOGIN], []),
    ],
)  # fmt: skip
def test_what_is_different(before: list[Any], after: list[Any], found: list[Change]) -> None:
    assert changes(before, after) == found


def test_what_was_told_is_told_once() -> None:
    grants = Grants(json.dumps([MEMBER]), NEWEST)

    assert len(list(grants.seen(None))) == 1
    assert list(grants.seen(None)) == []


def test_what_is_only_read_is_not_told() -> None:
    grants = Grants(json.dumps([MEMBER]), NEWEST)
    grants.read(None)

    assert list(grants.seen(None)) == []
