"""What a server has that a restore depends on: its version, roles, extensions, databases beside, free disk."""

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
    unsettable,
)
from pgops.backups.load.side_databases import SideDatabase, database_oid, list_side_databases, list_unmarked
from pgops.backups.manifest.manifest import Manifest, Setting
from pgops.postgres import Connection, ServerFacts, Target, fetch_all, fetch_value, server_facts


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
    ``member_of_owner``: we can act as that one; ``None`` where the server has no such role. ``free`` is the bytes left on the
    server's disk, ``None`` where it can't be seen from here. ``foreign_sessions`` names users whose
    sessions in the target we may not end. ``unsettable`` are settings of the database (the target's and
    the backup's) that we may not give to a new one. ``strangers`` are those of the backup's owners whom we can't give
    objects to, or could not fill and index them afterwards. ``tablespaces`` are those that we may create in.
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
    side_databases: tuple[SideDatabase, ...]
    unmarked: tuple[str, ...]
    unsettable: tuple[Setting, ...] = ()
    tablespaces: frozenset[str] = frozenset()
    strangers: tuple[str, ...] = ()

    def settable(self, attributes: Attributes) -> Attributes:
        """The attributes without the settings that we may not give to a new database."""
        # Whatever its value is by now.
        names = {(each.role, each.name) for each in self.unsettable}
        left = tuple(each for each in attributes.settings if (each.role, each.name) not in names)
        return replace(attributes, settings=left)


def survey(connection: Connection, target: Target, manifest: Manifest) -> Surroundings:
    """Look at the server from its maintenance database, read-only.

    :param connection: to a database of the target's server that is not the target itself.
    """
    here = read_attributes(connection, target.dbname)
    oid = database_oid(connection, target.dbname)
    createdb = fetch_value(
        connection, "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    facts = server_facts(connection)
    owner = here.owner if here else manifest.owner
    roles = existing_roles(connection, _wanted_roles(manifest, here))
    ours = acts_as(connection, [owner, *manifest.owners], facts.major)
    return Surroundings(
        facts=facts,
        oid=oid,
        here=here,
        size=None if oid is None else _size(connection, oid),
        createdb=bool(createdb),
        owner=owner,
        member_of_owner=owner in ours if owner in roles else None,
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
        roles=roles,
        free=_free_disk(connection, target),
        side_databases=tuple(list_side_databases(connection, target.dbname)),
        unmarked=tuple(list_unmarked(connection, target.dbname)),
        unsettable=unsettable(connection, merged(here, attributes_of(manifest)).settings),
        tablespaces=frozenset(
            row[0]
            for row in fetch_all(
                connection,
                "SELECT spcname::text FROM pg_tablespace WHERE has_tablespace_privilege(oid, 'CREATE')",
            )
        ),
        strangers=tuple(sorted((set(manifest.owners) & roles) - ours)),
    )


def _wanted_roles(manifest: Manifest, here: Attributes | None) -> list[str]:
    named = {
        *manifest.roles,
        *manifest.named_roles,
        *manifest.owners,
        manifest.owner,
        *(each.role for each in manifest.settings if each.role),
    }
    if here is not None:
        named |= {here.owner, *(each.role for each in here.settings if each.role)}
        named |= {each.role for each in here.grants or () if each.role}
    return sorted(named)


def acts_as(connection: Connection, roles: Sequence[str], major: int) -> frozenset[str]:
    """Those of the roles that we can give objects and databases to, and still own them afterwards.

    A member with NOINHERIT gives them away, and may neither fill, rename nor drop them then.
    """
    # Before 16 who is a member may give away to a role, too.
    giving = "SET" if major >= 16 else "MEMBER"
    rows = fetch_all(
        connection,
        "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s)"
        " AND pg_has_role(oid, 'USAGE') AND pg_has_role(oid, %s)",
        (list(roles), giving),
    )
    return frozenset(row[0] for row in rows)


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
