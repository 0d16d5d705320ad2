"""up, stop, down, logs and programs inside, with a real engine; and each failure in its own words."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from pgops import postgres
from pgops.errors import RefusedError, UnreachableError
from pgops.local.engine import server
from pgops.local.engine.client import Engine, Event, connect
from pgops.local.engine.data import system_identifier
from pgops.local.engine.images import ensure_image
from pgops.local.engine.request import container_body
from pgops.postgres import Target
from tests.support.ports import free_port

from .engine_project import EngineProject, refused, wait_for_port

pytestmark = pytest.mark.docker


def test_a_whole_life(compose_project: EngineProject) -> None:
    project, engine = compose_project, compose_project.engine
    assert server.status(engine, project.spec()).state == "absent"
    first = project.up()
    assert (first.action, first.container, first.data) == (
        "created",
        project.container,
        f"volume {project.name}_data",
    )
    assert [event.kind for event in project.events] == ["network", "volume", "container", "wait"]
    assert project.up().action == "none"
    status = server.status(engine, project.spec())
    assert (status.state, status.image, status.changed) == ("running", "postgres:17", False)
    with postgres.connected(project.target()) as connection:
        postgres.execute(connection, "CREATE TABLE kept (a int)")
        outside = postgres.identity(connection).system_identifier
    assert system_identifier(engine, project.container, "/var/lib/postgresql/data") == outside

    assert server.stop(engine, project.spec()) == project.container
    assert server.stop(engine, project.spec()) == ""
    assert server.status(engine, project.spec()).state == "stopped"
    assert project.up().action == "started"
    with pytest.raises(RefusedError, match="still uses the data"):
        server.remove_data(engine, project.spec())
    assert server.down(engine, project.spec()) == (project.container, f"{project.name}_default")
    assert server.down(engine, project.spec()) == ()

    assert project.up().action == "created"
    with postgres.connected(project.target()) as connection:
        assert postgres.fetch_value(connection, "SELECT count(*) FROM kept") == 0
    server.down(engine, project.spec())
    assert server.remove_data(engine, project.spec()) == (f"{project.name}_data",)
    assert server.remove_data(engine, project.spec()) == ()


def test_logs_and_programs_inside(running: EngineProject) -> None:
    project, engine = running, running.engine
    lines = list(server.logs(engine, project.spec()))
    assert any("database system is ready to accept connections" in line for line in lines)
    assert list(server.logs(engine, project.spec(), tail=2)) == lines[-2:]
    out: list[bytes] = []
    err: list[bytes] = []
    script = 'printf "%s" "$X"; echo oops >&2; exit 7'
    code = server.run_inside(
        engine, project.spec(), ["sh", "-c", script], environ={"X": "é"}, stdout=out.append, stderr=err.append
    )
    assert (code, b"".join(out), b"".join(err)) == (7, "é".encode(), b"oops\n")
    assert server.run_inside(engine, project.spec(), ["nonesuch"]) in (126, 127)


def test_logs_without_a_container(compose_project: EngineProject) -> None:
    with pytest.raises(UnreachableError, match="there is no container for service db"):
        list(server.logs(compose_project.engine, compose_project.spec()))


def test_followed_logs_end_with_the_container(compose_project: EngineProject) -> None:
    project = compose_project
    project.up()
    seen: list[str] = []

    def follow() -> None:
        with connect(os.environ) as own:
            seen.extend(server.logs(own, project.spec(), follow=True))

    follower = threading.Thread(target=follow)
    follower.start()
    server.stop(project.engine, project.spec())
    follower.join(30)
    assert not follower.is_alive()
    assert any("database system is shut down" in line for line in seen)


def test_a_changed_file_makes_the_container_anew_on_the_same_data(compose_project: EngineProject) -> None:
    project = compose_project
    project.up()
    with postgres.connected(project.target()) as connection:
        postgres.execute(connection, "CREATE TABLE kept (a int)")
    project.change("stop_grace_period: 20s", "shm_size: 80m")
    assert project.up().action == "recreated"
    assert [event.text for event in project.events if "anew" in event.text] == [
        f"making {project.container} anew: the compose file says something else than when it was made; "
        f"the data stays in volume {project.name}_data"
    ]
    assert project.containers() == [project.container]
    with postgres.connected(project.target()) as connection:
        assert postgres.fetch_value(connection, "SELECT count(*) FROM kept") == 0


def test_an_anonymous_volume_goes_along_and_down_is_refused(compose_project: EngineProject) -> None:
    project = compose_project
    project.change('    volumes: ["data:/var/lib/postgresql/data"]\n', "")
    project.up()
    assert "the data is in an anonymous volume: it goes when the container goes" in [
        e.text for e in project.events
    ]
    with postgres.connected(project.target()) as connection:
        postgres.execute(connection, "CREATE TABLE kept (a int)")
    project.change("stop_grace_period: 20s", "shm_size: 80m")
    assert project.up().action == "recreated"
    with postgres.connected(project.target()) as connection:
        assert postgres.fetch_value(connection, "SELECT count(*) FROM kept") == 0
    with pytest.raises(RefusedError, match="would be lost with the container"):
        server.down(project.engine, project.spec())


def test_a_recreation_that_fails_puts_the_old_container_back(compose_project: EngineProject) -> None:
    project = compose_project
    project.up()
    old = project.engine.api.inspect_container(project.container)["Id"]
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        project.change(f"127.0.0.1:{project.port}", f"127.0.0.1:{taken}")
        error = refused(project, UnreachableError)
        assert f"port {taken} of this machine is taken by" in error.message
        assert f"(pid {os.getpid()}) on 127.0.0.1" in error.message
    assert project.containers() == [project.container]
    state = project.engine.api.inspect_container(project.container)
    assert (state["Id"], state["State"]["Running"]) == (old, True)


def test_two_checkouts_with_one_name(running: EngineProject, tmp_path: Path) -> None:
    engine = running.engine
    twin = EngineProject(tmp_path / "twin", engine, name=running.name, port=running.port)
    for attempt in (
        twin.up,
        lambda: server.stop(engine, twin.spec()),
        lambda: server.down(engine, twin.spec()),
        lambda: server.status(engine, twin.spec()),
        lambda: server.remove_data(engine, twin.spec()),
        lambda: list(server.logs(engine, twin.spec())),
    ):
        with pytest.raises(RefusedError) as caught:
            attempt()
        assert str(running.directory) in caught.value.message
        assert str(twin.directory) in caught.value.message
    assert server.status(engine, running.spec()).state == "running"


def test_a_checkout_that_was_moved_keeps_its_database(
    engine: Engine, compose_project: EngineProject, tmp_path: Path
) -> None:
    compose_project.up()
    shutil.move(compose_project.directory, tmp_path / "moved")
    moved = EngineProject(tmp_path / "moved", engine, compose_project.name, compose_project.port)
    assert moved.up().action == "none"


def test_a_checkout_reached_by_a_symbolic_link_is_the_same(running: EngineProject, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(running.directory)
    linked = EngineProject(tmp_path / "link", running.engine, name=running.name, port=running.port)
    assert server.status(running.engine, linked.spec()).state == "running"


def test_what_a_killed_start_left_is_put_in_order(compose_project: EngineProject) -> None:
    project, api = compose_project, compose_project.engine.api
    project.up()
    old = str(api.inspect_container(project.container)["Id"])
    api.rename(old, f"{old[:12]}_{project.container}")
    assert server.status(project.engine, project.spec()).state == "running"
    assert project.up().action == "none"
    assert project.containers() == [project.container]

    api.rename(old, f"{old[:12]}_{project.container}")
    request = container_body(project.spec(), image_id=str(api.inspect_image("postgres:17")["Id"]))
    heir = api.create_container_from_config(request, project.container)["Id"]
    api.stop(old)
    assert server.status(project.engine, project.spec()).container_id == heir
    assert project.up().action == "started"
    assert project.containers() == [project.container]


def test_two_at_once_end_with_one_container(compose_project: EngineProject) -> None:
    project = compose_project
    ends: list[str] = []

    def bring_up() -> None:
        with connect(os.environ) as own:
            ends.append(server.up(own, project.spec(), project.target()).action)

    threads = [threading.Thread(target=bring_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ends.count("created") == 1
    assert set(ends) <= {"created", "started", "none"}
    assert len(ends) == 3
    assert project.containers() == [project.container]


def test_another_server_on_the_port_is_not_taken_for_ours(
    running: EngineProject, server_beside: Target
) -> None:
    with pytest.raises(UnreachableError) as caught:
        server.up(running.engine, running.spec(), server_beside)
    assert caught.value.kind == "other-server"
    place = f"{server_beside.host}:{server_beside.port}"
    assert caught.value.message.endswith(f"answers on {place}, not container {running.container}")


@pytest.fixture
def server_beside(request: pytest.FixtureRequest) -> Target:
    """The session's embedded server: a PostgreSQL that is not in the container."""
    found = request.getfixturevalue("server")
    assert isinstance(found, Target)
    return found


