"""A compose project on disk -> ServiceSpec: files, variables, names, overrides, and every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgops.errors import ConfigurationError
from pgops.local.compose import Mount, Port, ServiceSpec, config_hash, load
from pgops.local.compose.spec import VolumeOptions

BASE = "services:\n  db:\n    image: postgres:17\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "My-App.2"
    made.mkdir()
    return made


def write(directory: Path, text: str, name: str = "docker-compose.yml") -> None:
    (directory / name).write_text(text, encoding="utf-8")


def loaded(directory: Path, text: str = "", environ: Mapping[str, str] | None = None) -> ServiceSpec:
    if text:
        write(directory, text)
    return load(directory, service="db", environ=environ or {})


def refused(directory: Path, text: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(directory, text, environ)
    return list(caught.value.problems) or [caught.value.message]


def body(directory: Path, lines: str, rest: str = "") -> ServiceSpec:
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return loaded(directory, BASE + indented + rest)


def body_problems(directory: Path, lines: str, rest: str = "") -> list[str]:
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return refused(directory, BASE + indented + rest)


# names and files


def test_the_directory_names_the_project(directory: Path) -> None:
    spec = loaded(directory, BASE)
    assert spec.project.name == "my-app2"
    assert spec.project.working_dir == directory
    assert spec.project.config_files == (directory / "docker-compose.yml",)
    assert spec.name_of_container == "my-app2-db-1"
    assert spec.declared_networks["default"].name == "my-app2_default"


def test_name_key_and_variable_come_before_the_directory(directory: Path) -> None:
    assert loaded(directory, "name: ${N:-shop}\n" + BASE).project.name == "shop"
    assert loaded(directory, environ={"COMPOSE_PROJECT_NAME": "lab"}).project.name == "lab"
    write(directory, "COMPOSE_PROJECT_NAME=den\n", ".env")
    assert loaded(directory).project.name == "den"


def test_a_bad_project_name_is_refused(directory: Path) -> None:
    assert refused(directory, "name: Shop!\n" + BASE) == [
        "docker-compose.yml:1:7: name: 'Shop!' is no project name: lowercase letters, digits, - and _"
    ]
    assert refused(directory, BASE, {"COMPOSE_PROJECT_NAME": "A"}) == [
        "COMPOSE_PROJECT_NAME: 'A' is no project name"
    ]


def test_compose_yaml_comes_first_and_the_other_is_told(directory: Path) -> None:
    write(directory, BASE.replace("17", "16"), "compose.yaml")
    spec = loaded(directory, BASE)
    assert spec.image == "postgres:16"
    assert spec.notes == ("compose.yaml is used, docker-compose.yml beside it not",)


def test_the_search_goes_up(directory: Path) -> None:
    write(directory, BASE)
    below = directory / "a" / "b"
    below.mkdir(parents=True)
    assert load(below, service="db", environ={}).project.working_dir == directory


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no compose file in"):
        load(tmp_path, service="db", environ={})


def test_compose_file_names_the_files(directory: Path) -> None:
    (directory / "ops").mkdir()
    write(directory, BASE, "ops/a.yml")
    write(directory, "services: {db: {user: '5'}}\n", "ops/b.yml")
    spec = loaded(directory, environ={"COMPOSE_FILE": "ops/a.yml:ops/b.yml"})
    assert (spec.user, spec.project.name, spec.project.working_dir) == ("5", "ops", directory / "ops")
    assert (
        loaded(directory, environ={"COMPOSE_FILE": "ops/a.yml|ops/b.yml", "COMPOSE_PATH_SEPARATOR": "|"})
        == spec
    )
    named = load(directory, service="db", files=[Path("ops/a.yml"), Path("ops/b.yml")], environ={})
    assert named == spec


# variables


def test_env_file_of_the_project_and_the_environment_before_it(directory: Path) -> None:
    write(directory, "A=file\nB=file\n", ".env")
    text = (
        BASE
        + '    environment: {A: "${A}", B: "$B", C: "${C:-none}", D: "$$E", B2: , HOME: }\n    labels: ["x=${Z}"]\n'
    )
    spec = loaded(directory, text, {"B": "shell"})
    assert dict(spec.environment) == {
        "A": "file",
        "B": "shell",
        "C": "none",
        "D": "$E",
        "B2": None,
        "HOME": None,
    }
    assert spec.notes == ("variable Z has no value; it is taken as empty",)


def test_env_files_of_the_service(directory: Path) -> None:
    write(directory, "A=1\nB=${A}\nC='$A'\n", "a.env")
    write(directory, "A='1'\n", "raw.env")
    spec = body(
        directory,
        "env_file:\n  - a.env\n  - {path: none.env, required: false}\n  - {path: raw.env, format: raw}\nenvironment: [B=9, D]",
    )
    assert dict(spec.environment) == {"A": "'1'", "B": "9", "C": "$A", "D": None}


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


def test_compose_env_files_and_the_switch(directory: Path) -> None:
    write(directory, "A=dotenv\n", ".env")
    write(directory, "A=other\n", "other.env")
    text = BASE + '    user: "${A:-off}"\n'
    assert loaded(directory, text).user == "dotenv"
    assert loaded(directory, text, {"COMPOSE_ENV_FILES": "other.env"}).user == "other"
    assert loaded(directory, text, {"COMPOSE_DISABLE_ENV_FILE": "1"}).user == "off"


# meaning of values


def test_yaml_one_point_one_has_no_say(directory: Path) -> None:
    spec = body(directory, "environment: {A: on, B: 22:22, C: yes, D: true, E: 1.50, F: ~, G: ''}")
    assert dict(spec.environment) == {
        "A": "on",
        "B": "22:22",
        "C": "yes",
        "D": "true",
        "E": "1.5",
        "F": None,
        "G": "",
    }


def test_ports_volumes_and_networks(directory: Path) -> None:
    spec = body(
        directory,
        "ports: ['127.0.0.1:5432:5432', {target: 80, published: 8080}]\n"
        "volumes: ['data:/var/lib/postgresql/data', './init:/init:ro', '~/x:/x', '/a:/init']\n"
        "networks: {back: {aliases: [pg]}, default: }",
        "networks: {back: {name: shared, external: true}}\nvolumes: {data: }\n",
    )
    assert spec.ports == (Port(5432, "5432", "127.0.0.1"), Port(80, "8080"))
    assert spec.volumes[0] == Mount("volume", "/var/lib/postgresql/data", "data", volume=VolumeOptions())
    assert [(mount.source, mount.target) for mount in spec.volumes[1:]] == [
        ("/a", "/init"),  # the later mount of one target wins, in the place of the first
        (str(Path.home() / "x"), "/x"),
    ]
    assert (spec.declared_networks["back"].name, spec.declared_networks["back"].external) == ("shared", True)
    assert spec.declared_volumes["data"].name == "my-app2_data"


def test_a_named_build_is_taken_and_marked(directory: Path) -> None:
    spec = loaded(directory, "services: {db: {build: ./pg}}\n")
    assert (spec.built, spec.image) == (True, "")


def test_keys_about_compose_itself_are_fine(directory: Path) -> None:
    spec = body(
        directory,
        "profiles: [a]\nscale: 1\ndevelop: {watch: []}\nx-mine: {a: 1}\ndepends_on: []",
        "x-top: 1\nversion: '3'\n",
    )
    assert config_hash(spec) == config_hash(loaded(directory, BASE))


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


# override files


def test_an_override_file_is_laid_over(directory: Path) -> None:
    write(
        directory,
        "services:\n  db:\n    environment: [B=2, C=3]\n    ports: !override ['2:2']\n    command: [b]\n"
        "    labels: !reset null\n    cap_add: [Y, X]\n    dns: 2.2.2.2\n    healthcheck: {test: b}\n"
        "    logging: {driver: syslog}\n    user:\n",
        "docker-compose.override.yml",
    )
    spec = body(
        directory,
        "environment: {A: 1, B: 1}\nports: ['1:1']\ncommand: a b\nlabels: [x]\ncap_add: [X]\ndns: 1.1.1.1\n"
        "healthcheck: {test: a, interval: 5s}\nlogging: {driver: json-file, options: {a: b}}\nuser: '5'",
    )
    assert dict(spec.environment) == {"A": "1", "B": "2", "C": "3"}
    assert spec.ports == (Port(2, "2"),)
    assert (spec.command, dict(spec.labels), spec.cap_add) == (("b",), {}, ("X", "Y"))
    assert spec.dns == ("1.1.1.1", "2.2.2.2")
    assert spec.healthcheck is not None
    assert (spec.healthcheck.test, spec.healthcheck.interval) == (("CMD-SHELL", "b"), 5_000_000_000)
    assert spec.logging is not None
    assert (spec.logging.driver, dict(spec.logging.options), spec.user) == ("syslog", {}, "5")


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
