"""Databases that are named and marked like ours, made by somebody who may create databases: they count for nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.load import side_databases
from pgops.backups.load.side_database import remove_leftovers
from pgops.backups.load.side_databases import Marker, list_unmarked, side_database_name
from pgops.backups.restore import undo
from pgops.errors import UsageError
from pgops.postgres import Target, UntrustedError, connected, execute, identifier
from tests.conftest import ProjectDirectory
from tests.support.restores import NOW, back_up, databases, put_back, restorable, small_data
from tests.support.roles import role
from tests.support.sql import run_sql, value

ID = "20261122t171500_ab12cd"


@pytest.fixture
def target(server: Target) -> Iterator[Target]:
    with restorable(server, "foreign") as found:
        small_data(found)
        yield found


@pytest.fixture
def mallory(target: Target) -> Iterator[Target]:
    with role(target, "mallory", "CREATEDB") as found:
        yield found


def admin(target: Target) -> Target:
    return target.with_database("postgres")


def forge(mallory: Target, kind: side_databases.Kind, *, replaced_by: int | None = None) -> str:
    """A database of mallory's that looks like one a restore of the target made."""
    name = side_database_name(mallory.dbname, kind, ID)
    marker = Marker(kind, mallory.dbname, "test", "b", ID, "2026-01-01", None, replaced_by)
    run_sql(admin(mallory), f"CREATE DATABASE {identifier(name)}")
    with connected(admin(mallory)) as connection:
        side_databases.mark(connection, name, marker)
    run_sql(mallory.with_database(name), "CREATE TABLE knowledge (id int, content text)")
    return name


def test_a_false_kept_database_is_never_put_back(target: Target, mallory: Target) -> None:
    oid = value(target, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
    name = forge(mallory, "previous", replaced_by=int(str(oid)))
    state = undo.state(target)
    assert (state.kept, state.before, [each.name for each in state.untrusted]) == ((), None, [name])
    assert any(f"belongs to {mallory.user}: it does not count" in line for line in state.sentences())
    for asked in (None, name):
        with pytest.raises(UntrustedError) as failure:
            undo.choose(state, asked)
        assert failure.value.exit_code == 7
        assert f"{name} is named and marked like a database that a restore kept" in failure.value.message
        assert f'DROP DATABASE "{name}"' in failure.value.hint
    # Who says in environments.yaml that the owner is trusted, takes it.
    assert undo.choose(undo.state(target, (mallory.user,)), None).name == name


def test_the_true_one_is_put_back_beside_a_false_one(target: Target, mallory: Target, tmp_path: Path) -> None:
    repository, backup = back_up(target, tmp_path)
    run_sql(target, "DELETE FROM knowledge WHERE id > 10")
    done = put_back(target, repository, backup)
    oid = value(target, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
    forge(mallory, "previous", replaced_by=int(str(oid)))
    state = undo.state(target)
    assert undo.choose(state, None).name == done.previous_database
    undo.undo(target, undo.choose(state, None), expected_oid=state.oid, now=NOW)
    assert value(target, "SELECT count(*) FROM knowledge") == 10


def test_what_is_kept_belongs_to_who_restored_and_is_given_back(
    target: Target, mallory: Target, tmp_path: Path
) -> None:
    """The owner of the target is the application: what is kept is out of its hands until it is put back."""
    owner = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = '{}'"
    run_sql(target, f"ALTER DATABASE {target.dbname} OWNER TO {mallory.user}")
    repository, backup = back_up(target, tmp_path)
    done = put_back(target, repository, backup)
    assert value(target, owner.format(target.dbname)) == mallory.user
    assert value(target, owner.format(done.previous_database)) == target.user
    # Being the target's owner does not make a forged one ours.
    oid = value(target, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
    forge(mallory, "previous", replaced_by=int(str(oid)))
    state = undo.state(target)
    undone = undo.undo(target, undo.choose(state, None), expected_oid=state.oid, now=NOW)
    assert undone.put_back == done.previous_database
    assert value(target, owner.format(target.dbname)) == mallory.user
    assert value(target, owner.format(undone.kept_as)) == target.user


def test_one_that_an_older_version_kept_is_taken_once_its_owner_is(target: Target, mallory: Target) -> None:
    name = forge(mallory, "previous")
    with pytest.raises(UntrustedError) as failure:
        undo.choose(undo.state(target), name)
    assert f'ALTER DATABASE "{name}" OWNER TO' in failure.value.hint
    run_sql(admin(target), f"ALTER DATABASE {identifier(name)} OWNER TO {target.user}")
    assert undo.choose(undo.state(target), name).name == name
    run_sql(admin(target), f"DROP DATABASE {identifier(name)}")


def test_a_false_unfinished_one_is_left_alone(target: Target, mallory: Target) -> None:
    name = forge(mallory, "new")
    with connected(admin(target)) as connection:
        assert remove_leftovers(connection, target.dbname) == []
    assert name in databases(target)
    with pytest.raises(UsageError):
        undo.choose(dataclasses.replace(undo.state(target), untrusted=()), None)


def test_names_that_are_equal_in_their_first_bytes_are_not_confused(server: Target) -> None:
    """A neighbour's database, just made and not marked yet, is not a leftover of ours."""
    long = "n" * 50
    ours, neighbour = long + "_ours", long + "_theirs"
    made = side_database_name(neighbour, "new", ID)
    assert made != side_database_name(ours, "new", ID)
    limit = side_databases.UNFINISHED_LIMIT
    with connected(server) as connection:
        execute(connection, f"CREATE DATABASE {identifier(made)} CONNECTION LIMIT {limit}")
        try:
            assert list_unmarked(connection, neighbour) == [made]
            assert list_unmarked(connection, ours) == []
            assert remove_leftovers(connection, ours) == []
            assert remove_leftovers(connection, neighbour) == [made]
        finally:
            execute(connection, f"DROP DATABASE IF EXISTS {identifier(made)}")


def test_marked_ones_with_names_as_older_versions_cut_them_still_count(server: Target) -> None:
    long = "o" * 60
    name = long[: 63 - len(f"__old_{ID}")] + f"__old_{ID}"
    marker = Marker("previous", long, "test", "b", ID, "2026-01-01")
    with connected(server) as connection:
        execute(connection, f"CREATE DATABASE {identifier(name)}")
        try:
            side_databases.mark(connection, name, marker)
            assert [each.name for each in side_databases.list_side_databases(connection, long)] == [name]
        finally:
            execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)}")


def test_the_tasks_refuse_with_7_and_status_says_whose_it_is(
    project: ProjectDirectory, target: Target, mallory: Target
) -> None:
    project.environment_yaml(test=target)
    name = forge(mallory, "previous")
    for task in (
        ("restore.undo",),
        ("restore.undo", f"--database={name}"),
        ("restore.discard", f"--database={name}"),
    ):
        ran = project.run(*task, "--yes")
        assert (ran.code, f'DROP DATABASE "{name}"' in ran.err) == (7, True), ran.text
    assert name in databases(target)
    ran = project.run("restore.status")
    assert (ran.code, f"belongs to {mallory.user}: it does not count" in ran.out) == (0, True), ran.text
