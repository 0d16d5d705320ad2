"""Restores where the role, the database or somebody else makes it hard: settings, other roles, changes meanwhile."""

from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.load.side_database import Hooks, Step
from pgops.backups.restore import undo
from pgops.backups.restore.in_place import restore_in_place
from pgops.backups.restore.partial import choose_parts, restore_parts
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.restore import restore
from pgops.backups.verify.proof import prove
from pgops.errors import BlockedError, LockedError, UnreachableError
from pgops.pgtools import embedded_tools
from pgops.postgres import Target, connected, execute, fetch_value, identifier
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import fresh_database
from tests.support.restores import (
    NOW,
    back_up,
    databases,
    drop_all,
    put_back,
    restorable,
    small_data,
    table_hashes,
)
from tests.support.sql import run_sql, value


@pytest.fixture
def target(server: Target) -> Iterator[Target]:
    with restorable(server, "hard") as found:
        small_data(found)
        yield found


@pytest.fixture
def owner(server: Target, target: Target) -> Iterator[Target]:
    """A role that owns the database and is no superuser."""
    run_sql(
        target,
        "CREATE ROLE hard_owner LOGIN CREATEDB PASSWORD 'pw'",
        f"ALTER DATABASE {target.dbname} OWNER TO hard_owner",
        *(f"ALTER TABLE {table} OWNER TO hard_owner" for table in ("knowledge", "alembic_version")),
    )
    yield dataclasses.replace(target, user="hard_owner", password=LiteralSecret(Secret("pw")))
    drop_all(target)
    run_sql(server, "DROP ROLE IF EXISTS hard_member", "DROP ROLE hard_owner")


def at(step: Step, *statements: str, on: Target) -> Hooks:
    """Somebody does this when the restore is there."""

    def act(now: Step) -> None:
        if now is step:
            run_sql(on, *statements)

    return Hooks(step=act)


def test_what_is_changed_about_the_target_while_it_loads_stays(target: Target, tmp_path: Path) -> None:
    name = identifier(target.dbname)
    run_sql(target, f"ALTER DATABASE {name} SET work_mem TO '5MB'", f"ALTER DATABASE {name} SET jit TO 'off'")
    repository, backup = back_up(target, tmp_path)
    changes = at(
        Step.LOADING,
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
        f"ALTER DATABASE {name} CONNECTION LIMIT 7",
        f"ALTER DATABASE {name} SET work_mem TO '9MB'",
        f"COMMENT ON DATABASE {name} IS 'meanwhile'",
        on=target.with_database("postgres"),
    )

    put_back(target, repository, backup, changes)

    row = "SELECT {} FROM pg_database WHERE datname = current_database()"
    assert value(target, row.format("datconnlimit")) == 7
    assert "=c/" not in str(value(target, row.format("datacl::text")))
    assert value(target, row.format("shobj_description(oid, 'pg_database')")) == "meanwhile"
    assert (value(target, "SHOW work_mem"), value(target, "SHOW jit")) == ("9MB", "off")


