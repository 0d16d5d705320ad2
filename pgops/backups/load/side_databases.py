"""Databases that pgops makes beside a target: what they are called, how they are known, who may remove them.

A restore makes ``<db>__new_<id>`` and, when it swaps, turns the old database into ``<db>__old_<id>``.
A name proves nothing, so each carries a marker in its COMMENT (a shared catalogue, readable from
every database): what it is, of which database, from which backup. A marker proves nothing either where the
database belongs to somebody else, for its owner writes the comment: what a restore keeps belongs to the role
that restored, until an undo gives it back, and only what belongs to a trusted role is put back. Whether the
restore that made it is still alive is told by its lock, never by its age.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pgops.backups.manifest.json_reader import MalformedError, load_object
from pgops.postgres import (
    Connection,
    UntrustedError,
    execute,
    fetch_all,
    fetch_value,
    identifier,
    literal,
    trusted_sql,
)
from pgops.units import human_time

Kind = Literal["new", "previous", "salvaged"]
_LONGEST_NAME = 63
_PREFIX = "pgops "
_RESTORE_ID = re.compile(r"[0-9]{8}t[0-9]{6}_[0-9a-f]{6}")
_INFIX: Mapping[Kind, str] = {"new": "__new_", "previous": "__old_", "salvaged": "__salvaged_"}

UNFINISHED_LIMIT = 20_611
"""CONNECTION LIMIT of a database that is being restored into. CREATE DATABASE and COMMENT can't be one
transaction; a process killed between them leaves a database without a marker. It is known as ours by this
odd number and the exact shape of its name, both set by the statement that makes it, and by having no
comment at all: who comments it, or lifts the limit, takes it over."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What a side database's comment says. ``comment`` is the comment that the database had before, kept for an undo.

    ``replaced_by`` is the oid of the database that took the name in the swap, for ``previous`` ones;
    ``backup`` is what that one was restored from, ``None`` when an undo put it back. ``owner`` had a ``previous``
    database before it was kept, and has it again after an undo; ``None`` where it was kept by an older pgops.
    """

    kind: Kind
    of: str
    environment: str
    backup: str | None
    restore: str
    at: str
    comment: str | None = None
    replaced_by: int | None = None
    owner: str | None = None

    @property
    def time(self) -> str:
        """``at`` for people."""
        try:
            return human_time(dt.datetime.fromisoformat(self.at))
        except ValueError:
            return self.at  # a comment that somebody else wrote

    @property
    def restored(self) -> str:
        """How the database that took the name came there."""
        return f"a restore of {self.backup} put there" if self.backup else "an undo put back"

    @property
    def name(self) -> str:
        """What a database that carries this marker is called."""
        return side_database_name(self.of, self.kind, self.restore)

    def text(self) -> str:
        """The comment's text."""
        return _PREFIX + json.dumps(dataclasses.asdict(self), ensure_ascii=False)


def parse_marker(comment: str | None) -> Marker | None:
    """Read a marker; ``None`` for a comment that is not one (people write comments too)."""
    if comment is None or not comment.startswith(_PREFIX):
        return None
    try:
        read = load_object(comment.removeprefix(_PREFIX))
        kind = read.text("kind")
        if kind not in ("new", "previous"):
            return None
        return Marker(
            kind="new" if kind == "new" else "previous",
            of=read.text("of"),
            environment=read.text("environment"),
            backup=read.text_or_none("backup"),
            restore=read.text("restore"),
            at=read.text("at"),
            comment=read.text_or_none("comment"),
            replaced_by=read.integer_or_none("replaced_by"),
            owner=read.text_or_none("owner"),
        )
    except MalformedError:
        return None


@dataclass(frozen=True, slots=True)
class SideDatabase:
    """A database that pgops made or set aside; ``size`` in bytes, ``None`` where we may not ask.

    ``trusted``: its owner is one whose word counts, so the marker is ours.
    """

    name: str
    oid: int
    size: int | None
    marker: Marker
    owner: str = ""
    trusted: bool = True


def new_restore_id(now: dt.datetime) -> str:
    """``20261122t171500_ab12cd``: lower case and short, for it becomes part of a database's name."""
    return f"{now.astimezone(dt.UTC):%Y%m%dt%H%M%S}_{secrets.token_hex(3)}"


def new_marker(database: str, *, environment: str, backup: str | None, now: dt.datetime) -> Marker:
    """The marker of a database that a restore of ``backup`` makes beside ``database``."""
    return Marker(
        kind="new",
        of=database,
        environment=environment,
        backup=backup,
        restore=new_restore_id(now),
        at=now.astimezone(dt.UTC).isoformat(),
    )


