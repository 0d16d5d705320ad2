"""One container, two tools: what db.up makes is docker compose's own, and the other way round."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgops import postgres
from pgops.local.engine import server
from pgops.local.engine.client import Engine

from .engine_project import EngineProject

pytestmark = pytest.mark.docker


def started_at(project: EngineProject) -> str:
    return str(project.engine.api.inspect_container(project.container)["State"]["StartedAt"])


def test_compose_takes_our_container_for_its_own(compose_project: EngineProject) -> None:
    project = compose_project
    assert project.up().action == "created"
    identity = project.engine.api.inspect_container(project.container)["Id"]
    begun = started_at(project)

    (shown,) = [json.loads(line) for line in project.compose("ps", "--format", "json").splitlines()]
    assert (shown["Name"], shown["Service"], shown["State"]) == (project.container, "db", "running")
    assert "database system is ready to accept connections" in project.compose("logs", "db")
    assert "42" in project.compose("exec", "-T", "db", "psql", "-U", "app", "-Atc", "SELECT 42")
    assert "Running" in project.compose("up", "-d")
    assert (project.engine.api.inspect_container(project.container)["Id"], started_at(project)) == (
        identity,
        begun,
    )

    project.compose("stop")
    assert server.status(project.engine, project.spec()).state == "stopped"
    project.compose("up", "-d")
    assert project.engine.api.inspect_container(project.container)["Id"] == identity
    project.compose("down")
    assert project.containers() == []
    assert project.engine.api.networks(names=[f"{project.name}_default"]) == []
    assert project.engine.api.inspect_volume(f"{project.name}_data")["Name"]


def test_db_up_adopts_what_compose_started(compose_project: EngineProject) -> None:
    project = compose_project
    project.compose("up", "-d")
    identity = project.engine.api.inspect_container(project.container)["Id"]
    assert project.up().action == "none"
    project.compose("stop")
    assert project.up().action == "started"
    assert project.engine.api.inspect_container(project.container)["Id"] == identity
    project.change("stop_grace_period: 20s", "stop_grace_period: 30s")
    assert server.status(project.engine, project.spec()).changed
    assert project.up().action == "recreated"
    assert "Running" in project.compose("up", "-d")
    assert server.down(project.engine, project.spec()) == (project.container, f"{project.name}_default")


SERVICE_KEYS = """
    labels: {team: a & b}
    command: postgres -c work_mem=8MB
    healthcheck: {test: ["CMD", "pg_isready"], interval: 1s, retries: 9}
    shm_size: 80m
    mem_limit: 300m
    cpus: 1.5
    pids_limit: 500
    ulimits: {nofile: {soft: 2000, hard: 3000}, core: 0}
    tmpfs: [/scratch, "/small:size=1m"]
    init: true
    restart: unless-stopped
    hostname: dbhost
    cap_drop: [MKNOD]
    cap_add: [SYS_NICE]
    security_opt: ["no-new-privileges:true"]
    extra_hosts: ["other:10.1.2.3"]
    sysctls: {net.core.somaxconn: 512}
    logging: {driver: json-file, options: {max-size: 1m}}
    oom_score_adj: 100
    cpu_shares: 512
    dns: [1.1.1.1]
    group_add: ["7"]
    stop_signal: SIGINT
    expose: ["6000-6001"]
    working_dir: /tmp
    networks: {front: {aliases: [pg], priority: 5}, back: }
"""
NETWORKS = "networks: {front: {labels: {a: b}}, back: {internal: true}}\n"
# what a container's host config says about the machine, not about the request
_EITHER = {"Links", "ContainerIDFile", "ConsoleSize"}


def described(engine: Engine, container: str) -> dict[str, Any]:
    """A container without what differs between any two containers."""
    found = engine.api.inspect_container(container)
    config, host = found["Config"], found["HostConfig"]
    config["Env"] = sorted(config["Env"])
    config["Labels"] = {k: v for k, v in config["Labels"].items() if not k.endswith("compose.version")}
    host["Ulimits"] = sorted(host["Ulimits"] or [], key=lambda limit: limit["Name"])
    networks = {
        name: sorted(alias for alias in network["Aliases"] if alias != found["Id"][:12])
        for name, network in found["NetworkSettings"]["Networks"].items()
    }
    empty = (None, "", 0, False, [], {})
    return {
        "config": {key: value for key, value in config.items() if value not in empty},
        "host": {key: value for key, value in host.items() if value not in empty and key not in _EITHER},
        "networks": networks,
        "mounts": sorted((m["Type"], m.get("Name", ""), m["Destination"], m["RW"]) for m in found["Mounts"]),
    }


def test_the_container_is_the_one_that_compose_makes(compose_project: EngineProject) -> None:
    project = compose_project
    project.change("    stop_grace_period: 20s\n", "    stop_grace_period: 1s" + SERVICE_KEYS)
    project.change("volumes: {data: }\n", "volumes: {data: }\n" + NETWORKS)
    project.compose("up", "-d")
    postgres.wait_until_ready(project.target(), 60)
    theirs = described(project.engine, project.container)
    project.compose("down")
    project.up()
    ours = described(project.engine, project.container)
    for part in theirs:
        assert ours[part] == theirs[part]
    assert "Running" in project.compose("up", "-d")


def test_no_config_hash_on_volume_or_network(compose_project: EngineProject) -> None:
    project = compose_project
    project.up()
    volume = project.engine.api.inspect_volume(f"{project.name}_data")
    network = project.engine.api.inspect_network(f"{project.name}_default")
    assert not [key for key in {**volume["Labels"], **network["Labels"]} if key.endswith("config-hash")]
    with postgres.connected(project.target()) as connection:
        postgres.execute(connection, "CREATE TABLE kept (a int)")
    project.change("volumes: {data: }", "volumes: {data: {labels: {new: label}}}")
    project.compose("up", "-d", "-y")
    postgres.wait_until_ready(project.target(), 30)
    with postgres.connected(project.target()) as connection:
        assert postgres.fetch_value(connection, "SELECT count(*) FROM kept") == 0
