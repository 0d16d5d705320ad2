"""The backup tasks over a real pgBackRest in a container: words, JSON, exit codes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ProjectDirectory, Ran
from tests.support.pgbackrest import (
    ARCHIVE,
    DATA,
    REPOSITORY,
    STANZA,
    Cluster,
    environments_yaml,
    requested,
    running_cluster,
)

PROXY = Path(__file__).parents[1] / "support" / "tcp_proxy.py"
pytestmark = pytest.mark.docker


def answer(ran: Ran, code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_a_backup_is_taken_listed_shown_and_verified(physical: ProjectDirectory, cluster: Cluster) -> None:
    before = answer(physical.run("backup.list", "--json"))["backups"]
    made = answer(physical.run("backup", "--type=incr", "--json"))["backup"]
    assert made["type"] == "incr"
    assert made["heads"] == ["abc123"]
    assert (made["environment"], made["stanza"], made["verified"]) == ("staging", STANZA, False)
    assert made["system_identifier"] == cluster.sql("SELECT system_identifier::text FROM pg_control_system()")
    listed = answer(physical.run("backup.list", "--json"))
    assert [each["id"] for each in listed["backups"]] == [*(each["id"] for each in before), made["id"]]
    assert listed["archives"][0]["max"] >= made["wal"]["stop"]
    ran = physical.run("backup.verify")
    assert ran.code == 0, ran.text
    assert f"{made['id']} is sound: every file and its WAL match their checksums" in ran.out
    shown = answer(physical.run("backup.show", f"--backup={made['id']}", "--json"))["backup"]
    assert (shown["verified"], shown["verified_by"]) == (True, "read")
    text = physical.run("backup.list").out
    assert text.splitlines()[0].split() == ["backup", "age", "size", "added", "revision", "proof", "repo"]
    assert "read back on " in text
    assert f"WAL in repo1, {ARCHIVE}: {'0' * 7}1" in text


@requested
def test_a_program_in_the_container_does_not_disturb_the_server(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    """A process that is left behind there becomes the postmaster's child, and its end a crash of the server."""
    for _ in range(3):
        assert physical.run("backup.list").code == 0
    assert b"all server processes terminated" not in cluster.container.logs()


@requested
def test_a_dry_run_takes_nothing(physical: ProjectDirectory) -> None:
    before = answer(physical.run("backup.list", "--json"))["backups"]
    ran = physical.run("backup", "--dry-run", "--type=diff")
    assert ran.code == 0, ran.text
    assert "would take a differential backup, after " in ran.out
    assert answer(physical.run("backup.list", "--json"))["backups"] == before


@requested
def test_a_broken_file_is_found_named_and_remembered(physical: ProjectDirectory, cluster: Cluster) -> None:
    made = answer(physical.run("backup", "--type=full", "--json"))["backup"]
    file = cluster.shell(
        f"find {REPOSITORY}/backup/{STANZA}/{made['id']}/pg_data/base -type f -size +1k -name '[0-9]*' | sort | head -n 1"
    ).strip()
    cluster.shell(f"cp {file} /tmp/kept && printf XX | dd of={file} bs=1 seek=99 conv=notrunc status=none")
    try:
        failed = answer(physical.run("backup.verify", "--json"), 9)
        assert failed["problems"] == [
            f"backup {made['id']}: invalid",
            f"backup {made['id']}: 1 checksum invalid",
        ]
        assert "FOUND DAMAGED on " in physical.run("backup.list").out
    finally:
        cluster.shell(f"cp /tmp/kept {file}")
    assert answer(physical.run("backup.verify", "--json"))["problems"] == []
    assert "FOUND DAMAGED" not in physical.run("backup.list").out


@requested
def test_wal_that_a_backup_needs_and_is_gone_is_found(physical: ProjectDirectory, cluster: Cluster) -> None:
    made = answer(physical.run("backup", "--type=incr", "--json"))["backup"]
    where = f"{REPOSITORY}/archive/{STANZA}/{ARCHIVE}/{made['wal']['stop'][:16]}"
    cluster.shell(f"mkdir -p /tmp/wal && mv {where}/{made['wal']['stop']}-* /tmp/wal/")
    try:
        failed = answer(physical.run("backup.verify", "--json"), 9)
        assert failed["problems"] == [
            f"backup {made['id']}: its WAL {made['wal']['stop']} is not in the archive"
        ]
    finally:
        cluster.shell(f"mv /tmp/wal/* {where}/")


