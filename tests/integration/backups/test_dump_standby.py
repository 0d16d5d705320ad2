"""A backup of a hot standby, which is where careful people take theirs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.dump.create import create
from pgops.local import embedded
from pgops.local.embedded import process
from pgops.local.embedded.installation import Cluster, programs_for, server_user
from pgops.postgres import Target, wait_until_ready
from tests.support.backups import environment_for
from tests.support.ports import free_port
from tests.support.restores import small_data
from tests.support.sql import run_sql, value


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Target]]:
    """A primary with data, and its standby."""
    home = Path("/tmp") if os.geteuid() == 0 else tmp_path_factory.mktemp("standby")
    with embedded.scratch_server(home) as state:
        primary = state.target
        small_data(primary)
        run_sql(primary, "CREATE UNLOGGED TABLE passing AS SELECT 1 AS a")
        port = free_port()
        # Inside the primary's own directory: what removes that one removes this one.
        cluster = Cluster(state.home / "standby", server_user())
        cluster.home.mkdir(mode=0o755)
        secret = primary.secret()
        as_server = cluster.user.as_child() if cluster.user else {}
        if cluster.user:
            os.chown(cluster.home, cluster.user.uid, cluster.user.gid)
        subprocess.run(
            [
                str(programs_for(cluster.user) / "pg_basebackup"),
                f"--pgdata={cluster.data}",
                f"--host={primary.host}",
                f"--port={primary.port}",
                f"--username={primary.user}",
                "--checkpoint=fast",
                "--no-sync",
                "--write-recovery-conf",
            ],
            env={"PGPASSWORD": secret.reveal() if secret else ""},
            cwd="/",
            check=True,
            capture_output=True,
            **as_server,
        )
        settings = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        process.start(cluster, settings, 30)
        try:
            standby = dataclasses.replace(primary, port=port)
            wait_until_ready(standby, 30)
            yield primary, standby
        finally:
            process.stop(cluster, timeout=10)


def test_a_standby_gives_a_whole_backup_and_says_what_it_could_not_have(
    pair: tuple[Target, Target], tmp_path: Path
) -> None:
    primary, standby = pair
    run_sql(primary, "INSERT INTO knowledge (content) VALUES ('late')")
    deadline = time.monotonic() + 30
    while value(standby, "SELECT count(*) FROM knowledge") != 501:
        assert time.monotonic() < deadline, "the standby does not follow"
        time.sleep(0.02)
    manifest = create(environment_for(standby, tmp_path), standby).manifest
    assert {each.name: each.rows for each in manifest.tables} == {
        "knowledge": 501,
        "alembic_version": 1,
        "passing": None,
    }
    assert manifest.warnings == (
        "taken from a standby: a migration on the primary was not kept waiting",
        'a standby has no rows of unlogged tables: "public"."passing"',
    )
    assert manifest.system_identifier == str(
        value(primary, "SELECT system_identifier FROM pg_control_system()")
    )
