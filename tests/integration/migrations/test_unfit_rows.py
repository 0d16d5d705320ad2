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
from tests.support.unfit_rows import BY_TRACE, CASES

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
            # So few that do not fit that not even all of them are too many to be counted.
            "INSERT INTO large SELECT i, nullif(i % 50, 0)::text, 'x' FROM generate_series(1, 200000) AS i; ANALYZE large",
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
