"""Restore beside, checked, swapped, undoable; on a real server."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.backups.load import side_databases
from pgops.backups.load.side_database import Hooks, Step
from pgops.backups.restore import undo
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.restore import restore
from pgops.errors import BlockedError, LockedError, RefusedError, VerificationError
from pgops.local import embedded
from pgops.postgres import Target, connected, execute, identifier
from pgops.postgres.locks import held
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import fresh_database
from tests.support.odd_database import make_odd
from tests.support.restores import (
    NOW,
    back_up,
    databases,
    put_back,
    restorable,
    schema_text,
    small_data,
    table_hashes,
)
from tests.support.sql import run_sql, value


@pytest.fixture
def target(server: Target) -> Iterator[Target]:
    """A database with data; it and everything beside it is dropped afterwards."""
    with restorable(server, "restore") as found:
        small_data(found)
        yield found


def test_what_was_lost_is_back_and_what_was_there_is_kept(target: Target, tmp_path: Path) -> None:
    before = (schema_text(target), table_hashes(target))
    repository, backup = back_up(target, tmp_path)
    run_sql(target, "DELETE FROM knowledge WHERE id > 10", "DROP INDEX knowledge_content_idx")
    lost = table_hashes(target)

    done = put_back(target, repository, backup)

    assert (schema_text(target), table_hashes(target)) == before
    assert done.previous_database is not None
    assert table_hashes(target.with_database(done.previous_database)) == lost
    assert databases(target) == {target.dbname, done.previous_database}
    assert (done.comparison.tables, done.comparison.rows, done.comparison.heads) == (2, 501, ("a1b2c3",))


def test_an_undo_puts_the_database_before_back_and_can_be_undone(target: Target, tmp_path: Path) -> None:
    repository, backup = back_up(target, tmp_path)
    run_sql(target, "DELETE FROM knowledge", f"COMMENT ON DATABASE {target.dbname} IS 'ours'")
    put_back(target, repository, backup)
    found = undo.state(target)
    assert found.before is not None

    undo.undo(target, undo.choose(found, None), expected_oid=found.oid, now=NOW)

    assert value(target, "SELECT count(*) FROM knowledge") == 0
    comment = (
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    )
    assert value(target, comment) == "ours"
    again = undo.state(target)
    undo.undo(target, undo.choose(again, None), expected_oid=again.oid, now=NOW)
    assert value(target, "SELECT count(*) FROM knowledge") == 500


def test_a_database_that_was_dropped_comes_back_with_its_settings(target: Target, tmp_path: Path) -> None:
    name = target.dbname
    run_sql(
        target,
        f'ALTER DATABASE {name} SET search_path TO "odd, name", public',
        f"ALTER DATABASE {name} SET work_mem TO '7MB'",
        f"ALTER DATABASE {name} SET timezone TO 'Asia/Kathmandu'",
        # Computed anew by a restore, and then in the database's own time zone.
        "CREATE MATERIALIZED VIEW noon AS SELECT ('2026-01-01 ' || '12:00')::timestamptz AT TIME ZONE 'UTC' AS utc",
        f"ALTER DATABASE {name} SET default_transaction_read_only TO on",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
    )
    repository, backup = back_up(target, tmp_path)
    run_sql(target.with_database("postgres"), f"DROP DATABASE {name}")

    done = put_back(target, repository, backup)

    assert done.previous_database is None
    assert value(target, "SELECT count(*) FROM public.knowledge") == 500
    assert value(target, "SHOW search_path") == '"odd, name", public'
    assert value(target, "SHOW work_mem") == "7MB"
    assert (
        value(target, "SELECT has_database_privilege('pg_monitor', current_database(), 'CONNECT')") is False
    )
    assert value(target, "SELECT datconnlimit FROM pg_database WHERE datname = current_database()") == -1


def test_a_failure_before_the_swap_leaves_the_target_alone_and_nothing_behind(
    target: Target, tmp_path: Path
) -> None:
    repository, backup = back_up(target, tmp_path)
    run_sql(target, "DELETE FROM knowledge WHERE id > 10")
    before = table_hashes(target)

    def disturb(step: Step) -> None:
        if step is Step.COMPARING:
            new = next(name for name in databases(target) if "__new_" in name)
            run_sql(target.with_database(new), "DELETE FROM knowledge WHERE id = 7")

    with pytest.raises(VerificationError) as caught:
        put_back(target, repository, backup, Hooks(step=disturb))

    assert "table public.knowledge has 499 rows, the backup has 500" in caught.value.message
    assert caught.value.untouched == f"{target.place} is wholly what it was before"
    assert table_hashes(target) == before
    assert databases(target) == {target.dbname}


def test_the_look_says_what_is_there(target: Target, tmp_path: Path) -> None:
    _, backup = back_up(target, tmp_path)
    run_sql(target, "ANALYZE")
    looked = plan_restore(target, backup)
    assert (looked.tables, looked.rows, looked.empty, looked.obstacles) == (2, 500, False, ())
    assert looked.around.free is not None


def test_everything_odd_comes_back_equal_by_a_second_opinion(server: Target, tmp_path: Path) -> None:
    with restorable(server, "odd") as target:
        make_odd(target)
        before = (schema_text(target), table_hashes(target))
        sequences = value(target, "SELECT last_value || ' ' || is_called FROM accounts.lonely")
        repository, backup = back_up(target, tmp_path)
        run_sql(target, "DROP SCHEMA accounts CASCADE")

        done = put_back(target, repository, backup)

        assert (schema_text(target), table_hashes(target)) == before
        assert value(target, "SELECT last_value || ' ' || is_called FROM accounts.lonely") == sequences
        assert done.comparison.heads == ("head one", "head two")
        assert done.comparison.notes == ()


def role(target: Target, name: str, options: str = "") -> Target:
    """A login role of that name, as a target on the same database."""
    run_sql(target, f"CREATE ROLE {name} LOGIN PASSWORD 'pw' {options}")
    return dataclasses.replace(target, user=name, password=LiteralSecret(Secret("pw")))


def test_an_owner_that_is_no_superuser_can_restore(server: Target, tmp_path: Path) -> None:
    with restorable(server, "owned") as target:
        owner = role(target, "owned_owner", "CREATEDB")
        run_sql(target, f"ALTER DATABASE {target.dbname} OWNER TO owned_owner")
        small_data(owner)
        before = table_hashes(owner)
        repository, backup = back_up(owner, tmp_path)
        run_sql(owner, "DELETE FROM knowledge")

        put_back(owner, repository, backup)

        assert table_hashes(owner) == before
        assert (
            value(target, "SELECT tableowner FROM pg_tables WHERE tablename = 'knowledge'") == "owned_owner"
        )
        found = undo.state(owner)
        undo.undo(owner, undo.choose(found, None), expected_oid=found.oid, now=NOW)
        assert value(owner, "SELECT count(*) FROM knowledge") == 0
    run_sql(server, "DROP ROLE owned_owner")


def test_settings_that_the_user_may_not_set_are_left_out_and_named_in_the_look(
    server: Target, tmp_path: Path
) -> None:
    with restorable(server, "settings") as target:
        owner = role(target, "settings_owner", "CREATEDB")
        role(target, "settings_other")
        name = target.dbname
        run_sql(
            target,
            f"ALTER DATABASE {name} OWNER TO settings_owner",
            f"ALTER DATABASE {name} SET log_statement TO 'ddl'",
            f"ALTER DATABASE {name} SET app.tenant TO 'x'",
            f"ALTER DATABASE {name} SET work_mem TO '8MB'",
            f"ALTER DATABASE {name} SET role TO settings_owner",
            f"ALTER DATABASE {name} SET \"TimeZone\" TO 'Asia/Tokyo'",
            f"ALTER ROLE settings_owner IN DATABASE {name} SET work_mem TO '9MB'",
            f"ALTER ROLE settings_other IN DATABASE {name} SET work_mem TO '7MB'",
            f"ALTER DATABASE {name} SET log_min_messages TO 'error'",
            "GRANT SET ON PARAMETER log_min_messages TO settings_owner",
        )
        small_data(owner)
        repository, backup = back_up(owner, tmp_path)

        def settings(database: str) -> list[str]:
            query = (
                "SELECT array_agg(coalesce(setrole::regrole::text, '') || one ORDER BY setrole, one) FROM"
                " pg_db_role_setting, unnest(setconfig) AS one"
                f" WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = '{database}')"
            )
            return [each.removeprefix("-") for each in value(target, query)]

        before = settings(name)
        warnings = [each for each in plan_restore(owner, backup).warnings if "goes without" in each]
        statements = [each.partition("afterwards: ")[2] for each in warnings]
        assert len(statements) == 3
        assert not [each for each in plan_restore(target, backup).warnings if "goes without" in each]
        assert not [
            each for each in plan_restore(owner, backup, beside=False).warnings if "goes without" in each
        ]

        put_back(owner, repository, backup)

        lost = {"log_statement=ddl", "app.tenant=x", "settings_otherwork_mem=7MB"}
        assert set(before) - set(settings(name)) == lost
        # What the warnings say to do gives them back.
        run_sql(server, *statements)
        assert settings(name) == before
        run_sql(server, "REVOKE SET ON PARAMETER log_min_messages FROM settings_owner")
    run_sql(server, "DROP ROLE settings_owner", "DROP ROLE settings_other")


def test_who_may_not_make_databases_or_end_sessions_is_told_before_anything_happens(
    server: Target, tmp_path: Path
) -> None:
    with fresh_database(server, "poor") as target:
        small_data(target)
        repository, backup = back_up(target, tmp_path)
        poor = role(target, "poor_user")
        with connected(target), pytest.raises(BlockedError) as caught:
            put_back(poor, repository, backup)
        assert "may not create databases" in caught.value.message
        assert "may not end are in the target: postgres" in caught.value.message
        assert "--in-place" in caught.value.hint
        assert databases(target) == {target.dbname}
    run_sql(server, "DROP ROLE poor_user")


def test_slots_subscriptions_and_prepared_transactions_stand_in_the_way(tmp_path: Path) -> None:
    settings = {"wal_level": "logical", "max_prepared_transactions": "2"}
    with embedded.scratch_server(tmp_path, settings=settings) as server:
        run_sql(server.target, "CREATE DATABASE replicated")
        target = server.target.with_database("replicated")
        small_data(target)
        repository, backup = back_up(target, tmp_path)
        with connected(target) as connection:
            for statement in (
                "SELECT pg_create_logical_replication_slot('a_slot', 'pgoutput')",
                "CREATE SUBSCRIPTION a_subscription CONNECTION 'host=/nowhere' PUBLICATION p"
                " WITH (connect = false, slot_name = NONE)",
                "BEGIN",
                "INSERT INTO knowledge (content) VALUES ('half')",
                "PREPARE TRANSACTION 'half done'",
            ):
                execute(connection, statement)

        with pytest.raises(BlockedError) as caught:
            put_back(target, repository, backup)

        for said in ("a_slot", "a_subscription", "half done"):
            assert said in caught.value.message
        assert databases(target) == {target.dbname}


def test_a_backup_goes_into_another_environment_and_keeps_that_ones_settings(
    server: Target, tmp_path: Path
) -> None:
    with fresh_database(server, "prod") as prod, restorable(server, "dev") as dev:
        small_data(prod)
        run_sql(
            prod,
            f"ALTER DATABASE {prod.dbname} SET work_mem TO '9MB'",
            f"ALTER DATABASE {prod.dbname} SET search_path TO public, extra",
        )
        run_sql(
            dev,
            f"ALTER DATABASE {dev.dbname} SET work_mem TO '5MB'",
            f"ALTER DATABASE {dev.dbname} CONNECTION LIMIT 7",
        )
        repository, backup = back_up(prod, tmp_path, name="prod")

        looked = plan_restore(dev, backup)
        assert looked.warnings == ("setting work_mem stays '5MB'; the backup has '9MB'",)
        put_back(dev, repository, backup)

        assert value(dev, "SELECT count(*) FROM knowledge") == 500
        assert (value(dev, "SHOW work_mem"), value(dev, "SHOW search_path")) == ("5MB", "public, extra")
        assert value(dev, "SELECT datconnlimit FROM pg_database WHERE datname = current_database()") == 7


def test_missing_roles_are_named_and_no_owner_goes_on_without_them(server: Target, tmp_path: Path) -> None:
    with restorable(server, "roles") as target:
        small_data(target)
        run_sql(target, "CREATE ROLE gone_owner", "ALTER TABLE knowledge OWNER TO gone_owner")
        repository, backup = back_up(target, tmp_path)
        run_sql(target, "DROP OWNED BY gone_owner", "DROP ROLE gone_owner")
        with pytest.raises(BlockedError) as caught:
            put_back(target, repository, backup)
        assert "roles that this server lacks: gone_owner" in caught.value.message
        looked = plan_restore(target, backup, with_owners=False)
        restore(looked, repository, Hooks(), now=NOW, jobs=2)
        assert value(target, "SELECT count(*) FROM knowledge") == 500


def test_only_what_a_restore_made_and_could_not_mark_is_a_leftover(server: Target) -> None:
    with fresh_database(server, "unmarked") as target:
        ours = side_databases.side_database_name(target.dbname, "new", side_databases.new_restore_id(NOW))
        people_made = [
            f"{target.dbname}__new_feature",
            side_databases.side_database_name(target.dbname, "previous", side_databases.new_restore_id(NOW)),
            side_databases.side_database_name("another", "new", side_databases.new_restore_id(NOW)),
            f"{ours[:-1]}x",
        ]
        with contextlib.ExitStack() as made, connected(server) as admin:
            for name in (ours, *people_made):
                execute(
                    admin,
                    f"CREATE DATABASE {identifier(name)} CONNECTION LIMIT {side_databases.UNFINISHED_LIMIT}",
                )
                made.callback(run_sql, server, f"DROP DATABASE {identifier(name)}")
            assert side_databases.list_unmarked(admin, target.dbname) == [ours]
            execute(admin, side_databases.comment_statement(ours, "mine now"))
            assert side_databases.list_unmarked(admin, target.dbname) == []


def test_odd_and_long_database_names(server: Target, tmp_path: Path) -> None:
    for name in ("od\"d na'me=x", "ä" * 31 + "z"):
        target = server.with_database(name)
        run_sql(server, f"CREATE DATABASE {identifier(name)}")
        small_data(target)
        repository, backup = back_up(target, tmp_path)
        run_sql(target, "DELETE FROM knowledge")
        done = put_back(target, repository, backup)
        assert value(target, "SELECT count(*) FROM knowledge") == 500
        assert done.previous_database is not None
        assert len(done.previous_database.encode()) <= 63
        for each in (name, done.previous_database):
            run_sql(server, f"DROP DATABASE {identifier(each)} WITH (FORCE)")


def test_two_restores_at_once_and_a_migration_keep_out_of_each_others_way(
    target: Target, tmp_path: Path
) -> None:
    repository, backup = back_up(target, tmp_path)
    with (
        connected(target, application_name="pgops run x") as migrating,
        held(migrating, "schema", wait=0, what="x"),
        pytest.raises(LockedError) as caught,
    ):
        restore(plan_restore(target, backup), repository, Hooks(), now=NOW, jobs=2, lock_wait=0)
    assert "a migration of" in caught.value.message
    assert "pgops run x" in caught.value.message

    def second(step: Step) -> None:
        if step is Step.LOADING:
            with pytest.raises(LockedError) as busy:
                restore(plan_restore(target, backup), repository, Hooks(), now=NOW, jobs=2, lock_wait=0)
            assert "a restore of" in busy.value.message
            assert "is under way" in busy.value.message
            said = undo.state(target).sentences()
            assert any("a restore is under way" in each for each in said)

    put_back(target, repository, backup, Hooks(step=second))


def test_behind_a_transaction_pool_it_is_refused_and_behind_a_session_pool_it_works(
    target: Target, pgbouncer: Callable[[str], Target], tmp_path: Path
) -> None:
    repository, backup = back_up(target, tmp_path)
    with pytest.raises(RefusedError) as caught:
        plan_restore(pgbouncer("transaction").with_database(target.dbname), backup)
    assert "transaction-pooling proxy" in caught.value.message
    run_sql(target, "DELETE FROM knowledge")
    put_back(pgbouncer("session").with_database(target.dbname), repository, backup)
    assert value(target, "SELECT count(*) FROM knowledge") == 500


def test_the_value_of_an_application_s_own_setting_is_not_shown(target: Target, tmp_path: Path) -> None:
    for secret in ("old-jwt-secret", "new-jwt-secret"):
        run_sql(target, f"ALTER DATABASE {target.dbname} SET app.jwt_secret TO '{secret}'")
        if secret.startswith("old"):
            _, backup = back_up(target, tmp_path)
    (warning,) = plan_restore(target, backup).warnings
    assert "setting app.jwt_secret stays" in warning
    assert "jwt-secret" not in warning