def test_who_is_not_let_in_after_the_swap_is_told_that_it_is_done(
    owner: Target, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgops.backups.restore.restore._LET_IN", 0.5)
    repository, backup = back_up(owner, tmp_path)
    shut = f"ALTER DATABASE {identifier(target.dbname)} CONNECTION LIMIT 0"

    with pytest.raises(UnreachableError) as caught:
        put_back(owner, repository, backup, at(Step.LOOKING, shut, on=target.with_database("postgres")))

    assert "the swap is done" in caught.value.untouched
    kept = undo.state(target, trusted=[owner.user]).before
    assert kept is not None
    assert kept.name in caught.value.untouched


@pytest.mark.parametrize("timeout", ["statement_timeout = '25ms'", "idle_session_timeout = '300ms'"])
def test_limits_meant_for_applications_end_no_restore(owner: Target, tmp_path: Path, timeout: str) -> None:
    run_sql(owner, "INSERT INTO knowledge (content) SELECT repeat('x', 900) FROM generate_series(1, 40000)")
    before = table_hashes(owner)
    repository, backup = back_up(owner, tmp_path)
    run_sql(owner, f"ALTER ROLE hard_owner SET {timeout}")

    put_back(owner, repository, backup)

    run_sql(owner, "ALTER ROLE hard_owner RESET ALL")
    assert table_hashes(owner) == before


def test_a_role_that_is_another_one_by_its_own_setting_can_restore(
    owner: Target, target: Target, tmp_path: Path
) -> None:
    run_sql(
        target,
        "CREATE ROLE hard_member LOGIN PASSWORD 'pw' IN ROLE hard_owner",
        "ALTER ROLE hard_member SET role = 'hard_owner'",
    )
    member = dataclasses.replace(owner, user="hard_member")
    before = table_hashes(member)
    repository, backup = back_up(member, tmp_path)
    run_sql(member, "DELETE FROM knowledge")

    put_back(member, repository, backup)

    assert table_hashes(member) == before


@pytest.mark.parametrize(
    ("schema", "how", "told"),
    [
        ("others", "NOINHERIT IN ROLE hard_owner, hard_other", "the user can't act as"),
        ("others", "IN ROLE hard_owner, hard_other", ""),
        ("public", "IN ROLE hard_owner, hard_other", "only a superuser can give back"),
    ],
    ids=["noinherit", "member", "guest"],
)
def test_objects_that_cannot_be_given_back_to_their_owner_are_told_before_anything_is_done(
    owner: Target, target: Target, tmp_path: Path, schema: str, how: str, told: str
) -> None:
    run_sql(
        target,
        "CREATE ROLE hard_other",
        "CREATE SCHEMA others AUTHORIZATION hard_other",
        f"CREATE TABLE {schema}.what AS SELECT 1 AS one",
        f"ALTER TABLE {schema}.what OWNER TO hard_other",
        f"CREATE ROLE hard_member LOGIN CREATEDB PASSWORD 'pw' {how}",
        "CREATE EXTENSION citext",
    )
    try:
        repository, backup = back_up(target, tmp_path)
        assert backup.manifest.owners == ("hard_other", "hard_owner"), (
            "an extension's are nobody's to give away"
        )
        member = dataclasses.replace(owner, user="hard_member")
        if told:
            with pytest.raises(BlockedError, match=told) as caught:
                put_back(member, repository, backup)
            assert "hard_other" in caught.value.message
            assert ("can't be renamed" in caught.value.message) == ("NOINHERIT" in how)
        else:
            before = table_hashes(target)
            put_back(member, repository, backup)
            assert table_hashes(target) == before
    finally:
        drop_all(target)
        run_sql(target.with_database("postgres"), "DROP ROLE hard_member, hard_other")


@pytest.mark.parametrize("setting", ["statement_timeout TO '10ms'", "default_transaction_read_only TO 'on'"])
def test_settings_of_the_database_stop_no_restore_of_a_part(
    target: Target, tmp_path: Path, setting: str
) -> None:
    run_sql(target, "INSERT INTO knowledge (content) SELECT repeat('y', 900) FROM generate_series(1, 60000)")
    repository, backup = back_up(target, tmp_path)
    run_sql(target, f"ALTER DATABASE {identifier(target.dbname)} SET {setting}")
    parts = choose_parts(backup.manifest, ["knowledge"], [], "20261122t171500_ab12cd")

    done = restore_parts(
        plan_restore(target, backup), repository, parts, Hooks(), now=NOW, jobs=2, lock_wait=5
    )

    assert done.rows == {"public.knowledge": 60500}
    assert databases(target) == {target.dbname}


def test_a_part_whose_name_is_not_ascii_comes_out_of_a_database_that_is_not_utf8(
    server: Target, tmp_path: Path
) -> None:
    with restorable(server, "latin", encoding="LATIN1") as target:
        run_sql(target, 'CREATE TABLE "grün" (a int)', 'INSERT INTO "grün" VALUES (1)')
        repository, backup = back_up(target, tmp_path)
        parts = choose_parts(backup.manifest, ["grün"], [], "20261122t171500_ab12cd")
        done = restore_parts(
            plan_restore(target, backup), repository, parts, Hooks(), now=NOW, jobs=2, lock_wait=5
        )
        assert done.rows == {"public.grün": 1}


def test_in_place_a_backup_comes_first_even_where_there_is_no_table(server: Target, tmp_path: Path) -> None:
    with fresh_database(server, "functions") as target:
        run_sql(target, "CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 41'")
        repository, backup = back_up(target, tmp_path)
        taken: list[dt.datetime] = []

        def safety() -> str:
            taken.append(NOW)
            return "safety"

        done = restore_in_place(
            plan_restore(target, backup, beside=False), repository, Hooks(safety=safety), jobs=1
        )

        assert (done.safety_backup, len(taken)) == ("safety", 1)


def test_in_place_does_not_wait_for_a_table_for_ever(target: Target, tmp_path: Path) -> None:
    repository, backup = back_up(target, tmp_path)
    with connected(target, application_name="a reader") as reader:
        execute(reader, "BEGIN")
        fetch_value(reader, "SELECT count(*) FROM knowledge")
        with pytest.raises(LockedError) as caught:
            restore_in_place(
                plan_restore(target, backup, beside=False), repository, Hooks(), jobs=1, lock_wait=1.0
            )
        assert "a reader" in caught.value.message
        assert "rolled back" in caught.value.untouched
        # Nobody is left in the queue with an exclusive lock.
        with connected(target, settings={"lock_timeout": "20s"}) as other:
            assert fetch_value(other, "SELECT count(*) FROM knowledge") == 500


def test_in_place_who_writes_as_soon_as_it_is_done_makes_it_no_failure(
    target: Target, tmp_path: Path
) -> None:
    repository, backup = back_up(target, tmp_path)
    writes = at(Step.COMPARING, "INSERT INTO knowledge (content) VALUES ('new')", on=target)

    done = restore_in_place(plan_restore(target, backup, beside=False), repository, writes, jobs=1)

    assert done.comparison.notes == (
        "table public.knowledge has 501 rows, the backup has 500; somebody may have written since",
    )


def test_a_server_older_than_the_backup_is_named_before_missing_tools(target: Target, tmp_path: Path) -> None:
    _repository, backup = back_up(target, tmp_path)
    newer = dataclasses.replace(
        backup,
        manifest=dataclasses.replace(
            backup.manifest,
            server_version="99.1",
            server_version_num=990001,
            tools=dataclasses.replace(backup.manifest.tools, version="99.1"),
        ),
    )
    with pytest.raises(BlockedError) as caught:
        plan_restore(target, newer, sources=[embedded_tools])
    assert "comes from PostgreSQL 99" in caught.value.message


def test_names_beyond_ascii_in_a_database_without_an_encoding(server: Target, tmp_path: Path) -> None:
    with restorable(server, "bytes", encoding="SQL_ASCII") as target:
        run_sql(target, 'CREATE TABLE "grün" (a int)', 'INSERT INTO "grün" VALUES (1)')
        repository, backup = back_up(target, tmp_path)
        assert [each.name for each in backup.manifest.tables] == ["grün"]
        restore(plan_restore(target, backup), repository, Hooks(), now=NOW, jobs=1, lock_wait=5)
        assert value(target, 'SELECT a FROM "grün"') == 1


def test_tablespaces_that_are_missing_are_said_and_can_be_left_out(
    server: Target, target: Target, tmp_path: Path
) -> None:
    fast = f"fast_{secrets.token_hex(4)}"
    with connected(server) as admin:
        execute(admin, "SET allow_in_place_tablespaces = on")
        execute(admin, f"CREATE TABLESPACE {fast} LOCATION ''")
    try:
        run_sql(
            target,
            f"CREATE TABLE quick (id int) TABLESPACE {fast}",
            "INSERT INTO quick VALUES (1), (2)",
            f"CREATE INDEX quick_knowledge ON knowledge (id) TABLESPACE {fast}",
        )
        repository, backup = back_up(target, tmp_path)
        assert backup.manifest.tablespaces == (fast,)
        put_back(target, repository, backup)
        assert value(target, "SELECT tablespace FROM pg_tables WHERE tablename = 'quick'") == fast
    finally:
        drop_all(target)
        run_sql(server, f"DROP TABLESPACE {fast}")

    with pytest.raises(BlockedError) as caught:
        plan_restore(target, backup).refuse()
    assert fast in caught.value.message
    assert "--no-tablespaces" in caught.value.hint
    restore(
        plan_restore(target, backup, with_tablespaces=False),
        repository,
        Hooks(),
        now=NOW,
        jobs=2,
        lock_wait=5,
    )
    assert value(target, "SELECT count(*) FROM quick") == 2
    assert value(target, "SELECT count(*) FROM pg_indexes WHERE indexname = 'quick_knowledge'") == 1
    assert prove(repository, backup, server, now=NOW, jobs=2).problems == ()


def test_roles_of_policies_are_needed_without_owners_too(
    server: Target, target: Target, tmp_path: Path
) -> None:
    reader = f"reader_{secrets.token_hex(4)}"
    run_sql(
        target,
        f"CREATE ROLE {reader} NOLOGIN",
        f"CREATE POLICY few ON knowledge TO {reader} USING (id < 10)",
    )
    try:
        repository, backup = back_up(target, tmp_path)
        assert backup.manifest.named_roles == (reader,)
        run_sql(target, "DROP TABLE knowledge", f"DROP ROLE {reader}")
        with pytest.raises(BlockedError) as caught:
            plan_restore(target, backup, with_owners=False).refuse()
        assert f"name roles that this server lacks: {reader}" in caught.value.message
        assert prove(repository, backup, server, now=NOW, jobs=2).problems == ()
        run_sql(server, f"CREATE ROLE {reader} NOLOGIN")
        restore(
            plan_restore(target, backup, with_owners=False), repository, Hooks(), now=NOW, jobs=2, lock_wait=5
        )
        assert value(target, "SELECT roles[1] FROM pg_policies") == reader
    finally:
        drop_all(target)
        run_sql(server, f"DROP ROLE IF EXISTS {reader}")


def test_a_template_stays_one_and_what_was_there_can_be_discarded(target: Target, tmp_path: Path) -> None:
    templates = f"SELECT string_agg(datname, ' ') FROM pg_database WHERE datistemplate AND starts_with(datname, '{target.dbname}')"
    repository, backup = back_up(target, tmp_path)
    run_sql(target, f"ALTER DATABASE {target.dbname} IS_TEMPLATE true")
    try:
        put_back(target, repository, backup)
        assert value(target, templates) == target.dbname
        state = undo.state(target)
        undo.undo(target, undo.choose(state, None), expected_oid=state.oid, now=NOW)
        assert value(target, templates) == target.dbname
        undo.discard(target, undo.state(target).kept)
        assert databases(target) == {target.dbname}
    finally:
        run_sql(target, f"ALTER DATABASE {target.dbname} IS_TEMPLATE false")
