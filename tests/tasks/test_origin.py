"""Backups belong to a server and a database: what else lies in the store under the environment's name is not theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.restores import back_up, restorable, small_data
from tests.support.sql import run_sql, value


@pytest.fixture
def make(server: Target) -> Iterator[Callable[[], Target]]:
    import contextlib

    with contextlib.ExitStack() as stack:

        def target() -> Target:
            found = stack.enter_context(restorable(server, "origin"))
            small_data(found)
            return found

        yield target


def ids(project: ProjectDirectory) -> list[str]:
    found = json.loads(project.run("backup.list", "--json").out)
    return [each["id"] for each in found["backups"]]


def test_two_projects_with_one_store_and_one_name_for_an_environment(
    project: ProjectDirectory, make: Callable[[], Target]
) -> None:
    ours, theirs = make(), make()
    project.environment_yaml(staging=ours)
    file = project.path / "environments.yaml"
    text = file.read_text(encoding="utf-8").replace(
        "backups: {store: local}", "backups: {store: local, keep: {last: 1}}"
    )
    file.write_text(text, encoding="utf-8")
    root = project.path / "backups"
    run_sql(theirs, "DELETE FROM knowledge WHERE id > 7")
    mine = back_up(ours, root, name="staging")[1].id
    newest = [back_up(theirs, root, name="staging")[1].id for _ in range(2)]

    # Ours is the latest, though theirs are newer; a part of their id is no way to them, the whole one is.
    run_sql(ours, "DELETE FROM knowledge")
    ran = project.run("restore", "--yes", "--no-safety-backup")
    assert ran.code == 0, ran.text
    assert "latest passes over" in ran.err and theirs.dbname in ran.err
    assert value(ours, "SELECT count(*) FROM knowledge") == 500
    ran = project.run("restore", f"--backup={newest[-1][:-1]}", "--dry-run")
    assert (ran.code, f"--backup={newest[-1]}" in ran.err) == (2, True), ran.text
    ran = project.run("restore", f"--backup={newest[-1]}", "--dry-run")
    assert (ran.code, f"is a backup of database {theirs.dbname}" in ran.err) == (0, True), ran.text

    # Retention and prune of ours leave theirs alone, however many there are.
    ran = project.run("backup", "--json")
    assert ran.code == 0, ran.text
    made = json.loads(ran.out)
    assert made["removed"] == [mine]
    ran = project.run("backup.prune", "--yes", "--json")
    assert (ran.code, json.loads(ran.out)["removed"]) == (0, []), ran.text
    assert sorted(json.loads(ran.out)["of_another_database"]) == sorted(newest)
    assert set(ids(project)) == {*newest, made["backup"]["id"]}
    status = json.loads(project.run("status", "--json").out)["environments"][0]
    assert status["backup"]["id"] == made["backup"]["id"]


@pytest.mark.parametrize("empty", [True, False])
def test_after_a_server_was_rebuilt_its_backups_take_their_whole_id(
    project: ProjectDirectory, make: Callable[[], Target], empty: bool
) -> None:
    """The disaster: the manifest names another server, and what to type is said."""
    target = make()
    project.environment_yaml(staging=target)
    root = project.path / "backups"
    backup = back_up(target, root, name="staging")[1]
    manifest = Path(backup.path) / "manifest.json"
    identifier = str(backup.manifest.system_identifier)
    as_before(manifest, identifier, "7000000000000000001")
    if empty:
        run_sql(target.with_database("postgres"), f"DROP DATABASE {target.dbname}")
    ran = project.run("restore", "--yes")
    assert ran.code == 2, ran.text
    assert f"the newest, {backup.id}, is of database {target.dbname} of server 7000000000000000001" in ran.err
    assert f"--backup={backup.id}" in ran.err
    ran = project.run("restore", f"--backup={backup.id}", "--yes", "--no-safety-backup")
    assert ran.code == 0, ran.text
    assert "warning:" in ran.err
    assert value(target, "SELECT count(*) FROM knowledge") == 500


def as_before(manifest: Path, old: str, new: str) -> None:
    """The manifest as another server's backup would have it, its own hash included where it has one."""
    from pgops.backups.manifest.manifest import parse_manifest

    text = manifest.read_text(encoding="utf-8")
    found = parse_manifest(text.encode(), where="test")
    import dataclasses

    changed = dataclasses.replace(found, system_identifier=new)
    manifest.chmod(0o600)
    manifest.write_text(changed.to_json(), encoding="utf-8")


def test_where_the_server_is_silent_latest_must_mean_one_thing(
    project: ProjectDirectory, make: Callable[[], Target]
) -> None:
    import dataclasses

    ours, theirs = make(), make()
    root = project.path / "backups"
    first = back_up(ours, root, name="staging")[1].id
    project.environment_yaml(staging=dataclasses.replace(ours, port=1))
    ran = project.run("backup.show", "--json")
    assert (ran.code, json.loads(ran.out)["backup"]["id"]) == (0, first), ran.text
    second = back_up(theirs, root, name="staging")[1].id
    ran = project.run("backup.show")
    assert (ran.code, "holds backups of several databases" in ran.err) == (2, True), ran.text
    assert project.run("backup.show", f"--backup={second}").code == 0
