"""migrate.test's core on a real server: each trap that an up-down-up walk is there to find."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from pgops import postgres
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
from pgops.errors import ConfigurationError, PgopsError, UsageError
from pgops.migrations.round_trip.database import PREFIX, scratch_database
from pgops.migrations.round_trip.result import Base, RoundTrip
from pgops.migrations.round_trip.round_trip import run_round_trip
from pgops.postgres import Target

ENV_PY = """
import sqlalchemy as sa
from alembic import context
from sqlalchemy import engine_from_config, pool

metadata = sa.MetaData()
{models}

with engine_from_config(
    context.config.get_section(context.config.config_ini_section), poolclass=pool.NullPool
).connect() as connection:
    {first}
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
'''{id} happens'''
import sqlalchemy as sa
from alembic import op
revision = "{id}"
down_revision = {down!r}
def upgrade():
{up}
def downgrade():
{back}
"""
BOOK = "book = sa.Table('book', metadata, sa.Column('id', sa.Integer, primary_key=True), sa.Column('title', sa.Text))"
CREATE = (
    "    op.create_table('book', sa.Column('id', sa.Integer, primary_key=True), sa.Column('title', sa.Text))",
    "    op.drop_table('book')",
)


@dataclasses.dataclass
class Project:
    """A little Alembic project to try out."""

    path: Path
    server: Target
    last: str | None = None

    def env_py(self, models: str = "", first: str = "pass") -> None:
        (self.path / "scripts" / "env.py").write_text(ENV_PY.format(models=models, first=first))

    def revision(self, id: str, up: str = "    pass", back: str = "    pass", down: object = ...) -> None:
        """Add a revision on top of the last one."""
        text = REVISION.format(id=id, down=self.last if down is ... else down, up=up, back=back)
        (self.path / "scripts" / "versions" / f"{id}.py").write_text(text)
        self.last = id

    def data(self, text: str) -> Path:
        file = self.path / "migration_data.py"
        file.write_text(text)
        return file

    def environment(self) -> Environment:
        return Environment(
            name="dev",
            aliases=(),
            protected=False,
            connection=HostConnection(
                self.server.host, self.server.dbname, self.server.user, self.server.port
            ),
            timeouts=Timeouts(),
            backups=BackupPolicy(Store("local", "file:/nowhere")),
            alembic=AlembicSettings(self.path / "alembic.ini"),
            hazards=HazardSettings(),
            project=self.path,
            position=Position(self.path / "environments.yaml", 1, 1),
        )

    def try_out(self, **options: object) -> RoundTrip:
        with scratch_database(self.server) as scratch:
            return run_round_trip(self.environment(), scratch, **options)  # type: ignore[arg-type]


@pytest.fixture
def project(tmp_path: Path, server: Target) -> Project:
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/scripts\n")
    (tmp_path / "scripts" / "versions").mkdir(parents=True)
    found = Project(tmp_path, server)
    found.env_py()
    return found


def test_a_careful_history_passes_and_each_revision_says_what_it_did(project: Project) -> None:
    project.env_py(BOOK)
    project.revision("r1", *CREATE)
    project.revision("r2", "    op.create_index('ix', 'book', ['title'])", "    op.drop_index('ix')")
    project.env_py(BOOK + "; sa.Index('ix', book.c.title)")

    result = project.try_out()

    assert result.ok, result.all_problems()
    assert (result.heads, result.remarks) == (("r2",), ())
    assert [(step.revision, step.message) for step in result.steps] == [
        ("r1", "r1 happens"),
        ("r2", "r2 happens"),
    ]
    assert result.steps[1].changed == ("adds index public.ix",)


def test_a_downgrade_that_forgets_something_is_named_with_the_difference(project: Project) -> None:
    project.revision("r1", *CREATE)
    project.revision(
        "r2",
        "    op.add_column('book', sa.Column('isbn', sa.Text)); op.create_index('ix', 'book', ['title'])",
        "    op.drop_index('ix')",
    )

    result = project.try_out()

    assert result.all_problems() == [
        "revision r2: after the downgrade, column public.book.isbn is left over",
        'revision r2: upgrade after a downgrade failed: DuplicateColumn: column "isbn" of relation "book" already exists (scripts/versions/r2.py:8)',
    ]


def test_an_enum_that_stays_behind_makes_the_second_upgrade_fail(project: Project) -> None:
    project.revision(
        "r1",
        "    op.create_table('book', sa.Column('kind', sa.Enum('a', 'b', name='kind')))",
        "    op.drop_table('book')",
    )
    project.revision("r2")

    result = project.try_out()

    assert result.all_problems() == [
        "revision r1: after the downgrade, enum public.kind is left over",
        'revision r1: upgrade after a downgrade failed: DuplicateObject: type "kind" already exists (scripts/versions/r1.py:8)',
    ]
    assert result.remarks[0] == "1 later revisions were not tried"


def test_a_downgrade_that_fails_is_reported_and_the_later_revisions_are_tried(project: Project) -> None:
    project.env_py(BOOK.replace("'title'", "'x'"))
    project.revision("r1", *CREATE)
    project.revision(
        "r2", "    op.drop_column('book', 'title')", "    raise NotImplementedError('no way back')"
    )
    project.revision(
        "r3", "    op.add_column('book', sa.Column('x', sa.Text))", "    op.drop_column('book', 'x')"
    )

    result = project.try_out()

    assert result.all_problems() == [
        "revision r2: downgrade failed: NotImplementedError: no way back (scripts/versions/r2.py:10)"
    ]
    assert [step.revision for step in result.steps] == ["r1", "r2", "r3"]


def test_an_old_history_goes_up_and_only_what_is_new_goes_down_too(project: Project) -> None:
    project.env_py(BOOK)
    project.revision("old", CREATE[0], "    raise NotImplementedError")
    project.revision("new")

    assert project.try_out(since="new").ok
    with pytest.raises(UsageError, match="did you mean new"):
        project.try_out(since="newe")


def test_a_downgrade_that_fails_half_way_outside_its_transaction_stops_the_trial(project: Project) -> None:
    project.revision(
        "r1",
        *(
            CREATE[0],
            "    with op.get_context().autocommit_block():\n        op.drop_column('book', 'title')\n    raise RuntimeError",
        ),
    )
    project.revision("r2")

    result = project.try_out()

    assert result.all_problems() == [
        "revision r1: downgrade failed: RuntimeError (scripts/versions/r1.py:12)",
        "revision r1: the failed downgrade left the database half done",
    ]
    assert [step.revision for step in result.steps] == ["r1"]


def test_an_upgrade_that_fails_names_the_statement(project: Project) -> None:
    project.revision("r1", "    op.execute('SELECT * FROM nothing_like_it')")

    assert project.try_out().all_problems() == [
        'revision r1: upgrade failed: UndefinedTable: relation "nothing_like_it" does not exist; LINE 1: SELECT * FROM nothing_like_it (scripts/versions/r1.py:8)'
    ]


def test_models_that_differ_from_the_migrations_are_found(project: Project) -> None:
    project.env_py(BOOK.replace("'title', sa.Text", "'name', sa.Text"))
    project.revision("r1", *CREATE)

    assert project.try_out().problems == (
        "models and migrations differ: column book.name (TEXT): in the models, not in the database",
        "models and migrations differ: column book.title (TEXT): in the database, not in the models",
    )


def test_two_heads_by_accident_are_a_problem(project: Project) -> None:
    project.env_py(BOOK)
    project.revision("r1", *CREATE)
    project.revision("a", down="r1")
    project.revision("b", down="r1")

    assert project.try_out().problems == ("more than one head: a, b; merge them: alembic merge heads",)


def test_merges_go_up_and_down(project: Project) -> None:
    project.env_py(BOOK)
    project.revision("r1", *CREATE)
    project.revision("a", down="r1")
    project.revision("b", down="r1")
    project.revision("m", down=("a", "b"))

    assert project.try_out().all_problems() == []


def test_rows_that_a_revision_loses_are_named(project: Project) -> None:
    project.env_py(BOOK)
    project.revision("r1", *CREATE)
    project.revision("r2", "    op.execute('DELETE FROM book WHERE id = 2')")
    file = project.data(
        "import sqlalchemy as sa\ndef before_r2(connection):\n    connection.execute(sa.text(\"INSERT INTO book VALUES (1, 'a'), (2, 'b')\"))\n"
    )

    assert project.try_out(data=file).all_problems() == [
        "revision r2: public.book had 2 rows before the upgrade and has 1 after it"
    ]
    project.data(file.read_text() + "LOSES = {'r2': ['book']}\n")
    assert project.try_out(data=file).ok


def test_a_downgrade_that_empties_a_table_loses_rows(project: Project) -> None:
    project.env_py(BOOK)
    project.revision("r1", *CREATE)
    project.revision("r2", back="    op.execute('TRUNCATE book')")
    file = project.data(
        "import sqlalchemy as sa\ndef before_r2(connection):\n    connection.execute(sa.text(\"INSERT INTO book VALUES (1, 'a')\"))\n"
    )

    assert project.try_out(data=file).all_problems() == [
        "revision r2: public.book had 1 rows before the downgrade and has 0 after it"
    ]


def test_what_the_projects_own_look_finds_is_reported(project: Project) -> None:
    project.env_py(BOOK)
    project.revision("r1", *CREATE)
    file = project.data("def after_r1(connection):\n    assert False, 'the title is gone'\n")

    assert project.try_out(data=file).all_problems() == [
        "revision r1: after_r1: AssertionError: the title is gone"
    ]


def test_a_data_function_of_no_revision_is_refused(project: Project) -> None:
    project.revision("r1", *CREATE)

    with pytest.raises(ConfigurationError, match="no revision belongs to before_r9"):
        project.try_out(data=project.data("def before_r9(connection): pass\n"))


def test_a_history_that_starts_from_tables_made_elsewhere(project: Project, tmp_path: Path) -> None:
    project.env_py(BOOK)
    project.revision("r1", "    raise RuntimeError('never runs from the base')")
    project.revision(
        "r2", "    op.add_column('book', sa.Column('title', sa.Text))", "    op.drop_column('book', 'title')"
    )
    sql = tmp_path / "base.sql"
    sql.write_text("CREATE TABLE book (id serial PRIMARY KEY);")

    result = project.try_out(base=Base(sql, "r1"))

    assert result.ok, result.all_problems()
    assert [step.revision for step in result.steps] == ["r2"]


def test_an_env_py_that_makes_a_schema_by_itself_is_not_the_first_revisions_doing(project: Project) -> None:
    project.env_py(
        BOOK, "connection.exec_driver_sql('CREATE SCHEMA IF NOT EXISTS side'); connection.commit()"
    )
    project.revision("r1", *CREATE)

    assert project.try_out().ok


def test_a_scratch_database_is_removed_after_a_failure_and_what_a_kill_left_is_removed_next_time(
    server: Target,
) -> None:
    def names() -> set[str]:
        with postgres.connected(server) as connection:
            rows = postgres.fetch_all(
                connection, "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (PREFIX,)
            )
        return {row[0] for row in rows}

    with pytest.raises(KeyboardInterrupt), scratch_database(server) as scratch:
        assert scratch.dbname in names()
        raise KeyboardInterrupt
    assert names() == set()

    # As a killed process leaves it: marked, and without its owner's session.
    with postgres.connected(server) as connection:
        postgres.execute(connection, f"CREATE DATABASE {PREFIX}dead")
        postgres.execute(
            connection,
            f"COMMENT ON DATABASE {PREFIX}dead IS 'scratch database of pgops; its owner''s session names it'",
        )
        postgres.execute(connection, f"CREATE DATABASE {PREFIX}of_somebody_else")
    with scratch_database(server) as one, scratch_database(server) as other:
        assert names() == {one.dbname, other.dbname, f"{PREFIX}of_somebody_else"}
    with postgres.connected(server) as connection:
        postgres.execute(connection, f"DROP DATABASE {PREFIX}of_somebody_else")


def test_env_py_that_goes_elsewhere_is_refused_on_scratch_too(
    project: Project, make_database: Callable[[], Target]
) -> None:
    other = make_database()
    secret = other.secret()
    url = postgres.sqlalchemy_url(other, password=secret.reveal() if secret else None)
    (project.path / "scripts" / "env.py").write_text(
        "from alembic import context\nimport sqlalchemy as sa\n"
        f"with sa.create_engine({url!r}).connect() as connection:\n"
        "    context.configure(connection=connection)\n    context.run_migrations()\n"
    )
    project.revision("r1", *CREATE)

    with pytest.raises(PgopsError, match=r"env\.py connects to"):
        project.try_out()
