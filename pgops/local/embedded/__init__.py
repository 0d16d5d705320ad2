"""PostgreSQL from a wheel: no Docker, no root needed, no system package; and it works as root too."""

from pgops.local.embedded.place import available, bindir, version
from pgops.local.embedded.scratch import scratch_server
from pgops.local.embedded.state import EmbeddedState

__all__ = ["EmbeddedState", "available", "bindir", "scratch_server", "version"]
