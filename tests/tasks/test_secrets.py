"""No password reaches a person or a script, whichever way env.py or a failure says it."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator

import pytest

from pgops.postgres import Target, connected, execute, literal
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import ProjectDirectory, Ran
from tests.support.projects import STOCK_ENV, AlembicProject

PASSWORD = "Gv7:x\\y%/@'\"p#Zq"
PARTS = ("Gv7", "p#Zq", "p%23Zq", "Zq@")


@pytest.fixture
def speaking(
    project: ProjectDirectory, database: Target, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProjectDirectory]:
    """A project whose role has a password with every odd character."""
    name = f"odd_{secrets.token_hex(4)}"
    with connected(database) as connection:
        execute(connection, f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD {literal(PASSWORD)}")
    target = dataclasses.replace(database, user=name, password=LiteralSecret(Secret(PASSWORD)))
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    project.environment_yaml(staging=target)
    AlembicProject.make(project.path).chain("aa01")
    yield project
    with connected(database) as connection:
        execute(
            connection, f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}"
        )


def silent(ran: Ran) -> Ran:
    for part in PARTS:
        assert part not in ran.text, ran.text
    return ran


def speak(project: ProjectDirectory, body: str) -> None:
    """env.py as usual, with this before the end."""
    text = STOCK_ENV.replace("def run_migrations_online():", f"def run_migrations_online():\n    {body}", 1)
    project.write("migrations/env.py", text)


URL = "context.config.get_main_option('sqlalchemy.url')"


def test_what_env_py_prints_during_a_run(speaking: ProjectDirectory) -> None:
    speak(
        speaking,
        f"import os, sys, json; url = {URL}; print('told', url); print(repr(url), file=sys.stderr); "
        "os.write(1, json.dumps(url).encode() + b'\\n'); os.system('echo child')",
    )
    ran = silent(speaking.run("migrate", "--yes"))
    assert ran.code == 0, ran.text
    assert "told postgresql" in ran.err and "child" in ran.err


def test_nothing_that_env_py_prints_or_raises_works_on_the_terminal(speaking: ProjectDirectory) -> None:
    """It may come from the database: a title, a clipboard, a line that is written over, letters turned round."""
    evil = r"'\x1b]0;title\x07 \x1b[2J \u202e \x9b31m row'"
    speak(
        speaking, f"import sys, logging; print({evil}); sys.stderr.write('\x1b[32mgreen\x1b[0m 10%\\r20%\\n')"
    )
    ran = speaking.run("migrate", "--yes")
    assert ran.code == 0, ran.text
    assert "\\x1b]0;title\\x07 \\x1b[2J \\u202e \\x9b31m row\n" in ran.err
    assert "green 10%\n20%\n" in ran.err
    for flags in ((), ("-d",)):
        for kind in ("BaseException", "ValueError"):
            speak(speaking, f"import logging; logging.getLogger().error({evil}); raise {kind}({evil})")
            failed = speaking.run(*flags, "migrate.plan")
            assert failed.code == 1
            assert "row" in failed.err and not set("\x1b\x07\x9b\u202e") & set(failed.text), failed.text


@pytest.mark.parametrize("kind", ["BaseException", "ValueError", "SystemExit", "GeneratorExit"])
@pytest.mark.parametrize("flags", [(), ("-d",)])
def test_what_env_py_raises(speaking: ProjectDirectory, kind: str, flags: tuple[str, ...]) -> None:
    speak(speaking, f"raise {kind}({URL})")
    ran = silent(speaking.run(*flags, "migrate", "--yes", "--json"))
    assert ran.code == 1, ran.text
    found = json.loads(ran.out)
    assert (found["ok"], kind in found["error"]["message"]) == (False, True)


def test_a_traceback_under_debug(speaking: ProjectDirectory) -> None:
    speaking.write("migrations/versions/b.py", "")
    AlembicProject(speaking.path).revision(
        "bb02", "aa01", "raise KeyError(op.get_context().config.get_main_option('sqlalchemy.url'))"
    )
    ran = silent(speaking.run("-d", "migrate", "--yes"))
    assert ran.code != 0
    assert "Traceback" in ran.err
