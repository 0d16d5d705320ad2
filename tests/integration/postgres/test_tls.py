"""Servers with TLS, and what ``env.check`` says where it does not come about."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.postgres import Target, connected, execute, fetch_value, wait_until_ready
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import ProjectDirectory, Ran
from tests.support.ports import free_port
from tests.support.projects import AlembicProject

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(directory: Path, name: str) -> Path:
    """A certificate of an authority's own, its key beside it."""
    made = directory / f"{name}.crt"
    openssl("req", "-x509", *_EC, "-subj", f"/CN={name}", "-days", "2",
            "-keyout", made.with_suffix(".key"), "-out", made)  # fmt: skip
    return made


def certificate(by: Path, name: str, common_name: str, *, days: int = 2) -> Path:
    """One of an authority, for this name; with days below zero one whose time is over."""
    made = by.with_name(f"{name}.crt")
    openssl("req", *_EC, "-subj", f"/CN={common_name}", "-keyout", made.with_suffix(".key"),
            "-out", made.with_suffix(".csr"))  # fmt: skip
    names = made.with_suffix(".ext")
    names.write_text(f"subjectAltName=DNS:{common_name}\n", encoding="ascii")
    openssl("x509", "-req", "-in", made.with_suffix(".csr"), "-CA", by, "-CAkey", by.with_suffix(".key"),
            "-CAcreateserial", "-days", str(days), "-extfile", names, "-out", made)  # fmt: skip
    made.with_suffix(".key").chmod(0o600)
    return made


@dataclasses.dataclass
class Secured:
    """A server and the certificates around it; ``says`` changes its settings."""

    target: Target
    container: object
    certificates: Path

    def path(self, name: str) -> Path:
        return self.certificates / name

    def says(self, **settings: str) -> None:
        with connected(self.target) as connection:
            for key, value in settings.items():
                execute(connection, f"ALTER SYSTEM SET {key} = '{value}'")
            execute(connection, "SELECT pg_reload_conf()")
        # The reload is over where a new session sees it.
        for _attempt in range(1000):
            with connected(self.target) as connection:
                shown = {key: fetch_value(connection, f"SHOW {key}") for key in settings}
            if shown == settings:
                return
        raise AssertionError(f"the settings did not arrive: {shown}")

    def hba(self, *lines: str) -> None:
        """Put these in front of the rules; none takes them away."""
        text = "\n".join([*lines, "host all all all scram-sha-256", "local all all trust", ""])
        script = "cat > $PGDATA/pg_hba.conf <<'END'\n" + text + "END"
        done = self.container.exec_run(["bash", "-c", script])  # type: ignore[attr-defined]
        assert done.exit_code == 0, done


