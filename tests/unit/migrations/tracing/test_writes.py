"""What bounds the rows of a write, by PostgreSQL's plan of it."""

from __future__ import annotations

from typing import Any

import pytest

from pgops.migrations.tracing.writes import explained, reads_many

UNIQUE = {("public", "orders_pkey"): ["id"], ("public", "lines_pkey"): ["order", "number"]}


def modify(operation: str, *below: dict[str, Any], table: str = "orders") -> list[dict[str, Any]]:
    """The answer to EXPLAIN for a statement that changes rows of a table."""
    node = {"Node Type": "ModifyTable", "Operation": operation, "Schema": "public", "Relation Name": table}
    return [{"Plan": {**node, "Plans": [{"Parent Relationship": "Outer", **each} for each in below]}}]


def scan(kind: str, table: str = "orders", **more: Any) -> dict[str, Any]:
    return {"Node Type": kind, "Relation Name": table, **more}


def lookup(condition: str, index: str = "orders_pkey", table: str = "orders") -> dict[str, Any]:
    return scan("Index Scan", table, **{"Index Name": index, "Index Cond": condition})


@pytest.mark.parametrize(
    "below",
    [
        lookup("(orders.id = 5)"),
        lookup("(orders.id = ANY ('{5,6}'::integer[]))"),
        lookup("((lines.\"order\" = 5) AND (lines.number = 1))", "lines_pkey", "lines"),
        scan("Bitmap Heap Scan", Plans=[{"Node Type": "Bitmap Index Scan", "Index Name": "orders_pkey",
             "Index Cond": "(orders.id = 5)", "Parent Relationship": "Outer"}]),
        {"Node Type": "Nested Loop", "Plans": [
            {**lookup("(lines.\"order\" = 1) AND (lines.number = 2)", "lines_pkey", "lines"), "Parent Relationship": "Outer"},
            {**lookup("(orders.id = lines.number)"), "Parent Relationship": "Inner"},
        ]},
        {"Node Type": "Limit", "Plan Rows": 10, "Plans": [{**scan("Seq Scan"), "Plan Rows": 2550, "Parent Relationship": "Outer"}]},
        {"Node Type": "Aggregate", "Strategy": "Plain", "Plans": [{**scan("Seq Scan"), "Parent Relationship": "Outer"}]},
        scan("Tid Scan"),
        {"Node Type": "Result"},
        {"Node Type": "Values Scan"},
        {"Node Type": "Function Scan", "Schema": "pg_catalog"},
        {**lookup("(orders.id = $0)"), "Plans": [{**scan("Seq Scan"), "Parent Relationship": "InitPlan"}]},
    ],
    ids=["key", "any", "two columns", "bitmap", "key of a key", "limit", "count", "ctid", "none", "values", "function", "value"],
)  # fmt: skip
def test_bounded(below: dict[str, Any]) -> None:
    (write,) = explained(modify("Update", below), UNIQUE)

    assert write.bounded


@pytest.mark.parametrize(
    "below",
    [
        scan("Seq Scan"),
        lookup("(orders.id > 5)"),
        lookup("(lines.\"order\" = 5)", "lines_pkey", "lines"),
        lookup("(orders.person = 5)", "orders_person"),
        {"Node Type": "Nested Loop", "Plans": [
            {**scan("Seq Scan", "lines"), "Parent Relationship": "Outer"},
            {**lookup("(orders.id = lines.\"order\")"), "Parent Relationship": "Inner"},
        ]},
        {"Node Type": "Aggregate", "Strategy": "Hashed", "Plans": [{**scan("Seq Scan"), "Parent Relationship": "Outer"}]},
        {"Node Type": "Function Scan", "Schema": "public"},
        {"Node Type": "Limit", "Plan Rows": 2550, "Plans": [{**scan("Seq Scan"), "Plan Rows": 2550, "Parent Relationship": "Outer"}]},
        {"Node Type": "CTE Scan", "CTE Name": "unknown"},
    ],
    ids=["all", "range", "half a key", "not unique", "for each row of another", "groups", "own function", "limit", "cte"],
)  # fmt: skip
def test_unbounded(below: dict[str, Any]) -> None:
    (write,) = explained(modify("Delete", below), UNIQUE)

    assert not write.bounded


