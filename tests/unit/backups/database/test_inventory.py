"""How relations are named in SQL."""

from __future__ import annotations

from pgops.backups.database.inventory import Relation


def test_names_are_quoted() -> None:
    odd = Relation(1, 'sche"ma', "ta ble\n", "r", "p", 0, readable=True, row_security=False)
    assert odd.quoted == '"sche""ma"."ta ble\n"'
