"""The bare schema that a plan is carried out on: when it is made, what it can't hold, and what is said where there is none."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pgops.environments import HazardSettings
from pgops.errors import UnreachableError
from pgops.local.tools import tool_sources
from pgops.migrations.plan.make import make_plan
from pgops.migrations.tracing import trace as tracing
from pgops.migrations.tracing.trace import NotTracedError, with_trace
from pgops.postgres import Target, connected, execute, fetch_all, identifier, literal
from tests.support.projects import AlembicProject, migrate
from tests.support.traces import SETTINGS, hazard, no_backup, plan_of, server


def nowhere(_majors: Any, _extensions: Any) -> Any:
    raise UnreachableError("there is no PostgreSQL 18 here to try it on")


def test_without_a_server_hazards_are_predicted_and_the_plan_says_so(tmp_path: Path, orders: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision("aa01", None, "op.execute('ALTER TABLE orders ALTER total TYPE bigint')")
    plan = make_plan(project.environment(orders, hazards=SETTINGS), orders)

    found = with_trace(plan, nowhere, tool_sources(), of_backup=no_backup)

    assert found.trace is None and found.as_dict()["trace"] is None
    assert found.notes == (
        "hazards are predicted from the SQL, not traced: there is no PostgreSQL 18 here to try it on",
    )
    assert found.all_hazards == plan.all_hazards != ()


def test_always_means_always(tmp_path: Path, orders: Target, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision("aa01", None, "op.execute('ALTER TABLE orders ALTER total TYPE bigint')")
    settings = dataclasses.replace(SETTINGS, trace="always")
    plan = make_plan(project.environment(orders, hazards=settings), orders)

    with pytest.raises(NotTracedError, match="there is no PostgreSQL 18 here") as raised:
        with_trace(plan, nowhere, tool_sources(), of_backup=no_backup)

    assert raised.value.exit_code == 7


@pytest.mark.parametrize("trace", ["never", "auto"])
def test_never_and_an_empty_target_start_nothing(
    tmp_path: Path, database: Target, monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    environment = project.environment(database, hazards=HazardSettings(trace=trace))
    migrate(environment, database, to="aa01")
    monkeypatch.setattr(tracing, "trace", None)

    plan = with_trace(make_plan(environment, database), nowhere, (), of_backup=no_backup)

    assert plan.trace is None
    assert plan.notes == (
        ("hazards are predicted from the SQL, not traced: hazards.trace is never",)
        if trace == "never"
        else ()
    )


def test_what_can_t_be_dumped_comes_from_a_backup(tmp_path: Path, orders: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision("aa01", None, "op.execute('ALTER TABLE orders ALTER total TYPE bigint')")
    plan = make_plan(project.environment(orders, hazards=SETTINGS), orders)
    with connected(orders) as writer:
        execute(writer, "BEGIN; LOCK TABLE lines IN ACCESS EXCLUSIVE MODE")
        found = with_trace(
            plan,
            server,
            tool_sources(),
            of_backup=lambda: ("CREATE TABLE orders (id integer PRIMARY KEY, total integer)", "backup 1"),
        )
        execute(writer, "ROLLBACK")

    assert found.trace is not None and found.trace.source == "backup 1"
    assert hazard(found, "changing-column-type").table == "orders"


def test_ctrl_c_ends_the_plan_and_the_server(tmp_path: Path, orders: Target) -> None:
    seen: list[int] = []

    @contextmanager
    def noted(majors: Any, extensions: Any) -> Iterator[tuple[Target, str]]:
        with server(majors, extensions) as (target, origin):
            seen.append(target.port)
            yield target, origin

    project = AlembicProject.make(tmp_path)
    project.revision(
        "aa01",
        None,
        "import os, signal\n"
        "if op.get_bind().execute(sa.text('SELECT count(*) FROM orders')).scalar() == 0:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    op.execute('SELECT pg_sleep(20)')",
    )
    plan = make_plan(project.environment(orders, hazards=SETTINGS), orders)

    with pytest.raises(KeyboardInterrupt):
        with_trace(plan, noted, tool_sources(), of_backup=no_backup)

    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", seen[0])) != 0


def test_a_copy_that_can_t_be_made_does_not_keep_the_plan_from_being_shown(
    tmp_path: Path, orders: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(tracing, "load_schema", refuse)

    plan = plan_of(tmp_path, orders, "op.execute('ALTER TABLE orders ALTER total TYPE bigint')")

    assert plan.notes == ("hazards are predicted from the SQL, not traced: No space left on device",)
    assert hazard(plan, "changing-column-type").level == "block"


LACKING = """\
SET client_encoding = 'UTF8';

--
-- Name: nobody_has_this; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION nobody_has_this;


--
-- Name: orders; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE orders (id integer PRIMARY KEY, total integer);
"""


def test_what_can_t_be_copied_is_named_and_the_rest_is_traced(
    tmp_path: Path, orders: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "dump_schema", lambda *_, **__: LACKING)

    plan = plan_of(tmp_path, orders, "op.execute('ALTER TABLE orders ALTER total TYPE bigint')")

    assert hazard(plan, "changing-column-type").table == "orders"
    (note,) = plan.notes
    assert note.startswith("not traced: not in the copy: extension nobody_has_this: extension")


def test_names_and_bodies_that_look_like_the_dumps_own_words_are_copied_as_they_are(
    tmp_path: Path, orders: Target
) -> None:
    name = (
        "a\n\\restrict abc\nSET transaction_timeout = 0;\n--\n-- Name: b; Type: TABLE; Schema: public\n--\n"
    )
    with connected(orders) as connection:
        execute(connection, f"CREATE TABLE {identifier('public', name)} (id integer)")
        execute(
            connection,
            f"CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$ SELECT {literal(name)}::text $$",
        )
    altered = f"ALTER TABLE {identifier('public', name)} ADD COLUMN other integer"
    same = f"DO $do$ BEGIN ASSERT public.f() = {literal(name).strip()}; END $do$"
    plan = plan_of(
        tmp_path,
        orders,
        f"op.execute({altered!r})",
        f"op.execute({same!r})",
    )
    assert plan.trace is not None
    assert plan.notes == ()


def test_the_target_is_as_it_was(tmp_path: Path, orders: Target) -> None:
    question = "SELECT oid::int8, relname, relfilenode::int8 FROM pg_class ORDER BY 1"
    with connected(orders) as connection:
        before = fetch_all(connection, question)

    plan_of(tmp_path, orders, "op.execute('ALTER TABLE orders ALTER total TYPE bigint')")

    with connected(orders) as connection:
        assert fetch_all(connection, question) == before
