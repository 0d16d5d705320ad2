"""Nobody has to remember pgBackRest's backups either: the schedule's run, the proof in its turn, the drill, the check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgops import postgres
from tests.conftest import ProjectDirectory, Ran
from tests.support.pgbackrest import (
    REPOSITORY,
    STANZA,
    Cluster,
    backed_up_by,
    on_database,
    requested,
    running_cluster,
)

pytestmark = pytest.mark.docker


def answer(ran: Ran, code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


def limited(physical: ProjectDirectory, *, max_age: str = "26h", prove_every: str = "7d") -> None:
    file = physical.path / "environments.yaml"
    physical.write(
        "environments.yaml",
        f"{file.read_text()}      max_age: {max_age}\n      prove_every: {prove_every}\n",
    )


def forget_proofs(physical: ProjectDirectory, cluster: Cluster) -> None:
    """As if no backup of the cluster, which the tests share, had ever been proven."""
    for each in answer(physical.run("backup.list", "--json"))["backups"]:
        cluster.pgbackrest(
            "annotate", f"--set={each['id']}", "--annotation=pgops-restores=", "--annotation=pgops-proof="
        )


def test_a_scheduled_run_backs_up_and_proves_in_its_turn(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    """No proof yet: stale. The run takes one and proves it; the next finds none due; a reading forgets no restore."""
    before = cluster.recoveries()
    limited(physical)
    answer(physical.run("backup", "--json"))
    forget_proofs(physical, cluster)
    stale = physical.run("backup.check")
    assert stale.code == 9, stale.text
    first = answer(physical.run("backup.unattended", "--json"))
    assert first["proof"]["backup"] == first["backup"]["id"]
    assert cluster.recoveries() == before
    assert answer(physical.run("backup.unattended", "--json"))["proof"] is None
    answer(physical.run("backup.verify", f"--backup={first['backup']['id']}", "--json"))
    (check,) = answer(physical.run("backup.check", "--json"))["checks"]
    assert (check["state"], check["proven"]) == ("fresh", first["backup"]["id"])
    assert check["restore_seconds"] == pytest.approx(first["proof"]["seconds"], abs=0.1)


@requested
def test_a_drill_recovers_and_its_times_are_kept(physical: ProjectDirectory, cluster: Cluster) -> None:
    answer(physical.run("backup", "--json"))
    (before,) = answer(physical.run("backup.drill", "--json"))["drills"]
    answer(physical.run("backup", "--json"))
    (drill,) = answer(physical.run("backup.drill", "--json"))["drills"]
    assert drill["ok"]
    assert [each["backup"] for each in drill["restores"][-2:]] == [before["backup"], drill["backup"]]
    assert drill["restore"]["count_on_seconds"] >= drill["seconds"] - 0.01
    (told,) = answer(physical.run("report", "--html=page.html", "--json"))["report"]["environments"]
    assert [each["backup"] for each in told["restores"]][-1] == drill["backup"]
    (physical.path / "metrics").mkdir()
    answer(physical.run("metrics", "--to=metrics", "--json"))
    text = (physical.path / "metrics" / f"pgops-{physical.path.name}-staging.prom").read_text()
    assert "pgops_restore_expected_duration_seconds{" in text


@requested
def test_the_revisions_of_one_database_say_nothing_of_another(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    """Two environments in one cluster: a backup that one took is no damage when the other proves it."""
    cluster.execute("DROP DATABASE IF EXISTS other", "CREATE DATABASE other")
    with postgres.connected(on_database(cluster, "other")) as connection:
        postgres.execute(connection, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        postgres.execute(connection, "INSERT INTO alembic_version VALUES ('of_other')")
    try:
        file = physical.path / "environments.yaml"
        text = file.read_text()
        staging = text.partition("  staging:\n")[2]
        physical.write(
            "environments.yaml", text + "  other:\n" + staging.replace("dbname: app", "dbname: other")
        )
        made = answer(physical.run("backup", "--env=staging", "--json"))["backup"]
        assert made["heads"] == ["abc123"]
        proof = answer(physical.run("backup.verify", "--env=other", "--restore", "--json"))
        assert (proof["backup"], proof["problems"]) == (made["id"], [])
    finally:
        cluster.execute("DROP DATABASE other")


@requested
def test_backups_of_another_cluster_are_no_success(
    project: ProjectDirectory, docker_engine: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stanza that is another server's, or a server that was made anew: its backups do not count as this one's."""
    with running_cluster() as other:
        other.pgbackrest("backup", "--type=full")
        backed_up_by(cluster, project, monkeypatch)
        text = (project.path / "environments.yaml").read_text()
        project.write("environments.yaml", text.replace(cluster.name, other.name))
        limited(project)
        ran = project.run("backup.check", "--json")
        (check,) = answer(ran, 9)["checks"]
        assert (check["state"], check["backup"]) == ("stale", None)
        assert "are of another cluster" in check["notes"][0]
        ran = project.run("status", "--json")
        (row,) = answer(ran)["environments"]
        assert row["backup"] is None
        assert any("none of the stanza's backups is of this cluster" in each for each in row["problems"])
        ran = project.run("restore", "--promote", "--dry-run")
        assert ran.code == 0, ran.text
        assert "made anew since, or the stanza is another's" in ran.err


@requested
def test_what_rests_on_a_damaged_backup_is_no_success_and_the_next_run_takes_a_full_one_and_proves_it(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    limited(physical)
    made = answer(physical.run("backup", "--type=full", "--json"))["backup"]
    assert answer(physical.run("backup.verify", "--restore", "--json"))["backup"] == made["id"]
    file = cluster.shell(
        f"find {REPOSITORY}/backup/{STANZA}/{made['id']}/pg_data/base -type f -size +1k -name '[0-9]*' | sort | head -n 1"
    ).strip()
    cluster.shell(f"printf XX | dd of={file} bs=1 seek=99 conv=notrunc status=none")
    resting = answer(physical.run("backup", "--type=incr", "--json"))["backup"]
    ran = physical.run("backup.verify", f"--backup={made['id']}", "--restore")
    assert ran.code == 9, ran.text
    (check,) = answer(physical.run("backup.check", "--json"), 9)["checks"]
    assert f"{resting['id']} (RESTS ON {made['id']}, FOUND DAMAGED on " in check["problems"][-2]
    assert f"RESTS ON {made['id']}" in physical.run("backup.list").out
    run = answer(physical.run("backup.unattended", "--json"))
    assert (run["backup"]["type"], run["proof"]["backup"]) == ("full", run["backup"]["id"])
    (check,) = answer(physical.run("backup.check", "--json"))["checks"]
    assert (check["state"], check["problems"]) == ("fresh", [])
