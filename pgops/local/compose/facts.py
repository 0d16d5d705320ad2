"""Where a service's PostgreSQL will answer, as whom, and which major version it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from pgops.errors import ConfigurationError
from pgops.local.compose.spec import Port, ServiceSpec

_EVERYWHERE = {"", "0.0.0.0", "::", "127.0.0.1"}
_PG_TAG = re.compile(r"(?:^|[^a-z0-9])pg[-_]?([1-9][0-9]?)(?![0-9])")
_LEADING = re.compile(r"v?([1-9][0-9]?)(?![0-9])")


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """How this machine reaches the server in the container. ``password`` is kept out of ``repr``."""

    host: str
    port: int
    user: str
    database: str
    password: str | None = field(repr=False)


def connection_facts(spec: ServiceSpec) -> ConnectionFacts:
    """Host, port, user, password and database, as the official image understands its environment.

    POSTGRES_USER is ``postgres`` unless said, POSTGRES_DB is the user, each may come from a mounted file
    through ``…_FILE``; PGPORT moves the server inside. https://hub.docker.com/_/postgres

    :raises ConfigurationError: the port is not published on one known port, or there is no password.
    """
    user = _setting(spec, "POSTGRES_USER") or "postgres"
    password = _setting(spec, "POSTGRES_PASSWORD")
    if not password and spec.environment.get("POSTGRES_HOST_AUTH_METHOD") != "trust":
        _wrong(
            spec,
            "environment",
            "has neither POSTGRES_PASSWORD nor POSTGRES_PASSWORD_FILE; the image won't start",
        )
    host, port = _published(spec, _inner_port(spec))
    return ConnectionFacts(
        host=host,
        port=port,
        user=user,
        password=password or None,
        database=_setting(spec, "POSTGRES_DB") or user,
    )


def image_major(spec: ServiceSpec) -> int | None:
    """PostgreSQL's major version as the image's tag tells it, or ``None`` where it does not.

    ``postgres:17.2-alpine`` and ``pgvector/pgvector:pg17`` are 17; ``postgres:latest`` is unknown.
    """
    name = spec.image.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return None
    named = _PG_TAG.search(tag.lower())
    if named:
        return int(named[1])
    leading = _LEADING.match(tag) if "postg" in repository.lower() else None
    return int(leading[1]) if leading else None


def _inner_port(spec: ServiceSpec) -> int:
    value = spec.environment.get("PGPORT") or "5432"
    if not (value.isascii() and value.isdigit() and 0 < int(value[:6]) < 65536):
        _wrong(spec, "environment.PGPORT", f"{value!r} is not a port")
    return int(value)


def _published(spec: ServiceSpec, inner: int) -> tuple[str, int]:
    if spec.network_mode == "host":
        return "localhost", inner
    found = [port for port in spec.ports if port.target == inner and port.protocol == "tcp"]
    if not found:
        _wrong(spec, "ports", f"does not publish port {inner}", f'add "127.0.0.1:{inner}:{inner}" to it')
    known = [port for port in found if port.published.isdigit() and port.published != "0"]
    if not known:
        _wrong(
            spec,
            "ports",
            f"publishes {inner} on a port that Docker chooses at each start",
            f'write "127.0.0.1:{inner}:{inner}"',
        )
    port = min(known, key=_nearness)
    return ("localhost" if port.host_ip in _EVERYWHERE else port.host_ip), int(port.published)


def _nearness(port: Port) -> int:
    """``localhost`` before an address of its own."""
    return 0 if port.host_ip in _EVERYWHERE else 1


def _setting(spec: ServiceSpec, name: str) -> str:
    """A variable of the image, or what is in the file that ``<name>_FILE`` names."""
    value = spec.environment.get(name) or ""
    inside = spec.environment.get(f"{name}_FILE") or ""
    if value and inside:
        _wrong(spec, f"environment.{name}_FILE", f"stands beside {name}; the image takes one of them")
    if not inside:
        return value
    file = _on_this_machine(spec, inside)
    if file is None:
        _wrong(spec, f"environment.{name}_FILE", f"{inside} is mounted from no file of this machine")
    try:
        # the image reads it with $(< file), which drops line ends behind the text
        return file.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{_at(spec)}.environment.{name}_FILE: {file} can't be read: {error}",
            untouched="no container was touched",
        ) from error


def _on_this_machine(spec: ServiceSpec, inside: str) -> Path | None:
    mounted: Mapping[str, Path] = {
        item.target or f"/{item.source}": item.file for item in (*spec.secrets, *spec.configs)
    }
    if inside in mounted:
        return mounted[inside]
    for mount in spec.volumes:
        if mount.type == "bind" and (inside == mount.target or inside.startswith(f"{mount.target}/")):
            return Path(mount.source + inside[len(mount.target) :])
    return None


def _at(spec: ServiceSpec) -> str:
    return f"{spec.project.config_files[0].name}: services.{spec.service}"


def _wrong(spec: ServiceSpec, key: str, what: str, hint: str = "") -> NoReturn:
    raise ConfigurationError(f"{_at(spec)}.{key}: {what}", untouched="no container was touched", hint=hint)
