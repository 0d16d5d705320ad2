"""Handing over, as docs/physical-backups.md says it: its very lines are followed, with other names."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

import docker
import pytest

from pgops import postgres
from tests.conftest import ProjectDirectory, Ran
from tests.support.pgbackrest import (
    DATA,
    PLACE,
    backed_up_by,
    on_a_machine,
    requested,
    running_cluster,
    second_server,
)

pytestmark = [pytest.mark.docker, requested]

PAGE = Path(__file__).parents[3] / "docs" / "physical-backups.md"


def lines_of(number: int, **names: str) -> str:
    """A block of the page, with other names in the assignments at its beginning."""
    chapter = PAGE.read_text(encoding="utf-8").partition("### Handing over")[2]
    text = re.findall(r"```bash\n(.*?)```", chapter, re.DOTALL)[number]
    for name, value in names.items():
        text, count = re.subn(rf"^( *{name}=).*$", rf"\g<1>{value}", text, flags=re.MULTILINE)
        assert count == 1, name
    return f"set -eu\n{text}"


def answer(ran: Ran, code: int = 0) -> dict[str, Any]:
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_on_a_machine_with_a_tablespace(
    project: ProjectDirectory, docker_engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tablespace is recovered below the recovery's place, and goes along when that becomes the server."""
    with running_cluster() as cluster, second_server(cluster) as second:
        binaries = second.programs
        on_a_machine(second, project, tmp_path / "bin", monkeypatch)
        text = (project.path / "environments.yaml").read_text()
        project.write("environments.yaml", text.replace("{ssh: box}", f"{{ssh: box, recovery: {PLACE}}}"))
        second.sql(f"CREATE TABLESPACE fast LOCATION '{PLACE}/fast'")
        second.sql("CREATE TABLE precious TABLESPACE fast AS SELECT generate_series(1, 500) AS g")
        cluster.shell("pgbackrest --stanza=second backup")
        second.sql("INSERT INTO precious VALUES (501)")
        # The last of it gets into the archive when the server is stopped properly.
        cluster.shell(f"{binaries}/pg_ctl -D {PLACE}/main -m fast stop")
        done = answer(project.run("restore", "--promote", "--yes", "--json"))["restore"]["recovery"]
        new = done["directory"].removesuffix("/data")
        assert cluster.shell(f"readlink {new}/data/pg_tblspc/*").startswith(f"{new}/tablespaces/")
        cluster.shell(
            lines_of(0, old=f"{PLACE}/main", new=new, bin=binaries) + "\nrm -r " + f"{PLACE}/fast/*"
        )
        assert second.sql("SELECT count(*) FROM precious") == "501"
        assert second.sql("SHOW archive_mode") == "on"
        assert second.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "2"
        ran = project.run("restore.discard", f"--recovery={done['id']}", "--yes")
        assert ran.code == 0, ran.text
        assert second.ls() == {"fast", "log", "main", "main.before", "main.log", "main.tablespaces"}
        cluster.shell("pgbackrest --stanza=second backup --type=full")
        assert second.sql("SELECT count(*) FROM precious") == "501"


def test_in_a_container(
    project: ProjectDirectory, docker_engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = f"pgops-test-{secrets.token_hex(4)}"
    with running_cluster() as cluster, contextlib.closing(docker.from_env()) as engine:
        backed_up_by(cluster, project, monkeypatch)
        cluster.execute("CREATE TABLE precious AS SELECT generate_series(1, 500) AS g")
        assert project.run("backup").code == 0
        cluster.execute("INSERT INTO precious VALUES (501)", "SELECT pg_create_restore_point('all there')")
        cluster.execute("DELETE FROM precious")
        cluster.archived()
        ran = project.run("restore", "--to-point=all there", "--promote", "--yes", "--json")
        recovery = answer(ran)["restore"]["recovery"]
        name = f"pgops-recovery-{recovery['id']}"
        try:
            done = subprocess.run(
                ["bash", "-c", lines_of(1, old=cluster.name, new=name, volume=volume)],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            old = engine.containers.get(cluster.name).attrs
            new = engine.containers.create(
                old["Image"],
                command=old["Config"]["Cmd"],
                environment=old["Config"]["Env"],
                ports={5432: ("127.0.0.1", None)},
                volumes={volume: {"bind": DATA, "mode": "rw"}},
                labels={"pgops.test": "pgbackrest"},
            )
            try:
                config, _stat = engine.api.get_archive(cluster.name, "/etc/pgbackrest.conf")
                engine.api.put_archive(new.id, "/etc", b"".join(config))
                new.start()
                new.reload()
                port = int(new.ports["5432/tcp"][0]["HostPort"])
                target = dataclasses.replace(cluster.target, port=port)
                postgres.wait_until_ready(target, 60)
                with postgres.connected(target) as connection:
                    assert postgres.fetch_value(connection, "SELECT count(*) FROM public.precious") == 501
                    assert postgres.fetch_value(connection, "SHOW archive_mode") == "on"
            finally:
                new.remove(v=True, force=True)
            engine.containers.get(cluster.name).start()
            ran = project.run("restore.discard", f"--recovery={recovery['id']}", "--yes")
            assert ran.code == 0, ran.text
        finally:
            with contextlib.suppress(docker.errors.NotFound):
                engine.volumes.get(volume).remove()
