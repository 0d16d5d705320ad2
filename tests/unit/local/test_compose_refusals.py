"""What is wrong in a compose file is told by its place, all of it in one pass; hostile files raise nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgops.errors import ConfigurationError
from pgops.local.compose import config_hash, load
from tests.support.compose_files import BASE, body_problems, refused, write


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "My-App.2"
    made.mkdir()
    return made


def test_a_bad_project_name_is_refused(directory: Path) -> None:
    assert refused(directory, "name: Shop!\n" + BASE) == [
        "docker-compose.yml:1:7: name: 'Shop!' is no project name: lowercase letters, digits, - and _"
    ]
    assert refused(directory, BASE, {"COMPOSE_PROJECT_NAME": "A"}) == [
        "COMPOSE_PROJECT_NAME: 'A' is no project name"
    ]


def test_what_is_wrong_with_variables_is_told_by_place(directory: Path) -> None:
    assert body_problems(directory, 'labels: {a: "${X:?no X}", b: "${Y"}') == [
        "docker-compose.yml:4:17: services.db.labels.a: variable X is required: no X",
        "docker-compose.yml:4:34: services.db.labels.b: '${Y' opens a '${' that is never closed",
    ]
    write(directory, "A=1\nA B\n", ".env")
    assert refused(directory) == [".env:2:1: 'A B' is not NAME=value"]


def test_a_missing_env_file_is_told(directory: Path) -> None:
    assert body_problems(directory, "env_file: [x.env]") == [
        f"docker-compose.yml:4:16: services.db.env_file[0]: file {directory / 'x.env'} does not exist"
    ]


def test_every_mistake_in_one_pass(directory: Path) -> None:
    problems = body_problems(
        directory,
        "imge: x\nports: ['1:2:3:4', {published: 5}]\nshm_size: 5q\ninit: maybe\nrestart: sometimes\n"
        "extends: other\ndepends_on: [web]\nnetworks: [nowhere]\nvolumes: ['dta:/d']\nuser: 1000\n"
        "healthcheck: {test: [ls], intervall: 5s}\nscale: 2",
        "volumes: {data: }\n",
    )
    assert problems == [
        "docker-compose.yml:4:5: services.db.imge: is not a key of a service; did you mean 'image'?",
        "docker-compose.yml:5:13: services.db.ports[0]: '1:2' is not an IP address of this machine",
        "docker-compose.yml:5:24: services.db.ports[1]: has no target",
        "docker-compose.yml:6:15: services.db.shm_size: '5q' is not a size such as 256mb",
        "docker-compose.yml:7:11: services.db.init: 'maybe' is neither true nor false",
        "docker-compose.yml:8:14: services.db.restart: 'sometimes' is none of no, always, unless-stopped, on-failure[:times]",
        "docker-compose.yml:9:5: services.db.extends: pgops does not follow it; write the keys here, or share them with an anchor (&name, <<: *name)",
        "docker-compose.yml:10:5: services.db.depends_on: pgops starts this service alone; start the others with docker compose",
        "docker-compose.yml:13:11: services.db.user: 1000 must be text; write it in quotes",
        "docker-compose.yml:14:31: services.db.healthcheck.intervall: is not a key pgops can honour; did you mean 'interval'?",
        "docker-compose.yml:14:25: services.db.healthcheck.test: a list begins with NONE, CMD or CMD-SHELL, not 'ls'",
        "docker-compose.yml:15:12: services.db.scale: a database has one container; pgops starts exactly one",
        "docker-compose.yml:11:15: services.db.networks: 'nowhere' is not declared under top-level 'networks'",
        "docker-compose.yml:12:14: services.db.volumes: 'dta' is not declared under top-level 'volumes'; did you mean 'data'?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: {web: {image: x}}\n", "services: there is no service 'db' (there are: web)"),
        ("services: {dbb: {image: x}}\n", "services: there is no service 'db'; did you mean 'dbb'? (there are: dbb)"),
        ("services: {db: 5}\n", "services.db: must be a mapping"),
        ("services: [db]\n", "services: must be a mapping of service names to services"),
        ("services: {db: {}}\n", "services.db: has no image"),
        ("service: {}\n" + BASE, "service: is not a key of compose; did you mean 'services'?"),
        (BASE + "    network_mode: service:web\n", "services.db.network_mode: 'service:web': pgops starts this service alone, it can't join another container"),
        (BASE + "    secrets: [pw]\n", "services.db.secrets[0]: 'pw' is not declared at the top level"),
        (BASE + "    secrets: [pw]\nsecrets: {pw: {environment: PW}}\n", "secrets.pw: pgops mounts files only: {file: ./path}"),
        (BASE + "    deploy: {placement: {}}\n", "services.db.deploy.placement: means something to Swarm only; docker compose ignores it too"),
        (BASE + "    cpus: 1\n    deploy: {resources: {limits: {cpus: 2}}}\n", "services.db.cpus: says another limit than deploy.resources does; keep one of them"),
        (BASE + "    volumes: [{type: bind, target: /x}]\n", "services.db.volumes[0]: a bind has a source"),
        (BASE + "    tmpfs: {a: b}\n", "services.db.tmpfs: must be a list"),
        ("", "is empty"),
    ],
)  # fmt: skip
def test_refusals(directory: Path, text: str, problem: str) -> None:
    write(directory, text)
    (found,) = refused(directory)
    assert found.partition(": ")[2] == problem


def test_include_is_named_where_the_service_may_be_there(directory: Path) -> None:
    (problem,) = refused(directory, "include: [other.yml]\nservices: {}\n")
    assert "does not follow 'include'" in problem


def test_a_problem_in_the_override_file_is_told_by_its_own_name(directory: Path) -> None:
    write(directory, "services: {db: {shm_size: x}}\n", "compose.override.yml")
    assert refused(directory, BASE) == [
        "compose.override.yml:1:27: services.db.shm_size: 'x' is not a size such as 256mb"
    ]


# hostile input


nodes: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 70000)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a:b", "1:2", "$A", "${", "x=y", "5g", "1s", "./x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "target",
                    "source",
                    "type",
                    "test",
                    "driver",
                    "options",
                    "limits",
                    "resources",
                    "config",
                    "file",
                    "name",
                    "soft",
                    "path",
                    "x-a",
                    "external",
                    "ipam",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    [
        "annotations",
        "build",
        "cap_add",
        "command",
        "configs",
        "container_name",
        "cpus",
        "deploy",
        "devices",
        "dns",
        "env_file",
        "environment",
        "expose",
        "extra_hosts",
        "healthcheck",
        "image",
        "init",
        "labels",
        "logging",
        "mem_limit",
        "networks",
        "network_mode",
        "pid",
        "platform",
        "ports",
        "pull_policy",
        "restart",
        "scale",
        "secrets",
        "shm_size",
        "stop_grace_period",
        "sysctls",
        "tmpfs",
        "ulimits",
        "user",
        "volumes",
        "extends",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    service=st.dictionaries(keys, nodes, max_size=5) | nodes,
    top=st.dictionaries(
        st.sampled_from(["networks", "volumes", "secrets", "configs", "name", "x-y"]), nodes, max_size=3
    ),
    over=st.none() | st.dictionaries(keys, nodes, max_size=3),
)
def test_hostile_files_raise_nothing_but_configuration_errors(
    directory: Path, service: object, top: dict[str, object], over: object
) -> None:
    import yaml

    write(directory, yaml.safe_dump({"services": {"db": service}, **top}, allow_unicode=True), "compose.yaml")
    write(directory, yaml.safe_dump({"services": {"db": over}}), "compose.override.yaml")
    try:
        spec = load(directory, service="db", environ={"HOME": "/h"})
    except ConfigurationError:
        return
    assert len(config_hash(spec)) == 64
