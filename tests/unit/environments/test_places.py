"""A database that is protected under one name is not unprotected under another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.environments import Project, load, place_of
from pgops.errors import ConfigurationError
from pgops.targets import refuse_two_names

HERE = place_of("localhost", 5432, "app")


@pytest.mark.parametrize(
    "host",
    [
        "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.2", "127.1", "0x7f000001", "::1", "0:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1", "0.0.0.0", "/var/run/postgresql", "@abstract", "",
    ],
)  # fmt: skip
def test_every_way_to_this_machine_is_one(host: str) -> None:
    assert place_of(host, 5432, "app") == HERE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("DB.example.com", 5432, "app"), ("db.example.com.", 5432, "app")),
        (("2001:db8::1", 5432, "app"), ("2001:DB8:0::1", 5432, "app")),
        (("10.0.0.7", 5432, "app"), ("::ffff:10.0.0.7", 5432, "app")),
    ],
)
def test_ways_to_write_one_host(one: tuple[str, int, str], other: tuple[str, int, str]) -> None:
    assert place_of(*one) == place_of(*other)


@pytest.mark.parametrize(
    "other",
    [("db2.example.com", 5432, "app"), ("db", 5433, "app"), ("db", 5432, "App"), ("10.0.0.8", 5432, "app")],
)
def test_other_databases_stay_others(other: tuple[str, int, str]) -> None:
    assert place_of(*other) not in {
        place_of("db", 5432, "app"),
        place_of("db.example.com", 5432, "app"),
        HERE,
    }


@pytest.mark.parametrize(
    "second",
    [
        "{extends: prod, protected: false}",
        "{host: localhost, dbname: app, user: other, protected: false}",
        "{host: '::1', port: 5432, dbname: app, user: app, protected: false}",
        "{host: /var/run/postgresql, dbname: app, user: app, protected: false}",
        "{port: 5432, dbname: app, protected: false}",
    ],
)
def test_a_protected_and_an_unprotected_name_of_one_database(
    mistakes: Callable[[str], list[str]], second: str
) -> None:
    (line,) = mistakes(
        "version: 1\n"
        "defaults: {host: 127.0.0.1, user: app}\n"
        "environments:\n"
        "  prod: {dbname: app, protected: true}\n"
        f"  copy: {second}\n"
    )
    assert line.startswith("5:3: environments.copy: is the same database as prod, which is protected")


def test_two_unprotected_or_two_protected_names_are_nobody_else_s_business(
    read: Callable[[str], Project],
) -> None:
    for protected in ("true", "false"):
        host = f"{{host: localhost, dbname: app, user: app, protected: {protected}}}"
        assert len(read(f"version: 1\nenvironments:\n  a: {host}\n  b: {host}\n").environments) == 2


@pytest.mark.parametrize(
    "second",
    [
        "{service: app, protected: false}",
        "{url: {env: THE_URL}, protected: false}",
        "{url: {file: url.txt}, protected: false}",
        "{compose: {service: db}}",
    ],
)
def test_services_urls_and_compose_files_are_looked_into(
    directory: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    (directory / "environments.yaml").write_text(
        "version: 1\nenvironments:\n"
        "  prod: {host: 127.0.0.1, port: 6432, dbname: app, user: app, protected: true}\n"
        f"  copy: {second}\n"
        "  far: {url: {command: [/nonexistent]}, protected: false}\n",
        encoding="utf-8",
    )
    url = "postgresql://app:s3cret-of-url@LocalHost:6432/app"
    (directory / ".pg_service.conf").write_text("[app]\nhost=/tmp\nport=6432\ndbname=app\nuser=app\n")
    (directory / "url.txt").write_text(url)
    (directory / "url.txt").chmod(0o600)
    (directory / "docker-compose.yml").write_text(
        "services:\n  db:\n    image: postgres:17\n    ports: ['127.0.0.1:6432:5432']\n"
        "    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: s3cret-of-url, POSTGRES_DB: app}\n"
    )
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv("THE_URL", url)
    project = load(environ={})
    for name in ("prod", "copy"):
        with pytest.raises(ConfigurationError) as caught:
            refuse_two_names(project, project.environment(name))
        (problem,) = caught.value.problems
        assert "environments.copy: is the same database as prod, which is protected" in problem
        assert "s3cret" not in problem


def test_what_cannot_be_read_is_no_mistake_of_the_one_that_is_used(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THE_URL", raising=False)
    (directory / "environments.yaml").write_text(
        "version: 1\nenvironments:\n"
        "  prod: {host: 127.0.0.1, dbname: app, user: app, protected: true}\n"
        "  other: {url: {env: THE_URL}, protected: false}\n"
        "  gone: {service: nowhere, protected: false}\n",
        encoding="utf-8",
    )
    project = load(environ={})
    refuse_two_names(project, project.environment("prod"))
