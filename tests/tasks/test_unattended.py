"""backup.unattended: what a schedule runs, what it remembers, and whom it tells; with real receivers."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgops.backups.repository import listing, open_repository
from pgops.environments import load
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.freshness import backup_of, environment, limits
from tests.support.projects import AlembicProject
from tests.support.restores import small_data
from tests.support.sql import run_sql


class Receiver:
    """A real HTTP server on this machine; what it was sent, in order. ``status`` is what it answers."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.gets: list[str] = []
        self.status = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posts.append(json.loads(body))
                self._answer()

            def do_GET(self) -> None:
                outer.gets.append(self.path)
                self._answer()

            def _answer(self) -> None:
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def staging(
    project: ProjectDirectory, database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ProjectDirectory:
    """A project with one environment, staging, whose machine remembers below ``tmp_path``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    small_data(database)
    project.environment_yaml(staging=database)
    AlembicProject.make(project.path).chain("aa01")
    return project


def memory(project: ProjectDirectory) -> dict[str, Any]:
    """What this machine remembers of staging."""
    (file,) = project.path.parent.glob("**/state/pgops/*/staging.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def run(project: ProjectDirectory, code: int = 0, *arguments: str) -> dict[str, Any]:
    ran = project.run("backup.unattended", "--env=staging", "--json", *arguments)
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_it_backs_up_prunes_and_proves_in_its_turn(staging: ProjectDirectory) -> None:
    limits(staging, "    backups: {max_age: 26h, prove_every: 7d, keep: {last: 1}}\n")
    first = run(staging)
    assert first["proof"]["backup"] == first["backup"]["id"]
    second = run(staging)
    assert second["proof"] is None, "the first one's is young enough"
    third = run(staging)
    assert third["removed"] == [second["backup"]["id"]], "the proven one stays"
    kept = [each.id for each in listing(open_repository(environment(staging))).backups]
    assert kept == [first["backup"]["id"], third["backup"]["id"]]
    assert staging.run("backup.check").code == 0
    assert memory(staging)["run"]["outcome"] == "succeeded"


def test_with_a_time_of_day_it_runs_only_where_a_turn_was_missed(staging: ProjectDirectory) -> None:
    at = f"--at={dt.datetime.now(dt.UTC) - dt.timedelta(minutes=2):%H:%M}"
    backup_of(staging, 1)
    assert run(staging, 0, at)["backup"] is not None
    ran = staging.run("backup.unattended", at)
    assert ran.code == 0, ran.text
    assert "no other is due" in ran.out
    assert run(staging, 0, at)["backup"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at=3"], "--at=3: it takes a time of day in UTC such as 03:00"),
        (["--at=24:00"], "--at=24:00: it takes a time of day"),
        (["--at=03:00", "--every=5h"], "--every=18000s: it takes so many hours"),
    ],
)
def test_times_that_are_none(staging: ProjectDirectory, arguments: list[str], said: str) -> None:
    ran = staging.run("backup.unattended", *arguments)
    assert (ran.code, said in ran.err) == (2, True), ran.text


def test_failure_is_told_once_and_recovery_once(
    staging: ProjectDirectory, database: Target, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS", f"json://user:SECRETWORD@127.0.0.1:{receiver.port}/hook")
    monkeypatch.setenv("PING", f"http://127.0.0.1:{receiver.port}/ping/1234-5678")
    settings = "    monitoring: {notify: {ops: {env: OPS}}, ping: {env: PING}}\n"
    limits(staging, settings)
    broken(staging)
    for _ in range(2):
        run(staging, 3)
    assert [each["title"] for each in receiver.posts] == ["pgops: the scheduled backup of staging failed"]
    assert "nothing accepts connections" in receiver.posts[0]["message"]
    assert receiver.gets == [], "silence is what a dead-man switch hears"
    staging.environment_yaml(staging=database)
    limits(staging, settings)
    assert run(staging)["notices"] == {"sent": ["ops"], "not_sent": {}}
    assert receiver.posts[1]["title"] == "pgops: the scheduled backup of staging works again"
    assert "nothing accepts connections" in receiver.posts[1]["message"]
    assert receiver.gets == ["/ping/1234-5678"]
    assert run(staging)["notices"] == {"sent": [], "not_sent": {}}
    assert len(receiver.posts) == 2


def broken(project: ProjectDirectory) -> None:
    """Staging's server does not answer any more."""
    file = project.path / "environments.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        "".join(
            "    port: 1\n" if line.startswith("    port:") else line
            for line in text.splitlines(keepends=True)
        ),
        encoding="utf-8",
    )