def side_database_name(database: str, kind: Kind, restore_id: str) -> str:
    """``<database>__new_<id>``, in PostgreSQL's 63 bytes.

    Where the database's part has to be cut, a hash of the whole name follows: databases that are equal in their first
    bytes never share a name here.
    """
    tail = _INFIX[kind] + restore_id
    if len(database.encode()) + len(tail) > _LONGEST_NAME:
        tail += "_" + hashlib.sha256(database.encode()).hexdigest()[:8]
    return _cut(database, tail)


def _cut(database: str, tail: str) -> str:
    return database.encode()[: _LONGEST_NAME - len(tail.encode())].decode(errors="ignore") + tail


def restore_lock_key(database: str) -> str:
    """Name of the lock that a restore of ``database`` holds, in the maintenance database."""
    return f"restore:{database}"


def list_side_databases(
    connection: Connection, database: str, trusted: Collection[str] = ()
) -> list[SideDatabase]:
    """Every database whose marker says that it belongs to ``database``, oldest first.

    Whether the marker counts is ``trusted`` of each: a ``new`` one also where it belongs to the owner of ``database``,
    as a restore makes it. It is only ever dropped, which its owner could do as well.

    :param trusted: roles whose databases count besides this role's own (``trusted_owners``).
    """
    rows = fetch_all(
        connection,
        f"""
        SELECT d.datname, d.oid::bigint, shobj_description(d.oid, 'pg_database'),
               CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END,
               pg_get_userbyid(d.datdba), {trusted_sql("d.datdba", trusted)},
               d.datdba IN (SELECT t.datdba FROM pg_database AS t WHERE t.datname = %s)
          FROM pg_database AS d
         WHERE starts_with(shobj_description(d.oid, 'pg_database'), %s)
         ORDER BY d.oid
        """,
        (database, _PREFIX),
    )
    found = [
        SideDatabase(name, oid, size, marker, owner, ours or (same_owner and marker.kind == "new"))
        for name, oid, comment, size, owner, ours, same_owner in rows
        if (marker := parse_marker(comment))
    ]
    mine = [
        each
        for each in found
        # The comment alone could have been copied from elsewhere: the name must say the same.
        if each.marker.of == database
        and each.name
        in {
            side_database_name(database, each.marker.kind, each.marker.restore),
            # As older versions cut it.
            _cut(database, _INFIX[each.marker.kind] + each.marker.restore),
        }
    ]
    return sorted(mine, key=lambda each: each.marker.at)


def list_unmarked(connection: Connection, database: str) -> list[str]:
    """Databases that a restore made and died before it could mark them: by name and the odd connection limit."""
    rows = fetch_all(
        connection,
        """
        SELECT datname FROM pg_database
         WHERE datconnlimit = %s AND shobj_description(oid, 'pg_database') IS NULL ORDER BY oid
        """,
        (UNFINISHED_LIMIT,),
    )
    return [row[0] for row in rows if _has_the_shape(row[0], database)]


def _has_the_shape(name: str, database: str) -> bool:
    found = _RESTORE_ID.match(name.rpartition(_INFIX["new"])[2])
    return found is not None and name == side_database_name(database, "new", found[0])


def not_ours(each: SideDatabase) -> UntrustedError:
    """The error for a database that is named and marked like ours, and belongs to somebody whom nobody trusts."""
    return UntrustedError(
        f"{each.name} is named and marked like a database that a restore kept, but belongs to {each.owner}, who could "
        "have made it so",
        untouched="nothing was touched",
        hint=f"where it is not yours: DROP DATABASE {identifier(each.name)}; where it is: trusted_owners: "
        f"[{each.owner}] for this environment in environments.yaml, or ALTER DATABASE {identifier(each.name)} "
        "OWNER TO the role that pgops connects as",
    )


def mark(connection: Connection, name: str, marker: Marker) -> None:
    """Write the marker as the database's comment."""
    execute(connection, comment_statement(name, marker.text()))


def comment_statement(name: str, text: str | None) -> str:
    """``COMMENT ON DATABASE``; ``None`` removes it."""
    return f"COMMENT ON DATABASE {identifier(name)} IS {'NULL' if text is None else literal(text)}"


def taking_over(name: str) -> str:
    """What makes a kept database the role's that keeps it: its marker is then nobody else's to write."""
    return f"ALTER DATABASE {identifier(name)} OWNER TO CURRENT_USER"


def database_oid(connection: Connection, name: str) -> int | None:
    """The oid of a database, ``None`` when there is none of that name."""
    found: int | None = fetch_value(
        connection, "SELECT oid::bigint FROM pg_database WHERE datname = %s", (name,)
    )
    return found


def drop(connection: Connection, name: str) -> None:
    """Drop a database together with the sessions in it (an orphaned pg_restore may still write to it)."""
    execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
