"""What a look at a real server finds: each level, and what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops import checks, postgres
from pgops.checks import Check, FailedChecksError, Finding, check, check_all
from pgops.checks.report import ok
from pgops.environments import Environment, HostConnection, load
from pgops.errors import ExitCode
from pgops.pgtools import DEFAULT_SOURCES
from pgops.postgres import Target
from pgops.secrets.references import EnvSecret

Found = dict[str, list[tuple[str, str, str]]]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Environment]:
    """An environment whose server is this target; lines are added to it."""

    def environment(target: Target, *lines: str) -> Environment:
        secret = target.secret()
        monkeypatch.setenv("CHECK_PASSWORD", secret.reveal() if secret else "unused")
        text = [
            "version: 1", "environments:", "  tried:", f"    host: {target.host}", f"    port: {target.port}",
            f"    dbname: {target.dbname}", f"    user: {target.user}", "    password: {env: CHECK_PASSWORD}",
            *(f"    {line}" for line in lines),
        ]  # fmt: skip
        file = tmp_path / "environments.yaml"
        file.write_text("\n".join(text) + "\n", encoding="utf-8")
        (tmp_path / "alembic.ini").touch()
        return load(file, root=tmp_path, environ={}).environment("tried")

    return environment


@pytest.fixture
def role(database: Target) -> Iterator[str]:
    """A role that may log in and nothing else; its password is its name."""
    name = f"role_{secrets.token_hex(4)}"
    with postgres.connected(database) as connection:
        postgres.execute(connection, f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
    yield name
    with postgres.connected(database) as connection:
        postgres.execute(connection, f"DROP OWNED BY {name}; DROP ROLE {name}")


def found(result: Check) -> Found:
    topics: Found = {}
    for each in result.findings:
        topics.setdefault(each.topic, []).append((each.level, each.text, each.todo))
    return topics


def only(result: Check, topic: str) -> tuple[str, str, str]:
    (finding,) = found(result)[topic]
    return finding


def test_a_superuser_of_a_server_that_answers(
    environment: Callable[..., Environment], database: Target
) -> None:
    result = check(environment(database), DEFAULT_SOURCES)
    assert not result.failed
    topics = found(result)
    assert only(result, "target") == ("ok", str(database), "")
    assert only(result, "password") == ("ok", "from environment variable CHECK_PASSWORD", "")
    assert only(result, "server")[1].startswith("PostgreSQL ")
    assert only(result, "TLS") == ("ok", "not needed: this machine", "")
    assert only(result, "pooling") == ("ok", "none: a session of its own", "")
    assert only(result, "may migrate") == ("ok", f"{database.user} creates in schema public", "")
    assert only(result, "may restore")[0] == "ok"
    assert "role" not in topics, "a session made read-only by the look itself is not a finding"
    assert "tools" in topics


def test_a_role_that_may_do_nothing(
    environment: Callable[..., Environment], database: Target, role: str
) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE a (); CREATE TABLE b (); CREATE SEQUENCE s")
        postgres.execute(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    result = check(environment(_as(database, role)), DEFAULT_SOURCES)
    topics = found(result)
    assert topics["may migrate"] == [
        ("fail", f"{role} may not create tables in schema public", f"GRANT CREATE ON SCHEMA public TO {role}"),
        ("fail", f"{role} may not create the journal's schema pgops", f"CREATE SCHEMA pgops AUTHORIZATION {role}"),
        ("warn", f"2 tables belong to {database.user}: {role} can't alter or drop them", f"GRANT {database.user} TO {role}"),
    ]  # fmt: skip
    assert topics["may back up"] == [
        ("fail", f"{role} can't read public.a, public.b, public.s", f"GRANT pg_read_all_data TO {role}")
    ]
    assert topics["may restore"] == [
        ("warn", f"{role} may not create a database to restore into", f"ALTER ROLE {role} CREATEDB")
    ]
    assert set(result.exit_codes) == {ExitCode.FAILURE}


def test_a_role_that_follows_the_advice(
    environment: Callable[..., Environment], database: Target, role: str
) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, f"CREATE TABLE a (); CREATE SCHEMA pgops AUTHORIZATION {role}")
        postgres.execute(connection, f"GRANT CREATE ON SCHEMA public TO {role}")
        postgres.execute(connection, f"GRANT pg_read_all_data TO {role}")
    result = check(environment(_as(database, role)), DEFAULT_SOURCES)
    assert only(result, "may back up") == ("ok", f"{role} reads every table and sequence", "")
    assert not result.failed


def test_row_security_hides_rows_from_a_backup(
    environment: Callable[..., Environment], database: Target, role: str
) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(
            connection,
            f"GRANT CREATE ON SCHEMA public TO {role}; GRANT CREATE ON DATABASE {database.dbname} TO {role}",
        )
        postgres.execute(connection, "CREATE TABLE hidden (); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
        postgres.execute(connection, f"GRANT SELECT ON hidden TO {role}")
    result = check(environment(_as(database, role)), DEFAULT_SOURCES)
    assert only(result, "may back up") == (
        "fail", f"row security hides rows of public.hidden from {role}", f"ALTER ROLE {role} BYPASSRLS"
    )  # fmt: skip


def test_row_security_hides_nothing_from_a_superuser(
    environment: Callable[..., Environment], database: Target
) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE hidden (); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
    result = check(environment(database), DEFAULT_SOURCES)
    assert only(result, "may back up")[0] == "ok"


def test_a_look_cannot_write(
    environment: Callable[..., Environment], database: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def pooling(_target: Target, connection: postgres.Connection) -> Finding:
        seen.append(postgres.fetch_value(connection, "SHOW transaction_read_only"))
        return ok("pooling", "")

    monkeypatch.setattr(checks, "_pooling", pooling)
    check(environment(database), DEFAULT_SOURCES)
    assert seen == ["on"]


def test_read_only_by_default(environment: Callable[..., Environment], database: Target, role: str) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, f"ALTER ROLE {role} SET default_transaction_read_only = on")
    result = check(environment(_as(database, role)), DEFAULT_SOURCES)
    assert only(result, "role")[:2] == ("warn", "transactions are read-only by default")


def test_transaction_pooling_is_a_failure(
    environment: Callable[..., Environment], pgbouncer: Callable[[str], Target]
) -> None:
    result = check(environment(pgbouncer("transaction")), DEFAULT_SOURCES)
    level, text, todo = only(result, "pooling")
    assert (level, text) == (
        "fail",
        "a proxy gives the session away between transactions: no lock would hold",
    )
    assert "pool_mode = session" in todo


def test_session_pooling_is_well(
    environment: Callable[..., Environment], pgbouncer: Callable[[str], Target]
) -> None:
    result = check(environment(pgbouncer("session")), DEFAULT_SOURCES)
    assert only(result, "pooling") == ("ok", "a proxy, but sessions are kept", "")


def test_tools_that_are_not_there(environment: Callable[..., Environment], database: Target) -> None:
    result = check(environment(database), ())
    level, text, todo = only(result, "tools")
    assert level == "fail" and "pg_dump" in text and todo


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dbname": "gone"}, "there is no database 'gone'"),
        ({"user": "nobody_here"}, "nobody_here"),
        ({"port": 1}, "nothing accepts connections"),
    ],
)
def test_unreachable(
    environment: Callable[..., Environment], server: Target, change: dict[str, object], said: str
) -> None:
    target = dataclasses.replace(server, **change)  # type: ignore[arg-type]
    result = check(environment(target), DEFAULT_SOURCES)
    level, text, todo = only(result, "connection")
    assert level == "fail" and said in text and todo
    assert FailedChecksError.of([result]).exit_code == ExitCode.UNREACHABLE


def test_no_password(
    environment: Callable[..., Environment], server: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = environment(server)
    monkeypatch.delenv("CHECK_PASSWORD")
    result = check(tried, DEFAULT_SOURCES)
    assert only(result, "password")[:2] == (
        "fail", "tried.password: environment variable CHECK_PASSWORD is not set"
    )  # fmt: skip
    assert FailedChecksError.of([result]).exit_code == ExitCode.USAGE


def test_no_alembic_and_no_store(
    environment: Callable[..., Environment], server: Target, tmp_path: Path
) -> None:
    tried = environment(server, "alembic: {config: gone.ini}", "backups: {store: local}")
    (tmp_path / "backups").write_text("not a directory", encoding="utf-8")
    result = check(tried, DEFAULT_SOURCES)
    assert only(result, "alembic") == (
        "fail", f"there is no {tmp_path / 'gone.ini'}", "alembic.config in environments.yaml"
    )  # fmt: skip
    assert only(result, "backups")[0] == "fail"


def test_one_that_hangs_does_not_keep_the_others(
    environment: Callable[..., Environment], server: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = environment(server)
    assert isinstance(quick.connection, HostConnection)
    slow = dataclasses.replace(
        quick, name="slow", connection=dataclasses.replace(quick.connection, password=EnvSecret("SLOW"))
    )
    release = threading.Event()

    def looked(each: Environment, _sources: object) -> Check:
        if each.name == "slow":
            release.wait(30)
        return Check(each.name, (ok("target", "there"),))

    monkeypatch.setattr(checks, "check", looked)
    with contextlib.closing(_Release(release)):
        first, second = check_all([slow, quick], DEFAULT_SOURCES, timeout=0.3)
    assert first.findings == (
        Finding(
            "fail",
            "connection",
            "no answer within 0.3 s: a name server or a credential program may hang",
            "invoke env.check --env=slow",
            ExitCode.UNREACHABLE,
        ),
    )
    assert second.findings == (ok("target", "there"),)


class _Release:
    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def close(self) -> None:
        self._event.set()


def _as(target: Target, role: str) -> Target:
    from pgops.secrets.references import LiteralSecret, Secret

    return dataclasses.replace(target, user=role, password=LiteralSecret(Secret(role)))