def test_a_bind_mount_and_settings_from_a_secret_file(compose_project: EngineProject) -> None:
    project = compose_project
    (project.directory / "pw.txt").write_text("from a file\n", encoding="utf-8")
    (project.directory / "init").mkdir()
    (project.directory / "init" / "1.sql").write_text("CREATE TABLE made_by_init (a int);", encoding="utf-8")
    project.change("POSTGRES_PASSWORD: secret", "POSTGRES_PASSWORD_FILE: /run/secrets/pw")
    project.change('["data:', '["./init:/docker-entrypoint-initdb.d:ro", "data:')
    project.change("volumes: {data: }", "secrets: {pw: {file: ./pw.txt}}\nvolumes: {data: }")
    project.change("    stop_grace_period", "    secrets: [pw]\n    stop_grace_period")
    project.up()
    with postgres.connected(project.target()) as connection:
        assert postgres.fetch_value(connection, "SELECT count(*) FROM made_by_init") == 0
    assert "Running" in project.compose("up", "-d")


def test_a_pull_shows_its_progress(engine: Engine, compose_project: EngineProject) -> None:
    registry = shutil.which("docker-registry")
    if registry is None:
        reason = "docker-registry is not installed (Debian package docker-registry)"
        if os.environ.get("PGOPS_TEST_REQUIRE_DOCKER"):
            pytest.fail(reason)
        pytest.skip(reason)
    directory, port = compose_project.directory, free_port()
    config = directory / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {directory / 'registry'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n",
        encoding="utf-8",
    )
    name = f"localhost:{port}/team/postgres"
    process = subprocess.Popen(
        [registry, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port)
        engine.api.import_image_from_data(_archive(), repository=name, tag="17")
        for _ in engine.api.push(name, "17", stream=True, decode=True):
            pass
        engine.api.remove_image(f"{name}:17")
        compose_project.change("image: postgres:17", f"image: {name}:17")
        events: list[Event] = []
        image = ensure_image(engine, compose_project.spec(), events.append)
        assert (image.platform, image.major) == ("linux/amd64", 17)
        assert {event.text for event in events} == {f"pulling {name}:17"}
        assert events[-1].done == events[-1].total > 1_000_000
        with pytest.raises(UnreachableError, match="could not be pulled: manifest for"):
            compose_project.change(f"{name}:17", f"{name}:16")
            ensure_image(engine, compose_project.spec(), events.append)
    finally:
        process.kill()
        process.wait()
        if engine.api.images(f"{name}:17"):
            engine.api.remove_image(f"{name}:17")


def _archive() -> bytes:
    """An image of one file that does not compress: big enough to be seen on its way."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("noise")
        member.size = 3_000_000
        archive.addfile(member, io.BytesIO(os.urandom(member.size)))
    return packed.getvalue()
