"""When a change to a column is cheaper than it looks."""

from __future__ import annotations

import pytest

from pgops.migrations.hazards.columns import only_widens, planned_type, proven_not_null
from pgops.migrations.hazards.sql import Statement, statements


def one(text: str) -> Statement:
    """The only statement."""
    (statement,) = statements("r", text)
    return statement


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ("integer", "integer"),
        ("character varying(10)", "character varying(10)"),
        ("character varying(10)", "character varying(20)"),
        ("character varying(10)", "character varying"),
        ("character varying(10)", "text"),
        ("text", "character varying"),
        ("numeric(10,2)", "numeric(12,2)"),
        ("numeric(10,2)", "numeric"),
        ("cidr", "inet"),
    ],
)
def test_types_that_store_the_same_bytes(now: str, wanted: str) -> None:
    assert only_widens(now, wanted)


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ("integer", "bigint"),
        ("character varying(20)", "character varying(10)"),
        ("character varying", "character varying(10)"),
        ("text", "character varying(10)"),
        ("numeric(10,2)", "numeric(12,4)"),
        ("numeric(10,2)", "numeric(8,2)"),
        ("numeric", "numeric(10,2)"),
        ("timestamp without time zone", "timestamp with time zone"),
        ("inet", "cidr"),
        ("text", "jsonb"),
    ],
)
def test_types_that_have_to_be_rewritten_or_checked(now: str, wanted: str) -> None:
    assert not only_widens(now, wanted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ALTER TABLE t ALTER COLUMN c TYPE VARCHAR(40)", ("c", "character varying(40)")),
        ('ALTER TABLE t ALTER COLUMN "C" SET DATA TYPE NUMERIC(10, 2)', ("C", "numeric(10,2)")),
        ("ALTER TABLE t ALTER COLUMN c TYPE INTEGER USING c::integer", ("c", "integer")),
        ("ALTER TABLE t ALTER COLUMN c TYPE TIMESTAMP WITH TIME ZONE", ("c", "timestamp with time zone")),
        ("ALTER TABLE t ALTER COLUMN c SET NOT NULL", None),
    ],
)
def test_the_type_a_statement_asks_for(text: str, expected: tuple[str, str] | None) -> None:
    assert planned_type(one(text)) == expected


SET = "ALTER TABLE t ALTER COLUMN c SET NOT NULL"


def test_only_a_validated_check_on_the_same_column_proves_it() -> None:
    assert proven_not_null(one(SET), [], {"k": ("c", True)})
    assert not proven_not_null(one(SET), [], {"k": ("c", False)})
    assert not proven_not_null(one(SET), [], {"k": ("d", True)})


def test_the_plan_may_add_and_validate_it_before() -> None:
    add = one("ALTER TABLE t ADD CONSTRAINT k CHECK (c IS NOT NULL) NOT VALID")
    validate = one("ALTER TABLE t VALIDATE CONSTRAINT k")

    assert proven_not_null(one(SET), [add, validate], {})
    assert not proven_not_null(one(SET), [add], {})
    assert proven_not_null(one(SET), [validate], {"k": ("c", False)})
    assert proven_not_null(one(SET), [one("ALTER TABLE t ADD CONSTRAINT k CHECK (c IS NOT NULL)")], {})


@pytest.mark.parametrize(
    "before",
    [
        "ALTER TABLE t ADD CONSTRAINT k CHECK (c IS NOT NULL OR d > 0)",
        "ALTER TABLE t ADD CONSTRAINT k CHECK (c IS NOT NULL) NOT ENFORCED",
        "ALTER TABLE t ADD CONSTRAINT k CHECK (d > 0 OR c IS NOT NULL)",
    ],
)
def test_a_check_that_lets_null_in_proves_nothing(before: str) -> None:
    assert not proven_not_null(one(SET), [one(before)], {})


def test_a_check_that_the_plan_drops_before_proves_nothing() -> None:
    drop = one("ALTER TABLE t DROP CONSTRAINT other, DROP CONSTRAINT IF EXISTS k")

    assert not proven_not_null(one(SET), [drop], {"k": ("c", True)})
