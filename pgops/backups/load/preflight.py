"""What would stop a restore, found out before anything is changed: pure rules over what the server has.

Everything that stands in the way is reported at once, each with what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgops.backups.database.attributes import setting_statement, shown_value
from pgops.backups.load.surroundings import Surroundings
from pgops.backups.manifest.manifest import Manifest
from pgops.errors import BlockedError
from pgops.postgres import identifier
from pgops.units import human_bytes

_ROOM = 1.2
"""A restored database needs its size again, and some: indexes are built by sorting on disk."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that stands in the way, and what to do about it."""

    what: str
    hint: str


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
    rules += (
        _role_obstacles(found, manifest, beside=beside)
        if with_owners
        else _named_role_obstacles(found, manifest)
    )
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
    kept = [each.name for each in found.side_databases if each.marker.kind == "previous" and each.trusted]
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


def _role_obstacles(found: Surroundings, manifest: Manifest, *, beside: bool) -> list[Obstacle]:
    missing = sorted({*manifest.roles, manifest.owner} - found.roles)
    if not missing:
        if found.here is None and not found.member_of_owner:
            return [
                Obstacle(
                    f"the user can't act as {found.owner}, which is to own the new database",
                    "GRANT that role to the user, or add --no-owner",
                )
            ]
        return _owner_obstacles(found, manifest, beside=beside)
    return [
        Obstacle(
            f"the backup's owners and privileges name roles that this server lacks: {', '.join(missing)}",
            "create them (globals.sql in the backup has their definitions), or add --no-owner",
        )
    ]


def _owner_obstacles(found: Surroundings, manifest: Manifest, *, beside: bool) -> list[Obstacle]:
    rules = []
    if beside and manifest.guests and not found.facts.superuser:
        # The schema is the new database's, where privileges come last.
        rules.append(
            Obstacle(
                f"{', '.join(manifest.guests)} own objects in schemas of other roles, which only a superuser can give "
                "back to them in a new database",
                "restore as a superuser, or add --no-owner",
            )
        )
    if not found.strangers:
        return rules
    return [
        *rules,
        Obstacle(
            "objects of the backup belong to roles that the user can't act as, so it can't give them back to these: "
            + ", ".join(found.strangers),
            f"GRANT {', '.join(map(identifier, found.strangers))} to the user (WITH INHERIT TRUE, SET TRUE from "
            "PostgreSQL 16 on), or add --no-owner",
        ),
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
                f"the target database belongs to {found.owner}, and the user can't act as that role, so "
                "it can't be renamed",
                f"run it as {found.owner}, or GRANT that role to the user, who must inherit it",
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
