"""Installing: what is somebody else's stays, what is ours is replaced, and it is looked whether it is there.

crontab and systemctl are stand-ins here that do as the real ones do with files.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgops.errors import PgopsError, RefusedError
from pgops.monitoring.install import Systemd, install_cron, install_workflow, remove_cron, remove_workflow
from pgops.monitoring.schedule import Job, schedule
from pgops.monitoring.slots import slots

CRONTAB = """#!/bin/sh
file={file}
case "$1" in
-l) [ -f "$file" ] && cat "$file" || {{ echo "no crontab for somebody" >&2; exit 1; }} ;;
-) cat >"$file" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >>{file}
case "$*" in
*show*) printf 'ActiveState={state}\\nNextElapseUSecRealtime=Sat 2026-11-28 03:00:00 UTC\\n' ;;
esac
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of programs that are found before all others."""
    found = tmp_path / "bin"
    found.mkdir()
    monkeypatch.setenv("PATH", f"{found}:/usr/bin:/bin")
    return found


def program(place: Path, text: str) -> None:
    place.write_text(text, encoding="utf-8")
    place.chmod(0o755)


def job(tmp_path: Path, *, name: str = "production", at: str = "03:00") -> Job:
    project = tmp_path / "50% shop"
    project.mkdir(exist_ok=True)
    return Job(name, slots(at, 86400), project, ("/usr/bin/true",), (), tmp_path / "none.env", checked=True)


def test_other_lines_of_a_crontab_stay_and_our_own_are_replaced(tmp_path: Path, programs: Path) -> None:
    file = tmp_path / "tab"
    program(programs / "crontab", CRONTAB.format(file=file))
    file.write_text("MAILTO=me\n1 2 * * * something # no line break", encoding="utf-8")
    for at in ("03:00", "04:30"):
        made = job(tmp_path, at=at)
        install_cron(made, schedule(made, "cron")[0])
    other = job(tmp_path, name="staging")
    install_cron(other, schedule(other, "cron")[0])
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["MAILTO=me", "1 2 * * * something # no line break"]
    assert [line.split(" *")[0] for line in lines[2:] if line[0] != "#"] == ["30", "10", "0", "40"]


def test_a_crontab_without_the_end_of_our_lines_is_left_alone(tmp_path: Path, programs: Path) -> None:
    file = tmp_path / "tab"
    program(programs / "crontab", CRONTAB.format(file=file))
    made = job(tmp_path)
    text = f"# BEGIN {made.mark}\n1 1 * * * mine\n2 2 * * * somebody else's\n"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RefusedError, match="without its end"):
        install_cron(made, schedule(made, "cron")[0])
    assert file.read_text(encoding="utf-8") == text


def test_a_crontab_that_takes_nothing_is_noticed(tmp_path: Path, programs: Path) -> None:
    program(programs / "crontab", "#!/bin/sh\nexit 0\n")
    made = job(tmp_path)
    with pytest.raises(PgopsError, match="and they are not there"):
        install_cron(made, schedule(made, "cron")[0])


def test_units_are_written_started_and_looked_at(tmp_path: Path, programs: Path) -> None:
    calls = tmp_path / "calls"
    program(programs / "systemctl", SYSTEMCTL.format(file=calls, state="active"))
    made = job(tmp_path)
    manager = Systemd(tmp_path / "units", ("--user",))
    said = manager.install(made, schedule(made, "systemd"))
    assert said[-1] == "pgops-50-shop-production-check.timer: next at Sat 2026-11-28 03:00:00 UTC"
    timers = "pgops-50-shop-production-backup.timer pgops-50-shop-production-check.timer"
    assert calls.read_text(encoding="utf-8").splitlines()[:3] == [
        "--user daemon-reload",
        f"--user enable {timers}",
        f"--user restart {timers}",
    ]
    manager.install(made, schedule(made, "systemd"))
    program(programs / "systemctl", SYSTEMCTL.format(file=calls, state="inactive"))
    with pytest.raises(PgopsError, match="does not run: it is inactive"):
        manager.install(made, schedule(made, "systemd"))


def test_a_file_of_somebody_else_is_never_replaced(tmp_path: Path, programs: Path) -> None:
    calls = tmp_path / "calls"
    program(programs / "systemctl", SYSTEMCTL.format(file=calls, state="active"))
    made = job(tmp_path)
    units = tmp_path / "units"
    units.mkdir()
    theirs = units / "pgops-50-shop-production-check.timer"
    theirs.write_text("[Timer]\n", encoding="utf-8")
    with pytest.raises(RefusedError, match="is there already"):
        Systemd(units).install(made, schedule(made, "systemd"))
    assert [each.name for each in units.iterdir()] == [theirs.name]
    assert not calls.exists()
    workflow = made.project / ".github" / "workflows" / "pgops-50-shop-production.yml"
    install_workflow(made, schedule(made, "github")[0])
    install_workflow(made, schedule(made, "github")[0])
    workflow.write_text("name: mine\n", encoding="utf-8")
    with pytest.raises(RefusedError, match="is there already"):
        install_workflow(made, schedule(made, "github")[0])


def test_what_the_manager_says_is_told(tmp_path: Path, programs: Path) -> None:
    program(programs / "systemctl", "#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    made = job(tmp_path)
    with pytest.raises(PgopsError, match="ended with 1: Failed to connect to bus") as caught:
        Systemd(tmp_path / "units", ("--user",)).install(made, schedule(made, "systemd"))
    assert "enable-linger" in caught.value.hint


def test_the_lines_of_a_crontab_go_and_all_others_stay(tmp_path: Path, programs: Path) -> None:
    file = tmp_path / "tab"
    program(programs / "crontab", CRONTAB.format(file=file))
    file.write_text("1 2 * * * theirs\n", encoding="utf-8")
    made, other = job(tmp_path), job(tmp_path, name="staging")
    assert remove_cron(made) == []
    for each in (made, other):
        install_cron(each, schedule(each, "cron")[0])
    with_both = file.read_text(encoding="utf-8")
    assert remove_cron(made) == ["from the crontab: 5 lines"]
    assert remove_cron(made) == []
    left = file.read_text(encoding="utf-8")
    assert left == with_both.replace(schedule(made, "cron")[0].text, "")
    assert left.splitlines()[0] == "1 2 * * * theirs"
    program(programs / "crontab", CRONTAB.format(file=file).replace('cat >"$file"', "true"))
    with pytest.raises(PgopsError, match="are still there"):
        remove_cron(other)


def test_units_go_and_a_file_of_somebody_else_stays(tmp_path: Path, programs: Path) -> None:
    calls = tmp_path / "calls"
    program(programs / "systemctl", SYSTEMCTL.format(file=calls, state="active"))
    made = job(tmp_path)
    manager = Systemd(tmp_path / "units", ("--user",))
    assert manager.remove(made) == []
    assert not calls.exists()
    manager.install(made, schedule(made, "systemd"))
    # Its limits went since: what the check had goes too.
    removed = manager.remove(replace(made, checked=False))
    assert len(removed) == 4
    assert list((tmp_path / "units").iterdir()) == []
    timers = "pgops-50-shop-production-backup.timer pgops-50-shop-production-check.timer"
    told = calls.read_text(encoding="utf-8").splitlines()
    assert told[-2:] == [f"--user disable --now {timers}", "--user daemon-reload"]
    theirs = tmp_path / "units" / "pgops-50-shop-production-check.timer"
    manager.install(made, schedule(made, "systemd"))
    theirs.write_text("[Timer]\n", encoding="utf-8")
    with pytest.raises(RefusedError, match="is there already"):
        manager.remove(made)
    assert len(list((tmp_path / "units").iterdir())) == 4


def test_timers_that_can_t_be_stopped_keep_their_files(tmp_path: Path, programs: Path) -> None:
    calls = tmp_path / "calls"
    program(programs / "systemctl", SYSTEMCTL.format(file=calls, state="active"))
    made = job(tmp_path)
    manager = Systemd(tmp_path / "units")
    manager.install(made, schedule(made, "systemd"))
    program(programs / "systemctl", "#!/bin/sh\necho 'Access denied' >&2\nexit 1\n")
    with pytest.raises(PgopsError, match="Access denied"):
        manager.remove(made)
    assert len(list((tmp_path / "units").iterdir())) == 4


def test_a_workflow_goes(tmp_path: Path) -> None:
    made = job(tmp_path)
    assert remove_workflow(made) == []
    install_workflow(made, schedule(made, "github")[0])
    (said,) = remove_workflow(made)
    assert said.endswith("pgops-50-shop-production.yml; commit that, and it runs no more")
    assert remove_workflow(made) == []
