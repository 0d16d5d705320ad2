"""Alembic's difference tuples in words."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from pgops.errors import ExitCode
from pgops.migrations.autogenerate.drift import BehindError, Drift, ModelsDifferError, describe

METADATA = sa.MetaData()
BOOK = sa.Table(
    "book",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("shelf_id", sa.Integer, sa.ForeignKey("hall.shelf.id", name="fk_shelf")),
    sa.UniqueConstraint("id", "shelf_id", name="uq_place"),
    sa.CheckConstraint("id > 0", name="ck_positive"),
    sa.CheckConstraint("id < 9", name="book_id_check"),
    schema="hall",
)
INDEX = sa.Index("ix_shelf", BOOK.c.shelf_id, unique=True)
FOREIGN_KEY = next(each for each in BOOK.constraints if isinstance(each, sa.ForeignKeyConstraint))
UNIQUE = next(each for each in BOOK.constraints if isinstance(each, sa.UniqueConstraint))
CHECKS = {each.name: each for each in BOOK.constraints if isinstance(each, sa.CheckConstraint)}


@pytest.mark.parametrize(
    ("difference", "line"),
    [
        (("add_table", BOOK), "table hall.book: in the models, not in the database"),
        (("remove_index", INDEX), "unique index ix_shelf on hall.book (shelf_id): in the database, not in the models"),
        (
            ("add_fk", FOREIGN_KEY),
            "foreign key fk_shelf of hall.book (shelf_id) -> hall.shelf.id: in the models, not in the database",
        ),
        (
            ("remove_constraint", UNIQUE),
            "unique constraint uq_place of hall.book (id, shelf_id): in the database, not in the models",
        ),
        (
            ("remove_constraint", CHECKS["ck_positive"]),
            "check constraint ck_positive of hall.book: in the database, not in the models",
        ),
        (
            ("add_column", "hall", "book", sa.Column("n", sa.Text)),
            "column hall.book.n (TEXT): in the models, not in the database",
        ),
        (
            [("modify_nullable", None, "book", "n", {}, True, False)],
            "column book.n: NULL allowed in the database, NOT NULL in the models",
        ),
        (
            [("modify_default", None, "book", "n", {}, sa.DefaultClause(sa.text("3")), None)],
            "column book.n: default 3 in the database, none in the models",
        ),
        (
            [("modify_comment", None, "book", "n", {}, "old", "new")],
            "column book.n: comment old in the database, new in the models",
        ),
        (("add_table_comment", BOOK, None), "table hall.book: the comment differs"),
        (("something_new", 1, "x"), "something new: 1, x"),
    ],
)  # fmt: skip
def test_each_kind_of_difference(difference: object, line: str) -> None:
    assert list(describe(difference)) == [line]


def test_a_check_that_postgresql_named_itself_may_be_the_models_unnamed_one() -> None:
    assert list(describe(("remove_constraint", CHECKS["book_id_check"]))) == []


def test_both_failures_carry_what_was_found() -> None:
    found = Drift("staging", ("a",), (), ("one", "two"))
    error = ModelsDifferError(found)
    assert (error.exit_code, error.message) == (ExitCode.DRIFT, "staging differs from the models in 2 places")
    assert error.beside()["drift"] == {
        "environment": "staging",
        "current": ["a"],
        "pending": [],
        "differences": ["one", "two"],
    }
    behind = BehindError(Drift("staging", ("a",), ("b", "c"), ()))
    assert behind.exit_code is ExitCode.PENDING
    assert behind.message == "staging has 2 pending revisions (b, c): drift shows only once they are applied"
