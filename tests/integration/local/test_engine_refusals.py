"""What a compose server is not started with: ports, names, images, data and things that are not there or not ours."""

from __future__ import annotations

import pytest

from pgops.errors import ConfigurationError, RefusedError, UnreachableError
from pgops.local.engine import server

from .engine_project import EngineProject, refused

pytestmark = pytest.mark.docker


def test_a_port_held_by_another_container(running: EngineProject, compose_project: EngineProject) -> None:
    project = compose_project
    project.change(f":{project.port}:", f":{running.port}:")
    error = refused(project, UnreachableError)
    assert error.message == (
        f"port {running.port} of this machine is taken by container {running.container} "
        f"(compose project in {running.directory})"
    )
    assert error.untouched == "nothing was left behind; the data was not touched"
    assert project.containers() == []
    assert project.engine.api.networks(names=[f"{project.name}_default"]) == []


def test_old_data_with_new_settings(compose_project: EngineProject) -> None:
    project = compose_project
    project.up()
    said = f"container {project.container} "
    volume = f"volume {project.name}_data was made with another"
    project.change("PASSWORD: secret", "PASSWORD: other")
    error = refused(project, UnreachableError)
    assert isinstance(error, UnreachableError)
    assert (error.kind, error.message) == (
        "password",
        f"{said}refuses user 'app' with this password: {volume} POSTGRES_PASSWORD or POSTGRES_USER, "
        "which counts only when the data is first made",
    )
    project.change("PASSWORD: other", "PASSWORD: secret")
    project.change("POSTGRES_DB: app", "POSTGRES_DB: nowhere")
    error = refused(project, UnreachableError)
    assert isinstance(error, UnreachableError)
    assert (error.kind, error.message) == (
        "database",
        f"{said}has no database 'nowhere': {volume} POSTGRES_DB, which counts only when the data is first made",
    )


def test_the_data_of_another_major_is_refused_before_anything_starts(compose_project: EngineProject) -> None:
    project = compose_project
    project.up()
    if not project.engine.api.images("postgres:15"):
        pytest.skip("image postgres:15 is not here (.ci/postgres-image.sh 15)")
    before = project.engine.api.inspect_container(project.container)
    project.change("image: postgres:17", "image: postgres:15")
    error = refused(project, RefusedError)
    assert error.message == (
        f"volume {project.name}_data holds the data of PostgreSQL 17, and postgres:15 is PostgreSQL 15, "
        "which can't read it"
    )
    after = project.engine.api.inspect_container(project.container)
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    looking = project.engine.api.containers(all=True, filters={"label": f"pgops.looks-for={project.name}"})
    assert looking == [], "the container that only looked is gone"


def test_a_mount_that_the_data_would_miss(compose_project: EngineProject) -> None:
    project = compose_project
    project.change("data:/var/lib/postgresql/data", "data:/var/lib/postgresql")
    error = refused(project, ConfigurationError)
    assert (
        "keeps its data in /var/lib/postgresql/data, and the volume is mounted at /var/lib/postgresql"
        in error.message
    )
    assert error.hint == "mount it at /var/lib/postgresql/data"


def test_a_server_that_ends_is_told_with_its_last_words(compose_project: EngineProject) -> None:
    project = compose_project
    project.change("stop_grace_period: 20s", "command: postgres -c nonsense=1")
    error = refused(project, UnreachableError)
    assert "ended with exit code 1 instead of serving" in error.message
    assert 'unrecognized configuration parameter "nonsense"' in error.message
    project.change("command:", "restart: always\n    command:")
    assert 'unrecognized configuration parameter "nonsense"' in refused(project, UnreachableError).message


def test_a_server_that_is_not_ready_in_time(compose_project: EngineProject) -> None:
    project = compose_project
    project.change("stop_grace_period: 20s", "entrypoint: sleep 60\n    stop_grace_period: 0s")
    assert "not ready after 1 s; last seen:" in refused(project, UnreachableError, timeout=1).message


def test_a_name_that_another_container_has(compose_project: EngineProject) -> None:
    project = compose_project
    api = project.engine.api
    other = api.create_container("postgres:17", name=project.container)
    try:
        error = refused(project, RefusedError)
        assert error.message == (
            f"the name {project.container} is taken by a container that belongs to something other than compose"
        )
    finally:
        api.remove_container(other["Id"], v=True)
    assert api.networks(names=[f"{project.name}_default"]) == []


def test_several_containers_of_one_service(compose_project: EngineProject) -> None:
    project = compose_project
    project.change(f"127.0.0.1:{project.port}:5432", "5432")
    project.compose("up", "-d", "--scale", "db=2")
    with pytest.raises(RefusedError, match="has 2 containers"):
        server.status(project.engine, project.spec())


def test_an_image_that_nobody_has(compose_project: EngineProject) -> None:
    project = compose_project
    project.change("image: postgres:17", "image: localhost:1/nobody/has:this")
    error = refused(project, UnreachableError)
    assert "image localhost:1/nobody/has:this is not here and could not be pulled: " in error.message
    assert "docker pull localhost:1/nobody/has:this" in error.hint
    project.change("this\n", "this\n    pull_policy: never\n")
    assert refused(project, UnreachableError).message == (
        "image localhost:1/nobody/has:this is not here, and pull_policy is never"
    )
    project.change("image: localhost:1/nobody/has:this", "build: .")
    project.change("    pull_policy: never\n", "")
    assert refused(project, UnreachableError).message == f"image {project.name}-db has not been built yet"
    assert project.containers() == []


def test_an_image_for_another_platform(compose_project: EngineProject) -> None:
    project = compose_project
    project.change(
        "image: postgres:17\n", "image: postgres:17\n    platform: linux/s390x\n    pull_policy: never\n"
    )
    error = refused(project, UnreachableError)
    assert error.message == (
        "image postgres:17 is made for linux/amd64, services.db.platform asks for linux/s390x"
    )


def test_external_things_must_exist(compose_project: EngineProject) -> None:
    project = compose_project
    project.change("volumes: {data: }", "volumes: {data: {external: true, name: nobody-has-this}}")
    assert (
        refused(project, ConfigurationError).message
        == "volume nobody-has-this is external, and does not exist"
    )
    project.change(
        "volumes: {data: {external: true, name: nobody-has-this}}",
        "networks: {default: {external: true, name: nor-this}}\nvolumes: {data: }",
    )
    assert refused(project, ConfigurationError).message == "network nor-this is external, and does not exist"
    assert project.containers() == []
