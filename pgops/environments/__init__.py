"""environments.yaml -> frozen :class:`Environment` values; all mistakes at once, as ``file:line:column``."""

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
    Position,
    Project,
    S3Settings,
    ServiceConnection,
    Store,
    Timeouts,
    UrlConnection,
)

__all__ = [
    "AlembicSettings",
    "BackupPolicy",
    "ComposeConnection",
    "Connection",
    "Encryption",
    "Environment",
    "HazardSettings",
    "HostConnection",
    "Keep",
    "Position",
    "Project",
    "S3Settings",
    "ServiceConnection",
    "Store",
    "Timeouts",
    "UrlConnection",
]
