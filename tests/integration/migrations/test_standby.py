"""A real primary with a real streaming standby: the lag that a plan is warned of, and a replica that takes no migrations."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgops import postgres
from pgops.errors import RefusedError
from pgops.local import embedded
from pgops.local.embedded import process
from pgops.local.embedded.installation import Cluster, give, programs_for, server_user
from pgops.migrations.hazards.live import Replica, replicas
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.migrations.status.status import history_of, migration_status
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.ports import free_port
from tests.support.projects import AlembicProject, carry_out, heads, migrate, tables

BIG = "ALTER TABLE big ALTER COLUMN n TYPE bigint"
# A row of about 1 kB that TOAST leaves alone; 64 MiB is where a replica's lag and a table's size begin to matter.
FILL = "INSERT INTO big SELECT i, repeat('x', 950) FROM generate_series(1, 75000) AS i"


@dataclass(frozen=True)
class Pair:
    """A primary and its standby, and the same database on both."""

    primary: Target
    standby: Target

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """The standby receives what the primary writes, and applies nothing."""
        return _replay_paused(self)

    def caught_up(self) -> bool:
        """Whether the standby has applied everything, also what is committed and not written yet."""
        with postgres.connected(self.primary) as connection:
            return bool(
                postgres.fetch_value(
                    connection, "SELECT replay_lsn >= pg_current_wal_insert_lsn() FROM pg_stat_replication"
                )
            )


@contextlib.contextmanager
def _replay_paused(pair: Pair) -> Iterator[None]:
    with postgres.connected(pair.standby) as connection:
        postgres.execute(connection, "SELECT pg_wal_replay_pause()")
        eventually(
            lambda: postgres.fetch_value(connection, "SELECT pg_get_wal_replay_pause_state()") == "paused"
        )
        try:
            yield
        finally:
            postgres.execute(connection, "SELECT pg_wal_replay_resume()")


def eventually(true: Callable[[], bool], seconds: float = 30) -> None:
    """Poll until it is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds:g} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A primary, and a standby made from it by pg_basebackup."""
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(embedded.scratch_server(settings={"max_wal_size": "2GB"}))
        secret = state.target.secret()
        password = secret.reveal() if secret else ""
        user = server_user()
        # Inside the primary's own directory: what removes that one removes this one.
        cluster = Cluster(state.home / "standby", user)
        cluster.home.mkdir(mode=0o755)
        cluster.data.mkdir(mode=0o700)
        give(cluster.data, user)
        subprocess.run(
            [
                str(programs_for(user) / "pg_basebackup"),
                f"--dbname=host={state.host} port={state.port} user={state.user} application_name=standby_1",
                f"--pgdata={cluster.data}",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
            ],
            env={**os.environ, "PGPASSWORD": password},
            cwd="/",
            check=True,
            capture_output=True,
            **(user.as_child() if user is not None else {}),
        )
        port = free_port()
        settings = {
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
        }
        stack.callback(process.stop, cluster, timeout=10)
        process.start(cluster, settings, 60)
        with postgres.connected(state.target) as connection:
            postgres.execute(connection, "CREATE DATABASE app")
        primary = dataclasses.replace(state.target, environment="staging").with_database("app")
        found = Pair(primary, dataclasses.replace(primary, port=port))
        eventually(found.caught_up)
        postgres.wait_until_ready(found.standby, 20)
        yield found


@pytest.fixture
def alembic(tmp_path: Path, pair: Pair) -> Iterator[AlembicProject]:
    """A project whose second revision rewrites a table; the database is at the first."""
    made = AlembicProject.make(tmp_path / "project")
    made.revision("aaaa", None, "op.execute('CREATE TABLE big (n integer, filler text)')")
    migrate(made.environment(pair.primary), pair.primary)
    made.revision("bbbb", "aaaa", f"op.execute('{BIG}')")
    yield made
    with postgres.connected(pair.primary) as connection:
        postgres.execute(connection, "DROP TABLE big, alembic_version; DROP SCHEMA pgops CASCADE")
    eventually(pair.caught_up)


def lag_told(plan: Plan) -> list[str]:
    """What the plan says of replicas."""
    return [each.message for each in plan.hazards if each.rule == "replica-lag"]


def test_a_replica_that_is_really_behind_is_told_until_it_has_caught_up(
    pair: Pair, alembic: AlembicProject
) -> None:
    environment = alembic.environment(pair.primary)
    with pair.paused():
        with postgres.connected(pair.primary) as connection:
            postgres.execute(connection, FILL)
            (seen,) = replicas(connection)
        assert (seen.name, seen.state, seen.synchronous) == ("standby_1", "streaming", False)
        assert seen.lag_bytes is not None
        assert seen.lag_bytes > 64 * 1024 * 1024
        plan = make_plan(environment, pair.primary)
        (told,) = lag_told(plan)
        assert told.startswith("replica standby_1 is behind by ")
        assert "; the largest table of the plan has " in told
        (hazard,) = [each for each in plan.hazards if each.rule == "replica-lag"]
        assert (hazard.level, hazard.revision) == ("warning", "")

    eventually(pair.caught_up)
    assert lag_told(make_plan(environment, pair.primary)) == []


def test_a_role_that_may_not_see_replicas_is_told_nothing_and_one_that_may_is(
    pair: Pair, alembic: AlembicProject
) -> None:
    with postgres.connected(pair.primary) as connection:
        postgres.execute(connection, "CREATE ROLE looks")
        try:
            postgres.execute(connection, "SET ROLE looks")
            assert replicas(connection) == [
                Replica("standby_1", "", synchronous=False, lag_bytes=None, lag_seconds=None)
            ]
            postgres.execute(connection, "RESET ROLE; GRANT pg_monitor TO looks; SET ROLE looks")
            (seen,) = replicas(connection)
            assert seen.state == "streaming"
        finally:
            postgres.execute(connection, "RESET ROLE; DROP ROLE looks")


def test_the_replica_itself_can_be_looked_at_and_takes_no_migration(
    pair: Pair, alembic: AlembicProject
) -> None:
    eventually(pair.caught_up)
    environment = alembic.environment(pair.standby)
    plan = make_plan(environment, pair.standby)
    assert [each.revision for each in plan.pending] == ["bbbb"]
    assert f"{pair.standby.place} is a replica in recovery: it takes no migrations" in plan.notes
    assert migration_status(environment, pair.standby, history_of(environment)).pending == ("bbbb",)

    with pytest.raises(RefusedError, match="is a replica in recovery") as error:
        carry_out(plan)
    assert error.value.untouched == "nothing was applied"
    assert error.value.hint == "point staging at the primary"
    assert heads(pair.primary) == {"aaaa"}


def test_a_person_is_told_the_same(
    pair: Pair, alembic: AlembicProject, project: ProjectDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    eventually(pair.caught_up)
    secret = pair.standby.secret()
    monkeypatch.setenv("TEST_PASSWORD", secret.reveal() if secret else "")
    assert project.path == alembic.path
    project.environment_yaml(staging=pair.standby)
    for task in (
        # Before anybody is asked: without --yes there is no answer here, and none is needed.
        ("migrate",),
        ("migrate.down", "--to=base"),
        ("migrate.stamp", "--to=bbbb", "--yes"),
    ):
        ran = project.run(*task)
        assert ran.code == 8, ran.text
        assert "is a replica in recovery: it takes no migrations" in ran.err
        assert "untouched: nothing was applied" in ran.err
        assert "point staging at the primary" in ran.err
    assert heads(pair.primary) == {"aaaa"}
    assert "big" in tables(pair.primary)
