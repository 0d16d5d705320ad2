"""Environment variables that would lead a connection elsewhere, kept away from all that pgops does.

libpq, psql and asyncpg take from the environment whatever a connection leaves open. Where pgops goes, as whom and
how is what environments.yaml says, so these variables are taken out of the process while a task works, and put back
after it: the project's own tasks in the same process find them as they were.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator, Mapping

LIBPQ = frozenset(
    [
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGDATABASE",
        "PGUSER",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGREQUIREAUTH",
        "PGCHANNELBINDING",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGOPTIONS",
        "PGAPPNAME",
        "PGSSLMODE",
        "PGREQUIRESSL",
        "PGSSLNEGOTIATION",
        "PGSSLCOMPRESSION",
        "PGSSLCERT",
        "PGSSLKEY",
        "PGSSLCERTMODE",
        "PGSSLROOTCERT",
        "PGSSLCRL",
        "PGSSLCRLDIR",
        "PGSSLSNI",
        "PGREQUIREPEER",
        "PGSSLMINPROTOCOLVERSION",
        "PGSSLMAXPROTOCOLVERSION",
        "PGGSSENCMODE",
        "PGKRBSRVNAME",
        "PGGSSLIB",
        "PGGSSDELEGATION",
        "PGREALM",
        "PGCONNECT_TIMEOUT",
        "PGCLIENTENCODING",
        "PGTARGETSESSIONATTRS",
        "PGLOADBALANCEHOSTS",
        "PGMINPROTOCOLVERSION",
        "PGMAXPROTOCOLVERSION",
        "PGDATESTYLE",
        "PGTZ",
        "PGGEQO",
        "PGSYSCONFDIR",
        "PGLOCALEDIR",
        "PGOAUTHDEBUG",
        "PGOAUTHCAFILE",
        "PGAUTHTYPE",
        "PGTTY",
        "PGCLUSTER",
    ]
)
"""What libpq of any version reads (https://www.postgresql.org/docs/current/libpq-envars.html), and ``PGCLUSTER``, by
which Debian's wrapper of psql chooses a server."""

AWS_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
"""By which a cloud or a person says who we are, where environments.yaml names no keys."""
AWS_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")

NO_PASSFILE = "/dev/null/none"
"""As ``passfile`` or ``PGPASSFILE``: there can be no such file, and so ~/.pgpass is not read in its stead."""

# What a client program, git or squawk works with: programs and libraries, the person's own files, certificates,
# Kerberos tickets. No application's settings and none of its secrets.
_PLAIN = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TMPDIR",
        "TMP",
        "TEMP",
        "TZ",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "SYSTEMROOT",
        "XDG_CONFIG_HOME",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "OPENSSL_CONF",
        "OPENSSL_MODULES",
    ]
)
_PLAIN_PREFIXES = ("LC_", "KRB5", "GIT_CONFIG_")


class _SetAside:
    """Variables that are out of ``os.environ`` for as long as anybody is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.values: dict[str, str] = {}

    @contextlib.contextmanager
    def __call__(self, but: Mapping[str, str]) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            for name in LIBPQ & os.environ.keys():
                if but.get(name) != os.environ[name]:
                    self.values[name] = os.environ.pop(name)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    for name, value in self.values.items():
                        os.environ.setdefault(name, value)
                    self.values.clear()


_while_working = _SetAside()
_while_connecting = _SetAside()
_of_the_target: dict[str, str] = {}
_away_from_aws: dict[str, str] = {}
_aws_lock = threading.Lock()


def aws_variables(environ: Mapping[str, str]) -> set[str]:
    """The names of those that a client of S3 takes its settings from: endpoint, keys, checks of certificates …"""
    return {name for name in environ if name.startswith("AWS_")}


@contextlib.contextmanager
def making_an_aws_client(kept: Collection[str]) -> Iterator[None]:
    """Of the variables ``AWS_…`` only the ``kept`` ones in the process for the block: a client reads them when it is made."""
    with _aws_lock:
        for name in aws_variables(os.environ) - {*kept}:
            _away_from_aws[name] = os.environ[name]
            del os.environ[name]
        try:
            yield
        finally:
            os.environ.update(_away_from_aws)
            _away_from_aws.clear()


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """No variable of :data:`LIBPQ` in the process for the block; around everything that a task does."""
    with _while_working(_of_the_target):
        yield


@contextlib.contextmanager
def connecting() -> Iterator[None]:
    """:func:`set_aside` for one connection of ours: what somebody's env.py has set meanwhile does not lead it either."""
    with _while_connecting(_of_the_target):
        yield


@contextlib.contextmanager
def replaced(wanted: Mapping[str, str], target: Mapping[str, str]) -> Iterator[None]:
    """The process with the variables of both for the block; ``wanted`` wins.

    :param target: variables of :data:`LIBPQ` that say what our own connections are told too, so that they may stay.
    """
    before = {name: os.environ.get(name) for name in {*target, *wanted}}
    _of_the_target.update(target)
    os.environ.update({**target, **wanted})
    try:
        yield
    finally:
        for name in target:
            _of_the_target.pop(name, None)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def inherited() -> dict[str, str]:
    """The environment as pgops was started with it: for what the operator names (references, commands, compose)."""
    return {**os.environ, **_while_working.values, **_away_from_aws}


def ignored() -> list[str]:
    """The variables of :data:`LIBPQ` that the operator has set and that decide nothing, in order."""
    return sorted(_while_working.values.keys() | (LIBPQ & os.environ.keys()))


def plain() -> dict[str, str]:
    """What a program that we start needs of our environment, and no more."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PLAIN or name.startswith(_PLAIN_PREFIXES)
    }
