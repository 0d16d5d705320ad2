"""Rows that are there and do not fit what a plan demands: found by the look, and PostgreSQL itself is the judge."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest

from pgops.environments import HazardSettings
from pgops.local.scratch import scratch_server
from pgops.local.tools import tool_sources
from pgops.migrations.hazards import Hazard
from pgops.migrations.hazards.fit import look
from pgops.migrations.hazards.fit.judge import unfit_rows
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.migrations.plan.unfit import with_unfit_rows
from pgops.migrations.tracing.trace import with_trace
from pgops.postgres import DatabaseError, Target, connected, execute, fetch_value, major_version
from tests.conftest import fresh_database
from tests.support.projects import AlembicProject
from tests.support.traces import no_backup

# What is there, a statement, and how many rows keep it from going through.
CASES: Mapping[str, tuple[str, str, int]] = {
    "not null": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES (NULL), (NULL), ('x')",
        "ALTER TABLE {t} ALTER COLUMN a SET NOT NULL",
        2,
    ),
    "not null that fits": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('x')",
        "ALTER TABLE {t} ALTER COLUMN a SET NOT NULL",
        0,
    ),
    "not null, quoted and in another schema": (
        'CREATE SCHEMA "S s"; CREATE TABLE "S s".{t} ("A ""b" text, c int); INSERT INTO "S s".{t} VALUES (NULL, 1)',
        'ALTER TABLE "S s".{t} ALTER COLUMN "A ""b" SET NOT NULL',
        1,
    ),
    "unique": (
        "CREATE TABLE {t} (a text, b int); INSERT INTO {t} VALUES ('x', 1), ('x', 2), ('x', 3), ('y', 1), (NULL, 1), (NULL, 1)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (a)",
        3,
    ),
    "unique over two columns": (
        "CREATE TABLE {t} (a text, b int); INSERT INTO {t} VALUES ('x', 1), ('x', 1), ('x', 3), ('x', NULL), ('x', NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (a, b)",
        2,
    ),
    "unique nulls not distinct": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('x'), (NULL), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE NULLS NOT DISTINCT (a)",
        2,
    ),
    "primary key": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (1), (2)",
        "ALTER TABLE {t} ADD PRIMARY KEY (a)",
        2,
    ),
    "primary key of what is null": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_p PRIMARY KEY (a)",
        1,
    ),
    "unique index on an expression": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('x'), ('X'), ('y')",
        "CREATE UNIQUE INDEX {t}_i ON {t} (lower(a))",
        2,
    ),
    "unique index on a part": (
        "CREATE TABLE {t} (a int, gone bool); INSERT INTO {t} VALUES (1, true), (1, false), (2, false), (2, false)",
        "CREATE UNIQUE INDEX {t}_i ON {t} USING btree (a DESC) WHERE NOT gone",
        2,
    ),
    "check": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (-1), (1), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0)",
        1,
    ),
    "check of an enum": (
        "CREATE TYPE {t}_e AS ENUM ('on', 'off'); CREATE TABLE {t} (a {t}_e); INSERT INTO {t} VALUES ('on'), ('off')",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a <> 'off')",
        1,
    ),
    "check that is not valid": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (-1)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0) NOT VALID",
        0,
    ),
    "two at once": (
        "CREATE TABLE {t} (a int, b int); INSERT INTO {t} VALUES (-1, NULL), (1, NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0), ALTER b SET NOT NULL",
        3,
    ),
    "foreign key": (
        "CREATE TABLE {t}_o (id int PRIMARY KEY); INSERT INTO {t}_o VALUES (1);"
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2), (3), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_f FOREIGN KEY(a) REFERENCES {t}_o (id) ON DELETE CASCADE",
        2,
    ),
    "foreign key of two columns": (
        "CREATE TABLE {t}_o (x int, y int, PRIMARY KEY (x, y)); INSERT INTO {t}_o VALUES (1, 2);"
        "CREATE TABLE {t} (a int, b int); INSERT INTO {t} VALUES (1, 2), (2, 1), (5, NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_f FOREIGN KEY (a, b) REFERENCES {t}_o (x, y)",
        1,
    ),
    "exclude": (
        "CREATE TABLE {t} (a int4range); INSERT INTO {t} VALUES ('[1,5)'), ('[4,8)'), ('[9,10)')",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_x EXCLUDE USING gist (a WITH &&)",
        2,
    ),
    "shorter text": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('abcd'), ('abc'), ('abc   '), (NULL)",
        "ALTER TABLE {t} ALTER COLUMN a TYPE VARCHAR(3)",
        1,
    ),
    "shorter varchar": (
        "CREATE TABLE {t} (a varchar(9)); INSERT INTO {t} VALUES ('abcd'), ('abc')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE character varying(3)",
        1,
    ),
    "smaller whole number": (
        "CREATE TABLE {t} (a bigint); INSERT INTO {t} VALUES (2147483647), (2147483648), (-2147483649)",
        "ALTER TABLE {t} ALTER COLUMN a TYPE INTEGER",
        2,
    ),
    "numeric becomes whole": (
        "CREATE TABLE {t} (a numeric); INSERT INTO {t} VALUES (32767.4), (32767.5), ('NaN')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE smallint",
        2,
    ),
    "fewer digits": (
        "CREATE TABLE {t} (a numeric); INSERT INTO {t} VALUES (999.994), (999.995), (-1000), ('NaN')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE NUMERIC(5, 2)",
        2,
    ),
    "text becomes a number": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('12'), (' 7 '), ('x'), ('')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE integer USING a::integer",
        2,
    ),
    "text becomes an enum": (
        "CREATE TYPE {t}_e AS ENUM ('on', 'off'); CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('on'), ('of')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE {t}_e USING a::{t}_e",
        1,
    ),
    "an enum loses a label": (
        "CREATE TYPE {t}_e AS ENUM ('on', 'off', 'new'); CREATE TABLE {t} (a {t}_e);"
        "INSERT INTO {t} VALUES ('on'), ('new'), ('new'), (NULL)",
        "ALTER TYPE {t}_e RENAME TO {t}_old;\nCREATE TYPE {t}_e AS ENUM ('on', 'off');\n"
        "ALTER TABLE {t} ALTER COLUMN a TYPE {t}_e USING a::text::{t}_e",
        2,
    ),
    "wider": (
        "CREATE TABLE {t} (a int, b varchar(3)); INSERT INTO {t} VALUES (1, 'abc')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE bigint, ALTER COLUMN b TYPE text",
        0,
    ),
    "a constraint that is there is validated": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (-1), (1), (NULL);"
        'ALTER TABLE {t} ADD CONSTRAINT "{t} C" CHECK (a > 0) NOT VALID',
        'ALTER TABLE {t} VALIDATE CONSTRAINT "{t} C"',
        1,
    ),
    "a foreign key that is there is validated": (
        "CREATE TABLE {t}_o (id int PRIMARY KEY); INSERT INTO {t}_o VALUES (1);"
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2), (3), (NULL);"
        "ALTER TABLE {t} ADD CONSTRAINT {t}_f FOREIGN KEY (a) REFERENCES {t}_o (id) NOT VALID",
        "ALTER TABLE {t} VALIDATE CONSTRAINT {t}_f",
        2,
    ),
    "a constraint of the plan is validated": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (-1), (1), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0) NOT VALID;\nALTER TABLE {t} VALIDATE CONSTRAINT {t}_c",
        1,
    ),
    "wider, by their numbers": (
        "CREATE TABLE {t} (a smallint, b varchar(3), c numeric(5, 2), d int, e numeric(3, 2), f int);"
        "INSERT INTO {t} VALUES (1, 'abc', 999.99, 7, 9.99, 100)",
        "ALTER TABLE {t} ALTER a TYPE bigint, ALTER b TYPE varchar(4), ALTER c TYPE numeric(7, 2),"
        " ALTER d TYPE numeric(12, 2), ALTER e TYPE numeric(2, 1), ALTER f TYPE numeric(4, 2)",
        2,
    ),
    "a domain gets a check": (
        "CREATE DOMAIN {t}_d AS int; CREATE TABLE {t} (a {t}_d, b int, c {t}_d);"
        "INSERT INTO {t} VALUES (-1, -1, 1), (1, -1, NULL)",
        "ALTER DOMAIN {t}_d ADD CONSTRAINT {t}_c CHECK (VALUE > 0)",
        1,
    ),
    "a domain forbids null": (
        "CREATE DOMAIN {t}_d AS int; CREATE DOMAIN {t}_e AS {t}_d; CREATE TABLE {t} (a {t}_e, b int);"
        "INSERT INTO {t} VALUES (1, NULL), (NULL, 1), (NULL, 2)",
        "ALTER DOMAIN {t}_d SET NOT NULL",
        2,
    ),
    "a domain's check is validated": (
        "CREATE DOMAIN {t}_d AS text; CREATE TABLE {t} (a {t}_d); INSERT INTO {t} VALUES ('x'), ('');"
        "ALTER DOMAIN {t}_d ADD CONSTRAINT {t}_c CHECK (VALUE <> '') NOT VALID",
        "ALTER DOMAIN {t}_d VALIDATE CONSTRAINT {t}_c",
        1,
    ),
    "of a partitioned table": (
        "CREATE TABLE {t} (k int, a text) PARTITION BY LIST (k); CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1);"
        "INSERT INTO {t} VALUES (1, NULL), (1, 'x')",
        "ALTER TABLE {t} ALTER COLUMN a SET NOT NULL",
        1,
    ),
}

# What only a trace knows: what the plan itself adds holds the same in every row, and what a partition leaves to others.
BY_TRACE: Mapping[str, tuple[str, str, int]] = {
    "a partition beside the default one": (
        "CREATE TABLE {t} (a int) PARTITION BY LIST (a); CREATE TABLE {t}_d PARTITION OF {t} DEFAULT; INSERT INTO {t} VALUES (1), (1), (2)",
        "CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1)",
        2,
    ),
    "a partition of nothing in the default one": (
        "CREATE TABLE {t} (a int) PARTITION BY LIST (a); CREATE TABLE {t}_d PARTITION OF {t} DEFAULT; INSERT INTO {t} VALUES (1), (1), (2)",
        "CREATE TABLE {t}_5 PARTITION OF {t} FOR VALUES IN (5)",
        0,
    ),
    "the same in every row, and unique": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2), (3)",
        "ALTER TABLE {t} ADD COLUMN b int DEFAULT 1 UNIQUE",
        3,
    ),
    "the only row, and unique": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1)",
        "ALTER TABLE {t} ADD COLUMN b int DEFAULT 1 UNIQUE",
        0,
    ),
    "another in every row, and unique": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b uuid DEFAULT gen_random_uuid() UNIQUE",
        0,
    ),
    "a default that its check refuses": (
        "CREATE TABLE {t} (a int) PARTITION BY LIST (a); CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1, 2); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b int DEFAULT 1 CHECK (b > a)",
        2,
    ),
    "a default that refers to nothing": (
        "CREATE TABLE {t}_o (id int PRIMARY KEY); CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1)",
        "ALTER TABLE {t} ADD COLUMN b int DEFAULT 7 REFERENCES {t}_o",
        1,
    ),
    "null where it must not be": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b int CHECK (b IS NOT NULL)",
        2,
    ),
    "computed to null": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b int GENERATED ALWAYS AS (nullif(a, 1)) STORED NOT NULL",
        1,
    ),
    "a domain for a type": (
        "CREATE DOMAIN {t}_p AS int CHECK (VALUE > 5); CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2), (7), (NULL)",
        "ALTER TABLE {t} ALTER COLUMN a TYPE {t}_p",
        2,
    ),
    "a domain that takes no null": (
        "CREATE DOMAIN {t}_n AS int NOT NULL; CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b {t}_n",
        2,
    ),
    "added, and demanded": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b text;\nALTER TABLE {t} ALTER COLUMN b SET NOT NULL",
        2,
    ),
    "added, filled, and demanded": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b text;\nUPDATE {t} SET b = a;\nALTER TABLE {t} ALTER COLUMN b SET NOT NULL",
        0,
    ),
}
ALL_CASES = {**CASES, **BY_TRACE}
NUMBERS = {case: f"t{number}" for number, case in enumerate(ALL_CASES, 1)}


def filled_in(case: str) -> tuple[str, str, int]:
    before, statement, rows = ALL_CASES[case]
    return before.replace("{t}", NUMBERS[case]), statement.replace("{t}", NUMBERS[case]), rows


def revision_of(case: str) -> str:
    return f"r{NUMBERS[case]}"


def plan_of_statements(path: Path, target: Target, statements: Mapping[str, str]) -> Plan:
    """One revision for each statement, none of them traced."""
    alembic = AlembicProject.make(path)
    before = None
    for revision, statement in statements.items():
        body = "\n".join(f"op.execute({each!r})" for each in statement.split(";\n"))
        alembic.revision(revision, before, body)
        before = revision
    return make_plan(alembic.environment(target, hazards=HazardSettings(large_rows=1_000)), target)


_KEPT: list[tuple[Target, str]] = []


@pytest.fixture(scope="module", autouse=True)
def scratch(server: Target) -> Iterator[None]:
    """One scratch server for all traces of this module: each has a database of its own on it."""
    with connected(server) as connection:
        major = major_version(connection)
    with scratch_server((major,)) as found:
        _KEPT.append((found.target, found.origin))
        yield
        _KEPT.clear()


def traced(plan: Plan) -> Plan:
    found = with_trace(
        plan, lambda majors, extensions: nullcontext(_KEPT[0]), tool_sources(), of_backup=no_backup
    )
    assert found.trace is not None and not found.trace.untraced, (found.notes, found.trace)
    return found


def unfit(plan: Plan, revision: str | None = None) -> list[Hazard]:
    return [
        each
        for each in with_unfit_rows(plan).all_hazards
        if each.rule == "rows-do-not-fit" and revision in {None, each.revision}
    ]


@pytest.fixture(scope="module")
def target(server: Target) -> Iterator[Target]:
    with fresh_database(server) as made:
        with connected(made) as connection:
            for case in ALL_CASES:
                execute(connection, filled_in(case)[0])
            execute(connection, "ANALYZE")
        yield made


@pytest.fixture(scope="module")
def by_sql(tmp_path_factory: pytest.TempPathFactory, target: Target) -> Plan:
    statements = {revision_of(case): filled_in(case)[1] for case in ALL_CASES}
    return plan_of_statements(tmp_path_factory.mktemp("unfit"), target, statements)


@pytest.fixture(scope="module")
def found(by_sql: Plan) -> dict[str, list[Hazard]]:
    """What is found in each way."""
    return {"sql": unfit(by_sql), "trace": unfit(traced(by_sql))}


@pytest.mark.parametrize(
    ("case", "way"), [*((case, "sql") for case in CASES), *((case, "trace") for case in ALL_CASES)]
)
def test_what_is_found_is_what_postgresql_refuses(
    target: Target, found: dict[str, list[Hazard]], case: str, way: str
) -> None:
    _, statement, rows = filled_in(case)
    refused = False
    with connected(target) as connection:
        execute(connection, "BEGIN")
        execute(connection, "SET LOCAL search_path = public")
        try:
            execute(connection, statement)
        except DatabaseError as error:
            refused = (error.pgcode or "")[:2] in {"22", "23", "42"}
        execute(connection, "ROLLBACK")
    assert refused is bool(rows), "the case itself is wrong"

    hazards = [each for each in found[way] if each.revision == revision_of(case)]
    told = [int(each.message.split()[0].replace(",", "")) for each in hazards if each.level == "block"]
    assert sum(told) == rows, hazards
    assert [each.level for each in hazards if each.level != "block"] == []
    for each in hazards:
        assert each.message.endswith(": the statement will fail")
        assert each.line > 0, "beside the statement"
        with connected(target) as connection:
            shown = [line for line in each.fix.splitlines() if line.startswith("SELECT ")]
            assert fetch_value(connection, f"SELECT count(*) FROM ({shown[0]}) AS shown") > 0


@pytest.fixture
def filled(database: Target) -> Target:
    with connected(database) as connection:
        execute(
            connection,
            "CREATE TABLE people (id int PRIMARY KEY, email text, age int);"
            "INSERT INTO people SELECT i, nullif('a' || i % 3 || '@example.com', 'a0@example.com'), i - 2"
            " FROM generate_series(1, 6) AS i; ANALYZE",
        )
    return database


def messages(plan: Plan) -> list[tuple[str, str]]:
    return [(each.level, each.message) for each in unfit(plan)]


@pytest.mark.parametrize("way", [traced, lambda plan: plan], ids=["trace", "sql"])
def test_what_may_be_mended_and_what_is_cut_says_by_what(
    tmp_path: Path, filled: Target, way: Callable[[Plan], Plan]
) -> None:
    with connected(filled) as connection:
        for table in ("cut", "mended"):
            execute(connection, f"CREATE TABLE {table} AS SELECT * FROM people")
    update = "UPDATE people SET email = 'none' WHERE email IS NULL"
    plan = plan_of_statements(
        tmp_path,
        filled,
        {
            "aa01": f"{update};\nALTER TABLE people ALTER email SET NOT NULL",
            "aa02": "ALTER TABLE cut ALTER email TYPE varchar(5) USING email::varchar(5)",
            "aa03": "ALTER TABLE mended ALTER email TYPE varchar(5) USING left(email, 5)",
        },
    )
    assert [
        (level, re.sub(r"varchar\(|character varying\(", "text(", message))
        for level, message in messages(way(plan))
    ] == [
        ("note", f"2 rows of people do not fit email NOT NULL, unless this mends them: {update}"),
        ("warning", "4 rows of cut do not fit email text(5): what is too long is cut off"),
        (
            "note",
            "4 rows of mended do not fit email text(5), unless this mends them: USING left(email, 5)",
        ),
    ]


def test_an_update_in_a_revision_of_its_own_may_mend_them(tmp_path: Path, filled: Target) -> None:
    """By the SQL alone too, and under whichever name the two statements give the table."""
    with connected(filled) as connection:
        execute(connection, 'CREATE SCHEMA app; CREATE TABLE app."Folk" AS SELECT * FROM people')
    updates = [
        "UPDATE people SET email = 'none' WHERE email IS NULL",
        "UPDATE app.\"Folk\" SET email = 'none' WHERE email IS NULL",
    ]
    plan = plan_of_statements(
        tmp_path,
        filled,
        {
            "aa01": ";\n".join(updates),
            "aa02": "ALTER TABLE public.people ALTER email SET NOT NULL",
            "aa03": 'ALTER TABLE "app"."Folk" ALTER email SET NOT NULL',
        },
    )
    for way in (plan, traced(plan)):
        assert [(level, message.partition(": ")[2]) for level, message in messages(way)] == [
            ("note", updates[0]),
            ("note", updates[1]),
        ]


def test_under_the_names_that_things_have_by_then(tmp_path: Path, filled: Target) -> None:
    """A trace knows that it is the same column; by the SQL nothing is known of it, and nothing wrong is told."""
    plan = plan_of_statements(
        tmp_path,
        filled,
        {
            "aa01": "ALTER TABLE people RENAME TO persons;\nALTER TABLE persons RENAME email TO mail;\n"
            "ALTER TABLE persons ALTER mail SET NOT NULL",
            "aa02": "ALTER TABLE persons ADD CONSTRAINT grown CHECK (age > 0 AND length(mail) > 1)",
            "aa03": "ALTER TABLE persons ADD email text;\nALTER TABLE persons ALTER email SET NOT NULL",
        },
    )
    told = messages(traced(plan))
    assert [level for level, _ in told] == ["block", "block", "block"]
    assert told[0][1].startswith("2 rows of people do not fit mail NOT NULL")
    assert told[1][1].startswith("2 rows of people do not fit CHECK (((age > 0)")
    assert told[2][1].startswith("6 rows of people do not fit email NOT NULL")
    assert messages(plan) == []


def test_an_index_that_is_built_outside_of_a_transaction(tmp_path: Path, filled: Target) -> None:
    alembic = AlembicProject.make(tmp_path)
    alembic.revision(
        "aa01",
        None,
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('people_email', 'people', ['email'], unique=True, postgresql_concurrently=True)",
    )
    plan = make_plan(alembic.environment(filled), filled)
    for found in (plan, traced(plan)):
        assert [message.partition(":")[0] for _, message in messages(found)] == [
            "4 rows of people do not fit UNIQUE (email), 2 values between them"
        ]


def test_what_python_does_is_known_by_a_trace_alone(tmp_path: Path, filled: Target) -> None:
    alembic = AlembicProject.make(tmp_path)
    alembic.revision(
        "aa01",
        None,
        "bind = op.get_bind()\n"
        "for (name,) in bind.exec_driver_sql(\"SELECT attname FROM pg_attribute WHERE attname = 'email'\").all():\n"
        "    op.execute(f'ALTER TABLE people ALTER {name} SET NOT NULL')",
    )
    plan = make_plan(alembic.environment(filled), filled)
    assert messages(plan) == []
    assert messages(traced(plan)) == [
        ("block", "2 rows of people do not fit email NOT NULL: the statement will fail")
    ]


def test_a_loop_over_rows_may_mend_them(tmp_path: Path, filled: Target) -> None:
    alembic = AlembicProject.make(tmp_path)
    alembic.revision(
        "aa01",
        None,
        "bind = op.get_bind()\n"
        "for (id,) in bind.exec_driver_sql('SELECT id FROM people WHERE email IS NULL').all():\n"
        "    op.execute(f\"UPDATE people SET email = 'none' WHERE id = {id}\")\n"
        "op.alter_column('people', 'email', nullable=False)",
    )
    ((level, message),) = messages(traced(make_plan(alembic.environment(filled), filled)))
    assert level == "note"
    assert message.endswith("unless this mends them: SELECT id FROM people WHERE email IS NULL")


CALLS = """
CREATE TABLE called (n int);
CREATE FUNCTION public.is_mail(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'somebody else''s code runs'; END $$;
CREATE FUNCTION public.same(text, text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'somebody else''s code runs'; END $$;
CREATE OPERATOR public.=== (FUNCTION = public.same, LEFTARG = text, RIGHTARG = text);
CREATE DOMAIN public.mail AS text;
ALTER TABLE people ADD mail public.mail;
"""


@pytest.mark.parametrize("way", [traced, lambda plan: plan], ids=["trace", "sql"])
def test_a_look_runs_nobody_elses_code(tmp_path: Path, filled: Target, way: Callable[[Plan], Plan]) -> None:
    with connected(filled) as connection:
        execute(connection, CALLS)
    checks = [
        "public.is_mail(email)",
        "is_mail(email)",
        "email OPERATOR(public.===) 'x'",
        "email === 'x'",
        "email = 'x'::public.mail",
    ]
    plan = plan_of_statements(
        tmp_path,
        filled,
        {
            f"aa{number:02}": f"ALTER TABLE people ADD CONSTRAINT c{number} CHECK ({check})"
            for number, check in enumerate(checks)
        },
    )
    told = messages(way(plan))
    assert [level for level, _ in told] == ["note"] * len(checks)
    assert all("is not known: " in message for _, message in told)
    assert "somebody else's code runs" not in str(told)


def test_a_large_table_is_read_in_part_and_that_is_said(
    tmp_path: Path, filled: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(filled) as connection:
        execute(
            connection,
            "CREATE TABLE large (a int, b text, c text); "
            "INSERT INTO large SELECT i, nullif(i % 2, 1)::text, 'x' FROM generate_series(1, 200000) AS i; ANALYZE large",
        )
    plan = plan_of_statements(
        tmp_path,
        filled,
        {
            "aa01": "ALTER TABLE large ADD CONSTRAINT b_is_there CHECK (b IS NOT NULL AND length(repeat(c, 500)) > 9)",
            "aa02": "ALTER TABLE large ADD CONSTRAINT c_is_there CHECK (length(repeat(c, 500)) > 9)",
            "aa03": "ALTER TABLE large ADD CONSTRAINT a_once UNIQUE (a)",
        },
    )
    monkeypatch.setattr(look, "EACH", 0.02)
    monkeypatch.setattr(look, "_PAGES", 4)
    first, second, third = messages(plan)
    assert first[0] == "block"
    assert re.match(r"[\d,]+ rows of large in the 0\.\d+ % of it that was read do not fit CHECK", first[1])
    assert second[0] == third[0] == "note"
    assert "all rows that were read fit CHECK" in second[1] and "all of it takes too long" in second[1]
    assert third[1].endswith("is not known: reading them takes longer than 0.02 s")
    monkeypatch.setattr(look, "ALL", 0.0)
    assert all("that a look may take are over" in message for _, message in messages(plan))


def test_who_may_not_read_and_a_table_that_is_locked(tmp_path: Path, filled: Target) -> None:
    plan = plan_of_statements(tmp_path, filled, {"aa01": "ALTER TABLE people ALTER email SET NOT NULL"})
    with connected(filled) as holder:
        execute(holder, "BEGIN")
        execute(holder, "LOCK TABLE public.people")
        assert messages(plan) == [
            (
                "note",
                "people: whether all rows fit email NOT NULL is not known: the table is locked by another session",
            )
        ]
        execute(holder, "ROLLBACK")
        execute(holder, "CREATE ROLE reads_nothing LOGIN")
        try:
            with connected(filled) as connection:
                execute(connection, "SET SESSION AUTHORIZATION reads_nothing")
                (found,) = unfit_rows(
                    connection, None, {each.revision: each.sql for each in plan.pending}, {}
                )
                # Every value fits: nobody has to read them for that.
                wider = "ALTER TABLE people ALTER COLUMN age TYPE bigint"
                assert unfit_rows(connection, None, {"aa09": wider}, {}) == []
            level, message = found.level, found.message
            assert level == "note"
            assert "the server does not let us read them: permission denied for table people" in message
        finally:
            execute(holder, "DROP ROLE reads_nothing")


def test_a_rule_that_is_excluded_asks_nothing(tmp_path: Path, filled: Target) -> None:
    plan = plan_of_statements(tmp_path, filled, {"aa01": "ALTER TABLE people ALTER email SET NOT NULL"})
    settings = dataclasses.replace(plan.environment.hazards, exclude=frozenset(["rows-do-not-fit"]))
    environment = dataclasses.replace(plan.environment, hazards=settings)
    assert len(messages(plan)) == 1
    assert messages(dataclasses.replace(plan, environment=environment)) == []
