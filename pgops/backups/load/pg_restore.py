"""pg_restore into a database of ours: settings that make it quick, progress, every error fatal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pgops.backups.database.progress import Pace
from pgops.backups.load.file_states import contents_hash
from pgops.backups.manifest.manifest import DUMP_DIRECTORY, Manifest, Setting
from pgops.backups.repository.repository import Progress
from pgops.errors import UnreachableError
from pgops.pgtools import Finished, Toolset, check, restorable_archive, restore_command, run
from pgops.postgres import (
    UNHURRIED,
    Connection,
    DatabaseError,
    Target,
    connected,
    fetch_value,
    major_version,
    no_session_timeouts,
    with_options,
)

_MAINTENANCE_LIMIT_KB = 512 * 1024
_TOAST_COMPRESSION = "default_toast_compression"

APPLICATION = "pgops restore"
_OPTION = re.compile(r"-c (\w+)=")


def lighter_compression(connection: Connection, settings: Iterable[Setting]) -> str | None:
    """``lz4`` for large values, where the server has it and nobody has chosen another; else ``None``.

    It takes a fraction of pglz's time for about the same size, and is PostgreSQL's own default since 19:
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-DEFAULT-TOAST-COMPRESSION
    A choice is whatever sets it: the server's configuration, the role, or ``settings``, the database's; a column's
    own COMPRESSION is not touched by this.
    """
    if any(each.name == _TOAST_COMPRESSION for each in settings):
        return None
    unchosen = fetch_value(
        connection,
        "SELECT source = 'default' AND 'lz4' = ANY(enumvals) AND setting <> 'lz4' FROM pg_settings WHERE name = %s",
        (_TOAST_COMPRESSION,),
    )
    return "lz4" if unchosen else None


def session_options(connection: Connection, compression: str | None = None) -> str:
    """Settings for the sessions of a restore, as libpq's ``options``.

    :param compression: how large values are compressed; ``None``: as the server does.

    Commits need not be flushed one by one: the swap's own commit is, and with it everything before.
    Index builds sort in more memory: half of shared_buffers, which says how large the server is, at
    most 512 MB each. Limits meant for applications must not end a long COPY, nor the leader's session, which
    has nothing to do meanwhile. Autovacuum finds the new
    tables as soon as they have rows, and gives way to whoever wants to alter them only when that one has
    waited for ``deadlock_timeout``: a second for each index and constraint, where nothing else is meant.
    """
    memory = fetch_value(
        connection,
        """
        SELECT greatest(m.setting::bigint, least(b.setting::bigint * 8 / 2, %s))
          FROM pg_settings AS m, pg_settings AS b
         WHERE m.name = 'maintenance_work_mem' AND b.name = 'shared_buffers'
        """,
        (_MAINTENANCE_LIMIT_KB,),
    )
    settings = {
        "synchronous_commit": "off",
        "maintenance_work_mem": f"{memory}kB",
        **UNHURRIED,
        **no_session_timeouts(major_version(connection)),
        **short_deadlock_timeout(connection),
        **({_TOAST_COMPRESSION: compression} if compression else {}),
    }
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def short_deadlock_timeout(connection: Connection) -> dict[str, str]:
    """Settings that make autovacuum give way soon; only a superuser may have them.

    https://www.postgresql.org/docs/current/runtime-config-locks.html#GUC-DEADLOCK-TIMEOUT
    """
    allowed = fetch_value(connection, "SELECT current_setting('is_superuser') = 'on'")
    return {"deadlock_timeout": "20ms"} if allowed else {}


def accepted_options(target: Target, options: str) -> str:
    """The same where they hold in a session; nothing where a pooler in between refuses them, or loses them unsaid."""
    names = _OPTION.findall(options)
    try:
        with connected(with_options(target, options), application_name=f"{APPLICATION}: look") as connection:
            held = fetch_value(
                connection,
                "SELECT count(*) FROM pg_settings WHERE name = ANY(%s) AND source = 'client'",
                (names,),
            )
    except UnreachableError:
        # Without options we are in already: it is the options that are refused.
        return ""
    return options if held == len(names) else ""


def without_event_triggers(connection: Connection, admin: Target, made: Target) -> Target:
    """A database that pgops makes and fills, in whose sessions no event trigger of the archive runs.

    pg_restore makes event triggers before it refreshes materialised views: one that refuses DDL would end the restore,
    and one on logins would keep us from comparing what came out. They are there afterwards, and run for everybody else.
    Who may not turn them off (before 17 nobody may) may not make them either, superusers of before 17 apart.
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-EVENT-TRIGGERS

    :param connection: a session on ``admin``, another database of the server, reached the same way.
    """
    if major_version(connection) < 17 or not fetch_value(
        connection, "SELECT has_parameter_privilege('event_triggers', 'SET')"
    ):
        return made
    return with_options(made, accepted_options(admin, "-c event_triggers=off"))


def load_archive(
    tools: Toolset,
    backup: Path,
    manifest: Manifest,
    *,
    target: Target,
    admin: Target,
    options: str,
    jobs: int,
    extra: Sequence[str] = (),
    reach: Sequence[Path] = (),
    progress: Progress,
) -> None:
    """Restore the archive below ``backup`` into ``target``'s database.

    :param admin: another database of the server, to watch the new one grow from.
    :param options: from :func:`session_options`.
    :param extra: more arguments for pg_restore; ``reach`` is what they name on this machine.
    :raises ToolError: pg_restore failed.
    :raises VerificationError: its table of contents is not the one that the manifest knows.
    """
    with restorable_archive(backup / DUMP_DIRECTORY, contents_hash(manifest)) as archive:
        finished = run_restore(
            tools,
            restore_command(archive, database=target.dbname, jobs=jobs, extra=extra),
            manifest,
            target=target,
            admin=admin,
            options=options,
            reach=[archive, *reach],
            progress=progress,
        )
    # pg_restore's own words say more than a size that could not be asked for.
    check(finished)


def run_restore(
    tools: Toolset,
    command: Sequence[str],
    manifest: Manifest,
    *,
    target: Target,
    admin: Target,
    options: str,
    reach: Sequence[Path],
    progress: Progress,
) -> Finished:
    """Run a pg_restore into ``target``'s database, however it ends; as :func:`load_archive`.

    :param reach: what the command names on this machine.
    """
    total = sum(each.bytes for each in manifest.tables)
    with connected(admin, application_name=f"{APPLICATION}: progress") as connection:
        return run(
            tools.runner,
            command,
            target=with_options(target, options),
            paths=reach,
            application_name=APPLICATION,
            on_poll=_Growth(connection, target.dbname, total, progress),
        )


class _Growth:
    """Reports the size of a database as it grows, against what the tables had where they came from."""

    def __init__(self, connection: Connection, database: str, total: int, progress: Progress) -> None:
        self._connection = connection
        self._database = database
        self._total = total
        self._progress = progress
        self._empty: int | None = None
        self._pace = Pace()
        self._lost = False

    def __call__(self) -> None:
        if self._lost or not self._pace.due():
            return
        try:
            size = int(fetch_value(self._connection, "SELECT pg_database_size(%s)", (self._database,)))
        except DatabaseError:
            # Only the progress is lost with this; whether the restore goes on, pg_restore's end tells.
            self._lost = True
            return
        if self._empty is None:
            self._empty = size
        self._progress(min(size - self._empty, self._total), self._total)
