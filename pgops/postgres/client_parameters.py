"""A target as its clients take it: libpq's keywords, URLs, the environment of a child process."""

from __future__ import annotations

import math
import urllib.parse
from dataclasses import replace

from pgops.errors import ConfigurationError
from pgops.postgres.target import _LIBPQ_DRIVERS, Target, reached
from pgops.postgres.tunnels import LOCAL
from pgops.runtime.variables import NO_PASSFILE
from pgops.secrets.references import (
    check_private,
)


def connection_keywords(target: Target) -> dict[str, str | int]:
    """libpq keywords for this target, the password included: for a connection only, never for a text.

    :raises SecretError: the password's reference gives no value.
    """
    target = reached(target)
    keywords: dict[str, str | int] = dict(target.extra)
    keywords |= {
        "host": target.host,
        "port": target.local_port or target.port,
        **({"hostaddr": LOCAL} if target.local_port else {}),
        "dbname": target.dbname,
        "user": target.user,
        "sslmode": target.sslmode,
        # libpq takes whole seconds and treats 1 as 2.
        "connect_timeout": max(2, math.ceil(target.connect_timeout)),
    }
    keywords |= _ssl_files(target)
    if (passfile := target.own_passfile) is not None:
        check_private(passfile, f"{target.environment}.password")
        keywords["passfile"] = str(passfile)
    elif (secret := target.secret()) is not None:
        keywords["password"] = secret.reveal()
    else:
        keywords["passfile"] = NO_PASSFILE
    return keywords


def _ssl_files(target: Target) -> dict[str, str]:
    """libpq's keywords for the certificates and the key that the target names."""
    files = {"sslrootcert": target.sslrootcert, "sslcert": target.sslcert, "sslkey": target.sslkey}
    return {key: str(path) for key, path in files.items() if path is not None}


def libpq_url(target: Target, *, password: str | None = None) -> str:
    """The target as a URL that psql and other libpq programs take; ``password`` only where it was asked for.

    A tunnel is in it only if the target is :func:`reached`.
    """
    return _url("postgresql", target, password)


def sqlalchemy_url(target: Target, *, driver: str = "psycopg2", password: str | None = None) -> str:
    """The target as SQLAlchemy takes it. The driver is always named: bare ``postgresql://`` means psycopg 3 in 2.1."""
    target = reached(target)
    if target.local_port is not None and driver not in _LIBPQ_DRIVERS:
        if target.sslmode == "verify-full":
            raise ConfigurationError(
                f"{target.environment}: {driver} proves the server by the address that it connects to, and through a "
                f"tunnel that is {LOCAL}",
                untouched="no connection was made",
                hint="let env.py use psycopg or psycopg2: they know name and address apart",
            )
        target = replace(target, host=LOCAL, port=target.local_port, tunnel=None, local_port=None)
    return _url(f"postgresql+{driver}", target, password)


def _url(scheme: str, target: Target, password: str | None) -> str:
    quoted = urllib.parse.quote
    secret = "" if password is None else ":" + quoted(password, safe="")
    query = dict(target.extra)
    if target.sslmode != "prefer":
        query["sslmode"] = target.sslmode
    query |= _ssl_files(target)
    if target.local_port is not None:
        query["hostaddr"] = LOCAL
    host = f"[{target.host}]" if ":" in target.host else target.host
    if target.host.startswith("/"):
        host = ""
        query["host"] = target.host
    text = f"{scheme}://{quoted(target.user, safe='')}{secret}@{host}:{target.local_port or target.port}/{quoted(target.dbname, safe='')}"
    return text + ("?" + urllib.parse.urlencode(query) if query else "")


def child_environment(target: Target) -> dict[str, str]:
    """Where and as whom libpq programs connect, as PG* variables; nothing secret is in it.

    The password comes by :mod:`pgops.postgres.passfile`, what else there is in ``extra`` by :mod:`pgops.postgres.servicefile`.
    """
    target = reached(target)
    found = {
        "PGHOST": target.host,
        **({"PGHOSTADDR": LOCAL} if target.local_port else {}),
        "PGPORT": str(target.local_port or target.port),
        "PGDATABASE": target.dbname,
        "PGUSER": target.user,
        "PGSSLMODE": target.sslmode,
        "PGCONNECT_TIMEOUT": str(max(2, math.ceil(target.connect_timeout))),
    }
    found |= {f"PG{key.upper()}": path for key, path in _ssl_files(target).items()}
    if "options" in target.extra:
        found["PGOPTIONS"] = target.extra["options"]
    return found
