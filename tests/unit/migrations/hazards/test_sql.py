"""Taking SQL apart the way PostgreSQL does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.sql import Name


def texts(text: str) -> list[str]:
    """The statements' texts."""
    return [statement.text for statement in sql.statements("r", text)]


def one(text: str) -> sql.Statement:
    """The only statement."""
    (statement,) = sql.statements("r", text)
    return statement


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';' ; SELECT \";\"", ["SELECT ';'", 'SELECT ";"']),
        ("SELECT $$;$$; SELECT $x$ ; $$ $x$", ["SELECT $$;$$", "SELECT $x$ ; $$ $x$"]),
        ("SELECT E'\\';'; SELECT 2", ["SELECT E'\\';'", "SELECT 2"]),
        ("SELECT 'it''s;'", ["SELECT 'it''s;'"]),
        ("-- a ; b\nSELECT 1", ["SELECT 1"]),
        ("/* a ; /* nested ; */ b */ SELECT 1", ["SELECT 1"]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)"]),
        ("  ;; ; ", []),
        ("SELECT 'never closed ; ", ["SELECT 'never closed", ]),
    ],
)  # fmt: skip
def test_statements_end_where_postgresql_ends_them(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_lines_and_transactions_are_known() -> None:
    text = (
        "BEGIN;\n\n-- Running upgrade\nDROP TABLE a;\nCOMMIT;\nDROP INDEX b;\nBEGIN;\nDROP TABLE c;\nCOMMIT;"
    )

    assert [(each.line, each.transaction) for each in sql.statements("r", text)] == [
        (4, 1),
        (6, None),
        (8, 7),
    ]


def test_a_text_without_begin_runs_in_the_revisions_transaction() -> None:
    found = list(sql.statements("r", "DROP TABLE a; COMMIT; DROP TABLE b; BEGIN; DROP TABLE c"))

    assert [each.transaction is None for each in found] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("ALTER TABLE IF EXISTS ONLY a.b ADD COLUMN c int", [Name("b", "a")]),
        ("ALTER TABLE Book ADD x int", [Name("book")]),
        ('ALTER TABLE "Book" ADD x int', [Name("Book")]),
        ("ALTER TABLE a ADD FOREIGN KEY (x) REFERENCES s.b (id)", [Name("a"), Name("b", "s")]),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY s.t USING btree (x)", [Name("t", "s")]),
        ("DROP TABLE IF EXISTS a, s.b CASCADE", [Name("a"), Name("b", "s")]),
        ("TRUNCATE TABLE ONLY a, b *, c RESTART IDENTITY", [Name("a"), Name("b"), Name("c")]),
        ("UPDATE ONLY a SET x = 1", [Name("a")]),
        ("DELETE FROM a USING b", [Name("a")]),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", [Name("m")]),
        ("REINDEX (VERBOSE) TABLE CONCURRENTLY t", [Name("t")]),
        ("REINDEX DATABASE d", []),
        ("CLUSTER VERBOSE t USING i", [Name("t")]),
        ("VACUUM (FULL, ANALYZE) a, b", [Name("a"), Name("b")]),
        ("VACUUM a", []),
        ("INSERT INTO a VALUES (1)", []),
        ("SELECT 1", []),
    ],
)
def test_the_tables_that_a_statement_locks(text: str, tables: list[Name]) -> None:
    assert sql.tables(one(text)) == tables


def test_indexes_renames_and_what_is_made() -> None:
    assert sql.indexes(one("DROP INDEX CONCURRENTLY IF EXISTS a, s.b")) == [Name("a"), Name("b", "s")]
    assert sql.indexes(one("REINDEX INDEX i")) == [Name("i")]
    assert sql.renamed(one("ALTER TABLE s.a RENAME TO b")) == (Name("a", "s"), Name("b", "s"))
    assert sql.renamed(one("ALTER TABLE a RENAME COLUMN x TO y")) is None
    assert sql.created(one("CREATE UNLOGGED TABLE IF NOT EXISTS s.a (x int)")) == [Name("a", "s")]
    assert sql.created(one("CREATE MATERIALIZED VIEW m AS SELECT 1")) == [Name("m")]
    assert sql.created(one("CREATE INDEX i ON t (x)")) == []
    assert sql.created_index(one("CREATE UNIQUE INDEX IF NOT EXISTS i ON s.t (x)")) == (
        Name("i", "s"),
        Name("t", "s"),
    )
    assert sql.created_index(one("CREATE INDEX ON t (x)")) is None


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO v (version_num) VALUES ('a') RETURNING v.version_num",
        "UPDATE s.v SET version_num='b' WHERE s.v.version_num = 'a'",
        "DELETE FROM v WHERE v.version_num = 'a'",
        "CREATE TABLE v (version_num VARCHAR(32) NOT NULL)",
        "DROP TABLE alembic_version",
    ],
)
def test_alembics_bookkeeping_is_known_whatever_its_table_is_called(text: str) -> None:
    assert sql.is_alembics_own(one(text))


@pytest.mark.parametrize(
    "text", ["UPDATE book SET title = 'x'", "DROP TABLE book", "CREATE TABLE book (id int)", "SELECT 1"]
)
def test_nothing_else_is_taken_for_bookkeeping(text: str) -> None:
    assert not sql.is_alembics_own(one(text))


@given(st.text(alphabet="aE;'\"$/*-\n\\ (),.x1BEGINCOMMIT", max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    for statement in sql.statements("r", text):
        assert statement.text
        sql.tables(statement)
        sql.indexes(statement)
        sql.created(statement)
        sql.renamed(statement)
        sql.is_alembics_own(statement)
