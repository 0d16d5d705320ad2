"""Which Docker engine is meant, and a quick look whether anything answers there.

The order is the docker command's own: DOCKER_HOST, then DOCKER_CONTEXT, then ``currentContext`` of
``~/.docker/config.json``, then the platform's socket. The SDK falls back to that socket when a named
context does not exist, and would start the database on another machine than the one meant; here that is
an error. Nothing in this module imports docker: it is asked in every ``server: auto`` run.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pgops.errors import ConfigurationError, UnreachableError

DEFAULT_URL = "unix:///var/run/docker.sock"
EMBEDDED_HINT = "or let pgops start PostgreSQL without Docker: server: embedded in environments.yaml"
_UNTOUCHED = "no container was touched"
_QUICK = 3.0  # seconds for the look at a TCP endpoint


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the engine is. ``context`` is ``""`` unless a Docker context said so; ``tls`` its key directory."""

    url: str
    context: str = ""
    tls: Path | None = None
    verify: bool = True

    @property
    def local_socket(self) -> str:
        """The path of a Unix socket, or ``""``."""
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else ""

    @property
    def remote_host(self) -> str:
        """The other machine that the engine runs on, or ``""`` where it is this one."""
        host = urlsplit(self.url).hostname or "" if "://" in self.url else ""
        local = self.url.startswith(("unix://", "npipe://")) or host in ("localhost", "127.0.0.1", "::1")
        return "" if local else host

    def __str__(self) -> str:
        return f"{self.local_socket or self.url}" + (f" (context {self.context})" if self.context else "")


def resolve_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """The engine that the docker command would speak to.

    :raises ConfigurationError: the named context does not exist, or its file or config.json can't be read.
    """
    url = environ.get("DOCKER_HOST")
    if url:
        tls = environ.get("DOCKER_CERT_PATH") if environ.get("DOCKER_TLS_VERIFY") else None
        return Endpoint(url if "://" in url else f"tcp://{url}", tls=Path(tls) if tls else None)
    directory = _config_directory(environ)
    name = environ.get("DOCKER_CONTEXT", "")
    source = "DOCKER_CONTEXT"
    if not name:
        source = str(directory / "config.json")
        found = _json(directory / "config.json").get("currentContext")
        name = found if isinstance(found, str) else ""
    if not name or name == "default":
        return Endpoint(DEFAULT_URL)
    return _context(directory, name, source)


def check_answers(endpoint: Endpoint) -> None:
    """Connect and hang up, so that an engine that is not there is known within milliseconds.

    :raises UnreachableError: absent, dead, forbidden or silent, each with its own words.
    """
    if endpoint.local_socket:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_QUICK)
            _look(endpoint, lambda: probe.connect(endpoint.local_socket))
        return
    parts = urlsplit(endpoint.url)
    if parts.scheme in ("tcp", "http", "https") and parts.hostname:
        address = (parts.hostname, _port(endpoint, parts.scheme))

        def knock() -> None:
            socket.create_connection(address, timeout=_QUICK).close()

        _look(endpoint, knock)


def _look(endpoint: Endpoint, knock: object) -> None:
    assert callable(knock)
    try:
        knock()
    except OSError as error:
        raise unreachable(endpoint, error) from error


def unreachable(endpoint: Endpoint, error: OSError) -> UnreachableError:
    """The words for a connection that failed."""
    match error:
        case FileNotFoundError():
            return UnreachableError(
                f"there is no Docker engine here: {endpoint} does not exist",
                kind="engine-absent",
                untouched=_UNTOUCHED,
                hint=f"install and start Docker, {EMBEDDED_HINT}",
            )
        case PermissionError():
            return UnreachableError(
                f"this user may not speak to the Docker engine at {endpoint}",
                kind="engine-forbidden",
                untouched=_UNTOUCHED,
                hint=f"sudo usermod -aG docker $USER and log in again, {EMBEDDED_HINT}",
            )
        case ConnectionRefusedError():
            return UnreachableError(
                f"the Docker engine at {endpoint} is not running: the connection was refused",
                kind="engine-dead",
                untouched=_UNTOUCHED,
                hint=f"sudo systemctl start docker, or open Docker Desktop; {EMBEDDED_HINT}",
            )
    return UnreachableError(
        f"the Docker engine at {endpoint} does not answer: {error}",
        kind="engine-silent",
        untouched=_UNTOUCHED,
        hint=f"docker version, {EMBEDDED_HINT}",
    )


def _port(endpoint: Endpoint, scheme: str) -> int:
    try:
        return urlsplit(endpoint.url).port or {"http": 80, "https": 443}.get(scheme, 2375)
    except ValueError as error:
        raise ConfigurationError(f"DOCKER_HOST: {endpoint.url!r} is not an address: {error}") from error


def _config_directory(environ: Mapping[str, str]) -> Path:
    named = environ.get("DOCKER_CONFIG")
    return Path(named) if named else Path(environ.get("HOME") or Path.home()) / ".docker"


def _json(path: Path) -> Mapping[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: can't be read: {error}", untouched=_UNTOUCHED) from error
    return found if isinstance(found, dict) else {}


def _context(directory: Path, name: str, source: str) -> Endpoint:
    identity = hashlib.sha256(name.encode()).hexdigest()
    meta = _json(directory / "contexts" / "meta" / identity / "meta.json")
    endpoints = meta.get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    if not isinstance(docker, dict) or not isinstance(host, str) or not host:
        raise ConfigurationError(
            f"Docker context {name!r}, named by {source}, does not exist",
            untouched=_UNTOUCHED,
            hint="docker context ls shows those that do; docker context use default goes back to this machine",
        )
    keys = directory / "contexts" / "tls" / identity / "docker"
    return Endpoint(
        host,
        context=name,
        tls=keys if keys.is_dir() else None,
        verify=not docker.get("SkipTLSVerify"),
    )
