"""Schedules: what systemd, cron, Kubernetes and GitHub read in them is what was meant, whatever a path is called."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgops.errors import UsageError
from pgops.monitoring.schedule import KINDS, Job, schedule, variables_of
from pgops.monitoring.slots import slots
from pgops.postgres import Target
from tests.support.backups import environment_for

REPOSITORY = Path(__file__).resolve().parents[3]
ODD = """50% of $HOME "x" 'y' & ;#é"""
DAILY = slots("03:00", 86400)


def job(tmp_path: Path, directory: str = "shop", *, every: float = 86400, name: str = "production") -> Job:
    """A job whose program prints, as JSON, where it is and what it was given."""
    project = tmp_path / directory
    project.mkdir(exist_ok=True)
    program = project / "pgops"
    program.write_text(
        "#!/usr/bin/env python3\nimport json, os, sys\n"
        "print(json.dumps([os.getcwd(), sys.argv[1:], os.environ.get('DB_PASSWORD')]))\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return Job(
        name,
        slots("03:00", every),
        project,
        (str(program),),
        ("DB_PASSWORD", "PING"),
        project / "production.env",
        checked=True,
    )


def test_the_variables_of_secrets_are_named_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "environments.yaml").write_text(
        "version: 1\nenvironments:\n  prod:\n    host: h\n    dbname: d\n    user: u\n    password: {env: A}\n"
        "    monitoring: {notify: {ops: {env: C}}, ping: {env: D}}\n"
        "stores:\n  s: {url: 's3://b/p', access_key: {env: E}, secret_key: {env: F}, sign: {env: G},\n"
        "      encrypt: {recipients: [age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq], identity: {env: B}}}\n",
        encoding="utf-8",
    )
    from pgops.environments import load

    assert variables_of(load(root=tmp_path).environment("prod")) == tuple("ABCDEFG")
    target = Target(environment="staging", host="h", port=5432, user="u", dbname="d")
    assert variables_of(environment_for(target, tmp_path)) == ()


@pytest.mark.parametrize("directory", ["shop", ODD, "100%h"])
def test_systemd_takes_the_units(tmp_path: Path, directory: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    units = schedule(job(tmp_path, directory), "systemd")
    assert [each.name.rpartition("-")[2] for each in units] == [
        "backup.service",
        "backup.timer",
        "check.service",
        "check.timer",
    ]
    there = tmp_path / "units"
    there.mkdir()
    for each in units:
        (there / each.name).write_text(each.text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(there / each.name) for each in units)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    mine = [line for line in done.stderr.splitlines() if "pgops" in line]
    assert (done.returncode, mine) == (0, []), done.stderr


@pytest.mark.parametrize("every", [3600, 6 * 3600, 86400])
def test_systemd_reads_the_moments_that_were_meant(tmp_path: Path, every: float) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    timer = schedule(job(tmp_path, every=every), "systemd")[1].text
    (calendar,) = [line.partition("=")[2] for line in timer.splitlines() if line.startswith("OnCalendar=")]
    count = int(86400 / every)
    done = subprocess.run(
        [analyze, "calendar", f"--iterations={count}", "--base-time=2026-03-29 00:00:00 UTC", calendar],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    moments = [
        line.split(": ", 1)[1].strip()
        for line in done.stdout.splitlines()
        if "Next elapse" in line or "Iteration" in line or "Iter. #" in line
    ]
    assert len({each for each in moments if "2026-03-29" in each}) >= count - 1, done.stdout
    assert any("03:00:00 UTC" in each for each in moments)


@pytest.mark.parametrize("directory", ["shop", ODD])
def test_cron_runs_the_command_that_was_meant(tmp_path: Path, directory: str) -> None:
    made = job(tmp_path, directory)
    made.env_file.write_text("DB_PASSWORD='a b$c'\n", encoding="utf-8")
    (text,) = schedule(made, "cron")
    lines = [line for line in text.text.splitlines() if not line.startswith("#")]
    ran = [_as_cron_runs(line) for line in lines]
    assert [each[0] for each in ran] == ["0 * * * *", "40 * * * *"]
    assert ran[0][1] == [
        str(made.project),
        ["backup.unattended", "--env=production", "--at=03:00", "--every=24h"],
        "a b$c",
    ]
    assert ran[1][1][1] == ["backup.check", "--env=production", "--notify"]


def _as_cron_runs(line: str) -> tuple[str, Any]:
    """crontab(5): five fields, then the command up to the first bare %, where \\% stands for one."""
    *times, command = line.split(" ", 5)
    assert "%" not in command.replace("\\%", "")
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("\\%", "%")],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=30,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    return " ".join(times), json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_scheduler_can_read_is_refused(tmp_path: Path, kind: str) -> None:
    for directory in ("two\nlines", "bell\a"):
        with pytest.raises(UsageError, match="does not print"):
            schedule(job(tmp_path, directory), kind)


def test_backslashes_are_refused_where_they_are_read_in_different_ways(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="backslash"):
        schedule(job(tmp_path, "back\\slash"), "cron")


def test_kubernetes_takes_the_manifests(tmp_path: Path) -> None:
    import kubernetes_validate

    (text,) = schedule(job(tmp_path, ODD * 3, name="Prod.EU_1"), "kubernetes")
    found = list(yaml.safe_load_all(text.text))
    assert [each["spec"]["schedule"] for each in found] == ["0 3 * * *", "40 * * * *"]
    for each in found:
        assert len(each["metadata"]["name"]) <= 52
        assert each["spec"]["concurrencyPolicy"] == "Forbid"
        for version in ("1.30", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(each, version, strict=True)
    container = found[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["backup.unattended", "--env=Prod.EU_1"]
    assert [each["name"] for each in container["env"]] == ["HOME", "DB_PASSWORD", "PING"]
    assert "value" not in container["env"][1]


def test_github_gets_a_workflow(tmp_path: Path) -> None:
    (text,) = schedule(job(tmp_path, ODD), "github")
    found = yaml.safe_load(text.text)
    # YAML 1.1 takes `on` for true; GitHub does not.
    assert found[True]["schedule"] == [{"cron": "0 3,5,8 * * *"}]
    assert found["concurrency"]["cancel-in-progress"] is False
    backup = found["jobs"]["backup"]
    assert backup["env"] == {"DB_PASSWORD": "${{ secrets.DB_PASSWORD }}", "PING": "${{ secrets.PING }}"}
    assert backup["steps"][3]["run"] == "pgops backup.unattended --env=production --at=03:00 --every=24h"
    assert backup["steps"][4] == {
        "name": "are backups fresh",
        "if": "always()",
        "run": "pgops backup.check --env=production --notify",
    }
    reviewed = (REPOSITORY / ".github/workflows/review.yml").read_text(encoding="utf-8")
    for step in backup["steps"][:2]:
        assert f"uses: {step['uses']}  # v" in reviewed, (
            "by commit, and the one that the project's own workflows use"
        )
