"""The connection to the engine, and its errors in words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker
import docker.errors
import docker.tls
import requests

from pgops.errors import ConfigurationError, PgopsError, UnreachableError
from pgops.local.engine.endpoint import EMBEDDED_HINT, Endpoint, check_answers, resolve_endpoint, unreachable

_TIMEOUT = 60


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine says about itself."""

    version: str
    api_version: tuple[int, int]
    system: str
    architecture: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answered. ``api`` is the SDK's low-level client: it sends what it is given."""

    api: docker.APIClient
    facts: EngineFacts

    @property
    def untyped(self) -> Any:
        """The same client, for the calls that its type stubs don't know."""
        return self.api


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person may want to see while it happens; ``done`` of ``total`` bytes for a pull."""

    kind: str
    text: str
    done: int = 0
    total: int = 0


Report = Callable[[Event], None]


def quiet(event: Event) -> None:
    """A report for callers that show nothing."""


@contextlib.contextmanager
def connect(environ: Mapping[str, str]) -> Iterator[Engine]:
    """The engine that the docker command would use, closed at the end of the block.

    :raises ConfigurationError: a dangling context.
    :raises UnreachableError: no engine, a dead one, or one that this user may not use.
    """
    endpoint = resolve_endpoint(environ)
    check_answers(endpoint)
    api = _client(endpoint, "auto")
    with contextlib.closing(api):
        yield Engine(api, _facts(api, endpoint))


@contextlib.contextmanager
def reconnect(facts: EngineFacts) -> Iterator[Engine]:
    """Another connection to an engine that :func:`connect` found, without asking it who it is."""
    api = _client(facts.endpoint, ".".join(map(str, facts.api_version)))
    with contextlib.closing(api):
        yield Engine(api, facts)


def _client(endpoint: Endpoint, version: str) -> docker.APIClient:
    try:
        return docker.APIClient(
            base_url=endpoint.url, version=version, timeout=_TIMEOUT, tls=_tls(endpoint) or False
        )
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        cause = _os_error(error)
        if cause is not None:
            raise unreachable(endpoint, cause) from error
        raise UnreachableError(
            f"the Docker engine at {endpoint} does not answer: {_text(error)}",
            kind="engine-silent",
            untouched="no container was touched",
            hint=f"docker version, {EMBEDDED_HINT}",
        ) from error


def _tls(endpoint: Endpoint) -> docker.tls.TLSConfig | None:
    if endpoint.tls is None:
        return None
    keys = endpoint.tls
    try:
        client = (str(keys / "cert.pem"), str(keys / "key.pem")) if (keys / "cert.pem").is_file() else None
        ca = str(keys / "ca.pem") if (keys / "ca.pem").is_file() else None
        return docker.tls.TLSConfig(client_cert=client, ca_cert=ca, verify=endpoint.verify)
    except docker.errors.TLSParameterError as error:
        raise ConfigurationError(f"the TLS keys in {keys} can't be used: {_text(error)}") from error


def _facts(api: docker.APIClient, endpoint: Endpoint) -> EngineFacts:
    with speaking("tell its version"):
        found = api.version()
    major, _, minor = str(api.api_version).partition(".")
    return EngineFacts(
        version=str(found.get("Version", "")),
        api_version=(int(major), int(minor)),
        system=str(found.get("Os", "")),
        architecture=str(found.get("Arch", "")),
        endpoint=endpoint,
    )


@contextlib.contextmanager
def speaking(what: str) -> Iterator[None]:
    """Turn what the SDK raises in the block into one of ours: "Docker could not <what>: …".

    :raises UnreachableError: whatever the engine or the way to it refused.
    """
    try:
        yield
    except PgopsError:
        raise
    except docker.errors.APIError as error:
        raise UnreachableError(
            f"Docker could not {what}: {explanation(error)}", kind="engine-refused"
        ) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise UnreachableError(
            f"the connection to Docker broke off while it should {what}: {_text(error)}",
            kind="engine-silent",
            hint="docker version",
        ) from error


def explanation(error: docker.errors.APIError) -> str:
    """The engine's own sentence, on one line."""
    said: Any = error.explanation or error
    return re.sub(r"\s+", " ", str(said)).strip()


def _os_error(error: BaseException) -> OSError | None:
    """The system's error inside an SDK error, where there is one.

    ``requests`` derives its own errors from OSError and keeps the real one in ``args``.
    """
    seen: list[BaseException] = [error]
    while seen:
        current = seen.pop()
        if isinstance(current, (FileNotFoundError, PermissionError, ConnectionRefusedError)):
            return current
        nested = [current.__cause__, current.__context__, *current.args]
        seen += [item for item in nested if isinstance(item, BaseException)]
    return None


def _text(error: BaseException) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()
