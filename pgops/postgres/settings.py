"""Settings of our own sessions: what applications are held to is not meant for who makes, moves and counts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WORKING: Mapping[str, str] = MappingProxyType(
    {"statement_timeout": "0", "default_transaction_read_only": "off"}
)
"""A session that writes, for as long as it takes."""

LOOKING: Mapping[str, str] = MappingProxyType({"statement_timeout": "0"})
"""A session that only looks: a limit that is meant for an application's statements does not end it."""

READ_ONLY: Mapping[str, str] = MappingProxyType({"default_transaction_read_only": "on"})
"""A session that looks and refuses to write."""

UNHURRIED: Mapping[str, str] = MappingProxyType(
    {**WORKING, "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
)
"""A session that may also wait: for a lock, or inside a transaction."""


def no_session_timeouts(major: int) -> dict[str, str]:
    """Settings that let a session live while others work, however long, in a transaction or with nothing to do.

    :param major: the server's; a setting that it does not know would be refused.
    """
    since = {"idle_session_timeout": 14, "transaction_timeout": 17}
    return {name: "0" for name, first in since.items() if major >= first}
