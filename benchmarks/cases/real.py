"""Upgrades of real projects from PyPI, each in an environment of its own with pgops beside it.

tests/projects/real/adopt.py knows them and makes the environments; this takes those that are there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from benchmarks.measure import Comparison, Measure, MissingError, Sample, Side
from benchmarks.process import RoundFailedError, answer, plain_environment, require, timed
from benchmarks.project import REPOSITORY, url
from benchmarks.servers import Server
from benchmarks.workbench import Workbench
from pgops import postgres
from pgops.postgres import Target, libpq_url

_ADOPT = REPOSITORY / "tests" / "projects" / "real" / "adopt.py"
_NAMES = ("ckan", "argilla", "airflow")
_TITLE = "upgrade of real revisions"
_PGOPS, _ALEMBIC = "invoke migrate", "alembic upgrade head"


def _cache() -> Path:
    named = os.environ.get("PGOPS_BENCH_PROJECTS")
    return Path(named) if named else REPOSITORY / "build" / "real-projects"


def _adopting() -> ModuleType:
    spec = importlib.util.spec_from_file_location("adopt", _ADOPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["adopt"] = module  # its dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class _Real:
    """One project: its programs, its directory, and how each side's command reaches a database."""

    name: str
    revisions: int
    programs: Path
    work: Path
    config: Path
    environ: Mapping[str, str]
    database: Target

    def run(self, server: Server, *argv: str) -> float:
        """Seconds of one upgrade of an empty database; it is at the head afterwards."""
        server.create(self.database.dbname)
        server.settle()
        done = timed(
            [str(self.programs / argv[0]), *argv[1:]],
            cwd=self.work,
            environ=plain_environment(
                {**self.environ, "PATH": f"{self.programs}:{plain_environment({}).get('PATH', '')}"}
            ),
        )
        if argv[0] == "invoke":
            applied = answer(done)["run"]["applied"]
            require(lambda: len(applied) == self.revisions, f"{len(applied)} revisions were applied")
        with postgres.connected(self.database) as connection:
            tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            require(lambda: int(postgres.fetch_value(connection, tables)) > 1, "there are no tables")
        return done.seconds

    def pgops(self, server: Server) -> float:
        """With plan, lock, journal and all."""
        return self.run(server, "invoke", "migrate", "--confirm=trial", "--json")

    def alembic(self, server: Server) -> float:
        """What its own people type."""
        return self.run(server, "alembic", "-c", str(self.config), "upgrade", "head")


def _real(adopting: ModuleType, name: str, server: Server, directory: Path) -> _Real:
    project, cache = adopting.PROJECTS[name], _cache()
    try:
        programs = adopting.make_environment(name, cache)
    except adopting.StepFailedError as error:
        raise RoundFailedError(str(error)) from error
    work = directory / name
    environ = dict(adopting.adopt(name, work, programs))
    database = server.create(f"real_{name}")
    secret = database.secret()
    # Bare, as people write it: not every project's settings pass an sslmode on to every driver.
    plain = libpq_url(replace(database, sslmode="prefer"), password=secret.reveal() if secret else None)
    rest = plain.split("://", 1)[1]
    for key, value in project.alembic.items():
        environ[key] = value.replace("{url:asyncpg}", f"postgresql+asyncpg://{rest}").replace(
            "{url:psycopg2}", f"postgresql+psycopg2://{rest}"
        )
    if project.ini:
        config = work / "plain.ini"
        config.write_text(
            project.ini.replace("driver://nowhere", url(database).replace("%", "%%")), encoding="utf-8"
        )
    else:
        (packages,) = (programs.parent / "lib").glob("python3*/site-packages")
        config = packages / project.config
    return _Real(
        name, project.revisions, programs, work, config, {**environ, "TRIAL_DATABASE_URL": plain}, database
    )


@contextlib.contextmanager
def upgrade(bench: Workbench) -> Iterator[Measure]:
    """All that are installed, one after the other; those that are not are named."""
    wanted = _NAMES[:1] if bench.quick else _NAMES
    there = [name for name in wanted if (_cache() / f"venv-{name}" / "installed").exists()]
    absent = "not installed: tests/projects/real/adopt.py makes its environment"
    if not there:
        raise MissingError(_TITLE, f"{', '.join(wanted)} {absent}")
    adopting = _adopting()
    directory = bench.place("real")
    projects = [_real(adopting, name, bench.server, directory) for name in there]
    total = sum(each.revisions for each in projects)

    def ours() -> Sample:
        parts = {each.name: each.pgops(bench.server) for each in projects}
        return {"seconds": sum(parts.values()), **parts}

    def theirs() -> Sample:
        parts = {each.name: each.alembic(bench.server) for each in projects}
        return {"seconds": sum(parts.values()), **parts}

    gone = [name for name in wanted if name not in there]
    yield Measure(
        "upgrade-real",
        f"Upgrade of {total} real revisions",
        [
            Side(_PGOPS, "invoke migrate --confirm=trial --json", ours),
            Side(_ALEMBIC, _ALEMBIC, theirs),
            *(Side(name, "", dict, missing=absent) for name in gone),
        ],
        [
            Comparison(
                f"upgrade of {total} real revisions ({', '.join(there)})", _PGOPS, _ALEMBIC, goal=1.10
            ),
            *(
                Comparison(
                    f"{each.name}, {each.revisions} of them",
                    _PGOPS,
                    _ALEMBIC,
                    figure=each.name,
                    peer_figure=each.name,
                )
                for each in projects
                if len(projects) > 1
            ),
            *(Comparison(f"upgrade of {name}", name, name) for name in gone),
        ],
        {
            "server": bench.server.kind,
            "projects": ", ".join(f"{each.name} {each.revisions}" for each in projects),
        },
    )
