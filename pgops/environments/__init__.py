"""environments.yaml -> frozen :class:`Environment` values; all mistakes at once, as ``file:line:column``."""

from pgops.environments.load import FILE_NAME, load
from pgops.environments.model import (
    AlembicSettings,
    BackupPolicy,
    ComposeConnection,
    Connection,
    Encryption,
    Environment,
    HazardSettings,
    HostConnection,
    Keep,
    Origin,
    Position,
    Project,
    S3Settings,
    ServiceConnection,
    Store,
    Timeouts,
    UrlConnection,
)
from pgops.environments.places import Place, one_database, place_of

__all__ = [
    "FILE_NAME",
    "AlembicSettings",
    "BackupPolicy",
    "ComposeConnection",
    "Connection",
    "Encryption",
    "Environment",
    "HazardSettings",
    "HostConnection",
    "Keep",
    "Origin",
    "Place",
    "Position",
    "Project",
    "S3Settings",
    "ServiceConnection",
    "Store",
    "Timeouts",
    "UrlConnection",
    "load",
    "one_database",
    "place_of",
]
