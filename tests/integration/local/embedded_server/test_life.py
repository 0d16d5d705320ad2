"""The embedded server of a project from its first start to its removal, with real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pgops.errors import PgopsError, UnreachableError
from pgops.local import embedded
from pgops.local.embedded import EmbeddedSpec, installation, process
from pgops.local.embedded import log as server_log
from tests.integration.local.embedded_server.server import (
    PASSWORD,
    REPOSITORY,
    ask,
    eventually,
    home_of,
    tell,
)
from tests.support.ports import free_port


def test_from_nothing_to_a_database_that_lets_only_the_user_in(spec: EmbeddedSpec) -> None:
    assert embedded.status(spec).state == "absent"

    state = embedded.up(spec)

    assert (state.state, state.action, state.home) == ("running", "initialised", home_of(spec))
    assert ask(spec, "SELECT current_user || '@' || current_database()") == 'app user@develop"ment'
    assert ask(spec, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
    assert ask(spec, "SHOW server_encoding") == "UTF8"
    assert (
        ask(
            spec,
            "SELECT upper('äß') || (SELECT string_agg(x, '' ORDER BY x) FROM unnest(array['b','a','B']) x)",
        )
        == "ÄßBab"
    )
    assert ask(spec, "SELECT bool_and(auth_method = 'scram-sha-256') FROM pg_hba_file_rules") is True
    assert ask(spec, "SHOW unix_socket_directories") == ""
    assert str(ask(spec, "SHOW server_version")).startswith(state.version)
    with pytest.raises(UnreachableError) as refused:
        ask(replace(spec, password=None), "SELECT 1")
    assert refused.value.kind == "password"


def test_up_again_adopts_what_runs(spec: EmbeddedSpec) -> None:
    first = embedded.up(spec)
    again = embedded.up(spec)

    assert (again.action, again.pid) == ("adopted", first.pid)
    assert embedded.status(spec).pid == first.pid


def test_it_outlives_the_process_that_started_it(spec: EmbeddedSpec) -> None:
    script = f"""
from pathlib import Path
from pgops.local import embedded
from pgops.secrets.references import LiteralSecret, Secret
embedded.up(embedded.EmbeddedSpec(Path({str(spec.project_directory)!r}), {spec.port}, {spec.user!r},
                                  LiteralSecret(Secret({PASSWORD!r})), {spec.database!r}))
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stderr=subprocess.PIPE, start_new_session=True
    )
    said = starter.communicate(timeout=60)[1]

    assert starter.returncode == 0, said
    with pytest.raises(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGINT)  # Ctrl-C in the terminal it was started from does not reach it
    assert embedded.status(spec).running
    assert ask(spec, "SELECT 1") == 1


def test_stop_keeps_the_data(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    tell(spec, "CREATE TABLE kept AS SELECT 42 AS answer")

    assert embedded.stop(spec).state == "stopped"
    assert embedded.stop(spec).state == "stopped"
    assert embedded.up(spec).action == "started"

    assert ask(spec, "SELECT answer FROM kept") == 42


def test_of_many_ups_at_once_one_makes_the_server(spec: EmbeddedSpec) -> None:
    seen: list[embedded.EmbeddedState] = []
    threads = [threading.Thread(target=lambda: seen.append(embedded.up(spec))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(state.action for state in seen) == ["adopted", "adopted", "adopted", "initialised"]
    assert len({state.pid for state in seen}) == 1


def test_another_port_or_setting_restarts_it(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    moved = replace(spec, port=free_port(), settings={"work_mem": "7MB", "fsync": "off"})

    assert embedded.up(moved).action == "restarted"
    assert ask(moved, "SHOW work_mem") == "7MB"
    assert embedded.up(moved).action == "adopted"


def test_a_missing_database_is_made_again(spec: EmbeddedSpec) -> None:
    embedded.up(spec)

    embedded.up(replace(spec, database="another"))

    assert ask(replace(spec, database="another"), "SELECT current_database()") == "another"


def test_a_moved_checkout_keeps_its_database(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    tell(spec, "CREATE TABLE kept AS SELECT 42 AS answer")
    embedded.stop(spec)
    moved = replace(spec, project_directory=spec.project_directory.with_name("moved"))
    spec.project_directory.rename(moved.project_directory)

    assert embedded.up(moved).action == "started"

    assert ask(moved, "SELECT answer FROM kept") == 42
    assert json.loads((home_of(moved) / installation.MARKER).read_text())["project"] == str(
        moved.project_directory
    )


def test_destroy_removes_the_whole_and_only_what_pgops_made(spec: EmbeddedSpec) -> None:
    state = embedded.up(spec)

    assert embedded.destroy(spec) == home_of(spec)
    assert embedded.destroy(spec) is None
    assert state.pid is not None
    assert not Path(f"/proc/{state.pid}/cwd").exists()

    (home_of(spec) / "data").mkdir(parents=True)
    (home_of(spec) / "data" / "PG_VERSION").write_text("18\n")
    assert embedded.destroy(spec) is None
    assert (home_of(spec) / "data" / "PG_VERSION").exists()
    with pytest.raises(PgopsError, match="holds data that pgops did not make"):
        embedded.up(spec)


def test_the_log_can_be_read_and_followed_to_the_end(spec: EmbeddedSpec) -> None:
    with pytest.raises(PgopsError, match="no embedded server here"):
        embedded.logs(spec)
    embedded.up(spec)
    tell(spec, "DO $$ BEGIN RAISE WARNING 'first call'; END $$")

    assert "first call" in "\n".join(embedded.logs(spec))
    assert len(list(embedded.logs(spec, tail=2))) == 2

    following = embedded.logs(spec, tail=0, follow=True)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(following))
    reader.start()
    tell(spec, "DO $$ BEGIN RAISE WARNING 'second call'; END $$")
    eventually(lambda: any("second call" in line for line in got), "the line arrives while it runs")
    embedded.stop(spec)
    reader.join(20)
    assert not reader.is_alive()
    assert any("database system is shut down" in line for line in got)


def test_a_log_that_has_grown_is_cut_while_the_server_writes_to_it(
    spec: EmbeddedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.up(spec)
    tell(spec, "DO $$ BEGIN RAISE WARNING 'before'; END $$")
    monkeypatch.setattr(server_log, "_LIMIT", 100)

    state = embedded.up(spec)
    tell(spec, "DO $$ BEGIN RAISE WARNING 'after'; END $$")

    assert "before" in state.log_file.with_name("server.log.1").read_text()
    assert "before" not in state.log_file.read_text()
    assert "after" in state.log_file.read_text()
    assert "\0" not in state.log_file.read_text()


def test_no_password_in_arguments_log_or_files(spec: EmbeddedSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = subprocess.run

    def recording(*args: object, **keywords: object) -> object:
        seen.append(repr(args) + repr(keywords.get("env")))
        return real(*args, **keywords)  # type: ignore[call-overload]

    monkeypatch.setattr(process.subprocess, "run", recording)
    embedded.up(spec)

    assert len(seen) >= 2
    assert not [call for call in seen if "Pa ss" in call]
    for file in home_of(spec).iterdir():
        if file.is_file():
            assert b"Pa ss" not in file.read_bytes(), file
