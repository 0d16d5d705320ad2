"""ServiceSpec -> what Docker is asked for; compared with real compose in tests/integration/local."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pgops.local.compose import config_hash, load
from pgops.local.engine import request

P = "com.docker.compose."


def made(directory: Path, lines: str, rest: str = "") -> dict[str, Any]:
    text = "name: demo\nservices:\n  db:\n    image: postgres:17\n"
    text += "".join(f"    {line}\n" for line in lines.splitlines()) + rest
    (directory / "compose.yaml").write_text(text, encoding="utf-8")
    return request.container_body(load(directory, service="db", environ={}), image_id="sha256:1")


def test_labels_are_compose_s_own(tmp_path: Path) -> None:
    labels = made(tmp_path, "labels: {mine: x}")["Labels"]
    spec = load(tmp_path, service="db", environ={})
    version = labels.pop(P + "version")
    assert version.startswith("pgops ")
    assert labels == {
        "mine": "x",
        P + "project": "demo",
        P + "service": "db",
        P + "oneoff": "False",
        P + "container-number": "1",
        P + "config-hash": config_hash(spec),
        P + "image": "sha256:1",
        P + "depends_on": "",
        P + "project.working_dir": str(tmp_path),
        P + "project.config_files": str(tmp_path / "compose.yaml"),
    }


def test_no_config_hash_where_it_could_cost_data(tmp_path: Path) -> None:
    made(tmp_path, "volumes: ['data:/d']", "volumes: {data: {labels: {a: b}}}\n")
    spec = load(tmp_path, service="db", environ={})
    volume = request.volume_labels(spec, "data", spec.declared_volumes["data"])
    network = request.network_labels(spec, "default", spec.declared_networks["default"])
    assert (volume["a"], volume[P + "volume"], network[P + "network"]) == ("b", "data", "default")
    assert P + "config-hash" not in {**volume, **network}


def test_ports_have_a_host_ip_of_their_own(tmp_path: Path) -> None:
    found = made(
        tmp_path, "ports: ['127.0.0.1:6000:5432', '7000', '8000:5432/udp']\nexpose: ['9000-9001', '53/udp']"
    )
    assert found["HostConfig"]["PortBindings"] == {
        "5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6000"}],
        "7000/tcp": [{"HostIp": "", "HostPort": ""}],
        "5432/udp": [{"HostIp": "", "HostPort": "8000"}],
    }
    assert sorted(found["ExposedPorts"]) == [
        "53/udp",
        "5432/tcp",
        "5432/udp",
        "7000/tcp",
        "9000/tcp",
        "9001/tcp",
    ]


def test_mounts(tmp_path: Path) -> None:
    config = made(
        tmp_path,
        "volumes:\n  - data:/d:nocopy\n  - /host:/h:ro,z\n  - /anonymous\n"
        "  - {type: bind, source: /strict, target: /s, bind: {create_host_path: false, propagation: rslave}}\n"
        "  - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}\n"
        "tmpfs: ['/run', '/small:size=1m']\nsecrets: [s]",
        "volumes: {data: {name: real}}\nsecrets: {s: {file: /s.txt}}\n",
    )["HostConfig"]
    assert config["Binds"] == ["real:/d:rw,nocopy", "/host:/h:ro,z"]
    assert config["Mounts"] == [
        {"Type": "volume", "Target": "/anonymous", "ReadOnly": False, "VolumeOptions": {}},
        {
            "Type": "bind",
            "Source": "/strict",
            "Target": "/s",
            "ReadOnly": False,
            "BindOptions": {"Propagation": "rslave"},
        },
        {
            "Type": "tmpfs",
            "Target": "/t",
            "ReadOnly": False,
            "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700},
        },
        {"Type": "bind", "Source": "/s.txt", "Target": "/run/secrets/s", "ReadOnly": True},
    ]
    assert config["Tmpfs"] == {"/run": "", "/small": "size=1m"}


def test_an_inherited_anonymous_volume_is_mounted_by_name(tmp_path: Path) -> None:
    made(tmp_path, "tty: false")
    spec = load(tmp_path, service="db", environ={})
    found = request.container_body(spec, image_id="i", inherited={"/var/lib/postgresql/data": "abc"})
    assert found["HostConfig"]["Binds"] == ["abc:/var/lib/postgresql/data:rw"]


def test_networks_by_priority_with_aliases(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        "networks: {a: , b: {priority: 5, aliases: [pg], ipv4_address: 10.0.0.2}}",
        "networks: {a: , b: {name: bee}}\n",
    )
    spec = load(tmp_path, service="db", environ={})
    assert request.networks_by_priority(spec) == ["b", "a"]
    assert found["HostConfig"]["NetworkMode"] == "bee"
    assert found["NetworkingConfig"]["EndpointsConfig"] == {
        "bee": {"Aliases": ["demo-db-1", "db", "pg"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("shm_size: 1m\nmem_limit: 2m\ncpus: 0.3\npids_limit: 7", {"ShmSize": 1 << 20, "Memory": 2 << 20, "NanoCpus": 300000000, "PidsLimit": 7}),
        ("deploy: {resources: {limits: {cpus: 1.5, memory: 3m, pids: 9}, reservations: {memory: 1m}}}", {"NanoCpus": 1500000000, "Memory": 3 << 20, "PidsLimit": 9, "MemoryReservation": 1 << 20}),
        ("ulimits: {nofile: 5, core: {soft: 1, hard: 2}}", {"Ulimits": [{"Name": "nofile", "Soft": 5, "Hard": 5}, {"Name": "core", "Soft": 1, "Hard": 2}]}),
        ("restart: on-failure:3", {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}),
        ("deploy: {restart_policy: {condition: any}}", {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}}),
        ("cap_add: [sys_nice, CAP_CHOWN]\ncap_drop: [ALL]", {"CapAdd": ["CAP_SYS_NICE", "CAP_CHOWN"], "CapDrop": ["ALL"]}),
        ("security_opt: ['systempaths=unconfined', 'a=b']", {"SecurityOpt": ["a=b"], "MaskedPaths": [], "ReadonlyPaths": []}),
        ("extra_hosts: {h: ['::1', 1.1.1.1]}", {"ExtraHosts": ["h:::1", "h:1.1.1.1"]}),
        ("logging: {driver: local, options: {max-size: 1m}}", {"LogConfig": {"Type": "local", "Config": {"max-size": "1m"}}}),
        ("network_mode: host", {"NetworkMode": "host"}),
    ],
)  # fmt: skip
def test_host_config(tmp_path: Path, lines: str, expected: dict[str, Any]) -> None:
    config = made(tmp_path, lines)["HostConfig"]
    assert {key: config.get(key) for key in expected} == expected


def test_what_is_not_said_is_not_sent(tmp_path: Path) -> None:
    found = made(tmp_path, "tty: false")
    assert not {"Cmd", "Entrypoint", "Healthcheck", "StopSignal", "StopTimeout"} & set(found)
    assert set(found["HostConfig"]) == {"NetworkMode"}


def test_the_rest_of_the_config(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        "command: a b\nentrypoint: []\nstop_grace_period: 1m30s\nenvironment: {A: 1, B: }\n"
        "healthcheck: {test: x, interval: 1s, retries: 3, start_interval: 2s}",
    )
    assert (found["Cmd"], found["Entrypoint"], found["StopTimeout"]) == (["a", "b"], [], 90)
    assert found["Env"] == ["A=1", "B"]
    assert found["Healthcheck"] == {
        "Test": ["CMD-SHELL", "x"],
        "Interval": 1_000_000_000,
        "Retries": 3,
        "StartInterval": 2_000_000_000,
    }
    assert made(tmp_path, "healthcheck: {disable: true}")["Healthcheck"] == {"Test": ["NONE"]}


def test_a_built_image_has_compose_s_name(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("name: demo\nservices: {db: {build: .}}\n", encoding="utf-8")
    assert request.image_name(load(tmp_path, service="db", environ={})) == "demo-db"
