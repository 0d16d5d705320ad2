"""Restore beside, checked, swapped, undoable; on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups import undo
from pgops.backups.restore import Hooks, Step
from pgops.backups.restore_look import look
from pgops.errors import VerificationError
from pgops.postgres import Target
from tests.conftest import fresh_database
from tests.odd_database import make_odd
from tests.restoring import (
    NOW,
    back_up,
    databases,
    drop_all,
    put_back,
    run_sql,
    schema_text,
    small_data,
    table_hashes,
    value,
)


@pytest.fixture
def target(server: Target) -> Iterator[Target]:
    """A database with data; it and everything beside it is dropped afterwards."""
    with fresh_database(server, "restore") as found:
        small_data(found)
        yield found
        drop_all(found)


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
    looked = look(target, backup)
    assert (looked.tables, looked.rows, looked.empty, looked.obstacles) == (2, 501, False, ())
    assert looked.around.free is not None


def test_everything_odd_comes_back_equal_by_a_second_opinion(server: Target, tmp_path: Path) -> None:
    with fresh_database(server, "odd") as target:
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
        drop_all(target)
