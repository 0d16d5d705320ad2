"""What watching costs: the same plan on the same copy, watched as a rehearsal does, and not."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import SECONDS, Comparison, Measure, Sample, Side
from benchmarks.workbench import Workbench
from pgops.environments import (
    AlembicSettings,
    BackupPolicy,
    Environment,
    HazardSettings,
    HostConnection,
    Position,
    Store,
    Timeouts,
)
from pgops.migrations.plan.make import make_plan
from pgops.migrations.rehearsal.rehearse import carry_out
from pgops.migrations.run.attempt import Approval
from pgops.migrations.run.reporter import Silent
from pgops.migrations.run.run import Run
from pgops.postgres import Target, connected, execute

_ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool

engine = engine_from_config(
    context.config.get_section(context.config.config_ini_section), prefix="sqlalchemy.", poolclass=pool.NullPool
)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
_REVISIONS = (
    'op.execute("ALTER TABLE people ALTER COLUMN age TYPE bigint")',
    'op.execute("CREATE INDEX people_name ON people (name)")',
    'op.execute("UPDATE people SET name = upper(name) WHERE id % 4 = 0")',
    "for each in range(1, {updates}):\n"
    "        op.get_bind().execute(sa.text('UPDATE people SET age = :age WHERE id = :id'), {{'age': 1, 'id': each}})",
    "with op.get_context().autocommit_block():\n"
    "        op.create_index('people_age', 'people', ['age'], postgresql_concurrently=True)",
)


@contextlib.contextmanager
def watching(bench: Workbench) -> Iterator[Measure]:
    """A rewrite, two indexes, a large update and a loop of small ones, on a table of a million rows."""
    rows, updates = (50_000, 500) if bench.quick else (1_000_000, 10_000)
    template = bench.server.create("watched_template")
    with connected(template) as connection:
        execute(
            connection,
            "CREATE TABLE public.people (id integer PRIMARY KEY, name text, age integer);"
            f"INSERT INTO public.people SELECT i, 'somebody ' || i, i FROM generate_series(1, {rows}) AS i",
        )
        execute(connection, "VACUUM ANALYZE public.people")
    project = _project(bench.place("watching"), updates)
    numbers = itertools.count()
    copies: list[Target] = []

    def fresh() -> None:
        while copies:
            bench.server.drop(copies.pop().dbname)
        copies.append(bench.server.create(f"watched_{next(numbers)}", template.dbname))
        bench.server.settle()

    def watched() -> Sample:
        environment = _environment(project, copies[-1])
        measured = carry_out(
            make_plan(environment, copies[-1]),
            copies[-1],
            copies[-1],
            reporter=Silent(),
            there_and_back=False,
        )
        assert measured.ok, measured.failure
        return {SECONDS: measured.seconds}

    def unwatched() -> Sample:
        environment = _environment(project, copies[-1])
        run = Run(make_plan(environment, copies[-1]), Approval(), Silent(), lock_wait=30.0)
        return {SECONDS: run.carry_out().seconds}

    sides = [
        Side("watched", "the run of migrate.rehearse, with probes", watched, fresh),
        Side("unwatched", "the same run, unwatched", unwatched, fresh),
    ]
    title = "a rehearsal's run beside the same run unwatched"
    yield Measure(
        "rehearse",
        "What watching costs a rehearsal",
        sides,
        [Comparison(title, "watched", "unwatched", goal=1.10)],
        {"rows": rows, "updates": updates, "revisions": len(_REVISIONS)},
    )


def _project(path: Path, updates: int) -> Path:
    versions = path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n", encoding="utf-8")
    (path / "migrations" / "env.py").write_text(_ENV, encoding="utf-8")
    for number, body in enumerate(_REVISIONS):
        down = repr(f"r{number - 1}") if number else None
        (versions / f"r{number}.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision = 'r{number}'\ndown_revision = {down}\n\n\ndef upgrade():\n    {body.format(updates=updates)}\n",
            encoding="utf-8",
        )
    return path


def _environment(path: Path, target: Target) -> Environment:
    return Environment(
        name="bench",
        aliases=(),
        protected=False,
        connection=HostConnection(target.host, target.dbname, target.user, target.port),
        timeouts=Timeouts(),
        backups=BackupPolicy(Store("local", f"file:{path / 'backups'}")),
        alembic=AlembicSettings(path / "alembic.ini"),
        hazards=HazardSettings(trace="never"),
        project=path,
        position=Position(path / "environments.yaml", 1, 1),
    )
