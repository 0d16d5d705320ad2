"""Small Alembic projects for tests: one builder, several kinds of env.py, and an Environment for each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from pgops.migrations import journal
from pgops.migrations.journal import RunRecord
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.migrations.run.attempt import Approval
from pgops.migrations.run.recovery import Recovered
from pgops.migrations.run.result import RunResult
from pgops.migrations.run.run import Run
from pgops.postgres import Target, connected, fetch_all

INI = """
[alembic]
script_location = %(here)s/migrations
path_separator = os
sqlalchemy.url = driver://user:pass@localhost/dbname

[loggers]
keys = root,alembic
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = WARNING
handlers = console
qualname =
[logger_alembic]
level = INFO
handlers =
qualname = alembic
[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic
[formatter_generic]
format = %(levelname)-5.5s [%(name)s] %(message)s
"""

STOCK_ENV = """
from logging.config import fileConfig

from sqlalchemy import engine_from_config, pool

from alembic import context

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)
target_metadata = None


def run_migrations_offline():
    context.configure(url=config.get_main_option("sqlalchemy.url"), literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online():
    connectable = engine_from_config(
        config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool
    )
    with connectable.connect() as connection:
        context.configure(connection=connection, target_metadata=target_metadata)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
"""


def online_env(body: str) -> str:
    """An env.py whose online part is ``body``; ``url`` is the configured URL."""
    head = """
        import os
        from sqlalchemy import create_engine, pool, text
        from alembic import context
        config = context.config
        url = config.get_main_option("sqlalchemy.url")
    """
    return textwrap.dedent(head) + textwrap.dedent(body)


@dataclass(frozen=True)
class AlembicProject:
    """An Alembic project in a directory."""

    path: Path

    @classmethod
    def make(cls, path: Path, *, env: str = STOCK_ENV, ini: str = INI) -> AlembicProject:
        """A project without revisions."""
        (path / "migrations" / "versions").mkdir(parents=True, exist_ok=True)
        (path / "alembic.ini").write_text(ini, encoding="utf-8")
        (path / "migrations" / "env.py").write_text(env, encoding="utf-8")
        (path / "migrations" / "script.py.mako").write_text(
            textwrap.dedent(
                '''\
                """${message}

                Revision ID: ${up_revision}
                Revises: ${down_revision | comma,n}

                """
                from alembic import op
                import sqlalchemy as sa
                ${imports if imports else ""}

                revision = ${repr(up_revision)}
                down_revision = ${repr(down_revision)}
                branch_labels = ${repr(branch_labels)}
                depends_on = ${repr(depends_on)}


                def upgrade():
                    ${upgrades if upgrades else "pass"}


                def downgrade():
                    ${downgrades if downgrades else "pass"}
                '''
            ),
            encoding="utf-8",
        )
        return cls(path)

    def revision(
        self,
        name: str,
        down: str | tuple[str, ...] | None,
        up: str = "pass",
        back: str = "pass",
        *,
        depends: str | None = None,
        labels: str | None = None,
        message: str | None = None,
    ) -> Path:
        """Write one revision; ``up`` and ``back`` are bodies of upgrade() and downgrade()."""
        indented = [textwrap.indent(textwrap.dedent(body).strip(), "    ") for body in (up, back)]
        file = self.path / "migrations" / "versions" / f"{name}_.py"
        file.write_text(
            f'"""{message or "make " + name}\n\nRevision ID: {name}\n"""\n\n'
            "import sqlalchemy as sa\nfrom alembic import op\n\n"
            f"revision = {name!r}\ndown_revision = {down!r}\nbranch_labels = {labels!r}\ndepends_on = {depends!r}\n\n\n"
            f"def upgrade():\n{indented[0]}\n\n\ndef downgrade():\n{indented[1]}\n",
            encoding="utf-8",
        )
        return file

    def chain(self, *names: str) -> None:
        """Revisions one upon the other, each making a table of its own name."""
        down = None
        for name in names:
            self.revision(
                name,
                down,
                f"op.create_table('t_{name}', sa.Column('id', sa.Integer, primary_key=True))",
                f"op.drop_table('t_{name}')",
            )
            down = name

    def environment(
        self,
        target: Target,
        name: str = "staging",
        *,
        alembic: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Environment:
        """An unprotected environment with this project's Alembic."""
        settings: dict[str, Any] = {"config": self.path / "alembic.ini", **(alembic or {})}
        made = Environment(
            name=name,
            aliases=(),
            protected=False,
            connection=HostConnection(
                host=target.host, port=target.port, dbname=target.dbname, user=target.user
            ),
            timeouts=Timeouts(lock=0.3, statement=30),
            backups=BackupPolicy(Store("local", f"file:{self.path / 'backups'}")),
            alembic=AlembicSettings(**settings),
            hazards=HazardSettings(),
            project=self.path,
            position=Position(self.path / "environments.yaml", 1, 1),
        )
        return replace(made, **changes)


class Recorder:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.recoveries: list[Recovered] = []

    def waiting(self, holders: Sequence[Any]) -> None:
        self.lines.append(f"waiting for {'; '.join(map(str, holders))}")

    def recovered(self, what: Recovered) -> None:
        self.recoveries.append(what)
        self.lines.append(str(what))

    def applying(self, revision: Any, number: int, of: int) -> None:
        self.lines.append(f"applying {revision.revision} {number}/{of}")

    def applied(self, revision: Any, seconds: float) -> None:
        self.lines.append(f"applied {revision.revision}")

    def blocked(self, revision: Any, blockers: Sequence[Any], pause: float) -> None:
        self.lines.append(f"blocked {revision.revision} by {'; '.join(map(str, blockers))}")

    def building(self, progress: Any) -> None:
        self.lines.append(f"building {progress.index}")


def migrate(
    environment: Environment,
    target: Target,
    *,
    recorder: Recorder | None = None,
    lock_wait: float = 5,
    **look_for: Any,
) -> RunResult:
    """Look and carry out, without a task around it."""
    plan = make_plan(environment, target, **look_for)
    return carry_out(plan, recorder=recorder, lock_wait=lock_wait)


def carry_out(plan: Plan, *, recorder: Recorder | None = None, lock_wait: float = 5) -> RunResult:
    """Carry out a plan with nothing to approve."""
    return Run(plan, Approval(), recorder or Recorder(), lock_wait=lock_wait).carry_out()


def tables(target: Target) -> set[str]:
    """The tables of schema public."""
    with connected(target) as connection:
        return {
            row[0]
            for row in fetch_all(connection, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        }


def recorded_runs(target: Target) -> list[RunRecord]:
    """The journal's runs, the newest first."""
    with connected(target) as connection:
        return journal.runs(connection)


def heads(target: Target) -> set[str]:
    """What the version table says."""
    with connected(target) as connection:
        return {row[0] for row in fetch_all(connection, "SELECT version_num FROM alembic_version")}
