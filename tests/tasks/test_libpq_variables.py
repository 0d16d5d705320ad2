"""Every variable of libpq set to something that leads astray or breaks: each task works, on the server that is shown."""

import json
import textwrap
from pathlib import Path

import pytest

from pgops.postgres import Target
from pgops.runtime.variables import LIBPQ
from tests.conftest import ProjectDirectory
from tests.support.projects import STOCK_ENV, AlembicProject, online_env, tables

ASTRAY = {
    **dict.fromkeys(LIBPQ, "astray"),
    "PGHOSTADDR": "127.0.0.9",
    "PGPORT": "1",
    "PGCONNECT_TIMEOUT": "1",
    "PGOPTIONS": "-c search_path=astray -c default_transaction_read_only=on",
    "PGSSLMODE": "require",
    "PGGSSENCMODE": "require",
    "PGCHANNELBINDING": "require",
    "PGREQUIREAUTH": "none",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGTZ": "Pacific/Chatham",
    "PGDATESTYLE": "German",
    "PGPASSFILE": "/nonexistent",
    "PGSERVICEFILE": "/nonexistent",
}

ASYNC_ENV = """
    import asyncio
    from sqlalchemy.ext.asyncio import create_async_engine

    def run(connection):
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()

    async def run_async():
        engine = create_async_engine(url, poolclass=pool.NullPool)
        async with engine.connect() as connection:
            await connection.run_sync(run)
        await engine.dispose()

    asyncio.run(run_async())
"""

