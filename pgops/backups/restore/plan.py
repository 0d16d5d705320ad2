"""What a restore would do, found out without changing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgops.backups.database.attributes import attributes_of, differing_settings, merged, shown_value
from pgops.backups.database.errors import database_errors
from pgops.backups.load.pg_restore import accepted_options, lighter_compression, session_options
from pgops.backups.load.preflight import Obstacle, left_out, obstacles, refuse
from pgops.backups.load.surroundings import Surroundings, survey
from pgops.backups.repository.backup import Backup
from pgops.errors import RefusedError
from pgops.pgtools import DEFAULT_SOURCES, Choice, NoToolsError, ToolSource, choose_for_restore
from pgops.postgres import (
    LOOKING,
    Target,
    connected,
    fetch_one,
    maintenance,
    refuse_another,
    transaction_pooled,
)


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What would be restored where, and what stands in the way. Nothing was changed to find out.

    ``tables`` are all that the target holds now, ``own_tables`` and ``rows`` (the server's own estimate) those
    without the version table and the journal; ``None`` where there is no target database. ``compression`` is how the restore compresses large values, where that is
    not as the server does by itself.
    """

    target: Target
    admin: Target
    backup: Backup
    around: Surroundings
    tools: Choice
    with_owners: bool
    with_tablespaces: bool
    options: str
    compression: str | None
    tables: int | None
    own_tables: int | None
    rows: int | None
    obstacles: tuple[Obstacle, ...]
    warnings: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """No target database, or one without a table: there is nothing to lose."""
        return not self.tables

    @property
    def left_out(self) -> list[str]:
        """Arguments of pg_restore for what is wanted to be left out; a subscription would take the original's slot."""
        arguments = ["--no-subscriptions"]
        if not self.with_owners:
            arguments += ["--no-owner", "--no-privileges"]
        if not self.with_tablespaces:
            arguments.append("--no-tablespaces")
        return arguments

    def refuse(self) -> None:
        """Raise what stands in the way.

        :raises BlockedError: something does.
        """
        _refuse(self.target, self.backup, self.obstacles)


def _refuse(target: Target, backup: Backup, found: Sequence[Obstacle]) -> None:
    refuse(
        found,
        what=f"restoring {backup.id} into {target.place}",
        untouched=f"{target.place} was not touched",
    )


def plan_restore(
    target: Target,
    backup: Backup,
    *,
    with_owners: bool = True,
    with_tablespaces: bool = True,
    beside: bool = True,
    sources: Sequence[ToolSource] = DEFAULT_SOURCES,
) -> RestorePlan:
    """Look at the target and its server, read-only.

    :raises UnreachableError: the server does not answer or does not let us in.
    :raises RefusedError: the connection goes through a transaction-pooling proxy, or one that leads the name elsewhere.
    :raises NoToolsError: no pg_restore here fits the backup and the server.
    """
    manifest = backup.manifest
    admin = maintenance(target)
    with (
        database_errors(target),
        connected(admin, application_name="pgops restore: look", settings=LOOKING) as connection,
    ):
        if transaction_pooled(connection, admin):
            raise RefusedError(
                f"{target.host}:{target.port} is a transaction-pooling proxy: databases can't be swapped behind it",
                untouched="nothing was touched",
                hint="point the environment at the server itself",
            )
        refuse_another(connection, target)
        around = survey(connection, target, manifest)
        settings = merged(around.here, attributes_of(manifest)).settings
        compression = lighter_compression(connection, settings)
        options = accepted_options(admin, session_options(connection, compression))
    found = tuple(
        obstacles(around, manifest, with_owners=with_owners, with_tablespaces=with_tablespaces, beside=beside)
    )
    try:
        tools = choose_for_restore(
            around.facts.major,
            archive_major=manifest.tools.major,
            compression=manifest.compression,
            tls=around.facts.tls,
            sources=sources,
        )
    except NoToolsError:
        # For a server older than the backup's there can be none: that is what has to be said.
        _refuse(target, backup, found)
        raise
    tables, own_tables, rows = (None, None, None) if around.oid is None else _what_is_there(target)
    return RestorePlan(
        target=target,
        admin=admin,
        backup=backup,
        around=around,
        tools=tools,
        with_owners=with_owners,
        with_tablespaces=with_tablespaces,
        options=options,
        compression=compression if options else None,
        tables=tables,
        own_tables=own_tables,
        rows=rows,
        obstacles=found,
        warnings=(*_warnings(around, backup, tools), *(left_out(around, target.dbname) if beside else ())),
    )


def _what_is_there(target: Target) -> tuple[int, int, int]:
    """All tables; and the project's own, without the version table and the journal, with their rows."""
    with (
        database_errors(target),
        connected(target, application_name="pgops restore: look", settings=LOOKING) as connection,
    ):
        row = fetch_one(
            connection,
            "SELECT count(*), count(*) FILTER (WHERE own), coalesce(sum(n_live_tup) FILTER (WHERE own), 0)::bigint "
            "FROM (SELECT n_live_tup, schemaname <> 'pgops' AND relname <> 'alembic_version' AS own "
            "FROM pg_stat_user_tables) AS found",
        )
    assert row is not None
    return row[0], row[1], row[2]


def _warnings(around: Surroundings, backup: Backup, tools: Choice) -> Iterator[str]:
    yield from tools.warnings
    manifest, here = backup.manifest, around.here
    if not backup.verified:
        yield f"backup {backup.id} is {backup.verification}; this restore checks its files before anything is changed"
    if here is None:
        return
    if here.locale != manifest.locale:
        yield (
            f"the target sorts by {here.locale.collate} ({here.locale.provider}), the backup's database by "
            f"{manifest.locale.collate} ({manifest.locale.provider}); the target's stays"
        )
    for mine, theirs in differing_settings(here, attributes_of(manifest)):
        yield f"setting {mine.name} stays {shown_value(mine)}; the backup has {shown_value(theirs)}"
