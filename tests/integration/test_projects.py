"""Other people's Alembic projects, one directory per situation, through the real tasks; no env.py is edited."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import urllib.parse
from collections.abc import Callable, Iterator

import pytest

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.integration import test_application_projects
from tests.support.adopted import (
    BOOKS,
    PROJECTS,
    Adopted,
    alembic,
    ask_alembic_for_the_status,
    assert_goes_up_down_and_up,
)

ALEMBIC = tuple(int(part) for part in importlib.metadata.version("alembic").split(".")[:2])


def test_stock_env_py(adopted: Adopted) -> None:
    plan, *_ = assert_goes_up_down_and_up(adopted, *BOOKS)

    assert "CREATE TABLE book" in plan["pending"][0]["sql"]
    assert adopted.value("SELECT count(*) FROM pg_indexes WHERE indexname = 'ix_book_title'") == 1

    # Revision files may ask for what env.py sets, as they are loaded: with alembic upgrade that is inside env.py.
    migrations = adopted.directory.path / "migrations"
    env_py = (migrations / "env.py").read_text()
    (migrations / "env.py").write_text(
        env_py.replace("context.config\n", "context.config\nconfig.set_main_option('schema', 'public')\n", 1)
    )
    books = next(migrations.glob("versions/0001*.py"))
    text = books.read_text()
    books.write_text(
        text.replace(
            "import op\n",
            "import context, op\n\nschema = context.config.get_main_option('schema')\n"
            "dialect = op.get_bind().dialect.name, context.get_context().dialect.name\n"
            "assert (schema, *dialect) == ('public', 'postgresql', 'postgresql')\n",
        )
    )
    adopted.answers("migrate.down", "--to=base", "--json", "--yes", "migrate", "--json", "--yes")
    adopted.quick_look_agrees()
    # A connection of another time is closed: told, and nothing is done.
    books.write_text(
        text.replace("import op\n", "import op\n\nbind = op.get_bind()\n").replace(
            "def upgrade():\n", "def upgrade():\n    bind.execute(sa.text('SELECT 1'))\n"
        )
    )
    refused = adopted.run("migrate.down", "--to=base", "--json", "--yes", "migrate", "--yes")
    assert "ResourceClosedError: This Connection is closed" in refused.text


def test_url_from_an_environment_variable(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)


def test_url_hard_coded_elsewhere(adopted: Adopted, make_database: Callable[[], Target]) -> None:
    other = make_database()
    secret = other.secret()
    elsewhere = postgres.sqlalchemy_url(other, password=secret.reveal() if secret else None)

    for task in (["migrate", "--yes"], ["migrate.plan"], ["migrate.check"]):
        ran = adopted.run(*task, "--json", THE_OTHER_DATABASE=elsewhere)

        assert ran.code == 8, ran.text
        error = json.loads(ran.out)["error"]
        assert error["message"] == f"env.py connects to {other.place}, and here is {adopted.database.place}"
        assert error["untouched"] == "neither database was touched"
    for database in (other, adopted.database):
        with postgres.connected(database) as connection:
            tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            assert postgres.fetch_value(connection, tables) == 0


def test_async_env_py(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)


def test_heads_and_branches(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(
        adopted, "books", "left", "right", "both", "till", heads=("both", "till"), down="shop@-1"
    )


def test_depends_on(adopted: Adopted) -> None:
    _plan, _first, status, *_ = adopted.answers(
        *("migrate.plan", "--json"),
        *("migrate", "--json", "--yes"),
        *("migrate.status", "--json"),
        *("migrate.down", "--to=people@-1", "--json", "--yes"),
        *("migrate", "--json", "--yes"),
    )
    # Alembic's version table leaves out what a row of it depends on.
    assert status["environments"][0]["pending"] == []
    assert adopted.value("SELECT string_agg(version_num, ',') FROM alembic_version") == "names"
    # Nor is it behind for the comparison with models.
    env_py = adopted.directory.path / "migrations" / "env.py"
    models = "from sqlalchemy import MetaData\ntarget_metadata = MetaData()"
    env_py.write_text(env_py.read_text().replace("target_metadata = None", models))
    checked = adopted.run("migrate.check")
    assert (checked.code, "not up to date" in checked.text) == (5, False), checked.text


def test_version_table_in_another_schema(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)

    assert adopted.value("SELECT version_num FROM bookkeeping.library_version") == "title"


def test_transaction_per_migration_off(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)
    # One transaction per revision all the same: what came before a failure stays.
    versions = adopted.directory.path / "migrations" / "versions"
    (versions / "0004.py").write_text(
        "revision = 'four'\ndown_revision = 'title'\ndef upgrade():\n    pass\n"
    )
    (versions / "0005.py").write_text(
        "revision = 'five'\ndown_revision = 'four'\ndef upgrade():\n    from alembic import op\n    op.execute('SELECT 1/0')\n"
    )

    assert adopted.run("migrate", "--yes").code == 1
    assert adopted.value("SELECT version_num FROM alembic_version") == "four"


def test_autocommit_block(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)

    assert (
        adopted.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_book_title'::regclass") is True
    )


def test_autocommit_block_in_a_transaction(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)


def test_revision_commits(adopted: Adopted) -> None:
    first, _, back, again = adopted.answers(
        *("migrate", "--json", "--yes"),
        *("migrate.status", "--json"),
        *("migrate.down", "--json", "--confirm=here"),
        *("migrate", "--json", "--confirm=here"),
    )
    assert [each["run"]["applied"] for each in (first, back, again)] == [list(BOOKS), ["title"], ["title"]]
    assert adopted.value("SELECT version_num FROM alembic_version") == "title"
    assert adopted.value("SELECT obj_description('title'::regclass)") == "translated"

    adopted.answers("migrate.down", "--to=books", "--json", "--confirm=here")
    title = adopted.directory.path / "migrations" / "versions" / "0003_title.py"
    good = title.read_text()
    title.write_text(good.replace("    op.create_table", "    op.create_missing\n    op.create_table"))
    early = adopted.run("migrate", "--confirm=here", "--json")
    assert json.loads(early.out)["error"]["untouched"] == "pages was applied; title was not"
    adopted.quick_look_agrees()
    title.write_text(good.replace("'translated'", "by mistake"))
    late = adopted.run("migrate", "--confirm=here", "--json")
    assert json.loads(late.out)["error"]["untouched"] == (
        "no revision was applied; title had ended its transaction (autocommit_block, or a commit of its own), so part of"
        " it is committed: CREATE TABLE title ( book INTEGER, title TEXT )"
    )


def test_migrations_that_read_data(adopted: Adopted) -> None:
    adopted.answers("migrate", "--to=books", "--json", "--yes")
    adopted.sql("INSERT INTO book VALUES (1, 'Emma'), (2, 'Ulysses')")

    plan, run = adopted.answers("migrate.plan", "--json", "migrate", "--confirm=here", "--json")

    assert [(each["rule"], each["level"]) for each in plan["pending"][0]["hazards"]][:1] == [
        ("unseen-sql", "note")
    ]
    assert run["run"]["applied"] == ["shelves", "title"]
    assert adopted.value("SELECT string_agg(shelf, ',' ORDER BY id) FROM book") == "E,U"


@pytest.mark.skipif(ALEMBIC < (1, 16), reason="this Alembic does not read pyproject.toml")
def test_configured_by_pyproject(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)


def test_many_schemas(adopted: Adopted) -> None:
    adopted.answers("migrate", "--json", "--yes")

    for tenant in ("north", "south"):
        assert adopted.value(f"SELECT version_num FROM {tenant}.alembic_version") == "title"
        assert adopted.value(f"SELECT count(*) FROM {tenant}.book") == 0
    _down, status = adopted.answers("migrate.down", "--to=-1", "--json", "--yes", "migrate.status", "--json")
    assert status["environments"][0]["pending"] == ["title"]
    adopted.quick_look_agrees()


def test_statement_before_configure(adopted: Adopted) -> None:
    # Standard output carries nothing but our answers, though env.py prints a banner on it.
    assert_goes_up_down_and_up(adopted, *BOOKS)

    assert adopted.value("SELECT version_num FROM alembic_version") == "title"


def test_connection_handed_over(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)

    # JupyterHub takes what it is handed for an engine, others for an async one.
    env_py = adopted.directory.path / "migrations" / "env.py"
    text = env_py.read_text()
    as_an_engine = "else:\n    with connection.connect() as connection:\n        run(connection)"
    env_py.write_text(text.replace("else:\n    run(connection)", as_an_engine))
    adopted.answers("migrate.down", "--to=base", "--json", "--yes", "migrate", "--json", "--yes")
    as_an_async_one = "else:\n    import asyncio\n    asyncio.run(main(connection))"
    main = "async def main(engine):\n    async with engine.connect() as connection:\n        await connection.run_sync(run)\n\n\n"
    env_py.write_text(
        text.replace("else:\n    run(connection)", as_an_async_one).replace(
            "if connection is None", main + "if connection is None"
        )
    )
    adopted.answers("migrate.down", "--to=base", "--json", "--yes", "migrate", "--json", "--yes")
    env_py.write_text("from alembic import context\nprint(context.config.attributes['engine'])\n")
    refused = adopted.run("migrate.plan")
    assert 'def run(config, call): config.attributes["engine"] = …; return call()' in refused.text
    # What a library says meanwhile does not take the advice's place.
    env_py.write_text("from alembic import context\nprint('be warned')\nprint(context.config.db_url)\n")
    refused = adopted.run("migrate.plan")
    assert "def run(config, call): config.db_url = …; return call()" in refused.text
    assert "; it said: be warned" in refused.text


def test_url_from_x_arguments(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)


def test_several_histories_in_one_ini(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)

    assert adopted.value("SELECT version_num FROM library_version") == "title"


def test_needs_its_own_directory(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)


@pytest.mark.skipif(ALEMBIC < (1, 16), reason="this Alembic spells path_separator otherwise")
def test_version_files_in_several_places(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, "books", "pages", "till", heads=("pages", "till"), down="shop@-1")


@contextlib.contextmanager
def role_with_password(adopted: Adopted, server: Target, password: str) -> Iterator[str]:
    """The URL of the project's database as a superuser with this password."""
    role = f"adopter_{os.getpid()}"
    with postgres.connected(server) as connection:
        postgres.execute(
            connection, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD {postgres.literal(password)}"
        )
    try:
        target = adopted.database
        yield f"postgresql://{role}:{urllib.parse.quote(password, safe='')}@{target.host}:{target.port}/{target.dbname}"
    finally:
        with postgres.connected(adopted.database) as connection:
            postgres.execute(connection, f"DROP OWNED BY {role} CASCADE")
            postgres.execute(connection, f"DROP ROLE {role}")


