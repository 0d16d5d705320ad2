"""Revision files with a mistake in them: every task names file and line before anything is touched, and ends with 2."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import ProjectDirectory, Ran
from tests.support.projects import STOCK_ENV

HEADER = "revision = 'cccc'\ndown_revision = 'bbbb'\n"
FUNCTIONS = "def upgrade(): pass\ndef downgrade(): pass\n"
COMPUTED = "import os\nrevision = os.environ.get('NOT_SET_ANYWHERE', 'cccc')\n"
"""Only Alembic can read such a file: what it says of the same mistakes is other, and less."""


@dataclass(frozen=True)
class Mistake:
    """``c.py`` after two good files, and what a person is told of it."""

    text: str | bytes
    told: tuple[str, ...]
    hint: str = "correct the file"


C = "migrations/versions/c.py"
READ_BY_ALL = {
    "syntax": Mistake(HEADER + "def upgrade(:\n", (f"{C}:3: ", "SyntaxError: invalid syntax")),
    "syntax in a file that is not plain": Mistake(
        COMPUTED + "down_revision = 'bbbb'\ndef upgrade(:\n", (f"{C}:4: ", "SyntaxError")
    ),
    "a null byte": Mistake((HEADER + FUNCTIONS + "\0").encode(), (f"{C}:5: ", "null bytes")),
    "a string that is not UTF-8": Mistake(
        (HEADER + "NAME = 'é'\n" + FUNCTIONS).encode("latin-1"), (f"{C}:3: ", "can't decode byte 0xe9")
    ),
    "one revision in two files": Mistake(
        "revision = 'bbbb'\ndown_revision = 'aaaa'\n" + FUNCTIONS,
        ("two files have revision bbbb", "migrations/versions/b.py:1: ", f"{C}:1: "),
        "revision of its own",
    ),
    "down_revision is not there": Mistake(
        "revision = 'cccc'\ndown_revision = 'zzzz'\n" + FUNCTIONS,
        ("revision cccc builds on zzzz", f"{C}:2: "),
        "correct down_revision",
    ),
    "down_revision is not there, says Alembic": Mistake(
        COMPUTED + "down_revision = 'zzzz'\n" + FUNCTIONS,
        ("revision cccc builds on zzzz", f"{C}:3: "),
        "correct down_revision",
    ),
    "depends_on is not there": Mistake(
        HEADER + "depends_on = 'zzzz'\n" + FUNCTIONS,
        ("revision cccc depends on zzzz", f"{C}:3: "),
        "correct depends_on",
    ),
    "depends_on is not there, says Alembic": Mistake(
        COMPUTED + "down_revision = 'bbbb'\ndepends_on = 'zzzz'\n" + FUNCTIONS,
        ("revision cccc depends on zzzz", f"{C}:4: "),
        "correct depends_on",
    ),
    "it builds on itself": Mistake(
        "revision = 'cccc'\ndown_revision = 'cccc'\n" + FUNCTIONS,
        ("the revisions form a cycle: cccc -> cccc", f"{C}:2: cccc needs cccc"),
        "correct down_revision",
    ),
    "it builds on itself, says Alembic": Mistake(
        COMPUTED + "down_revision = 'cccc'\n" + FUNCTIONS, ("revisions (cccc)",), "correct down_revision"
    ),
    "a number": Mistake("revision = 3\ndown_revision = 'bbbb'\n" + FUNCTIONS, (f"{C}:1: ", "3"), "string"),
    "no down_revision": Mistake(
        "revision = 'cccc'\n" + FUNCTIONS, (f"{C}: ", "it has no assignment to down_revision")
    ),
}
FOUND_BY_RUNNING_IT = {
    "a name that is not there": Mistake(HEADER + "sa.Column\n" + FUNCTIONS, (f"{C}:3: ", "NameError")),
    "an import that is not there": Mistake(
        "import no_such_module\n" + HEADER + FUNCTIONS, (f"{C}:1: ", "no_such_module"), "install"
    ),
    "no upgrade()": Mistake(HEADER, (f"{C}: ", "it has no function upgrade")),
}


@pytest.fixture
def broken(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    """A project of two good revisions on a fresh database; the test writes the third."""
    project.environment_yaml(staging=database, other=database.with_database("no_such_database"))
    project.write("alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
    project.write("migrations/env.py", STOCK_ENV.replace("fileConfig(config.config_file_name)", "pass"))
    project.write("migrations/versions/a.py", "revision = 'aaaa'\ndown_revision = None\n" + FUNCTIONS)
    project.write("migrations/versions/b.py", "revision = 'bbbb'\ndown_revision = 'aaaa'\n" + FUNCTIONS)
    return project


def make(project: ProjectDirectory, mistake: Mistake) -> None:
    text = mistake.text if isinstance(mistake.text, bytes) else mistake.text.encode()
    (project.path / C).write_bytes(text)


def assert_told(ran: Ran, mistake: Mistake) -> None:
    assert ran.code == 2, ran.text
    assert "Traceback" not in ran.text
    assert "env.py failed" not in ran.text
    for text in (*mistake.told, "  untouched: n", "  next: "):
        assert text in ran.err, ran.text
    assert str(ran.err).count("error: ") == 1, ran.text


def nothing_was_made(database: Target) -> None:
    with postgres.connected(database) as connection:
        assert postgres.fetch_value(connection, "SELECT to_regclass('alembic_version')") is None
        assert postgres.fetch_value(connection, "SELECT to_regnamespace('pgops')") is None


@pytest.mark.parametrize("mistake", READ_BY_ALL.values(), ids=READ_BY_ALL.keys())
def test_the_place_is_named(broken: ProjectDirectory, database: Target, mistake: Mistake) -> None:
    make(broken, mistake)
    ran = broken.run("migrate", "--yes")
    assert_told(ran, mistake)
    assert mistake.hint in ran.err
    nothing_was_made(database)


@pytest.mark.parametrize(
    "name", ["syntax", "one revision in two files", "depends_on is not there, says Alembic"]
)
def test_by_every_task(broken: ProjectDirectory, name: str) -> None:
    make(broken, READ_BY_ALL[name])
    for task in ("migrate.plan", "migrate.status", "migrate.history"):
        assert_told(broken.run(task, "--env=staging"), READ_BY_ALL[name])


def test_a_stamp_that_alembic_does_not_understand(broken: ProjectDirectory, database: Target) -> None:
    (broken.path / C).write_text("revision = 'cccc'\ndown_revision = 'aaaa'\n" + FUNCTIONS)
    for to, told in (("head", "Multiple head revisions"), ("nowhere@head", "nowhere"), ("+1", "+1")):
        ran = broken.run("migrate.stamp", f"--to={to}", "--yes")
        assert ran.code == 2, ran.text
        assert told in ran.err
        assert "Traceback" not in ran.text
    nothing_was_made(database)


@pytest.mark.parametrize("mistake", FOUND_BY_RUNNING_IT.values(), ids=FOUND_BY_RUNNING_IT.keys())
def test_what_comes_out_when_the_file_is_loaded(
    broken: ProjectDirectory, database: Target, mistake: Mistake
) -> None:
    make(broken, mistake)
    ran = broken.run("migrate", "--yes")
    assert_told(ran, mistake)
    assert mistake.hint in ran.err
    # These run no revision file, so that they answer at once: it is as pending as any other.
    assert broken.run("migrate.status", "--env=staging").code == 0
    assert broken.run("migrate.history").code == 0
    nothing_was_made(database)


def test_a_cycle_names_each_file_in_it(broken: ProjectDirectory) -> None:
    (broken.path / "migrations/versions/a.py").write_text(
        "revision = 'aaaa'\ndown_revision = 'bbbb'\n" + FUNCTIONS
    )
    ran = broken.run("migrate.plan")
    assert ran.code == 2
    assert ran.err.splitlines()[:3] == [
        "error: the revisions form a cycle: aaaa -> bbbb -> aaaa",
        "  migrations/versions/a.py:2: aaaa needs bbbb",
        "  migrations/versions/b.py:2: bbbb needs aaaa",
    ]


def test_a_comment_in_another_encoding_is_no_mistake_to_python_nor_to_us(broken: ProjectDirectory) -> None:
    (broken.path / C).write_bytes(("# é\n" + HEADER + FUNCTIONS).encode("latin-1"))
    assert broken.run("migrate", "--yes").code == 0


def test_status_still_shows_the_rows(broken: ProjectDirectory, database: Target) -> None:
    assert broken.run("migrate", "--yes").code == 0
    make(broken, READ_BY_ALL["syntax"])
    ran = broken.run("migrate.status", "--json")
    answer = json.loads(ran.out)
    assert ran.code == answer["error"]["exit_code"] == 2
    staging, other = answer["environments"]
    assert (staging["current"], staging["pending"], staging["misconfigured"]) == (["bbbb"], ["cccc"], True)
    assert staging["problem"].startswith(f"{C}:3: ")
    # The other's database is not there, which is not a mistake in a file.
    assert (other["reachable"], other["misconfigured"]) == (False, False)


def test_an_environment_whose_target_is_not_known_here_is_a_row_and_no_mistake_in_a_file(
    broken: ProjectDirectory,
) -> None:
    file = broken.path / "environments.yaml"
    file.write_text(
        file.read_text()
        + "  elsewhere:\n    service: nowhere\n    servicefile: no-services.conf\n    protected: true\n"
    )
    ran = broken.run("migrate.status", "--json")
    answer = json.loads(ran.out)
    assert (ran.code, answer["ok"]) == (0, True)
    (row,) = [each for each in answer["environments"] if each["environment"] == "elsewhere"]
    assert (row["reachable"], row["misconfigured"]) == (False, False)
    assert "nowhere" in row["problem"]