@pytest.mark.parametrize(
    ("text", "bounded"),
    [("… LIMIT 100", True), ("… FETCH FIRST 5 ROWS ONLY", True), ("… LIMIT 5000", False), ("… limit 5 … LIMIT 5000", False)],
)  # fmt: skip
def test_a_limit_bounds_by_its_number(text: str, bounded: bool) -> None:
    limit = {
        "Node Type": "Limit",
        "Plan Rows": 13,
        "Plans": [{**scan("Seq Scan"), "Plan Rows": 13, "Parent Relationship": "Outer"}],
    }

    (write,) = explained(modify("Update", limit), UNIQUE, text)

    assert write.bounded is bounded


def test_a_cte_is_as_many_rows_as_what_computes_it() -> None:
    def insert(source: dict[str, Any]) -> list[dict[str, Any]]:
        plan = modify("Insert", {"Node Type": "CTE Scan", "CTE Name": "few"})
        plan[0]["Plan"]["Plans"].append(
            {**source, "Subplan Name": "CTE few", "Parent Relationship": "InitPlan"}
        )
        return plan

    assert explained(insert(lookup("(orders.id = 1)")), UNIQUE)[0].bounded
    assert not explained(insert(scan("Seq Scan")), UNIQUE)[0].bounded


def test_each_write_of_a_statement_is_told() -> None:
    inner = modify("Delete", scan("Seq Scan", "lines"), table="lines")[0]["Plan"]
    plan = modify("Insert", {"Node Type": "CTE Scan", "CTE Name": "gone"})
    plan[0]["Plan"]["Plans"].append({**inner, "Subplan Name": "CTE gone", "Parent Relationship": "InitPlan"})

    found = explained(plan, UNIQUE)

    assert [(each.table, each.verb, each.bounded) for each in found] == [
        ("public.orders", "insert", False),
        ("public.lines", "delete", False),
    ]


@pytest.mark.parametrize(
    ("condition", "equal"),
    [
        ("(orders.status = 'sent'::text)", (("status", "sent"),)),
        ("((orders.name)::text = 'it''s'::text)", (("name", "it's"),)),
        ("((orders.total = 5) AND (orders.status <> 'sent'::text))", (("total", "5"),)),
        ("((orders.total = 5) OR (orders.status = 'sent'::text))", ()),
        ("(orders.total > 5)", ()),
        ("(orders.total IS NULL)", (("total", None),)),
        (
            "((orders.total IS NULL) AND (orders.status = 'sent'::text))",
            (("total", None), ("status", "sent")),
        ),
        ("(orders.total IS NOT NULL)", ()),
        ("(orders.total = orders.paid)", ()),
    ],
)
def test_columns_that_have_a_value_in_each_row(
    condition: str, equal: tuple[tuple[str, str | None], ...]
) -> None:
    (write,) = explained(modify("Update", scan("Seq Scan", Filter=condition)), UNIQUE)

    assert write.equal == equal


def test_a_join_may_give_other_rows_than_the_condition_of_one_side() -> None:
    join = {"Node Type": "Hash Join", "Plans": [
        {**scan("Seq Scan", Filter="(orders.status = 'sent'::text)"), "Parent Relationship": "Outer"},
        {**scan("Seq Scan", "lines"), "Parent Relationship": "Inner"},
    ]}  # fmt: skip

    assert explained(modify("Update", join), UNIQUE)[0].equal == ()


def test_a_query() -> None:
    assert reads_many([{"Plan": scan("Seq Scan")}], UNIQUE)
    assert not reads_many([{"Plan": lookup("(orders.id = 3)")}], UNIQUE)
