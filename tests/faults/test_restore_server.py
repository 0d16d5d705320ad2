"""A server that dies or has no disk left in the middle of a restore: wholly old or wholly new, nothing half-made."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.load.side_database import Hooks, Step
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.repository import Repository
from pgops.backups.restore import undo
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.restore import restore
from pgops.errors import PgopsError
from pgops.local import embedded
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import fresh_database
from tests.support.ports import free_port
from tests.support.restores import back_up, databases, put_back, small_data, table_hashes
from tests.support.sql import run_sql, value

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "4"))
LOST = "DELETE FROM knowledge WHERE id > 10"


def fill(target: Target) -> None:
    """Enough for a restore to take a moment."""
    small_data(target)
    run_sql(
        target,
        "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 8) AS t FROM generate_series(1, 30000) g",
        "CREATE INDEX ON large (t)",
    )


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[embedded.EmbeddedSpec]:
    """A durable server that a test may kill and start again."""
    place = tmp_path / "own"
    place.mkdir()
    spec = embedded.EmbeddedSpec(place, free_port(), "postgres", LiteralSecret(Secret("sécret-pass")), "app")
    embedded.up(spec)
    yield spec
    embedded.destroy(spec)


def restored_or_failed(
    target: Target, repository: Repository, backup: Backup, hooks: Hooks
) -> PgopsError | None:
    """Restore; gives the expected failure. Anything else is a defect and gets out."""
    try:
        restore(
            plan_restore(target, backup), repository, hooks, now=dt.datetime.now(dt.UTC), jobs=2, lock_wait=10
        )
    except PgopsError as error:
        return error
    return None


@pytest.mark.soak
def test_the_server_is_killed_at_random_moments(own_server: embedded.EmbeddedSpec, tmp_path: Path) -> None:
    target = own_server.target
    fill(target)
    new = table_hashes(target)
    repository, backup = back_up(target, tmp_path / "backups")
    run_sql(target, LOST)
    old = table_hashes(target)
    outcomes = set()
    for at in range(max(2, ROUNDS // 2)):
        # The first one dies in the swap, the others anywhere.
        moment, delay = (Step.SWAPPING, 0.01) if at == 0 else (Step.CHECKING, random.uniform(0.05, 2.5))
        killer = threading.Thread(target=_kill_postmaster, args=(own_server, delay))

        def on_step(step: Step, moment: Step = moment, killer: threading.Thread = killer) -> None:
            if step is moment:
                killer.start()

        error = restored_or_failed(target, repository, backup, Hooks(step=on_step))
        if not killer.ident:
            killer.start()
        killer.join()
        _start_again(own_server)

        found = table_hashes(target)
        state = undo.state(target)
        assert found in (old, new)
        assert (state.before is not None) is (found == new)
        if error is None:
            assert found == new
        outcomes.add(found == new)
        put_back(target, repository, backup)
        assert table_hashes(target) == new
        undo.discard(target, undo.state(target).kept)
        assert databases(target) == {"app"}
        run_sql(target, LOST)
    assert outcomes


def _start_again(spec: embedded.EmbeddedSpec) -> None:
    """Orphaned backends hold the old server's memory for a moment; until they notice, it can't start."""
    deadline = time.monotonic() + 60
    while True:
        try:
            embedded.up(spec)
            return
        except PgopsError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _kill_postmaster(spec: embedded.EmbeddedSpec, delay: float) -> None:
    time.sleep(delay)
    pid = embedded.status(spec).pid
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def small_tablespace(server: Target, tmp_path: Path) -> Iterator[str]:
    """A tablespace on a disk of 60 MB, in the scratch server."""
    disk = Path("/tmp") / f"pgops-small-{os.getpid()}"
    disk.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=60m,mode=0700", "tmpfs", str(disk)],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
        try:
            owner = Path(str(value(server, "SHOW data_directory"))).stat()
            os.chown(disk, owner.st_uid, owner.st_gid)
            run_sql(server, f"CREATE TABLESPACE small LOCATION '{disk}'")
            yield "small"
            run_sql(server, "DROP TABLESPACE small")
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    finally:
        with contextlib.suppress(FileNotFoundError):
            disk.rmdir()


def test_a_server_without_room_fails_clearly_and_keeps_the_target(
    server: Target, tmp_path: Path, small_tablespace: str
) -> None:
    with fresh_database(server, "full") as target:
        run_sql(server, f"ALTER DATABASE {target.dbname} SET TABLESPACE {small_tablespace}")
        fill(target)
        run_sql(
            target, "INSERT INTO large SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 20000) g"
        )
        repository, backup = back_up(target, tmp_path / "backups")
        run_sql(target, LOST)
        old = table_hashes(target)

        error = restored_or_failed(target, repository, backup, Hooks())

        assert error is not None
        assert "No space left on device" in error.message
        assert error.untouched == f"{target.place} is wholly what it was before"
        assert table_hashes(target) == old
        assert databases(target) == {target.dbname}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add"])
def test_a_damaged_backup_is_refused_named_and_the_target_kept(
    database: Target, tmp_path: Path, damage: str
) -> None:
    small_data(database)
    repository, backup = back_up(database, tmp_path / "backups")
    dump = Path(repository.location(backup.id)) / "dump"
    old = table_hashes(database)
    for victim in sorted(dump.iterdir()) if damage != "add" else [dump / "stranger"]:
        before = victim.read_bytes() if victim.exists() else None
        if damage == "flip":
            content = bytearray(victim.read_bytes())
            content[random.randrange(len(content))] ^= 1 << random.randrange(8)
            victim.write_bytes(content)
        elif damage == "truncate":
            victim.write_bytes(victim.read_bytes()[:-1])
        elif damage == "remove":
            victim.unlink()
        else:
            victim.write_bytes(b"")

        error = restored_or_failed(database, repository, backup, Hooks())

        assert error is not None
        assert f"dump/{victim.name}" in error.message
        assert int(error.exit_code) == 9
        if before is not None:
            victim.write_bytes(before)
    assert table_hashes(database) == old
    assert databases(database) == {database.dbname}


# An index that takes half a minute where a restore makes it, and no time where the backup was taken.
SLOW_TO_RESTORE = (
    """
    CREATE FUNCTION slow(number bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        IF current_database() LIKE '%\\_\\_new\\_%' THEN
            PERFORM pg_catalog.pg_sleep(30);
        END IF;
        RETURN number;
    END $$
    """,
    "CREATE TABLE slowly_indexed AS SELECT 1::bigint AS number",
    "CREATE INDEX ON slowly_indexed (slow(number))",
)


@pytest.mark.parametrize("victim", ["pg_restore", "its session"])
def test_a_pg_restore_that_is_killed_fails_the_restore_and_keeps_the_target(
    database: Target, tmp_path: Path, victim: str
) -> None:
    fill(database)
    run_sql(database, *SLOW_TO_RESTORE)
    repository, backup = back_up(database, tmp_path / "backups")
    run_sql(database, LOST)
    old = table_hashes(database)

    def kill() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if victim == "pg_restore" and _kill_program("pg_restore", f"{database.dbname}__new_"):
                return
            if victim != "pg_restore" and _end_session(database):
                return
            time.sleep(0.005)

    killer = threading.Thread(target=kill)
    error = restored_or_failed(
        database,
        repository,
        backup,
        Hooks(step=lambda step: killer.start() if step is Step.LOADING else None),
    )
    killer.join()

    assert error is not None
    assert "pg_restore" in error.message
    assert error.untouched == f"{database.place} is wholly what it was before"
    assert table_hashes(database) == old
    assert databases(database) == {database.dbname}


def _kill_program(name: str, argument: str) -> bool:
    """Kill the process of this name with this in its arguments; whether there was one."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(name.encode()) and any(argument.encode() in each for each in words):
                os.kill(int(process.name), signal.SIGKILL)
                return True
    return False


def _end_session(target: Target) -> bool:
    ended = value(
        target.with_database("postgres"),
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        f" WHERE datname LIKE '{target.dbname}\\_\\_new\\_%' AND application_name = 'pgops restore'",
    )
    return bool(ended)