def assert_the_steps_are_found(adopted: Adopted) -> None:
    """The revisions in library/steps, which the configuration alone does not name."""
    (history,) = adopted.answers("migrate.history", "--json")
    assert history["heads"] == ["title"]
    (status,) = adopted.answers("migrate.status", "--json")
    assert status["environments"][0]["pending"] == list(BOOKS)
    assert_goes_up_down_and_up(adopted, *BOOKS)
    # A step that fails is named by its own file.
    (adopted.directory.path / "library" / "steps" / "0004.py").write_text(
        "revision = 'four'\ndown_revision = 'title'\ndef upgrade():\n    1 / 0\n"
    )
    assert "library/steps/0004.py:4" in adopted.run("migrate", "--confirm=here").text


def test_env_py_moves_the_revisions(adopted: Adopted) -> None:
    assert_the_steps_are_found(adopted)


def test_runner_names_the_revisions(adopted: Adopted) -> None:
    # One of them lies where alembic.ini says: that alone is not what is pending.
    assert_the_steps_are_found(adopted)


def test_engine_with_a_search_path(adopted: Adopted) -> None:
    adopted.sql("CREATE SCHEMA library")
    assert_goes_up_down_and_up(adopted, *BOOKS)
    assert adopted.value("SELECT version_num FROM library.alembic_version") == "title"
    adopted.answers(
        "migrate.stamp", "--to=books", "--json", "--yes", "migrate.stamp", "--to=title", "--json", "--yes"
    )
    # Somebody's old one, where our own search_path leads.
    adopted.sql(
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('books')"
    )
    adopted.quick_look_agrees()
    (status,) = adopted.answers("migrate.status", "--json")
    assert status["environments"][0]["pending"] == []


