"""How the server in the container is reached, and which major it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.local.compose import ConnectionFacts, connection_facts, image_major, load


def facts(directory: Path, service: str, rest: str = "") -> ConnectionFacts:
    text = "services:\n  db:\n    image: postgres:17\n" + "".join(
        f"    {line}\n" for line in service.splitlines()
    )
    (directory / "compose.yaml").write_text(text + rest, encoding="utf-8")
    return connection_facts(load(directory, service="db", environ={}))


def refused(directory: Path, service: str, rest: str = "") -> str:
    with pytest.raises(ConfigurationError) as caught:
        facts(directory, service, rest)
    return f"{caught.value.message} | {caught.value.hint}"


ENVIRONMENT = "environment: {POSTGRES_PASSWORD: pw}\n"


def test_everything_said(tmp_path: Path) -> None:
    said = "environment: {POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}\nports: ['127.0.0.1:6543:5432']"
    assert facts(tmp_path, said) == ConnectionFacts("localhost", 6543, "u", "d", "p")


def test_defaults_of_the_image(tmp_path: Path) -> None:
    found = facts(tmp_path, ENVIRONMENT + "ports: ['5432:5432']")
    assert found == ConnectionFacts("localhost", 5432, "postgres", "postgres", "pw")
    assert (
        facts(tmp_path, "environment: {POSTGRES_USER: u, POSTGRES_PASSWORD: p}\nports: ['1:5432']").database
        == "u"
    )


def test_the_password_does_not_print_itself(tmp_path: Path) -> None:
    assert "pw" not in repr(facts(tmp_path, ENVIRONMENT + "ports: ['5432:5432']"))
    spec = load(tmp_path, service="db", environ={})
    assert "pw" not in repr(spec)


@pytest.mark.parametrize(
    ("ports", "host", "port"),
    [
        ("['0.0.0.0:1:5432']", "localhost", 1),
        ("['[::1]:1:5432']", "::1", 1),
        ("['192.168.1.5:1:5432']", "192.168.1.5", 1),
        ("['192.168.1.5:1:5432', '127.0.0.1:2:5432']", "localhost", 2),
        ("[{target: 5432, published: 7}]", "localhost", 7),
        ("['9:5432/udp', '8:5432']", "localhost", 8),
    ],
)
def test_the_published_port(tmp_path: Path, ports: str, host: str, port: int) -> None:
    found = facts(tmp_path, ENVIRONMENT + f"ports: {ports}")
    assert (found.host, found.port) == (host, port)


def test_pgport_moves_the_server_inside(tmp_path: Path) -> None:
    assert (
        facts(tmp_path, "environment: {POSTGRES_PASSWORD: p, PGPORT: 6000}\nports: ['1:5432', '2:6000']").port
        == 2
    )


def test_the_host_network_publishes_everything(tmp_path: Path) -> None:
    found = facts(tmp_path, ENVIRONMENT + "network_mode: host")
    assert (found.host, found.port) == ("localhost", 5432)


def test_trust_needs_no_password(tmp_path: Path) -> None:
    found = facts(tmp_path, "environment: {POSTGRES_HOST_AUTH_METHOD: trust}\nports: ['1:5432']")
    assert found.password is None


def test_settings_from_mounted_files(tmp_path: Path) -> None:
    (tmp_path / "pw.txt").write_text("secret\n", encoding="utf-8")
    service = "environment: {POSTGRES_PASSWORD_FILE: /run/secrets/pw}\nsecrets: [pw]\nports: ['1:5432']"
    assert facts(tmp_path, service, "secrets: {pw: {file: ./pw.txt}}\n").password == "secret"
    bound = "environment: {POSTGRES_PASSWORD_FILE: /etc/pg/pw.txt}\nvolumes: ['.:/etc/pg']\nports: ['1:5432']"
    assert facts(tmp_path, bound).password == "secret"


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        (
            ENVIRONMENT,
            'compose.yaml: services.db.ports: does not publish port 5432 | add "127.0.0.1:5432:5432" to it',
        ),
        (
            ENVIRONMENT + "ports: ['5432']",
            "compose.yaml: services.db.ports: publishes 5432 on a port that Docker chooses at each start | "
            'write "127.0.0.1:5432:5432"',
        ),
        (
            "ports: ['1:5432']",
            "compose.yaml: services.db.environment: has neither POSTGRES_PASSWORD nor POSTGRES_PASSWORD_FILE; "
            "the image won't start | ",
        ),
        (
            "environment: {POSTGRES_PASSWORD: a, POSTGRES_PASSWORD_FILE: /b}\nports: ['1:5432']",
            "compose.yaml: services.db.environment.POSTGRES_PASSWORD_FILE: stands beside POSTGRES_PASSWORD; "
            "the image takes one of them | ",
        ),
        (
            "environment: {POSTGRES_PASSWORD_FILE: /b}\nports: ['1:5432']",
            "compose.yaml: services.db.environment.POSTGRES_PASSWORD_FILE: /b is mounted from no file of this "
            "machine | ",
        ),
        (
            "environment: {POSTGRES_PASSWORD: p, PGPORT: x}\nports: ['1:5432']",
            "compose.yaml: services.db.environment.PGPORT: 'x' is not a port | ",
        ),
    ],
)
def test_refusals(tmp_path: Path, service: str, problem: str) -> None:
    assert refused(tmp_path, service) == problem


@pytest.mark.parametrize(
    ("image", "major"),
    [
        ("postgres:17", 17),
        ("postgres:17.2-alpine3.20", 17),
        ("docker.io/library/postgres:9.6", 9),
        ("localhost:5000/team/postgres:16@sha256:00", 16),
        ("pgvector/pgvector:pg17", 17),
        ("timescale/timescaledb:2.14.2-pg16", 16),
        ("postgis/postgis:16-3.4", 16),
        ("postgres", None),
        ("postgres:latest", None),
        ("postgres:alpine", None),
        ("localhost:5000/postgres", None),
        ("team/db:3", None),
    ],
)
def test_image_major(tmp_path: Path, image: str, major: int | None) -> None:
    (tmp_path / "compose.yaml").write_text(f"services: {{db: {{image: '{image}'}}}}\n", encoding="utf-8")
    assert image_major(load(tmp_path, service="db", environ={})) == major
