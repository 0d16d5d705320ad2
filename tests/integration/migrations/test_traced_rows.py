"""What a plan does for rows that the copy of the schema does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.postgres import Target, connected, execute, fetch_all
from tests.support.traces import plan_of

FILLED = """
CREATE TABLE people (id integer PRIMARY KEY, name text, kind text);
INSERT INTO people SELECT i, 'p' || i, CASE WHEN i < 50 THEN 'few' ELSE 'many' END FROM generate_series(1, 2000) AS i;
CREATE TABLE orders (id integer PRIMARY KEY, person integer REFERENCES people ON DELETE CASCADE, total integer);
INSERT INTO orders SELECT i, 1, i FROM generate_series(1, 3000) AS i;
CREATE TABLE lines (id integer PRIMARY KEY, "order" integer REFERENCES orders ON DELETE SET NULL);
CREATE INDEX lines_order ON lines ("order");
INSERT INTO lines SELECT i, i FROM generate_series(1, 3000) AS i;
CREATE TABLE log (id integer, line text);
INSERT INTO log SELECT i, 'x' FROM generate_series(1, 2000) AS i;
CREATE TABLE switches (id integer PRIMARY KEY, lit boolean);
INSERT INTO switches SELECT i, false FROM generate_series(1, 2000) AS i;
CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE log SET line = ''y''; RETURN NULL; END';
CREATE TRIGGER spread AFTER UPDATE ON switches FOR EACH ROW EXECUTE FUNCTION spread();
CREATE TABLE doors (id integer PRIMARY KEY, open boolean, at timestamp);
INSERT INTO doors SELECT i, false FROM generate_series(1, 2000) AS i;
CREATE FUNCTION dated() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN NEW.at := now(); UPDATE people SET name = NEW.id::text WHERE id = OLD.id; RETURN NEW; END';
CREATE TRIGGER dated BEFORE UPDATE ON doors FOR EACH ROW EXECUTE FUNCTION dated();
CREATE FUNCTION touch(k integer) RETURNS integer LANGUAGE plpgsql
    AS 'BEGIN UPDATE people SET name = NULL WHERE id = k; RETURN k; END';
