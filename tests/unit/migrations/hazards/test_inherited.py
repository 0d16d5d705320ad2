"""What a partition lacks of its parent; pure. That the server agrees is shown in test_hazards_partitions.py."""

from __future__ import annotations

import pytest

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.inherited import by_then, lacking, wanted
from pgops.migrations.hazards.sql import Statement

INDEX = "CREATE INDEX {n} ON public.{t} USING btree (at, lower(k)) WHERE (id > 0)"
UNIQUE = "CREATE UNIQUE INDEX {n} ON ONLY public.{t} USING btree (id, at)"
KEY = "PRIMARY KEY (id, at)"
REFERS = "FOREIGN KEY (id) REFERENCES users(id) ON DELETE CASCADE"


def read(text: str) -> list[Statement]:
    return list(sql.statements("r", text))


def shown(definition: str, table: str) -> tuple[str, str, bool]:
    return f"{table}_x", definition.format(n=f"{table}_x", t=table), True


@pytest.mark.parametrize("definition", [INDEX, UNIQUE, KEY, REFERS])
def test_the_same_on_both_is_not_lacking(definition: str) -> None:
    parent = wanted([shown(definition, "p")], [])

    assert lacking(parent, by_then([shown(definition, "c")], [])) is None
    assert lacking(parent, by_then([], [])) is not None
    assert lacking([*parent, *parent], by_then([shown(definition, "c")], [])) is not None


@pytest.mark.parametrize(
    ("of_parent", "of_partition"),
    [
        (KEY, UNIQUE),
        (UNIQUE, KEY),
        ("UNIQUE (id, at)", UNIQUE),
        (UNIQUE, "UNIQUE (id, at)"),
        (KEY, "PRIMARY KEY (at, id)"),
        (KEY, "UNIQUE (id, at)"),
        (INDEX, INDEX.replace(" WHERE (id > 0)", "")),
        (INDEX, INDEX.replace("btree", "gin")),
        (REFERS, REFERS + " NOT VALID"),
        (REFERS, REFERS.replace("users", "others")),
    ],
)
def test_what_is_only_similar_is_lacking(of_parent: str, of_partition: str) -> None:
    has = by_then([shown(of_partition, "c")], [])

    assert lacking(wanted([shown(of_parent, "p")], []), has) is not None


def test_an_index_that_is_not_valid_is_lacking_and_named() -> None:
    name, text, _ = shown(UNIQUE, "c")

    assert lacking(wanted([shown(UNIQUE, "p")], []), by_then([(name, text, False)], [])) == (
        "the index or constraint p_x"
    )


@pytest.mark.parametrize(
    ("definition", "planned"),
    [
        (UNIQUE, "CREATE UNIQUE INDEX CONCURRENTLY i ON c (id, at)"),
        (KEY, "ALTER TABLE c ADD CONSTRAINT k PRIMARY KEY (id, at)"),
        (
            KEY,
            "CREATE UNIQUE INDEX i ON c (id, at); ALTER TABLE c ADD CONSTRAINT i PRIMARY KEY USING INDEX i",
        ),
        (
            REFERS,
            "ALTER TABLE c ADD CONSTRAINT f FOREIGN KEY(id) REFERENCES users (id) ON DELETE CASCADE NOT VALID;"
            "ALTER TABLE c VALIDATE CONSTRAINT f",
        ),
    ],
)
def test_what_the_plan_makes_on_the_partition_counts(definition: str, planned: str) -> None:
    parent = wanted([shown(definition, "p")], [])
    gone = "; DROP INDEX i" if definition == UNIQUE else ""

    assert lacking(parent, by_then([], read(planned))) is None
    for name in "ikf":
        gone += f"; ALTER TABLE c DROP CONSTRAINT other, DROP CONSTRAINT IF EXISTS {name}"
    assert lacking(parent, by_then([], read(planned + gone))) is not None


@pytest.mark.parametrize(
    ("planned", "has"),
    [
        ("CREATE TABLE p (id integer, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)", True),
        ("CREATE TABLE p (id integer, at date PRIMARY KEY) PARTITION BY RANGE (at)", False),
        ("CREATE TABLE p (LIKE c INCLUDING ALL) PARTITION BY RANGE (at)", False),
        ("ALTER TABLE p ADD CONSTRAINT k PRIMARY KEY (id, at)", True),
        ("ALTER TABLE p ADD COLUMN x integer, ADD UNIQUE (id, at)", False),
        ("ALTER TABLE p ADD COLUMN x integer REFERENCES users", False),
        ("ALTER TABLE p ATTACH PARTITION other DEFAULT", True),
        ("CREATE INDEX ON p (at)", False),
    ],
)
def test_what_the_plan_makes_on_the_parent_is_wanted(planned: str, has: bool) -> None:
    found = lacking(wanted([], read(planned)), by_then([shown(KEY, "c")], []))

    assert (found is None) is has
