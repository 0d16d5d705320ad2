"""What a good file means, and where it is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.environments import (
    ComposeConnection,
    Encryption,
    Environment,
    HazardSettings,
    HostConnection,
    Keep,
    Project,
    S3Settings,
    ServiceConnection,
    Timeouts,
    UrlConnection,
    load,
)
from pgops.errors import ConfigurationError, UsageError
from pgops.secrets.references import CommandSecret, EnvSecret, FileSecret, KeyringSecret, PassfileSecret

REPOSITORY = Path(__file__).resolve().parents[3]
One = Callable[[str], Environment]
HOST = "host: h\ndbname: d\nuser: u\n"


def test_the_file_of_this_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    project = load(root=REPOSITORY, environ={})
    dev, staging, production = project.environments.values()

    assert project.default == "dev"
    assert project.promotion == ("dev", "staging", "production")
    assert (dev.name, dev.aliases, dev.protected, dev.local) == ("dev", ("development",), False, True)
    assert dev.connection == ComposeConnection("db", "auto")
    assert (staging.protected, staging.promoted_from, staging.local) == (False, "dev", False)
    assert isinstance(staging.connection, HostConnection)
    assert staging.connection.password == EnvSecret("STAGING_DB_PASSWORD")
    assert (production.protected, production.aliases) == (True, ("prod",))
    assert isinstance(production.connection, HostConnection)
    assert isinstance(production.connection.password, CommandSecret)
    assert production.connection.password.ttl == 600.0
    assert production.connection.sslrootcert == REPOSITORY / "certs/rds-global.pem"
    assert production.timeouts == Timeouts(connect=5.0, lock=0.5, statement=900.0)
    assert production.backups.keep == Keep(last=5, daily=7, weekly=4, monthly=12)
    assert production.backups.required_before == {"migrate", "restore"}
    assert production.backups.store.url == f"file:{REPOSITORY / 'backups'}"
    assert production.alembic.config == REPOSITORY / "alembic.ini"
    assert project.environment("prod") is production
    assert project.environment() is dev


def test_an_environment_says_where_it_stands(read: Callable[[str], Project], directory: Path) -> None:
    environment = read("version: 1\nenvironments:\n  a: {compose: {service: db}}\n").environment("a")
    assert str(environment.position) == f"{directory / 'environments.yaml'}:3:3"
    assert environment.origins["compose.service"].path == "environments.a.compose.service"


@pytest.mark.parametrize(
    ("reference", "means"),
    [
        ("{env: APP_PASSWORD}", EnvSecret("APP_PASSWORD")),
        ("{file: secrets/app}", FileSecret(Path("DIRECTORY/secrets/app"))),
        ("{file: /run/secrets/app}", FileSecret(Path("/run/secrets/app"))),
        ("{passfile: ~/.pgpass}", PassfileSecret(Path("HOME/.pgpass"))),
        ("{keyring: {service: pgops, username: app}}", KeyringSecret("pgops", "app")),
        ("{command: [pass, show, db]}", CommandSecret(("pass", "show", "db"))),
        (
            "{command: [./token, '{host}'], ttl: 10min, timeout: 500ms}",
            CommandSecret(("DIRECTORY/./token", "{host}"), ttl=600.0, timeout=0.5),
        ),
    ],
)
def test_secret_references(
    one: One, directory: Path, monkeypatch: pytest.MonkeyPatch, reference: str, means: object
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    connection = one(f"{HOST}password: {reference}\nprotected: false").connection
    assert isinstance(connection, HostConnection)
    wanted = repr(means).replace("DIRECTORY/./", f"{directory}/").replace("DIRECTORY", str(directory))
    assert repr(connection.password) == wanted.replace("HOME", "/home/someone")


def test_the_four_connections(one: One, directory: Path) -> None:
    assert one("compose: {service: db, file: deploy/c.yml}\nserver: embedded").connection == (
        ComposeConnection("db", "embedded", directory / "deploy/c.yml")
    )
    assert one(HOST).connection == HostConnection("h", "d", "u", sslmode="verify-full")
    assert one("service: s\ndbname: d").connection == ServiceConnection("s", dbname="d")
    assert one("url: {env: DATABASE_URL}").connection == UrlConnection(EnvSecret("DATABASE_URL"))


@pytest.mark.parametrize(
    ("lines", "protected", "sslmode"),
    [
        (HOST, True, "verify-full"),
        (HOST + "protected: false", False, "prefer"),
        (HOST + "protected: false\nsslmode: disable", False, "disable"),
        ("host: 127.0.0.1\ndbname: d\nuser: u", True, "prefer"),
        ("host: ::1\ndbname: d\nuser: u\nsslmode: disable", True, "disable"),
        ("host: /run/postgresql\ndbname: d\nuser: u\nsslmode: prefer", True, "prefer"),
        ("host: localhost\ndbname: d\nuser: u\nsslmode: allow", True, "allow"),
    ],
)
def test_what_is_not_local_is_protected_and_proves_itself(
    one: One, lines: str, protected: bool, sslmode: str
) -> None:
    environment = one(lines)
    assert isinstance(environment.connection, HostConnection)
    assert (environment.protected, environment.connection.sslmode) == (protected, sslmode)


def test_a_compose_environment_may_ask_for_protection(one: One) -> None:
    assert one("compose: {service: db}\nprotected: true").protected


LAYERED = """\
version: 1
defaults:
  timeouts: {connect: 5s, lock: 3s}
  sslmode: verify-full
  backups: {keep: {last: 5, daily: 2}, required_before: [migrate]}
  alembic: {x: {tenant: main, shard: one}}
