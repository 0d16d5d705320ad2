"""Which CHECK proves the bounds of a partition; pure. That the server agrees is shown in test_hazards_partitions.py."""

from __future__ import annotations

import pytest

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.partitions import (
    Attachment,
    Check,
    attachment,
    checks_by_then,
    key_of_created,
    proven,
)
from pgops.migrations.hazards.sql import Name, Statement


def read(text: str) -> list[Statement]:
    return list(sql.statements("r", text))


def attached(bounds: str) -> Attachment:
    found = attachment(read(f"ALTER TABLE p ATTACH PARTITION s.c {bounds}")[0])
    assert found is not None
    assert (found.parent, found.partition) == (Name("p"), Name("c", "s"))
    return found


def is_proven(key: str, bounds: str, check: str, *, default: bool = False, not_null: bool = True) -> bool:
    column = key.split("(")[1].strip(')"')
    return (
        proven(
            attached(bounds), key, [column] if not_null else [], [Check("k", check, True)], default=default
        )
        == "k"
    )


RANGE = "FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"
SHOWN = "((at >= '2027-01-01'::date) AND (at < '2028-01-01'::date))"


@pytest.mark.parametrize(
    ("key", "bounds", "check", "expected"),
    [
        ("RANGE (at)", RANGE, SHOWN, True),
        ("RANGE (at)", RANGE, "at < '2028-01-01' AND at >= '2027-01-01'", True),
        ("RANGE (at)", RANGE, SHOWN.replace(">=", ">"), False),
        ("RANGE (at)", RANGE, SHOWN.replace("AND", "OR"), False),
        ("RANGE (at)", RANGE, f"(NOT {SHOWN})", False),
        ("RANGE (at)", RANGE, f"({SHOWN} OR true)", False),
        ("RANGE (at)", RANGE, "((at >= '2027-01-01'::date) AND (other < '2028-01-01'::date))", False),
        ("RANGE (other)", RANGE, SHOWN, False),
        ("RANGE (at)", RANGE, SHOWN.replace("(at ", "((at)::date "), False),
        ("RANGE (at)", RANGE, SHOWN.replace("(at ", "(at::date "), False),
        ("RANGE (at, id)", RANGE, SHOWN, False),
        ('RANGE ("At x")', RANGE, SHOWN.replace("(at ", '("At x" '), True),
        ("RANGE (n)", "FOR VALUES FROM (-5) TO (10)", "((n >= '-5'::integer) AND (n < 10))", True),
        ("RANGE (n)", "FOR VALUES FROM (5) TO (10)", "((n >= '-5'::integer) AND (n < 10))", False),
        ("RANGE (n)", "FOR VALUES FROM (MINVALUE) TO (10)", "(n < 10)", False),
        ("LIST (k)", "FOR VALUES IN ('a', 'b')", "(k = ANY (ARRAY['a'::text, 'b'::text]))", True),
        ("LIST (k)", "FOR VALUES IN ('a', 'b')", "k IN ('a', 'b')", True),
        ("LIST (k)", "FOR VALUES IN ('a', 'b')", "(k = 'b'::text)", True),
        ("LIST (k)", "FOR VALUES IN ('a', 'b')", "(k = ANY (ARRAY['a'::text, 'z'::text]))", False),
        ("LIST (k)", "FOR VALUES IN ('a', 'b')", "(k <> ALL (ARRAY['a'::text, 'b'::text]))", False),
        ("LIST (k)", "FOR VALUES IN ('a', NULL)", "(k = 'a'::text)", False),
        ("HASH (n)", "FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "(n = 2)", False),
        ("RANGE (at)", "DEFAULT", SHOWN, False),
    ],
)
def test_what_proves_the_bounds(key: str, bounds: str, check: str, expected: bool) -> None:
    assert is_proven(key, bounds, check) is expected


def test_a_row_without_a_value_is_in_no_range() -> None:
    assert not is_proven("RANGE (at)", RANGE, SHOWN, not_null=False)
    assert is_proven("RANGE (at)", RANGE, f"((at IS NOT NULL) AND {SHOWN})", not_null=False)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (f"(NOT {SHOWN})", True),
        ("((at < '2027-01-01'::date) OR (at >= '2028-01-01'::date))", True),
        ("((NOT (at >= '2027-01-01'::date)) AND (at < '2028-01-01'::date))", False),
        ("((at < '2027-01-01'::date) OR (at >= '2027-06-01'::date))", False),
        (SHOWN, False),
    ],
)
def test_what_keeps_the_default_partition_free_of_them(check: str, expected: bool) -> None:
    assert is_proven("RANGE (at)", RANGE, check, default=True) is expected


def test_a_check_that_is_not_validated_proves_nothing() -> None:
    assert proven(attached(RANGE), "RANGE (at)", ["at"], [Check("k", SHOWN, False)]) is None


def test_what_the_plan_itself_adds_validates_and_drops() -> None:
    now = {"old": ("(n > 0)", False), "gone": ("(n > 1)", True)}
    earlier = read(
        "ALTER TABLE c ADD CONSTRAINT k CHECK (n > 2) NOT VALID;"
        "ALTER TABLE c VALIDATE CONSTRAINT old; ALTER TABLE c DROP CONSTRAINT IF EXISTS gone;"
    )
    assert checks_by_then(now, earlier) == [
        Check("old", "(n > 0)", True),
        Check("k", "( n > 2 )", False),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE c DROP CONSTRAINT other, DROP CONSTRAINT k",
        "ALTER TABLE c RENAME CONSTRAINT k TO l; ALTER TABLE c DROP CONSTRAINT l",
        "ALTER TABLE c DROP CONSTRAINT k, ADD CONSTRAINT l CHECK (at::date > '2027-01-01')",
    ],
)
def test_a_check_that_is_dropped_by_then_proves_nothing(text: str) -> None:
    assert checks_by_then({"k": ("(n > 0)", True)}, read(text)) == []


@pytest.mark.parametrize(
    "tail", ["NOT VALID", "NOT ENFORCED", ", ADD CONSTRAINT l CHECK (n > 1) NOT ENFORCED"]
)
def test_a_check_that_nobody_held_the_rows_against_is_not_validated(tail: str) -> None:
    by_then = checks_by_then({}, read(f"ALTER TABLE c ADD CONSTRAINT k CHECK (n > 0) {tail}"))
    assert by_then[0] == Check("k", "( n > 0 )", False)


def test_a_partition_that_is_made_as_one() -> None:
    text = "CREATE TABLE IF NOT EXISTS s.c PARTITION OF p (PRIMARY KEY (id)) FOR VALUES FROM (1) TO (2)"
    bounds = (frozenset(["1"]), frozenset(["2"]))
    assert attachment(read(text)[0]) == Attachment(Name("p"), Name("c", "s"), bounds)
    default = attachment(read("CREATE TABLE c PARTITION OF p DEFAULT")[0])
    assert default == Attachment(Name("p"), Name("c"), None, is_default=True)
    assert attachment(read("CREATE TABLE c (id integer) PARTITION BY LIST (id)")[0]) is None


def test_the_key_of_a_table_that_the_plan_makes() -> None:
    def key(tail: str) -> str | None:
        return key_of_created(read(f"CREATE TABLE p (at date) {tail}")[0])

    assert key("PARTITION BY RANGE (at)") == "RANGE (at)"
    assert key('PARTITION BY LIST ("At x") WITH (fillfactor = 90)') == 'LIST ("At x")'
    assert key("PARTITION BY RANGE (at, id)") is None
    assert key("PARTITION BY RANGE (lower(k))") is None
    assert key("") is None
