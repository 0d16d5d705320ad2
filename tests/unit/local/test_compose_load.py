"""A compose project on disk -> ServiceSpec: files, variables, names, overrides, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.local.compose import Mount, Port, config_hash, load
from pgops.local.compose.spec import VolumeOptions
from tests.support.compose_files import BASE, body, loaded, write


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "My-App.2"
    made.mkdir()
    return made


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
