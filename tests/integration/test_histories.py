"""Several Alembic histories in one database: one environment, each history by its name, through the real tasks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.adopted import PROJECTS, Adopted, url_of

NAMES = ["library", "billing", "shipping", "people", "search", "audit"]


@pytest.fixture
def six(project: ProjectDirectory, database: Target) -> Adopted:
    """Six sections of one alembic.ini, all of which count their revisions 0001, 0002 …"""
    shutil.copytree(PROJECTS / "six_histories_in_one_database", project.path, dirs_exist_ok=True)
    return Adopted(project, database)


def revision(adopted: Adopted, history: str, name: str, after: str, body: str) -> None:
    """One more revision file; its downgrade does nothing."""
    (adopted.directory.path / history / f"{name}.py").write_text(
        f"from alembic import op\nrevision = {name!r}\ndown_revision = {after!r}\n"
        f"def upgrade():\n    {body}\ndef downgrade():\n    pass\n",
        encoding="utf-8",
    )


def heads(adopted: Adopted) -> dict[str, object]:
    return {
        name: adopted.value(f"SELECT version_num FROM {name}_version")
        for name in NAMES
        if adopted.value(f"SELECT to_regclass('{name}_version')")
    }


def error_of(adopted: Adopted, *arguments: str) -> dict[str, Any]:
    ran = adopted.run(*arguments, "--json")
    found: dict[str, Any] = json.loads(ran.out)["error"]
    assert ran.code == found["exit_code"] != 0
    return found


def test_up_and_down_by_name(six: Adopted) -> None:
    plan, run, again, status = six.answers(
        *("migrate.plan", "--json"),
        *("migrate", "--yes", "--json"),
        *("migrate", "--yes", "--json"),
        *("migrate.status", "--json"),
    )
    assert [(each["history"], each["revision"]) for each in plan["pending"]] == [
        ("library", "0001"),
        ("library", "0002"),
        *((name, "0001") for name in NAMES[1:]),
    ]
    assert [each["history"] for each in plan["histories"]] == NAMES
    assert run["run"]["outcome"] == "succeeded"
    assert run["run"]["applied"] == ["0001", "0002", "0001", "0001", "0001", "0001", "0001"]
    assert [each["history"] for each in run["runs"]] == NAMES
    assert again["run"]["outcome"] == "nothing_pending"
    (here,) = status["environments"]
    assert [(each["history"], each["current"], each["edited"]) for each in here["histories"]] == [
        ("library", ["0002"], []),
        *((name, ["0001"], []) for name in NAMES[1:]),
    ]
    assert (here["pending"], here["unknown"], "history" in here) == ([], [], False)
    six.quick_look_agrees()

    error = error_of(six, "migrate.down", "--yes")
    assert error["message"] == "a downgrade is of one history, and here has 6"
    (back, log, one, check) = six.answers(
        *("migrate.down", "--history=billing", "--yes", "--json"),
        *("migrate.log", "--history=billing", "--json"),
        *("migrate.status", "--history=library", "--json"),
        *("migrate", "--history=billing", "--yes", "--json"),
    )
    assert (back["run"]["history"], back["run"]["applied"]) == ("billing", ["0001"])
    assert [each["action"] for each in log["runs"]] == ["downgrade", "upgrade"]
    assert {each["history"] for each in log["runs"]} == {"billing"}
    assert [each["history"] for each in one["environments"]] == ["library"]
    assert check["run"]["applied"] == ["0001"]
    assert heads(six) == {**dict.fromkeys(NAMES, "0001"), "library": "0002"}


def test_a_history_alone_needs_no_name(six: Adopted) -> None:
    path = six.directory.path / "environments.yaml"
    path.write_text(re.sub(r"(?m)^    (?!library)\w+: \{name.*\n", "", path.read_text()))
    run, back, _trip = six.answers(
        *("migrate", "--to=0002", "--yes", "--json"),
        *("migrate.down", "--yes", "--json"),
        *("migrate.test", "--since=0002", "--json"),
    )
    assert (run["run"]["history"], run["run"]["applied"]) == ("library", ["0001", "0002"])
    assert (back["run"]["history"], back["run"]["applied"]) == ("library", ["0002"])


def test_a_plans_file_says_of_which_history_it_is(six: Adopted) -> None:
    _, run, _ = six.answers(
        *("migrate.plan", "--history=library", "--to=0001", "--out=up.json", "--json"),
        *("migrate", "--plan=up.json", "--yes", "--json"),
        *("migrate.down", "--history=library", "--to=base", "--out=down.json", "--json"),
    )
    (back,) = six.answers("migrate.down", "--plan=down.json", "--yes", "--json")
    assert (run["run"]["history"], run["run"]["applied"]) == ("library", ["0001"])
    assert (back["run"]["history"], back["run"]["applied"]) == ("library", ["0001"])
    assert error_of(six, "migrate", "--plan=up.json", "--history=billing", "--yes")["exit_code"] == 8
    assert set(heads(six)) == {"library"}


def test_pending_in_one_of_them(six: Adopted) -> None:
    six.answers("migrate", "--yes", "--json")
    revision(six, "search", "0002", "0001", "op.execute('SELECT 1')")

    ran = six.run("migrate.status", "--exit-code", "--json")
    assert ran.code == 4
    (here,) = json.loads(ran.out)["environments"]
    assert here["pending"] == ["0002"]
    assert six.run("migrate.check").code == 4
    error = error_of(six, "migrate", "--to=0002", "--yes")
    assert error["message"] == "--to=0002 is of one history, and here has 6"
    (run,) = six.answers("migrate", "--yes", "--json")
    assert (run["run"]["history"], run["run"]["applied"]) == ("search", ["0002"])


def test_revisions_of_one_name_are_not_taken_for_each_other(six: Adopted) -> None:
    six.answers("migrate", "--yes", "--json")
    file = six.directory.path / "people" / "0001.py"
    file.write_text(file.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")

    (status,) = six.answers("migrate.status", "--json")
    assert {each["history"]: each["edited"] for each in status["environments"][0]["histories"]} == {
        **{name: [] for name in NAMES},
        "people": ["0001"],
    }


def test_the_hash_stands_for_all_of_them(six: Adopted) -> None:
    (plan,) = six.answers("migrate.plan", "--json")
    revision(six, "audit", "0002", "0001", "op.execute('SELECT 1')")

    assert error_of(six, "migrate", f"--plan={plan['hash']}", "--yes")["code"] == "plan_changed"
    one = plan["histories"][0]
    (run,) = six.answers("migrate", "--history=library", f"--plan={one['hash']}", "--yes", "--json")
    assert run["run"]["applied"] == ["0001", "0002"]
    (plan,) = six.answers("migrate.plan", "--json")
    (run,) = six.answers("migrate", f"--plan={plan['hash']}", "--yes", "--json")
    assert [each["history"] for each in run["runs"]] == NAMES[1:]


def test_one_that_fails_ends_it(six: Adopted) -> None:
    revision(six, "shipping", "0002", "0001", "op.execute('SELECT 1/0')")

    error = error_of(six, "migrate", "--yes")
    assert error["message"].startswith("history shipping: revision 0002 failed: ")
    assert error["untouched"] == (
        "0001 was applied; 0002 was not; before it, histories library, billing were migrated; "
        "histories people, search, audit were not begun"
    )
    assert heads(six) == {"library": "0002", "billing": "0001", "shipping": "0001"}
    (six.directory.path / "shipping" / "0002.py").unlink()
    (run,) = six.answers("migrate", "--yes", "--json")
    assert [each["history"] for each in run["runs"]] == ["people", "search", "audit"]


def test_a_journal_that_exists_is_taken_along(six: Adopted) -> None:
    file = six.directory.path / "environments.yaml"
    several = file.read_text(encoding="utf-8")
    before, rest = several.split("  histories:\n")
    file.write_text(f"{before}  name: library\n{rest[rest.index('environments:') :]}", encoding="utf-8")
    six.answers("migrate", "--yes", "--json")
    # As an earlier pgops left it.
    six.sql(
        "ALTER TABLE pgops.runs DROP COLUMN history, DROP COLUMN written, DROP COLUMN approval, "
        "DROP COLUMN restore_point; UPDATE pgops.journal SET version = 4"
    )
    file.write_text(several, encoding="utf-8")
    book = six.directory.path / "library" / "0001.py"
    book.write_text(book.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")

    status, log = six.answers(*("migrate.status", "--json"), *("migrate.log", "--json"))
    rows = {each["history"]: each for each in status["environments"][0]["histories"]}
    assert rows["library"]["edited"] == ["0001"]
    assert rows["library"]["last_run"] and rows["billing"]["last_run"] is None
    assert [each["history"] for each in log["runs"]] == [None]
    run, log = six.answers(*("migrate", "--yes", "--json"), *("migrate.log", "--history=library", "--json"))
    assert [each["history"] for each in run["runs"]] == NAMES[1:]
    six.answers("migrate.down", "--history=library", "--yes", "--json")
    (log,) = six.answers("migrate.log", "--history=library", "--json")
    assert [(each["history"], each["action"]) for each in log["runs"]] == [
        ("library", "downgrade"),
        (None, "upgrade"),
    ]


def test_promotion_asks_for_the_history(six: Adopted, make_database: Callable[[], Target]) -> None:
    after = make_database()
    file = six.directory.path / "environments.yaml"
    text = file.read_text(encoding="utf-8").replace("alembic:\n", "promotion: [here, after]\nalembic:\n", 1)
    file.write_text(text + "  after:\n    url: {env: AFTER_URL}\n    protected: false\n", encoding="utf-8")
    six.answers("migrate", "--history=library", "--yes", "--json")

    (plan,) = six.answers("migrate.plan", "--env=after", "--json", AFTER_URL=url_of(after))
    # "here" has run a 0001, of another history.
    assert plan["promotion"]["missing"] == ["0001"] * 5
    ran = six.run("migrate", "--env=after", "--yes", "--json", AFTER_URL=url_of(after))
    assert ran.code == 7
    (run,) = six.answers(
        "migrate", "--env=after", "--history=library", "--yes", "--json", AFTER_URL=url_of(after)
    )
    assert run["run"]["applied"] == ["0001", "0002"]


def test_a_dead_run_of_another_history_is_not_closed_by_this_one(six: Adopted) -> None:
    six.answers("migrate", "--yes", "--json")
    six.sql(
        """
        INSERT INTO pgops.runs SELECT (jsonb_populate_record(r, '{"id": "dead", "outcome": "running"}')).*
          FROM pgops.runs AS r WHERE history = 'billing';
        INSERT INTO pgops.revisions (run, revision, file, file_hash, message, version_table, outcome)
        VALUES ('dead', '0002', 'f', 'h', '', 'billing_version', 'running')
        """
    )
    revision(six, "audit", "0002", "0001", "op.execute('SELECT 1')")
    six.answers("migrate", "--yes", "--json")
    assert six.value("SELECT outcome FROM pgops.runs WHERE id = 'dead'") == "running"

    # library stands at a 0002; billing does not.
    revision(six, "billing", "0003", "0001", "op.execute('SELECT 1')")
    six.answers("migrate", "--yes", "--json")
    assert six.value("SELECT outcome FROM pgops.revisions WHERE run = 'dead'") == "interrupted"


def test_one_version_table_for_two(six: Adopted) -> None:
    ini = six.directory.path / "alembic.ini"
    ini.write_text(
        ini.read_text(encoding="utf-8").replace("audit_version", "search_version"), encoding="utf-8"
    )

    error = error_of(six, "migrate", "--yes")
    assert error["message"] == (
        "histories search and audit of here keep their heads in one table, search_version"
    )
    assert heads(six) == {}


def test_the_models_of_the_others_are_not_missed(six: Adopted) -> None:
    six.answers("migrate", "--yes", "--json")
    six.answers("migrate.check", "--json")
    six.answers("migrate.check", "--history=people", "--json")
    (written,) = six.answers("migrate.revision", "--history=people", "-m", "none", "--json")
    assert written["revision"] is None
    assert error_of(six, "migrate.revision", "-m", "which")["exit_code"] == 2

    six.sql("CREATE TABLE stray (id int)")
    ran = six.run("migrate.check", "--json")
    assert ran.code == 5
    found = json.loads(ran.out)["drift"]["differences"]
    assert found == [f"history {name}: table stray: in the database, not in the models" for name in NAMES]


def test_stamp_and_backup_hold_the_heads_of_all(six: Adopted) -> None:
    assert error_of(six, "migrate.stamp", "--to=0001", "--yes")["exit_code"] == 2
    stamped, backup = six.answers(*("migrate.stamp", "--to=heads", "--yes", "--json"), *("backup", "--json"))
    assert [each["history"] for each in stamped["runs"]] == NAMES
    assert heads(six) == {**dict.fromkeys(NAMES, "0001"), "library": "0002"}
    assert backup["backup"]["heads"] == ["0001", "0002"]
    assert six.run("env.check").code == 0
    (status,) = six.answers("status", "--json")
    assert status["environments"][0]["pending"] == []


def test_the_round_trip_takes_one_after_the_other(six: Adopted) -> None:
    data = six.directory.path / "data.py"
    data.write_text("def before_0002(connection):\n    pass\n", encoding="utf-8")
    (found,) = six.answers("migrate.test", "--server=embedded", f"--data={data}", "--json")

    assert [(each["history"], each["revision"]) for each in found["test"]["revisions"]] == [
        ("library", "0001"),
        ("library", "0002"),
        *((name, "0001") for name in NAMES[1:]),
    ]
    assert found["test"]["remarks"] == []


def test_an_env_py_that_fails_is_told_for_its_history(six: Adopted) -> None:
    six.answers("migrate", "--yes", "--json")
    env_py = six.directory.path / "migrations" / "env.py"
    text = env_py.read_text(encoding="utf-8")
    env_py.write_text(
        text.replace("import models", "import models\n1 / (context.config.config_ini_section != 'search')"),
        encoding="utf-8",
    )

    ran = six.run("migrate.status", "--json")
    assert ran.code == 2
    (here,) = json.loads(ran.out)["environments"]
    assert [each["reachable"] for each in here["histories"]] == [name != "search" for name in NAMES]
    assert here["problem"].startswith("history search: env.py failed: ZeroDivisionError")


def test_each_has_modules_of_its_own(project: ProjectDirectory, database: Target) -> None:
    """Two services, each with a ``models`` beside its alembic.ini."""
    for name in ("one", "two"):
        directory = project.path / name
        (directory / "migrations" / "versions").mkdir(parents=True)
        (directory / "alembic.ini").write_text(
            "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = %(here)s\n"
        )
        (directory / "models.py").write_text(
            "from sqlalchemy import Column, Integer, MetaData, Table\n"
            f"TABLE = {name!r}\nMETADATA = MetaData()\nTable(TABLE, METADATA, Column('id', Integer, primary_key=True))\n"
        )
        (directory / "migrations" / "env.py").write_text(
            "from alembic import context\nfrom sqlalchemy import create_engine\nimport models\n"
            "engine = create_engine(context.config.get_main_option('sqlalchemy.url'))\n"
            "with engine.connect() as connection:\n"
            "    context.configure(connection=connection, target_metadata=models.METADATA, version_table=f'{models.TABLE}_version')\n"
            "    with context.begin_transaction():\n        context.run_migrations()\n"
        )
        (directory / "migrations" / "versions" / "a.py").write_text(
            "from alembic import op\nimport sqlalchemy as sa\nrevision = 'a'\ndown_revision = None\n"
            "def upgrade():\n    import models\n"
            "    op.create_table(models.TABLE, sa.Column('id', sa.Integer, primary_key=True))\n"
        )
    project.write(
        "environments.yaml",
        "version: 1\ndefault: here\nalembic:\n  histories:\n    one: {config: one/alembic.ini}\n"
        "    two: {config: two/alembic.ini}\nenvironments:\n  here: {url: {env: PROJECT_URL}, protected: false}\n",
    )
    adopted = Adopted(project, database)

    run, _check = adopted.answers(*("migrate", "--yes", "--json"), *("migrate.check", "--json"))
    assert [each["applied"] for each in run["runs"]] == [["a"], ["a"]]
    assert adopted.value("SELECT count(*) FROM pg_class WHERE relname IN ('one', 'two')") == 2


def test_an_older_checkout_takes_the_files_of_its_own_history(six: Adopted) -> None:
    for name in ("people", "search"):
        revision(six, name, "0002", "0001", f"op.execute('COMMENT ON TABLE {name}_item IS $$two$$')")
    six.answers("migrate", "--yes", "--json")
    for name in ("people", "search"):
        (six.directory.path / name / "0002.py").unlink()

    (status,) = six.answers("migrate.status", "--json")
    rows = {each["history"]: each["unknown"] for each in status["environments"][0]["histories"]}
    assert rows == {**{name: [] for name in NAMES}, "people": ["0002"], "search": ["0002"]}
    files = [each["file"] for each in status["environments"][0]["ahead"]]
    assert files == ["people/0002.py", "search/0002.py"]
    (back,) = six.answers("migrate.down", "--history=people", "--yes", "--json")
    assert back["run"]["applied"] == ["0002"]
    assert (heads(six)["people"], heads(six)["search"]) == ("0001", "0002")


def test_four_that_start_at_once(six: Adopted) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: six.answers("migrate", "--yes", "--json")[0], range(4)))

    assert sum(len(each["run"]["applied"]) for each in answers) == 7
    with postgres.connected(six.database) as connection:
        runs = postgres.fetch_all(connection, "SELECT history, outcome FROM pgops.runs")
    assert sorted(runs) == sorted((name, "succeeded") for name in NAMES)