alembic: {name: app, x: {tenant: base}}
environments:
  base:
    host: h
    dbname: d
    user: u
    password: {env: P}
    aliases: [b]
    protected: false
    timeouts: {lock: 1s}
  child:
    extends: base
    dbname: other
    password: {file: p}
    timeouts: {lock: null, statement: 1min}
    backups: {keep: {last: null}, required_before: [restore]}
    alembic: {x: {shard: two, tenant: null}}
  local:
    extends: base
    host: null
    compose: {service: db}
"""


def test_layers(read: Callable[[str], Project], directory: Path) -> None:
    project = read(LAYERED)
    child, local = project.environment("child"), project.environment("local")

    assert isinstance(child.connection, HostConnection)
    assert (child.connection.host, child.connection.dbname) == ("h", "other")
    assert child.connection.password == FileSecret(directory / "p"), "a reference replaces, it does not merge"
    assert child.timeouts == Timeouts(connect=5.0, lock=2.0, statement=60.0), (
        "null goes back to what is built in"
    )
    assert child.backups.keep == Keep(daily=2)
    assert child.backups.required_before == {"restore"}, "a list replaces"
    assert dict(child.alembic.x) == {"shard": "two"}
    assert child.alembic.name == "app"
    assert (child.aliases, child.protected) == ((), True), "aliases and protection are each environment's own"
    assert local.connection == ComposeConnection("db"), "inherited keys of another connection are not used"
    assert child.origins["timeouts.connect"].path == "defaults.timeouts.connect"
    assert child.origins["host"].path == "environments.base.host"
    assert "timeouts.lock" not in child.origins


def test_stores(read: Callable[[str], Project], directory: Path) -> None:
    stores = read(
        """\
version: 1
stores:
  near: {url: "file:backups"}
  far:
    url: s3://bucket/prefix
    endpoint: http://127.0.0.1:9000
    region: eu-central-1
    access_key: {env: KEY}
    secret_key: {env: SECRET}
    encrypt: {recipients: [age1qqqq], identity: {file: key.txt}}
  absolute: {url: "file:///var/backups"}
environments:
  a: {compose: {service: db}, backups: {store: far}}
