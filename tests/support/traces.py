"""Plans traced on a scratch server, for tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pgops.environments import HazardSettings
from pgops.errors import PgopsError
from pgops.local.scratch import ScratchServer, scratch_server
from pgops.local.tools import tool_sources
from pgops.migrations.hazards import Hazard
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.migrations.tracing.trace import with_trace
from pgops.postgres import Target, connected, execute, fetch_all, identifier
from tests.support.projects import STOCK_ENV, AlembicProject

SETTINGS = HazardSettings(large_rows=1_000)
ORDERS = """
CREATE TABLE orders (id integer PRIMARY KEY, total integer, note text);
INSERT INTO orders SELECT i, i, 'secret ' || i FROM generate_series(1, 2000) AS i;
CREATE TABLE lines (id integer PRIMARY KEY, "order" integer);
INSERT INTO lines SELECT i, i FROM generate_series(1, 2000) AS i;
CREATE TABLE nothing (id integer PRIMARY KEY, n integer);
CREATE SEQUENCE counter START 4711;
ANALYZE;
"""


@contextmanager
def server(majors: Any, extensions: Any) -> Iterator[tuple[Target, str]]:
    """A scratch server as the tasks give one."""
    with scratch_server(majors, extensions=extensions) as found:
        yield found.target, found.origin


class Lender:
    """Lends scratch servers that were used before and are as they were: to make one takes longer than most traces."""

    def __init__(self) -> None:
        self._servers: dict[object, tuple[ExitStack, ScratchServer, object]] = {}

    @contextmanager
    def lend(self, majors: Any, extensions: Any) -> Iterator[tuple[Target, str]]:
        """What :func:`server` gives; one that a trace changed for good is not lent again."""
        key = (tuple(majors), frozenset(extensions))
        if key not in self._servers:
            stack = ExitStack()
            made = stack.enter_context(scratch_server(majors, extensions=extensions))
            self._servers[key] = stack, made, whole_server(made.target)
        stack, lent, before = self._servers[key]
        try:
            yield lent.target, lent.origin
            gc.collect()  # what env.py left open goes while the server is there
            clean(lent.target)
            same = whole_server(lent.target) == before
        except BaseException:
            self._servers.pop(key)[0].close()
            raise
        if not same:
            self._servers.pop(key)[0].close()

    def close(self) -> None:
        """Remove them."""
        while self._servers:
            self._servers.popitem()[1][0].close()


def clean(target: Target) -> None:
    """Drop the databases, tablespaces and roles that a trace made.

    :param target: the superuser's, on the server's own database.
    """
    with connected(target) as connection:
        for question, drop in (
            (
                "SELECT datname FROM pg_database WHERE datname !~ '^(postgres|template[01])$'",
                "DROP DATABASE {} WITH (FORCE)",
            ),
            ("SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'", "DROP TABLESPACE {}"),
            (
                "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user",
                "DROP ROLE {}",
            ),
        ):
            for (name,) in fetch_all(connection, question):
                execute(connection, drop.format(identifier(name)))


def whole_server(target: Target) -> object:
    """What is the whole server's and not one database's: roles, databases, settings, rights on parameters."""
    with connected(target) as connection:
        return [
            fetch_all(connection, f"SELECT {columns} FROM {table} ORDER BY 1::text")
            for table, columns in (
                ("pg_authid", "rolname, pg_authid::text"),
                ("pg_auth_members", "pg_auth_members::text"),
                ("pg_database", "datname, datdba::text, datallowconn, datconnlimit, datacl::text"),
                ("pg_db_role_setting", "pg_db_role_setting::text"),
                ("pg_file_settings", "pg_file_settings::text"),
                ("pg_parameter_acl", "pg_parameter_acl::text"),
                ("pg_tablespace", "pg_tablespace::text"),
            )
        ]


lender = Lender()
"""Of this process; closed with the last test of migrations."""


def no_backup() -> tuple[str, str]:
    """There is none."""
    raise PgopsError("no backup")


def plan_of(
    path: Path, target: Target, *bodies: str, env: str = STOCK_ENV, settings: HazardSettings = SETTINGS
) -> Plan:
    """A plan with one revision for each body of an upgrade, traced."""
    project = AlembicProject.make(path, env=env)
    before = None
    for number, body in enumerate(bodies, 1):
        project.revision(f"aa{number:02}", before, body)
        before = f"aa{number:02}"
    plan = make_plan(project.environment(target, hazards=settings), target)
    return with_trace(plan, lender.lend, tool_sources(), of_backup=no_backup)


def hazard(plan: Plan, rule: str) -> Hazard:
    """The first finding of a rule."""
    return next(each for each in plan.all_hazards if each.rule == rule)
