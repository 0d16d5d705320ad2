"""One database out of a recovered cluster, as a dump that ``restore`` takes: whole, single tables, beside, with undo."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from pgops.backups.database.progress import Observer
from pgops.backups.dump import create as making
from pgops.backups.pgbackrest.cluster import RecoveredCluster
from pgops.backups.repository import Backup, open_repository
from pgops.environments import Environment
from pgops.errors import UsageError
from pgops.local.tools import tool_sources
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret
from pgops.targets import target_for

_ROLE = "pgops_recovery"
_ROUNDS = 4096


def refuse_ssh(environment: Environment) -> None:
    """Refuse over ssh: a recovered cluster listens on no address, and its socket is on that machine.

    :raises UsageError: pgBackRest is reached by ssh.
    """
    settings = environment.backups.pgbackrest
    assert settings is not None
    if settings.ssh is not None:
        raise UsageError(
            f"--dump: the recovered cluster is on {settings.ssh} and listens on no address there",
            untouched="nothing was touched",
            hint="recover without --dump, then pg_dump and pg_restore there, by the socket that is printed",
        )


def dump_out_of(environment: Environment, cluster: RecoveredCluster, observer: Observer) -> Backup:
    """Dump the environment's database out of a promoted recovered cluster into the environment's store.

    :returns: the backup: a dump like any other, of the moment that was recovered.
    :raises PgopsError: as taking a dump does.
    """
    with _reached(environment, cluster) as target:
        return making.create(
            environment,
            target,
            repository=open_repository(environment),
            sources=tool_sources(),
            lock_wait=30.0,
            observer=observer,
        )


@contextmanager
def _reached(environment: Environment, cluster: RecoveredCluster) -> Iterator[Target]:
    """The environment's database in the recovered cluster, as a superuser of the moment's own."""
    password = Secret(secrets.token_hex(16))
    # What goes through a command line is the verifier: nobody gets in with that.
    cluster.execute(
        "postgres", f"CREATE ROLE {_ROLE} LOGIN SUPERUSER PASSWORD '{scram_verifier(password.reveal())}'"
    )
    place = cluster.place
    from pgops.local.engine.recovery import published_port

    host, port = (
        ("127.0.0.1", published_port(place.container, place.port))
        if place.container
        else (
            place.directory,
            place.port,
        )
    )
    yield dataclasses.replace(
        target_for(environment),
        host=host,
        port=port,
        user=_ROLE,
        password=LiteralSecret(password),
        sslmode="disable",
        sslrootcert=None,
        sslcert=None,
        sslkey=None,
    )


def scram_verifier(password: str) -> str:
    """A password as PostgreSQL keeps it: ``SCRAM-SHA-256$…`` (RFC 5802)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    client = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    one, two, three = (base64.b64encode(each).decode() for each in (salt, client, server))
    return f"SCRAM-SHA-256${_ROUNDS}:{one}${two}:{three}"
