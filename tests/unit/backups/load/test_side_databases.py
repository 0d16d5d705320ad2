"""Names and markers of the databases beside a target."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.backups.load.side_databases import Marker, new_restore_id, parse_marker, side_database_name

NOW = dt.datetime(2026, 11, 22, 17, 15, tzinfo=dt.UTC)
MARKER = Marker(
    "previous", "app", "staging", "20261122T171500Z-ab12cd", "20261122t171500_ab12cd", "2026", 'a "c"', 7
)


def test_a_name_says_what_it_is_and_of_what() -> None:
    assert side_database_name("app", "new", "20261122t171500_ab12cd") == "app__new_20261122t171500_ab12cd"
    assert side_database_name("app", "previous", "x") == "app__old_x"


@given(st.text(min_size=1, max_size=63).filter(lambda text: len(text.encode()) <= 63 and "\0" not in text))
def test_a_name_always_fits_and_stays_valid_utf8(database: str) -> None:
    name = side_database_name(database, "new", new_restore_id(NOW))
    assert len(name.encode()) <= 63
    assert database.startswith(name.split("__new_20")[0])


def test_a_marker_survives_the_comment() -> None:
    assert parse_marker(MARKER.text()) == MARKER


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "our main database",
        "pgops is what we use",
        "pgops {",
        "pgops []",
        'pgops {"kind": "new"}',
        'pgops {"kind": "else", "of": "a", "environment": "e", "backup": "b", "restore": "r", "at": "t"}',
        'pgops {"kind": "new", "of": 7, "environment": "e", "backup": "b", "restore": "r", "at": "t"}',
        'pgops {"kind": ["new"], "of": "a", "environment": "e", "backup": "b", "restore": "r", "at": "t"}',
    ],
)
def test_what_people_write_is_no_marker(comment: str | None) -> None:
    assert parse_marker(comment) is None