"""
    ).stores
    assert stores["near"].url == f"file:{directory / 'backups'}"
    assert stores["absolute"].url == "file:/var/backups"
    assert stores["far"].url == "s3://bucket/prefix"
    assert stores["far"].s3 == S3Settings(
        "http://127.0.0.1:9000", "eu-central-1", EnvSecret("KEY"), EnvSecret("SECRET")
    )
    assert stores["far"].encrypt == Encryption(("age1qqqq",), FileSecret(directory / "key.txt"))


def test_without_stores_backups_stand_beside_the_file(one: One, directory: Path) -> None:
    assert one("compose: {service: db}").backups.store.url == f"file:{directory / 'backups'}"


def test_hazards(one: One) -> None:
    assert one(
        "compose: {service: db}\nhazards: {large_rows: 0, large_bytes: 2GB, exclude: [ban-drop-column]}"
    ).hazards == HazardSettings(0, 2 * 1024**3, frozenset({"ban-drop-column"}))


def test_durations(one: One) -> None:
    timeouts = "{connect: 1h, lock: 500ms, statement: 0s, idle_in_transaction: 1d}"
    assert one(f"compose: {{service: db}}\ntimeouts: {timeouts}").timeouts == Timeouts(
        3600.0, 0.5, 0.0, 86400.0
    )


def test_anchors_and_free_keys(read: Callable[[str], Project]) -> None:
    project = read(
        "version: 1\nx-common: &c {connect: 9s}\nenvironments:\n  a: {compose: {service: db}, timeouts: *c}\n"
    )
    assert project.environment("a").timeouts.connect == 9.0


def test_names_and_aliases_in_default_and_promotion(read: Callable[[str], Project]) -> None:
    project = read(
        "version: 1\ndefault: one\npromotion: [one, b]\nenvironments:\n"
        "  a: {aliases: [one], compose: {service: x}}\n  b: {compose: {service: y}}\n"
    )
    assert (project.default, project.promotion) == ("a", ("a", "b"))
    assert project.environment("b").promoted_from == "a"


def test_braces_that_are_somebody_elses(one: One) -> None:
    alembic = one(
        "compose: {service: db}\nalembic: {environ: {A: '{tenant}', B: '{\"url\": 1}', C: '{url:asyncpg}'}}"
    ).alembic
    assert dict(alembic.environ) == {"A": "{tenant}", "B": '{"url": 1}', "C": "{url:asyncpg}"}


# where it is found


def test_pgops_environments_names_another_file(tmp_path: Path) -> None:
    text = "version: 1\nenvironments:\n  a:\n    compose: {service: db, file: c.yml}\n    alembic: {config: a.ini}\n"
    other = tmp_path / "conf" / "other.yaml"
    other.parent.mkdir()
    other.write_text(text, encoding="utf-8")
    environment = load(root=tmp_path, environ={"PGOPS_ENVIRONMENTS": str(other)}).environment("a")

    assert environment.alembic.config == other.parent / "a.ini", "paths are relative to the file"
    assert environment.connection == ComposeConnection("db", "auto", tmp_path / "c.yml"), (
        "compose to the project"
    )
    assert environment.project == tmp_path
    assert load(other, root=tmp_path, environ={}).file == other


def test_no_file(directory: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(environ={})
    assert caught.value.message == "there is no environments.yaml"
    assert "PGOPS_ENVIRONMENTS" in caught.value.hint


def test_no_file_where_the_variable_points(directory: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(environ={"PGOPS_ENVIRONMENTS": "gone.yaml"})
    assert caught.value.message == "there is no gone.yaml, which PGOPS_ENVIRONMENTS names"


@pytest.mark.parametrize("named", ["conf", "a\x00b"])
def test_a_file_that_cannot_be_read(directory: Path, named: str) -> None:
    (directory / "conf").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(environ={"PGOPS_ENVIRONMENTS": named})


def test_unknown_environment(one: One) -> None:
    project = load(root=REPOSITORY, environ={})
    with pytest.raises(UsageError) as caught:
        project.environment("stagin")
    assert caught.value.message == (
        "there is no environment 'stagin' in environments.yaml; did you mean 'staging'?"
    )
    assert caught.value.hint == "--env=<dev|staging|production>"


def test_no_default(read: Callable[[str], Project]) -> None:
    project = read("version: 1\nenvironments:\n  a: {compose: {service: db}}\n")
    with pytest.raises(UsageError, match=r"environments.yaml names no default environment"):
        project.environment()
