"""A named restore point in front of a change: a place in the WAL to come back to, proven to be in the archive."""

from __future__ import annotations

import datetime as dt
import secrets
import time

from pgops.backups.pgbackrest.errors import PgBackRestError
from pgops.errors import BlockedError
from pgops.postgres import Connection, Target, connected, fetch_one, fetch_value

_POLL = 0.1
_FUNCTIONS = ("pg_create_restore_point(text)", "pg_switch_wal()")
_LACKING = """
SELECT pg_catalog.string_agg(f, ', ') FROM pg_catalog.unnest(%s::pg_catalog.text[]) AS f
 WHERE NOT pg_catalog.has_function_privilege('pg_catalog.' OPERATOR(pg_catalog.||) f, 'EXECUTE')
"""
_ARCHIVER = """
SELECT coalesce(last_archived_wal, ''), failed_count, coalesce(last_failed_wal, '')
  FROM pg_catalog.pg_stat_archiver
"""


def refuse_without_privileges(target: Target) -> None:
    """Whether the role may make a restore point and have its WAL archived.

    :raises BlockedError: it may not; with the GRANT that lets it.
    """
    with connected(target, application_name="pgops look") as connection:
        lacking = fetch_value(connection, _LACKING, (list(_FUNCTIONS),))
    if lacking:
        raise BlockedError(
            f"{target.user} may not run {lacking}, and a restore point has to be made before the run",
            untouched="nothing was applied; no backup was taken",
            hint=f"as a superuser, in {target.dbname}: GRANT EXECUTE ON FUNCTION {lacking} TO {target.user}",
        )


def make_restore_point(target: Target, *, timeout: float) -> str:
    """Make one with a name of ours, end the WAL segment it is in, and wait until that is in the archive.

    :param timeout: seconds to wait for the archive.
    :returns: its name, in which its time stands: ``pgops-20261127T124306Z-1a2b``.
    :raises PgBackRestError: the segment does not get into the archive: nobody could come back to the point.
    """
    name = f"pgops-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    with connected(target, application_name="pgops restore point") as connection:
        segment = str(
            fetch_value(
                connection,
                "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_create_restore_point(%s))",
                (name,),
            )
        )
        fetch_value(connection, "SELECT pg_catalog.pg_switch_wal()")
        _wait_for_archive(connection, name, segment, timeout)
    return name


def _wait_for_archive(connection: Connection, name: str, segment: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        row = fetch_one(connection, _ARCHIVER)
        assert row is not None
        archived, failed, last_failed = row
        if archived[:24] >= segment:
            return
        if time.monotonic() >= deadline:
            trouble = f"; archiving failed {failed} times, last with {last_failed}" if failed else ""
            raise PgBackRestError(
                f"restore point {name} was made, and its WAL {segment} is not in the archive after {timeout:g} s{trouble}",
                untouched="no revision was applied",
                hint="archive_mode and archive_command of the server, and its log; pgbackrest check, there",
            )
        time.sleep(_POLL)