CREATE FUNCTION swept() RETURNS void BEGIN ATOMIC DELETE FROM log; END;
CREATE TABLE parent (id integer); CREATE TABLE child () INHERITS (parent);
INSERT INTO child SELECT i FROM generate_series(1, 2000) AS i;
ANALYZE;
"""


@pytest.fixture
def filled(database: Target) -> Target:
    with connected(database) as connection:
        execute(connection, FILLED)
    return database


def told(path: Path, target: Target, *statements: str) -> list[tuple[str, str | None]]:
    """Rule and table of each finding of one revision."""
    plan = plan_of(path, target, "\n".join(f"op.execute({each!r})" for each in statements))
    assert plan.trace is not None and plan.trace.untraced == (), plan.notes
    return [(each.rule, each.table) for each in plan.all_hazards]


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("DELETE FROM people WHERE id = 1", ["orders", "lines"]),
        ("DELETE FROM orders WHERE id = 1", []),
        ("UPDATE people SET name = 'x' WHERE id = 1", []),
        ("UPDATE switches SET lit = true WHERE id = 1", ["log"]),
        ("UPDATE doors SET open = true WHERE id = 1", []),
        ("UPDATE doors SET open = true", ["doors", "people"]),
        ("UPDATE people SET name = 'x' WHERE kind = 'few'", []),
        ("UPDATE people SET name = 'x' WHERE kind = 'many'", ["people"]),
        ("UPDATE people SET name = 'x' WHERE name IS NULL", []),
        ("UPDATE doors SET open = true WHERE at IS NULL", ["doors", "people"]),
        ("DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM people LOOP"
         " UPDATE orders SET total = 1 WHERE id = r.id; END LOOP; END $$", ["orders"]),
        ("DO $$ BEGIN IF EXISTS (SELECT FROM people) THEN DELETE FROM log; END IF; END $$", ["log"]),
        ("DO $$ BEGIN IF EXISTS (SELECT FROM people) THEN UPDATE people SET name = '' WHERE id = 1; END IF; END $$", []),
        ("SELECT touch(id) FROM people", ["people"]),
        ("SELECT touch(3)", []),
        ("DELETE FROM log WHERE id % 2 = 0", ["log"]),
        ("DELETE FROM orders USING people WHERE orders.person = people.id AND people.id = 1", ["orders", "lines"]),
        ("INSERT INTO log SELECT count(*), 'x' FROM people", []),
        ("INSERT INTO log SELECT id, 'x' FROM people LIMIT 5", []),
        ("INSERT INTO log SELECT id, 'x' FROM people LIMIT 1500", ["log"]),
        ("DELETE FROM log WHERE ctid IN (SELECT ctid FROM log)", ["log"]),
        ("DELETE FROM log WHERE ctid = '(0,1)'", []),
        ("SELECT swept()", ["log"]),
        ("DO $$ DECLARE c CURSOR FOR SELECT id FROM people; BEGIN FOR r IN c LOOP"
         " UPDATE people SET name = '' WHERE CURRENT OF c; END LOOP; END $$", ["people"]),
        ("DO $$ BEGIN WHILE EXISTS (SELECT FROM log) LOOP"
         " DELETE FROM log WHERE ctid IN (SELECT ctid FROM log LIMIT 500); END LOOP; END $$", ["log"]),
    ],
)  # fmt: skip
def test_rows_that_change(tmp_path: Path, filled: Target, statement: str, tables: list[str]) -> None:
    assert told(tmp_path, filled, statement) == [("unbatched-write", each) for each in tables]


def test_the_finding_says_what_decides(tmp_path: Path, filled: Target) -> None:
    with connected(filled) as connection:
        execute(connection, "DROP INDEX lines_order")
    plan = plan_of(tmp_path, filled, "op.execute('DELETE FROM people WHERE id = 1')",
                   "op.execute('UPDATE switches SET lit = true WHERE id = 1')")  # fmt: skip

    cascade, further = plan.pending[0].hazards
    assert cascade.message.startswith(
        "a foreign key deletes rows of orders along with those of people: about 3,000 for the key that most of them have,"
        " of about 3,000"
    )
    assert further.message.endswith("no index finds them, so each row of people reads all of lines")
    (trigger,) = plan.pending[1].hazards
    assert trigger.message.startswith(
        "trigger spread, for each row of switches: one statement changes every row of log"
    )
    assert plan.trace is not None
    (given,) = [each.as_dict() for each in plan.trace.statements if each.given]
    assert (given["sql"], given["given"]) == (
        "UPDATE log SET line = 'y'",
        "trigger spread, for each row of switches",
    )


def test_a_branch_that_was_not_entered_leaves_nothing_behind(tmp_path: Path, filled: Target) -> None:
    found = told(
        tmp_path,
        filled,
        "DO $$ BEGIN IF EXISTS (SELECT FROM people) THEN ALTER TABLE log DROP COLUMN line; END IF; END $$",
        "ALTER TABLE log ALTER COLUMN line SET DEFAULT 'x'",
        "DO $$ BEGIN IF EXISTS (SELECT FROM people) THEN TRUNCATE log; END IF; END $$",
    )

    assert found == [("ban-drop-column", "log"), ("truncating-table", "log")]


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (("ALTER TABLE people ADD COLUMN age integer", "UPDATE log SET line = 'z'"),
         [("unbatched-write", "log"), ("holding-lock", "people")]),
        (("ALTER TABLE log ADD COLUMN age integer", "UPDATE log SET age = 1 WHERE id > 0"), [("unbatched-write", "log")]),
        (("UPDATE log SET line = 'z'", "ALTER TABLE people ADD COLUMN age integer"), [("unbatched-write", "log")]),
        (("CREATE TABLE fresh (id integer)", "UPDATE log SET line = 'z'"), [("unbatched-write", "log")]),
    ],
)  # fmt: skip
def test_a_lock_that_is_held_while_something_takes_long(
    tmp_path: Path, filled: Target, statements: tuple[str, ...], found: list[tuple[str, str]]
) -> None:
    assert sorted(told(tmp_path, filled, *statements)) == sorted(found)


def test_each_revision_is_a_transaction_of_its_own(tmp_path: Path, filled: Target) -> None:
    plan = plan_of(
        tmp_path,
        filled,
        "op.execute('ALTER TABLE people ADD COLUMN age integer')",
        "op.execute(\"UPDATE log SET line = 'z'\")",
    )

    assert [each.rule for each in plan.all_hazards] == ["unbatched-write"]


def test_an_index_is_missed_where_queries_use_it(tmp_path: Path, filled: Target) -> None:
    with connected(filled) as connection:
        execute(connection, "SET enable_seqscan = off")
        fetch_all(connection, 'SELECT id FROM lines WHERE "order" = 5')
        execute(connection, "CREATE INDEX unused ON lines (id)")
        execute(connection, "SELECT pg_stat_force_next_flush()")
        fetch_all(connection, "SELECT 1")

    plan = plan_of(tmp_path, filled, "op.drop_index('lines_order')\nop.drop_index('unused')")

    (found,) = plan.all_hazards
    assert found.rule == "require-concurrent-index-deletion"
    assert found.message.startswith(
        "dropped lines_order under ACCESS EXCLUSIVE on lines, which queries have used 1 time"
    )


def test_a_part_of_a_column_is_lost_with_its_type(tmp_path: Path, filled: Target) -> None:
    with connected(filled) as connection:
        execute(connection, "CREATE TYPE place AS (x integer, y integer)")
        execute(connection, "ALTER TABLE people ADD COLUMN lives place")

    plan = plan_of(tmp_path, filled, "op.execute('ALTER TYPE place DROP ATTRIBUTE y')")

    (found,) = plan.all_hazards
    assert (found.rule, found.table) == ("ban-drop-column", "people")
    assert found.message.startswith("dropped lives.y of people (about 2,000 rows")


def test_a_column_that_the_plan_adds_and_drops_is_missed_by_nobody(tmp_path: Path, filled: Target) -> None:
    assert (
        told(tmp_path, filled, "ALTER TABLE people ADD COLUMN a text", "ALTER TABLE people DROP COLUMN a")
        == []
    )


def test_an_index_that_keeps_its_file_is_not_built(tmp_path: Path, filled: Target) -> None:
    with connected(filled) as connection:
        execute(connection, "ALTER TABLE people ADD COLUMN code varchar(10)")
        execute(connection, "CREATE INDEX people_code ON people (code)")

    assert told(tmp_path, filled, "ALTER TABLE people ALTER COLUMN code TYPE varchar(20)") == []


def test_what_goes_past_sqlalchemy_is_seen(tmp_path: Path, filled: Target) -> None:
    plan = plan_of(tmp_path, filled, "op.get_bind().connection.cursor().execute('DELETE FROM log')")

    assert ("unbatched-write", "log") in {(each.rule, each.table) for each in plan.all_hazards}


def test_rows_that_come_one_by_one_are_counted_together(tmp_path: Path, filled: Target) -> None:
    body = "for i in range(1200):\n    op.execute(f'INSERT INTO log VALUES (1, 2)')"

    plan = plan_of(tmp_path, filled, body, "op.execute('INSERT INTO log VALUES (1, 2)')")

    assert plan.trace is not None and len(plan.trace.statements) == 10 + 1 + 1
    (found,) = plan.all_hazards
    assert (found.rule, found.table, found.revision) == ("unbatched-write", "log", "aa01")


def test_what_rows_decide_is_told_so(tmp_path: Path, filled: Target) -> None:
    body = (
        "if op.get_bind().execute(sa.text('SELECT count(*) FROM log')).scalar():\n    return\n"
        "op.drop_table('doors')"
    )

    plan = plan_of(tmp_path, filled, body)

    rules = {each.rule: each.message for each in plan.all_hazards}
    assert rules["ban-drop-table"].startswith("if the rows of log say so: dropped doors (about 2,000 rows")
    assert rules["unseen-sql"].startswith("it reads rows of log, of which the trace had none")


def test_rows_that_a_cursor_brings_later_are_read_too(tmp_path: Path, filled: Target) -> None:
    body = (
        "rows = op.get_bind().execute(sa.text('SELECT id FROM people').execution_options(yield_per=100))\n"
        "for (key,) in rows:\n"
        "    op.get_bind().execute(sa.text('DELETE FROM log WHERE id = :key'), {'key': key})"
    )

    plan = plan_of(tmp_path, filled, body)

    (found,) = plan.all_hazards
    assert (found.rule, found.level) == ("unseen-sql", "note")
    assert found.message.startswith("it reads rows of people, of which the trace had none")


def test_a_view_under_the_old_name_of_a_table(tmp_path: Path, filled: Target) -> None:
    """A rename that is made in steps: who runs now still finds a relation of that name."""
    rename = "op.rename_table('log', 'logged')"

    (alone,) = plan_of(tmp_path / "a", filled, rename).all_hazards
    (both,) = plan_of(
        tmp_path / "b", filled, f"{rename}\nop.execute('CREATE VIEW public.log AS SELECT * FROM logged')"
    ).all_hazards

    assert (alone.rule, both.rule) == ("renaming-table", "renaming-table")
    assert (alone.level, both.level) == ("block", "note")
    assert "a view takes its place" in both.message


def test_a_value_that_can_t_be_shown_is_no_row_that_is_read(tmp_path: Path, filled: Target) -> None:
    plan = plan_of(
        tmp_path,
        filled,
        "people = sa.table('people', sa.column('id'), sa.column('name'))\n"
        "op.execute(people.update().where(people.c.id.in_([1, 2])).values(name='x'))",
    )

    assert plan.pending[0].reads_data, "it has no SQL that can be shown before it runs"
    assert plan.all_hazards == ()


def test_tablespaces_are_there(tmp_path: Path, filled: Target) -> None:
    name = f"quick_{filled.dbname}"
    with connected(filled) as connection:
        execute(connection, "SET allow_in_place_tablespaces = on")
        execute(connection, f"CREATE TABLESPACE {name} LOCATION ''")
        execute(connection, f"ALTER TABLE people SET TABLESPACE {name}")
    try:
        assert told(
            tmp_path,
            filled,
            f"ALTER TABLE people SET TABLESPACE {name}",
            "ALTER TABLE people SET TABLESPACE pg_default",
            f"ALTER TABLE log SET TABLESPACE {name}",
        ) == [("rewriting-table", "people"), ("rewriting-table", "log"), ("holding-lock", "people")]
    finally:
        with connected(filled) as connection:
            execute(connection, "ALTER TABLE people SET TABLESPACE pg_default")
            execute(connection, f"DROP TABLESPACE {name}")


def test_rows_that_are_not_found_any_more(tmp_path: Path, filled: Target) -> None:
    assert told(
        tmp_path,
        filled,
        "ALTER TABLE child NO INHERIT parent",
        "ALTER TABLE log ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE people ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY everybody ON people USING (true)",
    ) == [("hiding-rows", "child"), ("hiding-rows", "log")]
