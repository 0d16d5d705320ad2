"""The statements in the text of a function."""

from __future__ import annotations

import pytest

from pgops.migrations.tracing.procedural import Embedded, body_of, embedded


@pytest.mark.parametrize(
    ("statement", "body"),
    [
        ("DO $$ BEGIN NULL; END $$", " BEGIN NULL; END "),
        ("do language plpgsql $x$BEGIN END$x$", "BEGIN END"),
        ("DO 'BEGIN PERFORM ''a''; END'", "BEGIN PERFORM 'a'; END"),
        ("-- say so\nDO $$x$$", "x"),
        ("UPDATE done SET a = $$b$$", None),
    ],
)
def test_the_body_of_a_do_block(statement: str, body: str | None) -> None:
    assert body_of(statement) == body


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("UPDATE a SET b = 1", [Embedded("UPDATE a SET b = 1")]),
        ("BEGIN UPDATE a SET b = 1; RETURN NEW; END", [Embedded("UPDATE a SET b = 1")]),
        ("DECLARE k integer := 1; BEGIN DELETE FROM a; END", [Embedded("DELETE FROM a")]),
        (
            "BEGIN IF EXISTS (SELECT 1 FROM a) THEN DELETE FROM a; ELSIF b THEN DELETE FROM b; ELSE DELETE FROM c; END IF; END",
            [Embedded("DELETE FROM a"), Embedded("DELETE FROM b"), Embedded("DELETE FROM c")],
        ),
        (
            "BEGIN IF CASE WHEN a THEN b END THEN DELETE FROM c; END IF; END",
            [Embedded("DELETE FROM c")],
        ),
        (
            "BEGIN FOR r IN SELECT id FROM a LOOP UPDATE b SET c = CASE WHEN d THEN 1 END WHERE e = r.id; END LOOP; DELETE FROM f; END",
            [
                Embedded("UPDATE b SET c = CASE WHEN d THEN 1 END WHERE e = r.id", "SELECT id FROM a"),
                Embedded("DELETE FROM f"),
            ],
        ),
        (
            "BEGIN FOR r IN SELECT 1 FROM a LOOP FOR i IN 1..3 LOOP INSERT INTO b VALUES (1); END LOOP; END LOOP; END",
            [Embedded("INSERT INTO b VALUES (1)", "SELECT 1 FROM a")],
        ),
        ("BEGIN WHILE found LOOP DELETE FROM a; END LOOP; END", [Embedded("DELETE FROM a", endless=True)]),
        ("BEGIN WHILE i < 5 LOOP DELETE FROM a; END LOOP; END", [Embedded("DELETE FROM a")]),
        (
            "DECLARE c CURSOR FOR SELECT id FROM a; BEGIN FOR r IN c LOOP DELETE FROM b; END LOOP; END",
            [Embedded("DELETE FROM b", "SELECT id FROM a")],
        ),
        (
            "DECLARE c NO SCROLL CURSOR (k integer) IS SELECT id FROM a; BEGIN OPEN c; LOOP FETCH c INTO r; EXIT WHEN NOT FOUND;"
            " DELETE FROM b WHERE CURRENT OF c; END LOOP; DELETE FROM d; END",
            [Embedded("DELETE FROM b WHERE CURRENT OF c", endless=True), Embedded("DELETE FROM d")],
        ),
        ("BEGIN EXECUTE 'DROP TABLE a'; EXECUTE 'DROP TABLE ' || b; END", [Embedded("DROP TABLE a")]),
        ("BEGIN PERFORM f(1); END", [Embedded("SELECT f(1)")]),
        ("BEGIN SELECT min(a) INTO STRICT k FROM b; END", [Embedded("SELECT min(a)  FROM b")]),
        ("BEGIN SELECT a, b INTO k, l FROM c; END", [Embedded("SELECT a, b  FROM c")]),
        ("BEGIN k := 1; RAISE NOTICE 'update a'; NULL; END", []),
        ("BEGIN -- UPDATE a SET b = 1;\n END", []),
        ("BEGIN INSERT INTO a VALUES ('x;y'); EXCEPTION WHEN others THEN DELETE FROM b; END",
         [Embedded("INSERT INTO a VALUES ('x;y')"), Embedded("DELETE FROM b")]),
    ],
)  # fmt: skip
def test_statements(body: str, found: list[Embedded]) -> None:
    assert list(embedded(body)) == found
