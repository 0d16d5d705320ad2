"""Counting: small tables together, large ones alone."""

from __future__ import annotations

from pgops.backups.database.inventory import Relation, _batches


def table(number: int, size: int) -> Relation:
    return Relation(number, "public", f"t{number}", "r", "p", size, readable=True, row_security=False)


def sizes(*found: int) -> list[list[int]]:
    return [
        [each.bytes for each in batch]
        for batch in _batches([table(at, size) for at, size in enumerate(found)])
    ]


MB = 1024 * 1024


def test_five_hundred_small_tables_are_five_round_trips() -> None:
    assert [len(batch) for batch in _batches([table(at, 8192) for at in range(500)])] == [100] * 5


def test_a_large_table_is_alone() -> None:
    assert sizes(900 * MB, 65 * MB, 40 * MB, 20 * MB, 8192) == [
        [900 * MB],
        [65 * MB],
        [40 * MB, 20 * MB, 8192],
    ]


def test_nothing_to_count_is_no_query() -> None:
    assert sizes() == []


def test_names_are_quoted() -> None:
    odd = Relation(1, 'sche"ma', "ta ble\n", "r", "p", 0, readable=True, row_security=False)
    assert odd.quoted == '"sche""ma"."ta ble\n"'
