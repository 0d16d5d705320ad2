"""From environments.yaml's four ways of naming a server to one target, and back to URLs and passfiles."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pgops.environments import HostConnection, ServiceConnection, Tunnel, UrlConnection
from pgops.errors import ConfigurationError, SecretError
from pgops.postgres import (
    Target,
    child_environment,
    connection_keywords,
    from_connection,
    is_loopback,
    libpq_url,
    passfile,
    redact,
    service_file,
    sqlalchemy_url,
)
from pgops.postgres.target import from_passfile
from pgops.secrets.references import EnvSecret, LiteralSecret, PassfileSecret, Secret

PASSWORD = "p@ss:w%rd/\\"


def target(**changes: object) -> Target:
    values: dict[str, object] = {
        "environment": "dev",
        "host": "db",
        "port": 5432,
        "dbname": "app",
        "user": "me",
    }
    return Target(**{**values, **changes})  # type: ignore[arg-type]


def test_host_connection() -> None:
    found = from_connection("x", HostConnection("db.example.com", "app", "me", port=6432), connect_timeout=3)
    assert str(found) == "me@db.example.com:6432/app"
    assert found.connect_timeout == 3


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_url_connection_takes_sqlalchemy_schemes(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("URL", f"{scheme}://me:p%40ss@db:6000/app?sslmode=require&application_name=x")
    found = from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)
    assert (found.host, found.port, found.dbname, found.user, found.sslmode) == (
        "db",
        6000,
        "app",
        "me",
        "require",
    )
    assert found.secret() == Secret("p@ss")
    assert "p@ss" not in repr(found)
    assert dict(found.extra) == {"application_name": "x"}


def test_a_bad_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL", "mysql://me:hunter22@db/app")
    with pytest.raises(SecretError) as failed:
        from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)
    assert "hunter22" not in str(failed.value) + failed.value.hint
    assert failed.value.__cause__ is None


def test_several_hosts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL", "postgresql://me@a,b/app")
    with pytest.raises(ConfigurationError, match="names several hosts"):
        from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)


def test_service_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pg_service.conf"
    file.write_text("[main]\nhost=db1\nport=5433\ndbname=app\nuser=me\npassword=a%b\n", encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", "/nonexistent")
    found = from_connection("x", ServiceConnection("main", file, user="other"), connect_timeout=5)
    assert str(found) == "other@db1:5433/app"
    assert found.secret() == Secret("a%b")
    with pytest.raises(ConfigurationError, match="there is no service 'nope' in"):
        from_connection("x", ServiceConnection("nope", file), connect_timeout=5)
    monkeypatch.setenv("HOME", str(tmp_path))
    file.rename(tmp_path / ".pg_service.conf")
    assert from_connection("x", ServiceConnection("main"), connect_timeout=5).host == "db1"


@pytest.mark.parametrize("kind", ["fifo", "endless", "directory"])
def test_a_service_file_that_is_none_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "pg_service.conf"
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    else:
        file.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        from_connection("x", ServiceConnection("main", file), connect_timeout=5)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me@db/app?hostaddr=192.0.2.7", None),
        ("postgresql://me@192.0.2.7/app?hostaddr=192.0.2.7", "me@192.0.2.7:5432/app"),
        ("postgresql://me@/app?hostaddr=192.0.2.7", "me@192.0.2.7:5432/app"),
    ],
)
def test_hostaddr_is_shown_or_refused(monkeypatch: pytest.MonkeyPatch, url: str, place: str | None) -> None:
    monkeypatch.setenv("URL", url)
    if place is not None:
        assert str(from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)) == place
        return
    with pytest.raises(ConfigurationError, match="host db and hostaddr"):
        from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)


def test_no_variable_says_as_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL", "postgresql://db/app")
    monkeypatch.setenv("PGUSER", "another")
    monkeypatch.setenv("USER", "a third")
    found = from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)
    assert found.user == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("/var/run/postgresql", True),
        ("@abstract", True),
        ("db", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_urls_quote_everything() -> None:
    odd = target(user="a b@c", dbname="my/db", sslmode="verify-full", sslrootcert=Path("/c a.pem"))
    assert (
        libpq_url(odd) == "postgresql://a%20b%40c@db:5432/my%2Fdb?sslmode=verify-full&sslrootcert=%2Fc+a.pem"
    )
    assert libpq_url(target(), password=PASSWORD) == "postgresql://me:p%40ss%3Aw%25rd%2F%5C@db:5432/app"
    assert sqlalchemy_url(target(), driver="asyncpg") == "postgresql+asyncpg://me@db:5432/app"
    assert libpq_url(target(host="/run/pg")) == "postgresql://me@:5432/app?host=%2Frun%2Fpg"
    assert libpq_url(target(host="::1")) == "postgresql://me@[::1]:5432/app"


def test_passfile_is_private_escaped_and_gone_afterwards() -> None:
    with passfile(target(password=LiteralSecret(Secret(PASSWORD)))) as environ:
        path = Path(environ["PGPASSFILE"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.read_text(encoding="utf-8") == "*:*:*:me:p@ss\\:w%rd/\\\\\n"
    assert not path.exists()


KILLED = """
import os, signal
from pgops.postgres import Target, passfile
from pgops.secrets.references import LiteralSecret, Secret
with passfile(Target("dev", "db", 5432, "app", "me", LiteralSecret(Secret("x1y2z3")))) as environ:
    print(environ["PGPASSFILE"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_passfile_of_a_killed_process_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of its own: in the machine's, whoever makes the next one beside us removes it before we look.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    left = Path(done.stdout.strip())
    assert left.parent.parent == tmp_path and left.exists()
    with passfile(target(password=LiteralSecret(Secret(PASSWORD)))) as first:
        assert not left.exists()
        with passfile(target(password=LiteralSecret(Secret(PASSWORD)))):
            assert Path(first["PGPASSFILE"]).exists()


def test_what_else_lies_among_the_passfiles_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = tmp_path / f"pgops-passfiles-{os.geteuid()}"
    home.mkdir(mode=0o700)
    (home / "directory").mkdir()
    (home / "link").symlink_to(tmp_path)
    with passfile(target(password=LiteralSecret(Secret(PASSWORD)))) as environ:
        assert Path(environ["PGPASSFILE"]).exists()
    assert {path.name for path in home.iterdir()} == {"turn", "directory", "link"}


def test_a_directory_that_others_may_enter_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"pgops-passfiles-{os.geteuid()}").mkdir(mode=0o755)
    with (
        pytest.raises(SecretError, match="is not a private directory"),
        passfile(target(password=LiteralSecret(Secret(PASSWORD)))),
    ):
        pass


def test_passfile_of_ones_own_is_passed_on_if_private(tmp_path: Path) -> None:
    own = tmp_path / "pgpass"
    own.write_text("*:*:*:*:x\n", encoding="utf-8")
    own.chmod(0o600)
    with passfile(target(password=PassfileSecret(own))) as environ:
        assert environ == {"PGPASSFILE": str(own)}
    own.chmod(0o644)
    with (
        pytest.raises(SecretError, match="can be read by others"),
        passfile(target(password=PassfileSecret(own))),
    ):
        pass


def test_child_environment_holds_no_password() -> None:
    found = child_environment(target(password=LiteralSecret(Secret(PASSWORD)), sslmode="require"))
    assert found == {
        "PGHOST": "db",
        "PGPORT": "5432",
        "PGDATABASE": "app",
        "PGUSER": "me",
        "PGSSLMODE": "require",
        "PGCONNECT_TIMEOUT": "5",
    }


URL_WITH_EVERYTHING = (
    "postgresql://me@db/app?sslmode=verify-full&sslrootcert=/ca.pem&channel_binding=require"
    "&require_auth=scram-sha-256&sslcrl=/crl.pem&sslcrldir=/crls&gssencmode=disable"
    "&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.3&sslsni=0&sslcertmode=require"
    "&sslpassword=k%20y%23%3D&requirepeer=postgres&krbsrvname=pg&target_session_attrs=read-write"
    "&keepalives_idle=7&options=-c%20a%3Db&application_name=x&client_encoding=latin1&connect_timeout=9"
)


def test_what_else_a_url_demands_reaches_children_by_a_private_service_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("URL", URL_WITH_EVERYTHING)
    found = from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)
    with service_file(found) as environ:
        path = Path(environ["PGSERVICEFILE"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert environ["PGSERVICE"] == "pgops"
        name, *lines = path.read_text(encoding="utf-8").splitlines()
    assert not path.exists()
    assert name == "[pgops]"
    assert sorted(lines) == [
        "channel_binding=require",
        "gssencmode=disable",
        "keepalives_idle=7",
        "krbsrvname=pg",
        "require_auth=scram-sha-256",
        "requirepeer=postgres",
        "ssl_max_protocol_version=TLSv1.3",
        "ssl_min_protocol_version=TLSv1.3",
        "sslcertmode=require",
        "sslcrl=/crl.pem",
        "sslcrldir=/crls",
        "sslpassword=k y#=",
        "sslsni=0",
        "target_session_attrs=read-write",
    ]
    assert child_environment(found) == {
        "PGHOST": "db",
        "PGPORT": "5432",
        "PGDATABASE": "app",
        "PGUSER": "me",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/ca.pem",
        "PGCONNECT_TIMEOUT": "5",
        "PGOPTIONS": "-c a=b",
    }
    assert "k y#=" not in repr(found) and redact("said: k y#=") == "said: ***"


def test_nothing_else_is_no_service_file() -> None:
    with service_file(target(extra={"options": "-c a=b", "application_name": "x"})) as environ:
        assert environ == {}


@pytest.mark.parametrize("value", ["secret ", "sec\nret"])
def test_a_value_that_a_service_file_cannot_hold_is_refused_unsaid(value: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="the value of sslpassword") as failed,
        service_file(target(extra={"sslpassword": value})),
    ):
        pass
    assert value not in str(failed.value) + failed.value.hint


def test_the_passfile_of_a_url_is_the_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "pgpass"
    monkeypatch.setenv("URL", f"postgresql://me@db/app?passfile={own}")
    found = from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)
    assert (found.password, dict(found.extra)) == (PassfileSecret(own), {})
    monkeypatch.setenv("URL", f"postgresql://me:word@db/app?passfile={own}")
    found = from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)
    assert (found.secret(), dict(found.extra)) == (Secret("word"), {})


