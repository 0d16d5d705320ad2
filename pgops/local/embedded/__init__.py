"""PostgreSQL from a wheel: no Docker, no root needed, no system package; and it works as root too.

:func:`up`, :func:`status`, :func:`stop`, :func:`logs` and :func:`destroy` are the server of a project
(an :class:`EmbeddedSpec`); :func:`scratch_server` is one for a moment.
"""

from pgops.local.embedded.installation import available, bindir, version
from pgops.local.embedded.scratch import scratch_server
from pgops.local.embedded.server import EmbeddedSpec, destroy, logs, status, stop, up
from pgops.local.embedded.state import EmbeddedState

__all__ = [
    "EmbeddedSpec",
    "EmbeddedState",
    "available",
    "bindir",
    "destroy",
    "logs",
    "scratch_server",
    "status",
    "stop",
    "up",
    "version",
]