def test_schema_made_by_env_py(adopted: Adopted) -> None:
    # The first plan, which only looks, finds the version table nowhere.
    assert_goes_up_down_and_up(adopted, *BOOKS)
    assert adopted.value("SELECT version_num FROM library.alembic_version") == "title"
    assert adopted.value("SELECT array_agg(DISTINCT version_table) FROM pgops.runs") == [
        "library.alembic_version"
    ]
    adopted.quick_look_agrees()


def test_a_version_table_that_is_not_where_the_plan_found_it(
    project: ProjectDirectory, database: Target
) -> None:
    shutil.copytree(PROJECTS / "schema_made_by_env_py", project.path, dirs_exist_ok=True)
    adopted = Adopted(project, database)
    env = adopted.directory.path / "migrations" / "env.py"
    env.write_text(
        env.read_text().replace(
            '"SET search_path TO library"',
            "\"SELECT set_config('search_path', CASE current_setting('transaction_read_only')"
            " WHEN 'on' THEN 'public' ELSE 'library' END, false)\"",
        )
    )
    adopted.sql("CREATE SCHEMA library")
    for schema in ("library", "public"):
        adopted.sql(
            f"CREATE TABLE {schema}.alembic_version (version_num text);"
            f" INSERT INTO {schema}.alembic_version VALUES ('books')"
        )
    ran = adopted.run("migrate", "--confirm=here")
    assert (ran.code, ran.err.splitlines()[0]) == (
        7,
        "error: env.py kept its revisions in alembic_version when this was planned,"
        " and keeps them in library.alembic_version now",
    )
    assert adopted.value("SELECT version_num FROM library.alembic_version") == "books"