def test_a_url_that_names_a_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL", "postgresql://me@db/app?service=main")
    with pytest.raises(ConfigurationError, match="names a service itself"):
        from_connection("x", UrlConnection(EnvSecret("URL")), connect_timeout=5)


def test_a_name_that_the_server_would_cut_is_refused() -> None:
    """Two environments would lead to one database, and what is shown would not be where it goes."""
    name = "ä" * 31
    assert Target("e", "h", 1, name, "u").dbname == name
    for dbname, user in ((name + "xy", "u"), ("d", "u" * 64)):
        with pytest.raises(ConfigurationError, match="64 bytes, and a name of PostgreSQL 63") as caught:
            Target("e", "h", 1, dbname, user)
        assert caught.value.hint in ("dbname: " + name + "x", "user: " + "u" * 63)


def test_a_tunnels_way_is_no_part_of_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgops.postgres.target.local_port", lambda *_: 40001)
    far = Target(
        "prod", "db.example.com", 5432, "app", "me", sslmode="verify-full", tunnel=Tunnel(ssh="bastion")
    )
    assert far.place == "db.example.com:5432/app"
    assert not Target("prod", "127.0.0.1", 5432, "app", "me", tunnel=Tunnel(ssh="bastion")).loopback
    keywords = connection_keywords(far)
    assert (keywords["host"], keywords["hostaddr"], keywords["port"]) == (
        "db.example.com",
        "127.0.0.1",
        40001,
    )
    # What is shown to a person stays true when the tunnel is gone.
    assert libpq_url(far) == "postgresql://me@db.example.com:5432/app?sslmode=verify-full"
    assert "hostaddr=127.0.0.1" in sqlalchemy_url(far, driver="psycopg")
    with pytest.raises(ConfigurationError, match="asyncpg proves the server by the address"):
        sqlalchemy_url(far, driver="asyncpg")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("db.example.com:5432:app:me:simple", "simple"),
        ("*:*:*:*:any", "any"),
        (r"db.example.com:5432:app:me:with\:colon\\and slash", r"with:colon\and slash"),
        ("db.example.com:5433:app:me:other port", None),
        ("#db.example.com:5432:app:me:comment", None),
        ("db.example.com:5432:app:me", None),
    ],
)
def test_a_password_files_line_as_libpq_reads_it(tmp_path: Path, line: str, found: str | None) -> None:
    file = tmp_path / "pgpass"
    file.write_text(f"{line}\n", encoding="utf-8")
    secret = from_passfile(file, "db.example.com", 5432, "app", "me")
    assert (secret.reveal() if secret else None) == found
