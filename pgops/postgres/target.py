"""A target: which host, port and database, as whom. Resolved from an environment; the password is still a reference."""

from __future__ import annotations

import configparser
import ipaddress
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

from pgops.environments import HostConnection, ServiceConnection, Tunnel, UrlConnection
from pgops.errors import ConfigurationError, SecretError
from pgops.postgres.tunnels import local_port
from pgops.runtime.files import read_regular
from pgops.secrets.references import (
    LiteralSecret,
    PassfileSecret,
    Secret,
    SecretRef,
    check_private,
    not_secret,
    resolve,
)


class MissingServiceError(ConfigurationError):
    """A service that this machine does not know; another one may, for such files are each person's own."""


_SERVICES = 4 * 1024 * 1024
_OWN_KEYS = frozenset(
    [
        *("host", "hostaddr", "port", "dbname", "user", "password", "passfile"),
        *("sslmode", "sslrootcert", "sslcert", "sslkey"),
    ]
)
_SECRET_KEYS = ("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")

_LONGEST_NAME = 63
_PASSFILE_LINE = re.compile(":".join([r"((?:[^:\\]|\\.)*)"] * 5))
_LIBPQ_DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi")


@dataclass(frozen=True, slots=True)
class Target:
    """Everything a connection needs. ``str()`` names it for people: ``user@host:port/dbname``.

    ``extra`` holds libpq keywords that came with a URL or a service and have no field of their own. With a ``tunnel``
    host and port are still the server's; ``local_port`` is where it begins here, in a target that is :func:`reached`.
    """

    environment: str
    host: str
    port: int
    dbname: str
    user: str
    password: SecretRef | None = None
    sslmode: str = "prefer"
    sslrootcert: Path | None = None
    sslcert: Path | None = None
    sslkey: Path | None = None
    connect_timeout: float = 5.0
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    tunnel: Tunnel | None = None
    local_port: int | None = None

    def __post_init__(self) -> None:
        # A demo password is often the user's or the database's name: those words stay readable.
        not_secret(self.environment, self.host, str(self.port), self.dbname, self.user)
        for what, name in (("dbname", self.dbname), ("user", self.user)):
            if (length := len(name.encode())) > _LONGEST_NAME:
                raise ConfigurationError(
                    f"{self.environment}: {what} {name} has {length} bytes, and a name of PostgreSQL {_LONGEST_NAME}: "
                    "the server would take another one, its beginning",
                    untouched="nothing was touched",
                    hint=f"{what}: {name.encode()[:_LONGEST_NAME].decode(errors='ignore')}",
                )

    def __str__(self) -> str:
        return f"{self.user}@{self.place}"

    @property
    def place(self) -> str:
        """``host:port/dbname``, what a person has to recognise before anything is touched."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.dbname}"

    @property
    def loopback(self) -> bool:
        """A Unix socket or an address of this machine's loopback; behind a tunnel it is another machine's."""
        return self.tunnel is None and is_loopback(self.host)

    def with_database(self, dbname: str) -> Target:
        """The same server and user, another database."""
        return replace(self, dbname=dbname)

    @property
    def own_passfile(self) -> Path | None:
        """The password file that libpq is to read itself. Through a tunnel it would look for another port there."""
        if isinstance(self.password, PassfileSecret) and self.tunnel is None:
            return self.password.path
        return None

    def secret(self) -> Secret | None:
        """The password's value, fetched now.

        :raises SecretError: the reference gives none.
        """
        if self.password is None or self.own_passfile is not None:
            return None
        if isinstance(self.password, PassfileSecret):
            check_private(self.password.path, f"{self.environment}.password")
            return from_passfile(self.password.path, self.host, self.port, self.dbname, self.user)
        fill = {"host": self.host, "port": str(self.port), "user": self.user, "dbname": self.dbname}
        return resolve(self.password, what=f"{self.environment}.password", fill=fill)


def from_passfile(file: Path, host: str, port: int, dbname: str, user: str) -> Secret | None:
    """What libpq would find in a password file: https://www.postgresql.org/docs/current/libpq-pgpass.html

    :raises SecretError: the file can't be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"{file} can't be read: {error}", untouched="no connection was made") from error
    wanted = (host, str(port), dbname, user)
    for line in lines:
        parts = None if line.startswith("#") else _PASSFILE_LINE.match(line)
        fields = [re.sub(r"\\(.)", r"\1", each) for each in parts.groups()] if parts else []
        if fields and all(there in ("*", here) for there, here in zip(fields, wanted, strict=False)):
            return Secret(fields[4])
    return None


def reached(target: Target) -> Target:
    """The target as a connection has to be told of it: with a tunnel that stands.

    :raises TunnelError: it does not come to stand, or has broken.
    """
    if target.tunnel is None:
        return target
    return replace(target, local_port=local_port(target.environment, target.tunnel, target.host, target.port))