def test_what_pgbackrest_decides_is_left_to_it(physical: ProjectDirectory) -> None:
    for task in ("backup.prune", "backup.pin"):
        ran = physical.run(task)
        assert ran.code == 8, ran.text
        assert "by its own retention" in ran.err


@requested
def test_another_cluster_is_not_backed_up_under_a_name(
    physical: ProjectDirectory, cluster: Cluster, docker_engine: str
) -> None:
    with running_cluster() as other:
        text = (physical.path / "environments.yaml").read_text()
        physical.write("environments.yaml", text.replace(cluster.name, other.name))
        ran = physical.run("backup")
        assert ran.code == 7, ran.text
        assert f"stanza {STANZA} is of cluster " in ran.err
        assert other.pgbackrest("info", "--output=json").count('"label"') == 0


@requested
def test_what_can_t_be_reached_is_said(physical: ProjectDirectory, cluster: Cluster) -> None:
    text = (physical.path / "environments.yaml").read_text()
    physical.write("environments.yaml", text.replace(f"container: {cluster.name}", "container: nobody-there"))
    ran = physical.run("backup.list")
    assert ran.code == 2, ran.text
    assert "there is no container nobody-there" in ran.err
    physical.write("environments.yaml", text.replace(f"container: {cluster.name}", "ssh: nowhere.invalid"))
    ran = physical.run("backup.list")
    assert ran.code == 3, ran.text
    assert "nowhere.invalid can't be reached by ssh: " in ran.err
    physical.write("environments.yaml", text.replace(f"stanza: {STANZA}", "stanza: other"))
    ran = physical.run("backup.list")
    assert ran.code == 2, ran.text
    assert "missing stanza path" in ran.err


@requested
def test_a_proof_by_recovery_is_noted_down_with_its_time(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    made = answer(physical.run("backup", "--type=incr", "--json"))["backup"]
    proof = answer(physical.run("backup.verify", "--restore", "--json"))
    assert (proof["backup"], proof["method"], proof["problems"]) == (made["id"], "restore", [])
    assert proof["seconds"] > 0
    assert re.fullmatch(r"2 databases, \d+ tables, [\d,]+ rows", proof["details"])
    shown = answer(physical.run("backup.show", "--json"))["backup"]
    assert (shown["verified"], shown["verified_by"]) == (True, "restore")
    assert shown["proofs"][0]["seconds"] == pytest.approx(proof["seconds"], abs=0.1)
    row = answer(physical.run("status", "--json"))["environments"][0]
    assert (row["backup"]["id"], row["backup"]["verified_by"]) == (made["id"], "restore")


@requested
def test_a_broken_page_is_named_by_the_backup_and_by_its_recovery(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    cluster.execute(
        "CREATE TABLE pages AS SELECT g, repeat('x', 500) AS t FROM generate_series(1, 500) AS g",
        "CHECKPOINT",
    )
    file = cluster.sql("SELECT pg_relation_filepath('pages')")
    cluster.shell(f"printf BROKEN | dd of={DATA}/{file} bs=1 seek=20000 conv=notrunc status=none")
    try:
        ran = physical.run("backup", "--type=incr")
        assert ran.code == 9, ran.text
        assert "pages of the cluster have wrong checksums" in ran.err
        assert file in ran.err
        assert "TAKEN WITH BROKEN PAGES" in physical.run("backup.list").out
        ran = physical.run("backup.verify", "--restore", "--json")
        problems = answer(ran, 9)["problems"]
        assert any("pages" in each for each in problems), problems
    finally:
        cluster.execute("DROP TABLE pages", "CHECKPOINT")
    assert answer(physical.run("backup", "--type=full", "--json"))["ok"]


@requested
def test_through_a_tunnel(physical: ProjectDirectory, cluster: Cluster) -> None:
    """The sessions go through it; pgBackRest itself is reached in its own way, and is of the same server."""
    words = [sys.executable, str(PROXY), "{local_port}", "127.0.0.1", str(cluster.target.port)]
    text = environments_yaml(cluster, more=f"    tunnel: {{command: {json.dumps(words)}}}\n")
    physical.write("environments.yaml", text.replace(f"host: {cluster.target.host}", "host: db.example.test"))
    point = cluster.sql("SELECT pg_catalog.now()::text")
    for task in (
        ("backup", "--type=incr", "backup.list", "backup.show", "backup.verify", "--restore"),
        ("status", "restore", f"--at={point}", "--dry-run"),
    ):
        ran = physical.run(*task)
        assert ran.code == 0, (task, ran)
