"""docker-compose.yml -> :class:`ServiceSpec`. Pure: nothing here speaks to Docker.

:func:`load` reads a service, :func:`connection_facts` says where its PostgreSQL will answer and as whom,
:func:`image_major` which major version it is, :func:`config_hash` what compose would hash it to.
"""

from pgops.local.compose.confighash import config_hash
from pgops.local.compose.facts import ConnectionFacts, connection_facts, image_major
from pgops.local.compose.service import load
from pgops.local.compose.spec import ComposeProject, Mount, Network, Port, ServiceSpec, Volume

__all__ = [
    "ComposeProject",
    "ConnectionFacts",
    "Mount",
    "Network",
    "Port",
    "ServiceSpec",
    "Volume",
    "config_hash",
    "connection_facts",
    "image_major",
    "load",
]