def test_no_revision_where_the_configuration_says(adopted: Adopted) -> None:
    (status, plan) = adopted.answers("migrate.status", "--json", "migrate.plan", "--json")
    note = f"Alembic finds no revision in {adopted.directory.path}/migrations/versions"
    assert status["environments"][0]["note"] == note
    assert note in plan["notes"]
    adopted.quick_look_agrees()


def test_percent_in_the_password(adopted: Adopted, server: Target) -> None:
    with role_with_password(adopted, server, "a%b@c%%d") as url:
        assert_goes_up_down_and_up(adopted, *BOOKS, PROJECT_URL=url)


def test_asks_which_command(adopted: Adopted) -> None:
    log = adopted.directory.path / "commands"
    assert_goes_up_down_and_up(adopted, *BOOKS, COMMANDS=str(log))
    ask_alembic_for_the_status(adopted)
    adopted.answers("migrate.status", "--json", COMMANDS=str(log))
    adopted.run("migrate.check", COMMANDS=str(log))
    adopted.run("migrate.stamp", "--to=books", "--yes", COMMANDS=str(log))
    ours = log.read_text().splitlines()

    log.unlink()
    for arguments in (
        ["upgrade", "heads"],
        ["downgrade", "-1"],
        ["current"],
        ["check"] if ALEMBIC >= (1, 9) else ["revision", "--autogenerate"],
        ["stamp", "books"],
    ):
        alembic(adopted, *arguments, COMMANDS=str(log))
    theirs = log.read_text().splitlines()

    # Alembic's own parser gives the very same answers; we load env.py more often.
    assert set(theirs) <= set(ours)
    assert {line.split()[0] for line in ours} <= {line.split()[0] for line in theirs}


def test_password_apart(adopted: Adopted, server: Target) -> None:
    # A value that looks like a placeholder stays what it is.
    with role_with_password(adopted, server, "{host}:%s") as url:
        assert_goes_up_down_and_up(adopted, *BOOKS, PROJECT_URL=url)


def test_every_project_has_a_test_of_its_name() -> None:
    named = [*globals(), *vars(test_application_projects)]
    tests = {name.removeprefix("test_") for name in named if name.startswith("test_")}

    elsewhere = {"real", "__pycache__", "six_histories_in_one_database"}  # the last: test_histories.py
    assert {path.name for path in PROJECTS.iterdir() if path.is_dir()} - elsewhere <= tests
