"""What is different about a relation between two looks at it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgops.migrations.hazards.observed import Change
from pgops.migrations.tracing.catalog import Catalogue, Policy, Relation

ORDERS = Relation(
    oid=20000,
    schema="public",
    name="orders",
    kind="r",
    filenode=20000,
    tablespace=0,
    shown="orders",
    table=0,
    unique=False,
    primary=False,
    parent=0,
    partition=False,
    row_security=False,
    forced=False,
    rights=None,
    scans=0,
    inserted=0,
    updated=0,
    deleted=0,
    columns={1: ("id", True, "23 -1", True), 2: ("total", False, "23 -1", False)},
    constraints={1: ("p", "orders_pkey", True)},
    disabled=None,
    policies=None,
)
ALL = Policy("all", True, True, frozenset(["PUBLIC"]), "true")
OWN = Policy("own", True, True, frozenset(["app"]), "(whose = CURRENT_USER)")
INDEX = replace(
    ORDERS, oid=20001, name="orders_pkey", kind="i", filenode=20001, shown="orders_pkey", table=20000,
    unique=True, primary=True, columns=None, constraints=None,
)  # fmt: skip


def seen(*, read: bool = False, of: Relation = ORDERS, **different: Any) -> list[Change]:
    """What a look tells after one at ``ORDERS`` and its index."""
    catalogue = Catalogue({ORDERS.oid: ORDERS, INDEX.oid: INDEX, of.oid: of})
    return list(catalogue.seen(replace(of, **different), read=read))


@pytest.mark.parametrize(
    ("different", "change"),
    [
        ({"schema": "extra"}, Change("move", "orders", "extra")),
        ({"name": "sales"}, Change("rename", "orders", "sales", "r")),
        ({"partition": True, "parent": 7}, Change("attach", "orders")),
        ({"rights": "{a=r/o}"}, Change("rights", "orders", detail=" -> {a=r/o}")),
        ({"row_security": True, "policies": {}}, Change("row-security", "orders")),
        ({"disabled": frozenset(["t"])}, Change("disable-trigger", "orders", "t")),
        ({"columns": {1: ORDERS.columns[1]}}, Change("drop-column", "orders", "total")),  # type: ignore[index]
    ],
)
def test_what_an_alter_table_did(different: dict[str, Any], change: Change) -> None:
    assert seen(**different) == [change]


@pytest.mark.parametrize(
    ("column", "change"),
    [
        (("amount", False, "23 -1", False), Change("rename-column", "orders", "total", "amount")),
        (("total", True, "23 -1", False), Change("not-null", "orders", "total")),
        (("total", False, "20 -1", False), Change("retype", "orders", "total")),
    ],
)
def test_what_happened_to_a_column(column: tuple[str, bool, str, bool], change: Change) -> None:
    assert seen(columns={1: ORDERS.columns[1], 2: column}) == [change]  # type: ignore[index]


def test_a_column_that_wants_a_value() -> None:
    columns = {**(ORDERS.columns or {}), 3: ("note", True, "25 -1", True)}

    assert seen(columns=columns) == [Change("add-column", "orders", "note", "required")]


def test_a_constraint_and_that_it_was_validated() -> None:
    loose = replace(ORDERS, constraints={9: ("c", "positive", False)})

    assert seen(constraints={1: ("p", "orders_pkey", True), 9: ("c", "positive", False)}) == [
        Change("constraint", "orders", "positive", "c not valid")
    ]
    assert seen(of=loose, constraints={9: ("c", "positive", True)}) == [
        Change("constraint", "orders", "positive", "c")
    ]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"partition": True, "parent": 7}, {"partition": False, "parent": 0}, [Change("detach", "orders")]),
        ({"parent": 7}, {"parent": 0}, [Change("disinherit", "orders")]),
        ({"parent": 0}, {"parent": 7}, []),
        ({"row_security": True, "policies": {}}, {"policies": {1: ALL}}, [Change("policy", "orders", "all", "all")]),
        ({"row_security": True, "policies": {}}, {"policies": {1: OWN}}, [Change("policy", "orders", "own")]),
        ({"row_security": False, "policies": {1: OWN}}, {"row_security": True},
         [Change("row-security", "orders", detail="own")]),
        ({"row_security": False, "policies": {1: ALL}}, {"row_security": True}, []),
        ({"row_security": True, "policies": {1: ALL}}, {"policies": {}}, [Change("row-security", "orders")]),
        ({"row_security": False, "policies": {1: ALL}}, {"policies": {}}, []),
        ({"row_security": True, "policies": {1: ALL, 2: OWN}}, {"policies": {2: OWN}},
         [Change("narrow-policy", "orders", "all", "is gone")]),
        ({"row_security": True, "policies": {1: ALL}}, {"policies": {1: replace(ALL, expression="false")}},
         [Change("narrow-policy", "orders", "all", "shows no row")]),
        ({"row_security": True, "policies": {1: ALL}}, {"policies": {1: replace(ALL, roles=frozenset(["app"]))}},
         [Change("narrow-policy", "orders", "all", "is no longer for PUBLIC")]),
        ({"row_security": True, "policies": {1: OWN}}, {"policies": {1: replace(OWN, roles=frozenset(["PUBLIC"]))}}, []),
        ({"row_security": True, "policies": {1: ALL}}, {"policies": {1: ALL, 3: replace(OWN, permissive=False)}},
         [Change("restrict-policy", "orders", "own")]),
        ({"row_security": True, "policies": {1: replace(ALL, reads=False), 2: OWN}}, {"policies": {2: OWN}}, []),
        ({"disabled": frozenset(["t"])}, {"disabled": frozenset()}, [Change("enable-trigger", "orders", "t")]),
    ],
)  # fmt: skip
def test_what_was_and_is_no_more(
    before: dict[str, Any], after: dict[str, Any], changes: list[Change]
) -> None:
    assert seen(of=replace(ORDERS, **before), **after) == changes


def test_a_new_file_is_a_rewrite_only_where_rows_were_read() -> None:
    assert seen(filenode=9, read=True) == [Change("rewrite", "orders")]
    assert seen(filenode=9, read=False) == [Change("truncate", "orders")]
    assert seen(filenode=9, read=False, tablespace=5) == [Change("rewrite", "orders")]
    assert seen(of=replace(ORDERS, kind="m"), filenode=9) == [Change("refresh", "orders")]
    assert seen(of=INDEX, filenode=9) == [Change("rebuild-index", "orders", "orders_pkey")]


def test_a_new_index_is_its_table_s() -> None:
    assert seen(of=INDEX, oid=20002, name="i", primary=False) == [
        Change("build-index", "orders", "i", "unique")
    ]


def test_what_the_plan_made_itself_is_nobody_s_loss() -> None:
    catalogue = Catalogue({ORDERS.oid: ORDERS})
    fresh = replace(ORDERS, oid=30000, name="fresh", shown="fresh")

    assert list(catalogue.seen(fresh, read=False)) == []
    assert list(catalogue.seen(replace(fresh, filenode=5), read=True)) == []
    assert list(catalogue.gone(30000)) == []


def test_what_is_gone() -> None:
    catalogue = Catalogue({each.oid: each for each in (ORDERS, INDEX)})
    assert list(catalogue.gone(INDEX.oid)) == [Change("drop-index", "orders", "orders_pkey")]
    assert list(catalogue.gone(ORDERS.oid)) == [Change("drop-table", "orders", detail="r")]
    assert list(catalogue.gone(ORDERS.oid)) == []


def test_a_weak_look_does_not_forget_what_a_strong_one_saw() -> None:
    catalogue = Catalogue({ORDERS.oid: ORDERS})

    assert list(catalogue.seen(replace(ORDERS, columns=None, constraints=None), read=False)) == []
    assert catalogue.now[ORDERS.oid].columns == ORDERS.columns