def test_a_check_tells_that_backups_are_too_old_and_then_fresh_again(
    staging: ProjectDirectory, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS", f"json://127.0.0.1:{receiver.port}/hook")
    limits(staging, "    backups: {max_age: 26h}\n    monitoring: {notify: {ops: {env: OPS}}}\n")
    assert staging.run("backup.check").code == 9
    assert receiver.posts == [], "a person who looks alarms nobody"
    for _ in range(2):
        assert staging.run("backup.check", "--notify").code == 9
    (post,) = receiver.posts
    assert post["title"] == "pgops: backups of staging are too old"
    assert "it has no good backup, and max_age is 1 d 2 h" in post["message"]
    assert "Next: invoke backup --env=staging" in post["message"]
    backup_of(staging, 1)
    assert staging.run("backup.check", "--notify").code == 0
    assert [each["title"] for each in receiver.posts[1:]] == ["pgops: backups of staging are fresh again"]


def test_a_notice_that_cannot_be_sent_fails_nothing_is_said_and_shows_no_address(
    staging: ProjectDirectory, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, unknown to Apprise, without its secret; and a ping that answers 500."""
    receiver.status = 500
    monkeypatch.setenv("REFUSING", f"json://somebody:hunter2hunter2@127.0.0.1:{receiver.port}/T0KEN")
    monkeypatch.setenv("STRANGE", "nosuchthing://T0KEN/abc")
    monkeypatch.setenv("CLOSED", "json://somebody:hunter2hunter2@127.0.0.1:1/T0KEN")
    monkeypatch.setenv("PING", f"http://127.0.0.1:{receiver.port}/T0KEN")
    channels = (
        "refusing: {env: REFUSING}, strange: {env: STRANGE}, closed: {env: CLOSED}, unset: {env: NOT_THERE}"
    )
    limits(
        staging,
        f"    backups: {{max_age: 1h}}\n    monitoring: {{notify: {{{channels}}}, ping: {{env: PING}}}}\n",
    )
    ran = staging.run("backup.check", "--notify")
    assert ran.code == 9, ran.text
    for name, why in {
        "refusing": "",
        "strange": "it is no address that Apprise knows",
        "closed": "",
        "unset": "environment variable NOT_THERE is not set",
    }.items():
        assert f"the notice to {name} was not sent: " in ran.err
        assert why in ran.err
    again = staging.run("backup.check", "--notify")
    assert "the notice to refusing was not sent" in again.err, "it is tried again until it arrives"
    made = staging.run("backup.unattended", "--env=staging")
    assert made.code == 0, made.text
    assert "monitoring.ping could not be told that all is well: it answered 500" in made.err
    for text in (ran.text, again.text, made.text, json.dumps(memory(staging))):
        assert "T0KEN" not in text
        assert "hunter2" not in text


def test_notices_go_by_mail(staging: ProjectDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as (port, mails):
        monkeypatch.setenv(
            "MAIL", f"mailto://127.0.0.1:{port}?from=pgops@example.com&to=ops@example.com&mode=insecure"
        )
        limits(staging, "    backups: {max_age: 1h}\n    monitoring: {notify: {mail: {env: MAIL}}}\n")
        ran = staging.run("backup.check", "--notify")
        assert ran.code == 9, ran.text
        assert "was not sent" not in ran.err
    (mail,) = mails
    assert "Subject: pgops: backups of staging are too old" in mail
    assert "it has no good backup" in mail


@contextlib.contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """An SMTP server of the plainest kind (RFC 5321, 4.5.1); the mails it took."""
    mails: list[str] = []

    class Smtp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 test")
            while line := self.rfile.readline().decode().strip():
                match line.split()[0].upper():
                    case "DATA":
                        self._say("354 go on")
                        lines = []
                        while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                            lines.append(text)
                        mails.append("\n".join(lines))
                        self._say("250 taken")
                    case "QUIT":
                        self._say("221 bye")
                        return
                    case _:
                        self._say("250 ok")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1]), mails
        server.shutdown()


def test_a_state_directory_that_cannot_be_written_to_costs_memory_and_no_backup(
    staging: ProjectDirectory, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "no-directory"
    place.write_text("a file stands here\n", encoding="utf-8")
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    monkeypatch.setenv("OPS", f"json://127.0.0.1:{receiver.port}/hook")
    limits(staging, "    backups: {max_age: 1h}\n    monitoring: {notify: {ops: {env: OPS}}}\n")
    for _ in range(2):
        ran = staging.run("backup.check", "--notify")
        assert ran.code == 9, ran.text
    assert len(receiver.posts) == 2, "rather twice than never"
    made = staging.run("backup.unattended", "--env=staging")
    assert made.code == 0, made.text
    assert "this run is not remembered" in made.err


def test_two_at_once_and_one_that_is_killed(staging: ProjectDirectory, database: Target) -> None:
    from pgops.postgres import connected, execute

    with connected(database) as blocker:
        execute(blocker, "BEGIN")
        execute(blocker, "LOCK TABLE knowledge IN ACCESS EXCLUSIVE MODE")
        first = staging.start("backup.unattended", "--env=staging", "--lock-wait=60")
        deadline = time.monotonic() + 60
        while not list(staging.path.parent.glob("**/state/pgops/*/staging.json")):
            assert time.monotonic() < deadline and first.poll() is None, "the first run never began"
            time.sleep(0.1)
        second = staging.run("backup.unattended", "--env=staging")
        assert second.code == 6, second.text
        assert "another scheduled run of staging is under way since " in second.err
        first.kill()
        first.communicate()
        execute(blocker, "ROLLBACK")
    assert memory(staging)["run"]["outcome"] == "running"
    third = staging.run("backup.unattended", "--env=staging")
    assert third.code == 0, third.text
    assert "never ended: it was killed" in third.err
    assert memory(staging)["run"]["outcome"] == "succeeded"


def test_metrics_are_what_a_collector_reads(
    staging: ProjectDirectory, database: Target, tmp_path: Path
) -> None:
    run_sql(database, "DELETE FROM alembic_version")
    directory = tmp_path / "textfiles"
    directory.mkdir()
    limits(
        staging,
        f"    backups: {{max_age: 26h, prove_every: 7d}}\n    monitoring: {{metrics: {directory}}}\n",
    )
    made = run(staging)
    assert made["metrics"] == str(directory / f"pgops-{staging.path.name}-staging.prom")
    file = directory / f"pgops-{staging.path.name}-staging.prom"
    assert file.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in directory.iterdir()] == [file.name]
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(file.read_text(encoding="utf-8"))
        for sample in family.samples
        if sample.labels == {"project": staging.path.name, "environment": "staging"}
    }
    assert values["pgops_environment_reachable"] == values["pgops_backup_fresh"] == 1
    assert values["pgops_migrations_pending"] == 1
    assert values["pgops_scheduled_run_success"] == 1
    assert values["pgops_backups"] == 1
    assert time.time() - values["pgops_backup_last_success_timestamp_seconds"] < 600
    assert values["pgops_restore_expected_duration_seconds"] == made["proof"]["seconds"]
    broken(staging)
    ran = staging.run("metrics", f"--to={directory}")
    assert ran.code == 0, ran.text
    text = file.read_text(encoding="utf-8")
    assert f'pgops_environment_reachable{{environment="staging",project="{staging.path.name}"}} 0.0' in text
    assert "pgops_migrations_pending" not in text, "nobody knows"
    assert f'pgops_backups{{environment="staging",project="{staging.path.name}"}} 1.0' in text
    assert staging.run("metrics", "--to=/nowhere/at/all").code == 1


def test_metrics_that_cannot_be_written_fail_no_backup(staging: ProjectDirectory, tmp_path: Path) -> None:
    limits(staging, f"    monitoring: {{metrics: {tmp_path / 'not-there'}}}\n")
    made = staging.run("backup.unattended", "--env=staging")
    assert made.code == 0, made.text
    assert f"metrics can't be written to {tmp_path / 'not-there'}" in made.err


def test_metrics_without_a_place(staging: ProjectDirectory) -> None:
    ran = staging.run("metrics")
    assert ran.code == 2, ran.text
    assert "neither --to nor monitoring.metrics" in ran.err


def test_the_project_of_this_test_is_whole(staging: ProjectDirectory) -> None:
    """``limits`` writes below the last environment; a slip there would make every test above pass for nothing."""
    limits(staging, "    monitoring: {repeat: 6h}\n")
    assert load(root=staging.path).environment("staging").monitoring.repeat == 21600.0
