"""Where client programs may come from on this machine, in order of preference."""

from __future__ import annotations

from pgops.pgtools import DEFAULT_SOURCES, ToolSource


def tool_sources() -> tuple[ToolSource, ...]:
    """The host's programs and the wheel's."""
    return DEFAULT_SOURCES