SYNC_ENV = """
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""

# It asks libpq's variables itself, and leaves the password to the URL.
ASKING_ENV = """
    import sqlalchemy
    asked = sqlalchemy.make_url(url).set(
        host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), username=os.environ["PGUSER"],
        database=os.environ["PGDATABASE"],
    )
    with create_engine(asked, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""


def _project(project: ProjectDirectory, database: Target, env: str, driver: str) -> AlembicProject:
    project.environment_yaml(dev=database)
    made = AlembicProject.make(project.path, env=env)
    ini = (project.path / "alembic.ini").read_text(encoding="utf-8")
    project.write("alembic.ini", ini.replace("driver://", f"postgresql+{driver}://"))
    made.chain("aa01", "aa02")
    return made


@pytest.mark.parametrize(
    ("driver", "env"),
    [
        ("psycopg2", STOCK_ENV),
        ("psycopg2", online_env(ASKING_ENV)),
        ("psycopg", online_env(SYNC_ENV)),
        ("psycopg", online_env(ASYNC_ENV)),
        ("asyncpg", online_env(ASYNC_ENV)),
    ],
    ids=["psycopg2", "env.py asks for them", "psycopg", "psycopg, async", "asyncpg"],
)
def test_migrations_go_where_environments_yaml_says(
    project: ProjectDirectory, database: Target, driver: str, env: str
) -> None:
    _project(project, database, env, driver)
    for arguments in (
        ["migrate", "--yes"],
        ["migrate.status", "--exit-code"],
        ["migrate.down", "--to=aa01", "--yes"],
        ["status", "--drift"],
    ):
        ran = project.run(*arguments, environ=ASTRAY)
        assert ran.code == 0, ran
    assert tables(database) == {"alembic_version", "t_aa01"}
    # Where env.py has to be asked, another process asks it.
    project.write("migrations/env.py", env + "\nversion_table = 'unusual'\n")
    asked = project.run("migrate.status", "--json", environ=ASTRAY)
    assert json.loads(asked.out)["environments"][0]["current"] == ["aa01"], asked


def test_backups_and_restores_too(project: ProjectDirectory, database: Target) -> None:
    _project(project, database, STOCK_ENV, "psycopg2")
    for arguments in (
        ["migrate", "--yes"],
        ["backup"],
        ["backup.verify", "--restore"],
        ["restore", "--yes"],
        ["restore.undo", "--yes"],
    ):
        ran = project.run(*arguments, environ=ASTRAY, timeout=300)
        assert ran.code == 0, ran
    psql = project.run("db.psql", "--command=SELECT current_database()", environ=ASTRAY)
    assert database.dbname in psql.out, psql


def test_env_check_names_them(project: ProjectDirectory, database: Target) -> None:
    _project(project, database, STOCK_ENV, "psycopg2")
    found = json.loads(project.run("env.check", "--json", environ=ASTRAY).out)
    (said,) = [each for each in found["environments"][0]["checks"] if each["topic"] == "variables"]
    assert said["text"] == f"{', '.join(sorted(ASTRAY))}: set in this shell, and ignored"
    clean = json.loads(project.run("env.check", "--json").out)
    assert "variables" not in [each["topic"] for each in clean["environments"][0]["checks"]]


def test_a_variable_that_environments_yaml_names_is_read(project: ProjectDirectory, database: Target) -> None:
    secret = database.secret()
    if secret is None:
        pytest.skip("the test server wants no password")
    _project(project, database, STOCK_ENV, "psycopg2")
    yaml = (project.path / "environments.yaml").read_text(encoding="utf-8")
    project.write("environments.yaml", yaml.replace("TEST_PASSWORD", "PGPASSWORD"))
    environ = {"PGPASSWORD": secret.reveal(), "TEST_PASSWORD": ""}
    assert project.run("migrate", "--yes", environ=environ).code == 0
    found = json.loads(project.run("env.check", "--json", environ=environ).out)
    assert "variables" not in [each["topic"] for each in found["environments"][0]["checks"]]


@pytest.mark.parametrize("way", ["PGPASSWORD", "~/.pgpass", "PGPASSFILE"])
def test_no_password_but_the_one_that_environments_yaml_names(
    project: ProjectDirectory, database: Target, tmp_path: Path, way: str
) -> None:
    secret = database.secret()
    if secret is None:
        pytest.skip("the test server wants no password")
    _project(project, database, STOCK_ENV, "psycopg2")
    yaml = (project.path / "environments.yaml").read_text(encoding="utf-8")
    project.write("environments.yaml", yaml.replace("    password: {env: TEST_PASSWORD}\n", ""))
    passfile = project.write("home/.pgpass", f"*:*:*:*:{secret.reveal()}\n")
    passfile.chmod(0o600)
    environ = {
        "PGPASSWORD": {"PGPASSWORD": secret.reveal()},
        "~/.pgpass": {"HOME": str(passfile.parent)},
        "PGPASSFILE": {"PGPASSFILE": str(passfile)},
    }[way]
    ran = project.run("migrate.status", "--exit-code", environ=environ)
    assert (
        "dev.password in environments.yaml, e.g. {passfile: ~/.pgpass}"
        in project.run("migrate", "--yes", environ=environ).err
    ), ran
    named = yaml.replace("{env: TEST_PASSWORD}", f"{{passfile: {passfile}}}")
    project.write("environments.yaml", named)
    assert project.run("migrate", "--yes", environ={"PGPASSWORD": "wrong"}).code == 0


def test_what_env_py_sets_leads_none_of_our_own_sessions(project: ProjectDirectory, database: Target) -> None:
    leading = textwrap.dedent("""
        import os
        os.environ["PGHOSTADDR"] = "127.0.0.9"
    """)
    _project(project, database, online_env(SYNC_ENV) + leading, "psycopg2")
    ran = project.run("migrate", "--yes")
    assert ran.code == 0, ran


def test_env_check_says_what_the_shell_decides_and_what_it_does_not(
    project: ProjectDirectory, database: Target
) -> None:
    _project(project, database, STOCK_ENV, "psycopg2")
    yaml = (project.path / "environments.yaml").read_text(encoding="utf-8")
    bucket = "  local: {url: 's3://b/c', endpoint: 'http://127.0.0.1:1', access_key: {env: KEY}, secret_key: {env: KEY}}"
    project.write("environments.yaml", yaml.replace('  local: {url: "file:./backups"}', bucket))
    environ = {
        "AWS_ENDPOINT_URL": "https://elsewhere.invalid",
        "AWS_SESSION_TOKEN": "of somebody",
        "COMPOSE_FILE": "other.yml",
        "DOCKER_HOST": "tcp://elsewhere.invalid:1",
        "HTTPS_PROXY": "http://proxy.invalid:1",
        "KEY": "k",
        "PGOPS_OPERATOR": "somebody",
    }
    ran = project.run("env.check", "--json", environ=environ)
    checks = json.loads(ran.out)["environments"][0]["checks"]
    assert [each["text"] for each in checks if each["topic"] == "shell"] == [
        "PGOPS_OPERATOR decides whom the journal names",
        "DOCKER_HOST decides which Docker engine is asked",
        "HTTPS_PROXY decides through which proxy the bucket is reached",
    ]
    (ignored,) = (each["text"] for each in checks if each["topic"] == "variables")
    assert ignored.endswith("AWS_ENDPOINT_URL, AWS_SESSION_TOKEN: set in this shell, and ignored")
    assert "elsewhere.invalid" not in ran.out
