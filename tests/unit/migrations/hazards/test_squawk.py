"""Running squawk: its command line, what it gives back, and what happens when it does not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pgops.errors import PgopsError
from pgops.migrations.hazards import squawk
from pgops.migrations.hazards.sql import statements


def test_the_command_takes_nothing_from_a_squawk_configuration() -> None:
    assert squawk.command(Path("/bin/squawk"), [Path("/tmp/0.sql")], "17.2") == [
        "/bin/squawk",
        "--config=/dev/null",
        "--reporter=json",
        "--pg-version=17.2",
        "/tmp/0.sql",
    ]


def test_one_unreadable_statement_hides_nothing_in_the_others() -> None:
    found = squawk.lint(list(statements("r", "SELEKT 1; DROP TABLE a; SELECT 'é日本'; DROP TABLE b")), "17.2")

    assert "syntax-error" in found[0]
    assert "ban-drop-table" in found[1]
    assert 2 not in found
    assert "ban-drop-table" in found[3]


def test_whether_a_statement_runs_in_a_transaction_is_known_to_squawk() -> None:
    text = "CREATE INDEX CONCURRENTLY i ON t (x); COMMIT; CREATE INDEX CONCURRENTLY i ON t (x);"
    found = squawk.lint(list(statements("r", text)), "17.2")

    rule = "ban-concurrent-index-creation-in-transaction"
    assert (rule in found[0], rule in found.get(1, ())) == (True, False)


def test_the_servers_version_decides() -> None:
    # Before PostgreSQL 11 every default rewrote the table.
    text = list(statements("r", "ALTER TABLE t ADD COLUMN x integer DEFAULT 3"))

    assert "adding-field-with-default" in squawk.lint(text, "10.0")[0]
    assert "adding-field-with-default" not in squawk.lint(text, "17.0")[0]


def test_a_squawk_that_answers_nonsense_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fake: the real one can't be made to fail on demand.
    broken = tmp_path / "squawk"
    broken.write_text("#!/bin/sh\necho 'out of memory' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(squawk, "program", lambda: broken)

    with pytest.raises(PgopsError) as caught:
        squawk.lint(list(statements("r", "SELECT 1")), "17.0")
    assert caught.value.message == "squawk gave no findings (exit code 3): out of memory"


def test_without_squawk_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_name: str) -> list[object]:
        raise squawk.importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(squawk.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(squawk.importlib.metadata, "files", absent)
    monkeypatch.setenv("PATH", "/nowhere")
    squawk.program.cache_clear()
    try:
        with pytest.raises(PgopsError) as caught:
            squawk.program()
    finally:
        squawk.program.cache_clear()
    assert caught.value.hint == "pip install squawk-cli"


def test_nothing_to_lint_starts_no_process() -> None:
    assert squawk.lint([], "17.0") == {}


def test_what_a_killed_process_left_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squawk, "_IN_MEMORY", tmp_path)
    code = (
        "import pathlib, subprocess, os, signal, sys\n"
        "from pgops.migrations.hazards import squawk\n"
        "from pgops.migrations.hazards.sql import statements\n"
        "squawk._IN_MEMORY = pathlib.Path(sys.argv[1])\n"
        "squawk.subprocess.run = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "squawk.lint(list(statements('r', 'DROP TABLE a')), '17.2')\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [each.read_text() for each in tmp_path.rglob("*.sql")] != []
    squawk.lint(list(statements("r", "DROP TABLE a")), "17.2")
    assert list(tmp_path.rglob("*.sql")) == []
