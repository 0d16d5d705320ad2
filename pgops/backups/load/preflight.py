"""What would stop a restore, found out before anything is changed: a look at the server, then pure rules.

Everything that stands in the way is reported at once, each with what to do about it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pgops.backups.database.attributes import (
    Attributes,
    attributes_of,
    existing_roles,
    merged,
    read_attributes,
    setting_statement,
    shown_value,
    unsettable,
)
from pgops.backups.load.side_databases import SideDatabase, database_oid, list_side_databases, list_unmarked
from pgops.backups.manifest.manifest import Manifest, Setting
from pgops.errors import BlockedError
from pgops.postgres import Connection, ServerFacts, Target, fetch_all, fetch_value, server_facts
from pgops.units import human_bytes

_ROOM = 1.2
"""A restored database needs its size again, and some: indexes are built by sorting on disk."""


@dataclass(frozen=True, slots=True)
class Available:
    """An extension that the server could install. ``superuser`` and ``trusted`` as its control file says."""

    versions: frozenset[str]
    superuser: bool
    trusted: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a restore finds on the server; ``oid`` and ``here`` are ``None`` where there is no target database.

    ``owner`` is the role that owned the target, or the database that was backed up;
    ``member_of_owner`` is ``None`` where the server has no such role. ``free`` is the bytes left on the
    server's disk, ``None`` where it can't be seen from here. ``foreign_sessions`` names users whose
    sessions in the target we may not end. ``unsettable`` are settings of the database (the target's and
    the backup's) that we may not give to a new one. ``tablespaces`` are those that we may create in.
    """

    facts: ServerFacts
    oid: int | None
    here: Attributes | None
    size: int | None
    createdb: bool
    owner: str
    member_of_owner: bool | None
    slots: tuple[str, ...]
    subscriptions: tuple[str, ...]
    prepared: tuple[str, ...]
    foreign_sessions: tuple[str, ...]
    extensions: Mapping[str, Available]
    roles: frozenset[str]
    free: int | None
    siblings: tuple[SideDatabase, ...]
    unmarked: tuple[str, ...]
    unsettable: tuple[Setting, ...] = ()
    tablespaces: frozenset[str] = frozenset()

    def settable(self, attributes: Attributes) -> Attributes:
        """The attributes without the settings that we may not give to a new database."""
        # Whatever its value is by now.
        names = {(each.role, each.name) for each in self.unsettable}
        left = tuple(each for each in attributes.settings if (each.role, each.name) not in names)
        return replace(attributes, settings=left)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that stands in the way, and what to do about it."""

    what: str
    hint: str


def survey(connection: Connection, target: Target, manifest: Manifest) -> Surroundings:
    """Look at the server from its maintenance database, read-only.

    :param connection: to a database of the target's server that is not the target itself.
    """
    here = read_attributes(connection, target.dbname)
    oid = database_oid(connection, target.dbname)
    createdb = fetch_value(
        connection, "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    return Surroundings(
        facts=server_facts(connection),
        oid=oid,
        here=here,
        size=None if oid is None else _size(connection, oid),
        createdb=bool(createdb),
        owner=here.owner if here else manifest.owner,
        member_of_owner=_member_of(connection, here.owner if here else manifest.owner),
        slots=_names(
            connection,
            "SELECT slot_name::text FROM pg_replication_slots WHERE datoid = %s::oid ORDER BY 1",
            oid,
        ),
        subscriptions=_names(
            connection, "SELECT subname::text FROM pg_subscription WHERE subdbid = %s::oid ORDER BY 1", oid
        ),
        prepared=_names(
            connection,
            "SELECT p.gid FROM pg_prepared_xacts AS p JOIN pg_database AS d ON d.datname = p.database"
            " WHERE d.oid = %s::oid ORDER BY 1",
            oid,
        ),
        foreign_sessions=_names(
            connection,
            """
            SELECT DISTINCT a.usename::text FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
             WHERE a.datid = %s::oid
               AND NOT pg_has_role(a.usesysid, 'USAGE')
               AND (r.rolsuper OR NOT pg_has_role('pg_signal_backend', 'USAGE'))
             ORDER BY 1
            """,
            oid,
        ),
        extensions=_extensions(connection),
        roles=existing_roles(connection, _wanted_roles(manifest, here)),
        free=_free_disk(connection, target),
        siblings=tuple(list_side_databases(connection, target.dbname)),
        unmarked=tuple(list_unmarked(connection, target.dbname)),
        unsettable=unsettable(connection, merged(here, attributes_of(manifest)).settings),
        tablespaces=frozenset(
            row[0]
            for row in fetch_all(
                connection,
                "SELECT spcname::text FROM pg_tablespace WHERE has_tablespace_privilege(oid, 'CREATE')",
            )
        ),
    )


def _wanted_roles(manifest: Manifest, here: Attributes | None) -> list[str]:
    named = {
        *manifest.roles,
        *manifest.named_roles,
        manifest.owner,
        *(each.role for each in manifest.settings if each.role),
    }
    if here is not None:
        named |= {here.owner, *(each.role for each in here.settings if each.role)}
        named |= {each.role for each in here.grants or () if each.role}
    return sorted(named)


def _member_of(connection: Connection, role: str) -> bool | None:
    found: bool | None = fetch_value(
        connection, "SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = %s", (role,)
    )
    return found


def _size(connection: Connection, oid: int) -> int | None:
    found: int | None = fetch_value(
        connection,
        "SELECT CASE WHEN has_database_privilege(%s::oid, 'CONNECT') THEN pg_database_size(%s::oid) END",
        (oid, oid),
    )
    return found


def _names(connection: Connection, sql: str, oid: int | None) -> tuple[str, ...]:
    return () if oid is None else tuple(row[0] for row in fetch_all(connection, sql, (oid,)))


def _extensions(connection: Connection) -> dict[str, Available]:
    rows = fetch_all(
        connection,
        """
        SELECT name::text, array_agg(version), bool_and(superuser), bool_or(trusted)
          FROM pg_available_extension_versions GROUP BY name
        """,
    )
    return {
        name: Available(frozenset(versions), superuser, trusted)
        for name, versions, superuser, trusted in rows
    }


def _free_disk(connection: Connection, target: Target) -> int | None:
    """Bytes free where the server keeps its data, if that is on this machine and we can tell for sure."""
    if not target.loopback:
        return None
    directory = fetch_value(
        connection,
        """
        SELECT setting FROM pg_settings WHERE name = 'data_directory'
           AND (pg_has_role('pg_read_all_settings', 'USAGE'))
        """,
    )
    if not directory:
        return None
    try:
        # A container's directory may exist here too and be another server's: the port in the pid file tells.
        lines = (Path(directory) / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        if len(lines) < 4 or lines[3].strip() != str(target.port):
            return None
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def obstacles(
    found: Surroundings, manifest: Manifest, *, with_owners: bool, with_tablespaces: bool, beside: bool
) -> list[Obstacle]:
    """Everything that stands in the way of restoring this backup here.

    :param with_owners: owners and privileges are restored, so their roles must exist.
    :param with_tablespaces: tables and indexes come into the tablespaces that they were in.
    :param beside: a new database is made and swapped in; otherwise the target is overwritten in place.
    """
    rules = [
        *_server(found, manifest),
        *_extension_obstacles(found, manifest),
        *_swap_obstacles(found, beside=beside),
    ]
    rules += _role_obstacles(found, manifest) if with_owners else _named_role_obstacles(found, manifest)
    if with_tablespaces:
        rules += _tablespace_obstacles(found, manifest)
    return rules


def _server(found: Surroundings, manifest: Manifest) -> list[Obstacle]:
    rules = []
    if found.facts.in_recovery:
        rules.append(
            Obstacle("the server is a replica (in recovery)", "point the environment at the primary")
        )
    if found.facts.major < manifest.server_major:
        rules.append(
            Obstacle(
                f"the backup comes from PostgreSQL {manifest.server_major}, the server is {found.facts.version}: "
                "PostgreSQL can't go back a major version",
                f"restore into a server of version {manifest.server_major} or later",
            )
        )
    if found.here is not None and found.here.encoding != manifest.encoding and found.here.encoding != "UTF8":
        rules.append(
            Obstacle(
                f"the backup is {manifest.encoding}, the target database {found.here.encoding}",
                "drop the target, or rename it, so that the restore makes it with the backup's encoding",
            )
        )
    needed = round(sum(each.bytes for each in manifest.tables) * _ROOM)
    if found.free is not None and found.free < needed:
        rules.append(
            Obstacle(
                f"the server's disk has {human_bytes(found.free)} free, the restored database needs about "
                f"{human_bytes(needed)}",
                _room_hint(found),
            )
        )
    return rules


def _room_hint(found: Surroundings) -> str:
    kept = [each.name for each in found.siblings if each.marker.kind == "previous" and each.trusted]
    return (
        f"remove what earlier restores kept ({', '.join(kept)}): restore.discard"
        if kept
        else "free some disk"
    )


def _extension_obstacles(found: Surroundings, manifest: Manifest) -> list[Obstacle]:
    rules = []
    for extension in manifest.extensions:
        available = found.extensions.get(extension.name)
        if available is None:
            rules.append(
                Obstacle(
                    f"extension {extension.name} {extension.version} is not available on the server",
                    f"install the package that has {extension.name} on the server",
                )
            )
        elif available.superuser and not available.trusted and not found.facts.superuser:
            rules.append(
                Obstacle(
                    f"extension {extension.name} can only be created by a superuser",
                    "restore as a superuser, or as the managed server's admin role",
                )
            )
    return rules


def _role_obstacles(found: Surroundings, manifest: Manifest) -> list[Obstacle]:
    missing = sorted({*manifest.roles, manifest.owner} - found.roles)
    if not missing:
        if found.here is None and not found.member_of_owner:
            return [
                Obstacle(
                    f"the user is not a member of {found.owner}, which is to own the new database",
                    "GRANT that role to the user, or add --no-owner",
                )
            ]
        return []
    return [
        Obstacle(
            f"the backup's owners and privileges name roles that this server lacks: {', '.join(missing)}",
            "create them (globals.sql in the backup has their definitions), or add --no-owner",
        )
    ]


def _named_role_obstacles(found: Surroundings, manifest: Manifest) -> list[Obstacle]:
    missing = sorted(set(manifest.named_roles) - found.roles)
    if not missing:
        return []
    return [
        Obstacle(
            f"policies and user mappings of the backup name roles that this server lacks: {', '.join(missing)}",
            "create them: CREATE ROLE … NOLOGIN is enough",
        )
    ]


def _tablespace_obstacles(found: Surroundings, manifest: Manifest) -> list[Obstacle]:
    # Its own is a database's to use.
    own = found.here.tablespace if found.here else None
    missing = sorted(set(manifest.tablespaces) - found.tablespaces - {own})
    if not missing:
        return []
    return [
        Obstacle(
            "the backup's tables are in tablespaces that this server lacks, or that the user may not create in: "
            + ", ".join(missing),
            "CREATE TABLESPACE or GRANT CREATE ON TABLESPACE, or add --no-tablespaces: all of it comes into the "
            "database's own",
        )
    ]


def _swap_obstacles(found: Surroundings, *, beside: bool) -> list[Obstacle]:
    rules = []
    if found.slots:
        rules.append(
            Obstacle(
                f"logical replication slots belong to this database: {', '.join(found.slots)}; their consumers "
                "would lose their place",
                "stop the consumers and drop the slots (SELECT pg_drop_replication_slot('…')), then make them anew",
            )
        )
    if found.subscriptions:
        rules.append(
            Obstacle(
                f"this database subscribes to others: {', '.join(found.subscriptions)}; the old database would "
                "go on receiving",
                "ALTER SUBSCRIPTION … DISABLE and DROP SUBSCRIPTION, then make it anew after the restore",
            )
        )
    if found.prepared:
        rules.append(
            Obstacle(
                f"prepared transactions are open in this database: {', '.join(found.prepared)}",
                "COMMIT PREPARED or ROLLBACK PREPARED each of them",
            )
        )
    if not beside:
        return rules
    if not found.createdb:
        rules.append(
            Obstacle(
                "the user may not create databases, so the backup can't be restored beside the target",
                "ALTER ROLE … CREATEDB, or --in-place (not undoable)",
            )
        )
    elif found.here is not None and not found.member_of_owner:
        rules.append(
            Obstacle(
                f"the target database belongs to {found.owner}, and the user is not a member of that role, so "
                "it can't be renamed",
                f"run it as {found.owner}, or GRANT that role to the user",
            )
        )
    if found.foreign_sessions:
        rules.append(
            Obstacle(
                f"sessions of users that we may not end are in the target: {', '.join(found.foreign_sessions)}",
                "GRANT pg_signal_backend to the user; a superuser's sessions only a superuser can end",
            )
        )
    return rules


def left_out(found: Surroundings, dbname: str) -> list[str]:
    """A warning for each setting that the new database called ``dbname`` will lack, and how it gets it."""
    return [
        f"the new database goes without {each.name} = {shown_value(each)}, which the user may not set; a superuser may, "
        f"afterwards: {setting_statement(dbname, each)}"
        for each in found.unsettable
    ]


def refuse(found: Sequence[Obstacle], *, what: str, untouched: str) -> None:
    """Raise what stands in the way, all of it at once.

    :raises BlockedError: there is something.
    """
    if not found:
        return
    reasons = "; ".join(each.what for each in found)
    raise BlockedError(
        f"{what} can't be done: {reasons}",
        untouched=untouched,
        hint="; ".join(dict.fromkeys(each.hint for each in found)),
    )
