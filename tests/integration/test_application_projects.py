"""Other people's Alembic projects whose env.py makes an application: settings, a runner, Flask, what writes or exits on the way."""

from __future__ import annotations

import json
import os
import shutil
import sys

from tests.support.adopted import (
    BOOKS,
    Adopted,
    ask_alembic_for_the_status,
    assert_goes_up_down_and_up,
    url_of,
)
from tests.support.preloaded import preloaded


def test_runner_application_context(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)
    ask_alembic_for_the_status(adopted)
    (status,) = adopted.answers("migrate.status", "--json")
    assert status["environments"][0]["current"] == ["title"]


def test_runner_settings_made_before(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)
    (history,) = adopted.answers("migrate.history", "--json")
    assert history["heads"] == ["title"]


def test_runner_attributes_on_the_config(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)

    assert adopted.value("SELECT version_num FROM library_version") == "title"


def test_runner_worker_thread(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)


def flask_db(adopted: Adopted, *arguments: str, **environ: str) -> None:
    """``flask db ARGUMENTS``."""
    preloaded.run(
        [sys.executable, "-m", "flask", "--app", "shop", "db", *arguments],
        cwd=adopted.directory.path,
        environ={**os.environ, **environ},
    ).check_returncode()


def test_flask_migrate(adopted: Adopted) -> None:
    flask_db(adopted, "init")
    versions = adopted.directory.path / "versions"
    shutil.copytree(versions, adopted.directory.path / "migrations" / "versions", dirs_exist_ok=True)
    shutil.rmtree(versions)
    assert_goes_up_down_and_up(adopted, *BOOKS)

    assert adopted.value("SELECT version_num FROM shop_version") == "title"
    written = adopted.run("migrate.revision", "--message=none", "--empty", "--json")
    assert written.code == 0, written.text
    assert "has drifted" in adopted.run("migrate.check").text or adopted.run("migrate.check").code in (4, 5)


def test_flask_migrate_multidb(adopted: Adopted) -> None:
    flask_db(adopted, "init", "--multidb")
    (adopted.directory.path / "migrations" / "versions" / "books.py").write_text(
        "revision = 'books'\ndown_revision = None\nfrom alembic import op\n"
        "def upgrade(engine_name):\n    globals()['upgrade_' + engine_name]()\n"
        "def upgrade_():\n    op.execute('CREATE TABLE book (id int)')\n"
        "def upgrade_users():\n    op.execute('CREATE TABLE person (id int)')\n"
        "def downgrade(engine_name):\n    op.execute('DROP TABLE book')\n"
    )
    for task in (["migrate.plan"], ["migrate", "--yes"]):
        ran = adopted.run(*task, "--json")
        assert ran.code == 8, ran.text
        error = json.loads(ran.out)["error"]
        assert error["message"] == (
            "env.py migrates several databases in one go (flask db init --multidb): the application's own and users; "
            "here is one database"
        )
        assert error["untouched"] == "no database was touched"

    settings = adopted.directory.path / "environments.yaml"
    settings.write_text(settings.read_text().replace("app: ", "runner: one:run\n  app: "))
    assert_goes_up_down_and_up(adopted, "books")
    assert adopted.value("SELECT count(*) FROM pg_class WHERE relname IN ('book', 'person')") == 1


def test_application_writes_while_it_is_made(adopted: Adopted) -> None:
    flask_db(adopted, "init", DATABASE_URL=url_of(adopted.database))
    versions = adopted.directory.path / "versions"
    shutil.copytree(versions, adopted.directory.path / "migrations" / "versions", dirs_exist_ok=True)
    shutil.rmtree(versions)
    adopted.answers("migrate", "--to=books", "--json", "--yes")
    # What it makes before it writes is missed too.
    adopted.sql("DROP TABLE start")

    # It opens its database where only the files are wanted too.
    history, status, plan = adopted.answers(
        "migrate.history", "--json", "migrate.status", "--json", "migrate.plan", "--json"
    )
    assert history["heads"] == ["title"]
    assert status["environments"][0]["current"] == ["books"]
    assert [each["revision"] for each in plan["pending"]] == ["pages", "title"]
    assert "the application migrates itself while it is made: left out, this is its place" in plan["notes"]
    # It found the row that it had made; a look leaves none.
    assert adopted.value("SELECT count(*) FROM setting") == 0
    assert adopted.value("SELECT to_regclass('start')") is None
    run, *_ = adopted.answers("migrate", "--json", "--yes", "migrate.status", "--json")
    # By pgops, and not by the application before it.
    assert run["run"]["applied"] == ["pages", "title"]
    assert adopted.value("SELECT version_num FROM alembic_version") == "title"


def test_writes_each_time(adopted: Adopted) -> None:
    plan, *_ = assert_goes_up_down_and_up(adopted, *BOOKS)

    note = "env.py itself runs, each time it is loaded: INSERT INTO run_log (what) VALUES (%(what)s)"
    assert note in plan["notes"]
    # Three runs that wrote, each of them before and after; no look left a row.
    assert adopted.value("SELECT array_agg(what ORDER BY n) FROM run_log") == ["begun", "ended"] * 3
    env_py = adopted.directory.path / "migrations" / "env.py"
    text = env_py.read_text()
    for past_sqlalchemy in (
        # The pool's connection, SQL's own word, and the driver's connection.
        "raw = engine.raw_connection(); cursor = raw.cursor(); cursor.execute('INSERT INTO run_log (what) VALUES (4)');"
        " raw.commit(); cursor.execute('SELECT count(*) FROM run_log'); assert cursor.fetchone()[0] >= 7; raw.close()\n",
        "with engine.connect() as c:\n    c.execute(text('INSERT INTO run_log (what) VALUES (4)'));"
        " c.execute(text('COMMIT')); c.execute(text('ROLLBACK')); assert c.execute(text('SELECT count(*) FROM run_log')).scalar() >= 7\n",
    ):
        env_py.write_text(text + past_sqlalchemy)
        adopted.answers("migrate.plan", "--json")
        assert adopted.value("SELECT count(*) FROM run_log") == 6
    env_py.write_text(text + "with engine.begin() as c:\n    c.connection.dbapi_connection.commit()\n")
    assert (
        "it commits on the driver's own connection, and this only looks" in adopted.run("migrate.plan").text
    )
    env_py.write_text(text)
    # What a look could only commit at once is refused with what to write.
    env_py.write_text(
        env_py.read_text().replace('sqlalchemy.url")', 'sqlalchemy.url"), isolation_level="AUTOCOMMIT"')
    )
    refused = adopted.run("migrate.plan")
    assert "written in a transaction (engine.begin(), not AUTOCOMMIT) it is rolled back" in refused.text
    assert adopted.value("SELECT count(*) FROM run_log") == 6


def test_package_named_alembic(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)


def test_locks_and_exits(adopted: Adopted) -> None:
    assert_goes_up_down_and_up(adopted, *BOOKS)

    assert adopted.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711") == 0
    # In the same way it ends, and closes, what is ours.
    env_py = adopted.directory.path / "migrations" / "env.py"
    env_py.write_text(
        "import os\nos.close(1)\nos.closerange(1, 3)\n"
        + env_py.read_text().replace("sys.exit(0)", "sys.stdout.close()\nos._exit(0)")
    )
    back, _status = adopted.answers(
        "migrate.down", "--to=base", "--json", "--yes", "migrate.status", "--json"
    )
    assert back["run"]["applied"] == list(reversed(BOOKS))
