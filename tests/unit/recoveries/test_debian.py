"""Debian's clusters: which one is in a data directory, and what starts it as it was started."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.pgtools.held import HereRunner
from pgops.recoveries.debian import find_debian_cluster, start_command

MAIN = "/var/lib/postgresql/15/main"
OPTIONS = '"-c" "config_file=/etc/postgresql/15/main/postgresql.conf"'


@pytest.fixture(autouse=True)
def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three clusters, of which one is lost."""
    listing = [
        f"15  main   5432 down <unknown> {MAIN}       /var/log/postgresql/postgresql-15-main.log",
        f"15  main2  5433 down postgres  {MAIN}2      /var/log/other one.log",
        "17  blank  5434 online postgres /srv/my data/17 syslog",
    ]
    programs = {"pg_lsclusters": "cat <<'X'\n" + "\n".join(listing) + "\nX\n", "pg_ctlcluster": "exit 1\n"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (MAIN, OPTIONS, ("15 main", "/var/log/postgresql/postgresql-15-main.log")),
        (MAIN, None, ("15 main", "/var/log/postgresql/postgresql-15-main.log")),
        (f"{MAIN}2", None, ("15 main2", "/var/log/other one.log")),
        ("/srv/my data/17", None, ("17 blank", "")),
        (MAIN, '"-p" "5432"', None),
        (f"{MAIN}2", OPTIONS, None),
        ("/var/lib/postgresql/15", None, None),
    ],
)
def test_the_cluster_of_a_data_directory(
    data: str, options: str | None, expected: tuple[str, str] | None
) -> None:
    """None where its server was started with another configuration than Debian's."""
    found = find_debian_cluster(HereRunner(), data, options)
    assert (found and (found.label, found.log)) == expected


def test_without_debian_s_programs_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pg_ctlcluster").unlink()
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_debian_cluster(HereRunner(), MAIN, None) is None


def test_it_is_started_with_the_options_that_are_not_debian_s_own() -> None:
    plain = ["pg_ctlcluster", "15", "main", "start", "--", "-w", "-t", "9"]
    assert start_command("15 main", OPTIONS, 9) == plain
    more = f'{OPTIONS} "-c" "work_mem=7MB" "-c" "external_pid_file=/run/x.pid"'
    assert start_command("15 main", more, 9) == ["pg_ctlcluster", "-o", '"-c" "work_mem=7MB"', *plain[1:]]