@pytest.fixture(scope="module")
def secured(docker_engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """In a container: the server of the wheel knows no TLS."""
    import docker

    assert docker_engine
    made = tmp_path_factory.mktemp("certificates")
    ca = authority(made, "ca")
    authority(made, "other")
    certificate(ca, "good", "localhost")
    certificate(ca, "elsewhere", "db.example.com")
    certificate(ca, "over", "localhost", days=-1)
    certificate(ca, "client", "postgres")
    certificate(ca, "stranger", "somebody")
    password, port = secrets.token_hex(16), free_port()
    script = (
        "mkdir /tls && cp /certificates/* /tls/ && chown -R postgres /tls && chmod 600 /tls/*.key && "
        "exec docker-entrypoint.sh postgres"
    )
    with contextlib.closing(docker.from_env()) as client:
        container = client.containers.run(
            "postgres:17",
            ["bash", "-c", script],
            detach=True,
            environment={"POSTGRES_PASSWORD": password},
            ports={"5432/tcp": ("127.0.0.1", port)},
            volumes={str(made): {"bind": "/certificates", "mode": "ro"}},
        )
        try:
            target = Target(
                environment="dev",
                host="localhost",
                port=port,
                dbname="postgres",
                user="postgres",
                password=LiteralSecret(Secret(password)),
                sslmode="disable",
            )
            wait_until_ready(target, 60)
            yield Secured(target, container, made)
        finally:
            container.remove(force=True, v=True)


@pytest.fixture
def check(secured: Secured, project: ProjectDirectory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run ``env.check`` with these TLS settings."""
    secret = secured.target.secret()
    monkeypatch.setenv("TEST_PASSWORD", secret.reveal() if secret else "")

    AlembicProject.make(project.path).chain("aa01")

    def run(**settings: object) -> Ran:
        project.environment_yaml(dev=secured.target)
        file = project.path / "environments.yaml"
        more = "".join(f"    {key}: {value}\n" for key, value in settings.items())
        file.write_text(file.read_text(encoding="utf-8") + more, encoding="utf-8")
        return project.run("env.check")

    return run


def refused(ran: Ran, *said: str) -> None:
    assert ran.code == 3, ran
    for words in said:
        assert words in ran.text, (words, ran)
    assert "nothing was changed" in ran.text


def test_a_server_without_tls(secured: Secured, check: Callable[..., Ran]) -> None:
    secured.says(ssl="off")
    for mode in ({"sslmode": "require"}, {"sslmode": "verify-full", "sslrootcert": secured.path("ca.crt")}):
        refused(check(**mode), "the server there has no TLS", "turn it on there: ssl = on")


def test_whom_a_certificate_proves(secured: Secured, check: Callable[..., Ran]) -> None:
    proof = {"sslmode": "verify-full", "sslrootcert": secured.path("ca.crt")}
    secured.says(ssl="on", ssl_cert_file="/tls/good.crt", ssl_key_file="/tls/good.key")
    assert check(**proof).code == 0
    refused(
        check(**proof | {"sslrootcert": secured.path("other.crt")}),
        f"not of an authority in {secured.path('other.crt')}, or its time is over",
        "fix dev.sslrootcert",
    )
    secured.says(ssl_cert_file="/tls/elsewhere.crt", ssl_key_file="/tls/elsewhere.key")
    refused(check(**proof), "for another name than localhost", "fix dev.host")
    assert check(**proof | {"sslmode": "verify-ca"}).code == 0
    secured.says(ssl_cert_file="/tls/over.crt", ssl_key_file="/tls/over.key")
    refused(check(**proof), "or its time is over", "renew its certificate")


def test_files_that_are_not_there(secured: Secured, check: Callable[..., Ran]) -> None:
    """libpq passes over some of them, and proves nothing then, or shows nothing."""
    secured.says(ssl="on", ssl_cert_file="/tls/good.crt", ssl_key_file="/tls/good.key")
    missing, there = secured.path("missing"), {"sslcert": secured.path("client.crt")}
    for mode in ("prefer", "require", "verify-ca", "verify-full"):
        refused(
            check(sslmode=mode, sslrootcert=missing),
            f"sslrootcert is not there: {missing}",
            "fix dev.sslrootcert",
        )
    refused(
        check(sslmode="require", sslcert=missing, sslkey=secured.path("client.key")),
        f"sslcert is not there: {missing}",
    )
    refused(check(sslmode="require", **there, sslkey=missing), f"sslkey is not there: {missing}")
    refused(check(sslmode="require", sslrootcert=secured.certificates), "sslrootcert is not there")
    junk = secured.path("junk.crt")
    junk.write_text("no certificate\n", encoding="ascii")
    refused(
        check(sslmode="verify-full", sslrootcert=junk),
        f"no certificate of an authority can be read in {junk}",
    )


def test_a_certificate_of_ours(secured: Secured, check: Callable[..., Ran]) -> None:
    proof = {"sslmode": "verify-full", "sslrootcert": secured.path("ca.crt")}
    secured.hba("hostssl all all all cert")
    secured.says(
        ssl="on", ssl_cert_file="/tls/good.crt", ssl_key_file="/tls/good.key", ssl_ca_file="/tls/ca.crt"
    )
    own = {"sslcert": secured.path("client.crt"), "sslkey": secured.path("client.key")}
    try:
        assert check(**proof, **own).code == 0
        refused(check(**proof), "the server wants a certificate of ours", "dev.sslcert and dev.sslkey")
        stranger = {"sslcert": secured.path("stranger.crt"), "sslkey": secured.path("stranger.key")}
        refused(check(**proof, **stranger), "does not take our certificate for user")
        opened = secured.path("opened.key")
        shutil.copy(own["sslkey"], opened)
        opened.chmod(0o644)
        refused(check(**proof, **own | {"sslkey": opened}), "others may read the key", f"chmod 600 {opened}")
        other = own | {"sslkey": secured.path("ca.key")}
        refused(check(**proof, **other), "is not that of the certificate")
    finally:
        secured.hba()
        secured.says(ssl_ca_file="")
