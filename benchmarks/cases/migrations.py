"""Alembic's work by pgops, beside plain Alembic in the same project with the same untouched env.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks import revisions
from benchmarks.measure import Comparison, Measure, Sample, Side
from benchmarks.peers import program
from benchmarks.process import Finished, answer, require, shown, timed
from benchmarks.project import Project, ini, stock_alembic
from benchmarks.servers import Server
from benchmarks.workbench import Workbench
from pgops import postgres
from pgops.postgres import Target

_ALEMBIC = "alembic upgrade head"
_PGOPS = "invoke migrate"
_TRACED = "migrate.plan, traced"
_PREDICTED = "migrate.plan, predicted"


def _run(project: Project, *argv: str) -> Finished:
    return timed([str(program(argv[0])), *argv[1:]], cwd=project.path, environ=project.environment())


def _sample(done: Finished) -> Sample:
    return {"seconds": done.seconds, "cpu": done.cpu}


def _head(target: Target) -> str:
    with postgres.connected(target) as connection:
        return str(postgres.fetch_value(connection, "SELECT version_num FROM public.alembic_version"))


def _stocked(bench: Workbench, name: str, count: int) -> tuple[Project, Target, str]:
    """A stock project whose database is at the head; what its revisions would do, nobody runs."""
    target = bench.scratch.create(name)
    project = stock_alembic(bench.place(name), target)
    head = revisions.write(project.path / "migrations" / "versions", count)
    project.run("alembic", "stamp", "head")
    return project, target, head


def _nothing_pending(bench: Workbench, key: str, title: str, count: int, goal: float) -> Measure:
    project, target, head = _stocked(bench, key, count)

    def ours() -> Sample:
        done = _run(project, "invoke", "migrate", "--json")
        answer(done)
        require(lambda: _head(target) == head, "the database is not at the head")
        return _sample(done)

    def theirs() -> Sample:
        return _sample(_run(project, "alembic", "upgrade", "head"))

    return Measure(
        key,
        title,
        [Side(_PGOPS, "invoke migrate --json", ours), Side(_ALEMBIC, _ALEMBIC, theirs)],
        [Comparison(title, _PGOPS, _ALEMBIC, goal=goal)],
        {"revisions": count, "server": bench.scratch.kind},
    )


@contextlib.contextmanager
def nothing_pending(bench: Workbench) -> Iterator[Measure]:
    """A database at its head, ten revisions."""
    yield _nothing_pending(bench, "migrate", "migrate with nothing pending", 10, 0.5)


@contextlib.contextmanager
def nothing_pending_of_many(bench: Workbench) -> Iterator[Measure]:
    """A database at its head, a thousand revisions."""
    count = 200 if bench.quick else 1000
    yield _nothing_pending(
        bench, "migrate-1000", f"migrate with nothing pending, {count:,} revisions", count, 0.2
    )


@contextlib.contextmanager
def status_of_twenty(bench: Workbench) -> Iterator[Measure]:
    """Twenty databases of one history: one command of ours, twenty of Alembic's."""
    project, first, head = _stocked(bench, "status_1", 10)
    names = [f"env{number:02}" for number in range(1, 5 if bench.quick else 21)]
    targets = {names[0]: first}
    for number, name in enumerate(names[1:], 2):
        targets[name] = bench.scratch.create(f"status_{number}", template=first.dbname)
    for name, target in targets.items():
        ini(project, target, f"{name}.ini")
    project.environments(targets, alembic={name: f"{name}.ini" for name in names})

    def ours() -> Sample:
        done = _run(project, "invoke", "migrate.status", "--json")
        found = answer(done)["environments"]
        require(
            lambda: (
                [each["current"] for each in found] == [[head]] * len(names)
                and not any(each["pending"] for each in found)
            ),
            done.out,
        )
        return _sample(done)

    def theirs() -> Sample:
        total: dict[str, float] = {"seconds": 0.0, "cpu": 0.0}
        for name in names:
            done = _run(project, "alembic", "-c", f"{name}.ini", "current")
            require(lambda: head in done.out, done.out)  # noqa: B023 - called at once
            total = {key: total[key] + value for key, value in _sample(done).items()}
        return total

    peer = f"{len(names)} × alembic current"
    title = f"migrate.status over {len(names)} environments"
    yield Measure(
        "status-20",
        title,
        [
            Side("invoke migrate.status", "invoke migrate.status --json", ours),
            Side(peer, "alembic -c envNN.ini current, one after the other", theirs),
        ],
        [Comparison(title, "invoke migrate.status", peer, goal=0.05)],
        {"environments": len(names), "revisions": 10, "server": bench.scratch.kind},
    )


