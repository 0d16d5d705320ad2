"""Where client programs may come from on this machine, in order of preference."""

from __future__ import annotations

from collections.abc import Iterator

from pgops.pgtools import DEFAULT_SOURCES, Toolset, ToolSource


def tool_sources() -> tuple[ToolSource, ...]:
    """The host's programs, the wheel's, and those of images in a Docker engine on this machine.

    They are asked in this order and no further than needed: a program of the host starts a hundred times
    faster than a container.
    """
    return (*DEFAULT_SOURCES, _image_tools)


def _image_tools(wanted: int) -> Iterator[Toolset]:
    # Here and not above: the SDK takes a quarter of a second to import, and most runs never ask.
    import os

    from pgops.local.engine import engine_available

    if isinstance(engine_available(os.environ), str):
        return
    from pgops.local.engine.tools import image_tools

    yield from image_tools(wanted)
