"""Two schemas compared."""

from __future__ import annotations

from pgops.migrations.round_trip.schema import Difference, differences


def test_what_was_added_removed_and_changed() -> None:
    before = {"table a": "", "column a.x": "integer", "index i": "on a"}
    after = {"table a": "", "column a.x": "bigint", "view v": "SELECT 1"}

    found = differences(before, after)

    assert [each.as_change() for each in found] == ["changes column a.x", "removes index i", "adds view v"]
    assert [each.as_fault() for each in found] == [
        "column a.x was: integer; is: bigint",
        "index i is missing",
        "view v is left over",
    ]


def test_equal_schemas_differ_in_nothing() -> None:
    assert differences({"table a": ""}, {"table a": ""}) == []


def test_long_definitions_are_shortened_and_stay_on_one_line() -> None:
    fault = Difference("view v", "SELECT\n 1", "x" * 500).as_fault()

    assert fault.startswith("view v was: SELECT 1; is: xxx")
    assert len(fault) < 300