@contextlib.contextmanager
def upgrade_of_many(bench: Workbench) -> Iterator[Measure]:
    """From an empty database to the head."""
    count = 40 if bench.quick else 200
    server = bench.scratch
    target = server.create("upgrade")
    project = stock_alembic(bench.place("upgrade"), target)
    head = revisions.write(project.path / "migrations" / "versions", count)
    title = f"upgrade of {count} made-up everyday revisions"

    yield Measure(
        "upgrade-200",
        title,
        [
            _upgrading(server, project, target, head, _PGOPS, "invoke", "migrate", "--yes", "--json"),
            _upgrading(server, project, target, head, _ALEMBIC, "alembic", "upgrade", "head"),
        ],
        [Comparison(title, _PGOPS, _ALEMBIC)],
        {"revisions": count, "server": server.kind},
    )


def _upgrading(server: Server, project: Project, target: Target, head: str, name: str, *argv: str) -> Side:
    def prepare() -> None:
        server.create(target.dbname)
        server.settle()

    def run() -> Sample:
        done = _run(project, *argv)
        require(lambda: _head(target) == head, "the database is not at the head")
        return _sample(done)

    return Side(name, shown([str(Path(argv[0])), *argv[1:]]), run, prepare)


def _traced(bench: Workbench, key: str, tables: int, ceiling: float) -> Measure:
    """A plan of one revision, traced, beside the same plan with its hazards predicted."""
    sides = []
    target = bench.scratch.create(key)
    with postgres.connected(target) as connection:
        for number in range(tables):
            refers = f", before integer REFERENCES public.t{number - 1} (id)" if number else ""
            postgres.execute(
                connection,
                f"CREATE TABLE public.t{number} (id serial PRIMARY KEY, n integer, note text{refers});"
                f"CREATE INDEX ON public.t{number} (n); INSERT INTO public.t{number} (n) VALUES (1)",
            )
    for name, setting in ((_TRACED, "auto"), (_PREDICTED, "never")):
        project = stock_alembic(bench.place(f"{key}-{setting}"), target)
        revisions.write(project.path / "migrations" / "versions", 1)
        file = project.path / "environments.yaml"
        project.write(file.name, file.read_text(encoding="utf-8") + f"    hazards: {{trace: {setting}}}\n")

        def plan(project: Project = project, traced: bool = setting == "auto") -> Sample:
            done = _run(project, "invoke", "migrate.plan", "--json")
            require(lambda: (answer(done)["trace"] is not None) == traced, "the plan is not what it says")
            return _sample(done)

        sides.append(Side(name, "invoke migrate.plan --json", plan))
    title = f"a plan traced on {tables} tables"
    return Measure(
        key,
        title,
        sides,
        [Comparison(title, _TRACED, _PREDICTED, ceiling=ceiling)],
        {"tables": tables, "server": bench.scratch.kind},
    )


@contextlib.contextmanager
def traced_plan(bench: Workbench) -> Iterator[Measure]:
    """What a trace adds to a plan, a hundred tables."""
    yield _traced(bench, "trace", 20 if bench.quick else 100, 3.0)


@contextlib.contextmanager
def traced_plan_of_many(bench: Workbench) -> Iterator[Measure]:
    """What a trace adds to a plan, a thousand tables."""
    yield _traced(bench, "trace-1000", 50 if bench.quick else 1000, 6.0)
