"""Whether a backup, restored and migrated, fits on a server's disk: asked before anything is restored."""

from __future__ import annotations

from pgops.backups.manifest.manifest import Manifest
from pgops.errors import BlockedError
from pgops.postgres import DatabaseError, Target, connected, execute, fetch_all
from pgops.units import human_bytes

# The tables and about as much again of indexes; a revision may write the largest of them anew, with its indexes;
# the log of all of it stays for a while.
_INDEXES = 2
_LOG = 200_000_000


def room_needed(manifest: Manifest) -> int:
    """Bytes that restoring and migrating a backup takes, about."""
    sizes = [each.bytes for each in manifest.tables]
    return _INDEXES * (sum(sizes) + max(sizes, default=0)) + _LOG


def free_room(server: Target) -> int | None:
    """Bytes free where a server keeps its data, asked of the server; ``None`` where it can't tell.

    :param server: as a superuser: only one may start a program there.
    """
    with connected(server, application_name="pgops copy") as connection:
        try:
            execute(connection, "CREATE TEMPORARY TABLE pgops_df (line text)")
            execute(connection, "COPY pgops_df FROM PROGRAM 'df -Pk .'")
        except DatabaseError:
            return None
        lines = [str(row[0]).split() for row in fetch_all(connection, "SELECT line FROM pgops_df")]
    # POSIX: Filesystem, 1024-blocks, Used, Available, Capacity, Mounted on.
    last = lines[-1] if lines else []
    return int(last[3]) * 1024 if len(last) >= 6 and last[3].isdecimal() else None


def refuse_without_room(server: Target, manifest: Manifest) -> None:
    """Refuse a copy for which there is no room; where nobody can tell, it is tried.

    :raises BlockedError: there is not.
    """
    needed, free = room_needed(manifest), free_room(server)
    if free is not None and free < needed:
        raise BlockedError(
            f"restoring {manifest.id} and migrating it takes about {human_bytes(needed)}, and the scratch server's "
            f"disk has {human_bytes(free)} free",
            untouched="nothing was restored",
            hint="free some disk, or let TMPDIR name a directory with room; --on=<environment> takes another server",
        )
