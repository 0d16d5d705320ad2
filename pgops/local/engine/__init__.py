"""The compose service in a Docker engine; the only package that imports docker.

Import it inside a task's body: the SDK takes a quarter of a second. :func:`engine_available` alone is
quick where no engine is, and imports the SDK only where something answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pgops.errors import ConfigurationError, UnreachableError
from pgops.local.engine.endpoint import Endpoint, check_answers, resolve_endpoint

if TYPE_CHECKING:
    from pgops.local.engine.client import EngineFacts

__all__ = ["Endpoint", "engine_available", "resolve_endpoint"]


def engine_available(environ: Mapping[str, str]) -> EngineFacts | str:
    """The engine that answers, or the reason why none does. For ``server: auto``.

    A missing or dead local socket is known within a millisecond, without importing the SDK.
    """
    try:
        check_answers(resolve_endpoint(environ))
        from pgops.local.engine.client import connect

        with connect(environ) as engine:
            return engine.facts
    except (ConfigurationError, UnreachableError) as error:
        return error.message
