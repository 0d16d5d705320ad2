"""Models against a real database, through a real env.py."""

from __future__ import annotations

import dataclasses
import hashlib
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
from pgops.errors import ConfigurationError, PgopsError
from pgops.migrations.autogenerate import drift, revision_file
from pgops.migrations.status.status import AheadError
from pgops.postgres import Target

ENV_PY = """
from alembic import context
from sqlalchemy import engine_from_config, pool
from {module} import metadata

with engine_from_config(
    context.config.get_section(context.config.config_ini_section), poolclass=pool.NullPool
).connect() as connection:
    context.configure(connection=connection, target_metadata=metadata{options})
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''
"""first"""
revision = "r1"
down_revision = None
def upgrade(): pass
def downgrade(): pass
'''
MODELS = """
import sqlalchemy as sa
metadata = sa.MetaData()
book = sa.Table(
    "book", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("pages", sa.BigInteger),
    sa.CheckConstraint("pages > 0", name="pages_are_positive"),
    sa.CheckConstraint("title <> ''"),
)
sa.Index("ix_book_title", book.c.title)
"""
AS_MODELS = """
CREATE TABLE book (id serial PRIMARY KEY, title text NOT NULL, pages bigint,
                   CONSTRAINT pages_are_positive CHECK (pages > 0), CHECK (title <> ''));
CREATE INDEX ix_book_title ON book (title);
CREATE TABLE alembic_version (version_num varchar(32) NOT NULL);
INSERT INTO alembic_version VALUES ('r1');
"""


@dataclasses.dataclass
class Project:
    """A little Alembic project and the environment that points at a database."""

    path: Path
    target: Target

    def environment(self) -> Environment:
        store = Store("local", "file:/nowhere")
        return Environment(
            name="test",
            aliases=(),
            protected=False,
            connection=HostConnection(
                self.target.host, self.target.dbname, self.target.user, self.target.port
            ),
            timeouts=Timeouts(),
            backups=BackupPolicy(store),
            alembic=AlembicSettings(self.path / "alembic.ini"),
            hazards=HazardSettings(),
            project=self.path,
            position=Position(self.path / "environments.yaml", 1, 1),
        )

    def check(self) -> drift.Drift:
        return drift.check(self.environment(), self.target)

    def sql(self, text: str) -> None:
        with postgres.connected(self.target) as connection:
            postgres.execute(connection, text)


@pytest.fixture
def make(tmp_path: Path, database: Target) -> Callable[..., Project]:
    """A project whose models module has a name of its own: a module is imported once in a process."""

    def build(models: str = MODELS, options: str = "") -> Project:
        module = f"models_of_{tmp_path.name.replace('-', '_')}"
        (tmp_path / "alembic.ini").write_text(
            "[alembic]\nscript_location = %(here)s/scripts\nprepend_sys_path = %(here)s\n"
        )
        (tmp_path / f"{module}.py").write_text(models)
        (tmp_path / "scripts" / "versions").mkdir(parents=True)
        (tmp_path / "scripts" / "env.py").write_text(ENV_PY.format(module=module, options=options))
        (tmp_path / "scripts" / "script.py.mako").write_text("")
        (tmp_path / "scripts" / "versions" / "r1.py").write_text(REVISION)
        return Project(tmp_path, database)

    return build


def test_a_database_like_its_models_is_clean(make: Callable[..., Project]) -> None:
    project = make()
    project.sql(AS_MODELS)

    assert project.check() == drift.Drift("test", ("r1",), (), ())
    assert project.check().clean


def test_a_check_whose_name_was_cut_short_is_the_models(make: Callable[..., Project]) -> None:
    name = "the_pages_of_a_book_that_was_printed_" + "and_bound_" * 4
    long = MODELS.replace('name="pages_are_positive"', f"name=sa.schema.conv({name!r})")
    project = make(long)
    project.sql(
        AS_MODELS.replace("pages_are_positive", f"{name[:55]}_{hashlib.md5(name.encode()).hexdigest()[-4:]}")
    )
    assert project.check().lines == ()

    project.sql(
        f"ALTER TABLE book RENAME CONSTRAINT {name[:55]}_{hashlib.md5(name.encode()).hexdigest()[-4:]} TO other"
    )
    assert set(project.check().lines) == {
        f"check constraint {name} of book: in the models, not in the database",
        "check constraint other of book: in the database, not in the models",
    }


def test_every_kind_of_difference_is_one_line(make: Callable[..., Project]) -> None:
    project = make()
    project.sql(AS_MODELS)
    project.sql("""
        ALTER TABLE book ALTER COLUMN title DROP NOT NULL, ALTER COLUMN pages TYPE integer, ADD COLUMN extra date;
        ALTER TABLE book DROP CONSTRAINT pages_are_positive, ADD CONSTRAINT no_models_know_it CHECK (pages < 9);
        DROP INDEX ix_book_title; CREATE TABLE forgotten (id integer); CREATE INDEX ix_extra ON book (extra);
    """)

    assert set(project.check().lines) == {
        "table forgotten: in the database, not in the models",
        "column book.extra (DATE): in the database, not in the models",
        "column book.title: NULL allowed in the database, NOT NULL in the models",
        "column book.pages: type INTEGER in the database, BIGINT in the models",
        "check constraint pages_are_positive of book: in the models, not in the database",
        "check constraint no_models_know_it of book: in the database, not in the models",
        "index ix_book_title on book (title): in the models, not in the database",
        "index ix_extra on book (extra): in the database, not in the models",
    }


def test_pending_revisions_are_said_apart_and_nothing_is_compared(make: Callable[..., Project]) -> None:
    found = make().check()

    assert (found.current, found.pending, found.lines, found.clean) == ((), ("r1",), (), False)


def test_the_journal_is_never_drift(make: Callable[..., Project]) -> None:
    project = make(options=", include_schemas=True")
    project.sql(AS_MODELS)
    project.sql(
        "CREATE SCHEMA pgops; CREATE TABLE pgops.runs (id integer); CREATE SCHEMA other; CREATE TABLE other.t (id integer)"
    )

    assert project.check().lines == ("table other.t: in the database, not in the models",)


def test_an_alembic_without_the_plugin_compares_the_rest(
    make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before 1.18 there is no package alembic.ext at all.
    monkeypatch.setattr(drift, "_CHECK_PLUGIN", "alembic.no_such_package.checks")
    project = make()
    project.sql(AS_MODELS + "ALTER TABLE book DROP CONSTRAINT pages_are_positive, ADD COLUMN extra date")

    assert project.check().lines == ("column book.extra (DATE): in the database, not in the models",)


def test_the_projects_own_filters_decide(make: Callable[..., Project]) -> None:
    project = make(options=", include_object=lambda thing, name, *_: name != 'forgotten'")
    project.sql(AS_MODELS + "CREATE TABLE forgotten (id integer)")

    assert project.check().clean


def test_an_env_py_without_models_says_what_to_write(make: Callable[..., Project]) -> None:
    project = make("metadata = None\n")
    project.sql(AS_MODELS)

    with pytest.raises(ConfigurationError) as caught:
        project.check()
    assert caught.value.message == (
        "env.py of test gives Alembic no models to compare with: target_metadata is None"
    )
    assert caught.value.hint == "in env.py: target_metadata = Base.metadata"


def test_a_database_ahead_of_this_code_is_not_called_behind(make: Callable[..., Project]) -> None:
    project = make()
    project.sql(AS_MODELS + "UPDATE alembic_version SET version_num = 'r2'")

    with pytest.raises(AheadError, match="test is ahead of this code: it stands at r2"):
        project.check()


def test_the_comparison_only_reads(make: Callable[..., Project]) -> None:
    project = make()

    project.check()

    with postgres.connected(project.target) as connection:
        assert (
            postgres.fetch_value(
                connection, "SELECT count(*) FROM pg_class WHERE relname = 'alembic_version'"
            )
            == 0
        )


LOOP = """
import sqlalchemy as sa
from alembic import context