def with_options(target: Target, options: str) -> Target:
    """The target with these session settings added to its own."""
    if not options:
        return target
    own = target.extra.get("options", "")
    extra = MappingProxyType({**target.extra, "options": f"{own} {options}".strip()})
    return replace(target, extra=extra)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a socket directory, ``localhost`` or a loopback address."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def from_connection(
    environment: str,
    connection: HostConnection | ServiceConnection | UrlConnection,
    *,
    connect_timeout: float,
) -> Target:
    """Resolve what environments.yaml says about a server that pgops does not start.

    :raises ConfigurationError: the service does not exist, or the URL is not a PostgreSQL one.
    :raises SecretError: the URL's reference gives no value.
    """
    match connection:
        case HostConnection():
            return Target(
                environment=environment,
                host=connection.host,
                port=connection.port,
                dbname=connection.dbname,
                user=connection.user,
                password=connection.password,
                sslmode=connection.sslmode,
                sslrootcert=connection.sslrootcert,
                sslcert=connection.sslcert,
                sslkey=connection.sslkey,
                connect_timeout=connect_timeout,
                tunnel=connection.tunnel,
            )
        case ServiceConnection():
            keywords = dict(_service_section(connection.service, connection.servicefile))
            if connection.dbname is not None:
                keywords["dbname"] = connection.dbname
            if connection.user is not None:
                keywords["user"] = connection.user
            found = _from_keywords(environment, keywords, connect_timeout)
            return replace(
                found,
                password=connection.password or found.password,
                sslmode=connection.sslmode or found.sslmode,
                sslrootcert=connection.sslrootcert or found.sslrootcert,
                tunnel=connection.tunnel,
            )
        case UrlConnection():
            value = resolve(connection.url, what=f"{environment}.url").reveal()
            found = _from_keywords(environment, _url_keywords(environment, value), connect_timeout)
            return replace(
                found,
                sslmode=connection.sslmode or found.sslmode,
                sslrootcert=connection.sslrootcert or found.sslrootcert,
                tunnel=connection.tunnel,
            )


def _url_keywords(environment: str, url: str) -> dict[str, str]:
    scheme, separator, rest = url.partition("://")
    if separator and scheme.split("+", 1)[0] in {"postgresql", "postgres"}:
        url = f"postgresql://{rest}"
    try:
        return {str(key): str(value) for key, value in parse_dsn(url).items()}
    except ProgrammingError:
        # libpq repeats part of the string in its complaint, and the string holds a password.
        raise SecretError(
            f"{environment}.url: its value is not a PostgreSQL URL",
            untouched="no connection was made",
            hint="postgresql://user:password@host:5432/database, special characters percent-encoded",
        ) from None


def _from_keywords(environment: str, keywords: Mapping[str, str], connect_timeout: float) -> Target:
    host = keywords.get("host") or keywords.get("hostaddr") or "localhost"
    user = keywords.get("user") or pwd.getpwuid(os.geteuid()).pw_name
    if "," in host or "," in keywords.get("port", ""):
        raise ConfigurationError(
            f"{environment}: names several hosts; an operation must know the one server it touches",
            hint="name the primary alone",
        )
    if keywords.get("hostaddr", host) != host:
        # libpq would connect to the address and show the name: people would be told of another server.
        raise ConfigurationError(
            f"{environment}: the URL or service names host {host} and hostaddr {keywords['hostaddr']}; "
            "only one of them can be the server that is shown",
            untouched="no connection was made",
            hint="leave hostaddr out, or name the address as host",
        )
    if "service" in keywords:
        # libpq would take from it whatever the URL leaves open, and the target would not say so.
        raise ConfigurationError(
            f"{environment}: the URL or service names a service itself ({keywords['service']})",
            hint="name that service with service: in environments.yaml, instead of the URL",
        )
    try:
        port = int(keywords.get("port") or 5432)
    except ValueError as error:
        raise ConfigurationError(f"{environment}: port {keywords['port']!r} is not a number") from error

    def path_of(key: str) -> Path | None:
        return Path(keywords[key]) if keywords.get(key) else None

    password: SecretRef | None = None
    if keywords.get("password"):
        password = LiteralSecret(Secret(keywords["password"]))
    elif keywords.get("passfile"):
        password = PassfileSecret(Path(keywords["passfile"]))
    for key in _SECRET_KEYS:
        # Known from now on, so it is masked in every text.
        Secret(keywords.get(key, ""))
    return Target(
        environment=environment,
        host=host,
        port=port,
        dbname=keywords.get("dbname") or user,
        user=user,
        password=password,
        sslmode=keywords.get("sslmode", "prefer"),
        sslrootcert=path_of("sslrootcert"),
        sslcert=path_of("sslcert"),
        sslkey=path_of("sslkey"),
        connect_timeout=connect_timeout,
        extra=MappingProxyType({key: value for key, value in keywords.items() if key not in _OWN_KEYS}),
    )


def _service_section(service: str, servicefile: Path | None) -> dict[str, str]:
    """Look a service up where libpq does: https://www.postgresql.org/docs/current/libpq-pgservice.html

    But PGSERVICEFILE and PGSYSCONFDIR name no other place; ``servicefile`` of environments.yaml does.
    """
    own = [Path.home() / ".pg_service.conf", Path("/etc/postgresql-common/pg_service.conf")]
    looked = [servicefile] if servicefile else own
    for file in looked:
        parser = configparser.RawConfigParser(interpolation=None, strict=False, delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(read_regular(file, _SERVICES).decode("utf-8"), str(file))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise ConfigurationError(f"{file}: cannot be read: {error}") from error
        if parser.has_section(service):
            return dict(parser.items(service))
    raise MissingServiceError(
        f"there is no service {service!r} in {' or '.join(map(str, looked))}",
        hint="servicefile: in environments.yaml names another file",
    )