section = context.config.get_section(context.config.config_ini_section, {})
metadata = sa.MetaData()
for tenant in ("north", "south"):
    sa.Table("book", metadata, sa.Column("id", sa.Integer, primary_key=True), schema=%(models_in)s)
    with sa.engine_from_config(section, poolclass=sa.pool.NullPool).connect() as connection:
        connection.execute(sa.text(f"SET search_path TO {tenant}"))
        context.configure(connection=connection, target_metadata=metadata, %(options)s)
        with context.begin_transaction():
            context.run_migrations()
    metadata.clear()
"""


@pytest.mark.parametrize(
    ("models_in", "options"),
    [
        # Alembic looks at what the search path shows, and calls the version table by another schema.
        ("None", "version_table_schema=tenant"),
        # It looks into all schemas, and knows the version table of one tenant only.
        (
            "tenant",
            "version_table_schema=tenant, include_schemas=True, "
            "include_object=lambda o, name, kind, r, c: name != 'book' or o.schema == tenant",
        ),
    ],
)
def test_the_version_tables_of_tenants_are_no_drift(
    make: Callable[..., Project], models_in: str, options: str
) -> None:
    project = make()
    (project.path / "scripts" / "env.py").write_text(
        LOOP % {"models_in": models_in, "options": options}, encoding="utf-8"
    )
    made = (
        "CREATE TABLE {0}.book (id serial PRIMARY KEY); CREATE TABLE {0}.alembic_version (version_num text);"
    )
    for tenant in ("north", "south"):
        project.sql(f"CREATE SCHEMA {tenant};" + made.format(tenant))
        project.sql(f"INSERT INTO {tenant}.alembic_version VALUES ('r1')")

    assert project.check().lines == ()
    project.sql("CREATE TABLE south.stray (id int)")
    lines = project.check().lines
    assert lines and all("stray: in the database, not in the models" in each for each in lines)


@pytest.mark.parametrize(
    ("settings", "message", "written"),
    [
        ("timezone = Nowhere/Land\n", "Alembic: Can't locate timezone: Nowhere/Land", False),
        (
            "output_encoding = nope\n",
            "writing the revision file failed: LookupError: unknown encoding: nope",
            False,
        ),
        (
            "[post_write_hooks]\nhooks = x\nx.type = exec\nx.executable = no-such-program\n",
            "post_write_hooks failed: FileNotFoundError: [Errno 2] No such file or directory: 'no-such-program'",
            True,
        ),
        (
            "[post_write_hooks]\nhooks = x\nx.type = console_scripts\nx.entrypoint = no-such\n",
            "Alembic: Could not find entrypoint console_scripts.no-such",
            True,
        ),
    ],
)
def test_a_revision_that_can_not_be_written(
    make: Callable[..., Project], settings: str, message: str, *, written: bool
) -> None:
    project = make()
    project.sql("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('r1')")
    ini = project.path / "alembic.ini"
    ini.write_text(ini.read_text(encoding="utf-8") + settings, encoding="utf-8")
    (project.path / "scripts" / "script.py.mako").write_text(
        'revision = "${up_revision}"\n', encoding="utf-8"
    )

    with pytest.raises(PgopsError) as failed:
        revision_file.write_autogenerated(project.environment(), project.target, "books")
    assert failed.value.message.startswith(message)
    new = list((project.path / "scripts" / "versions").glob("*_books.py"))
    assert bool(new) == written
    told = f"the file was written: {new[0]}" if new else "no file was written"
    assert failed.value.untouched == told
