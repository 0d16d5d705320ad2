"""Databases that pgops makes beside a target: what they are called, how they are known, who may remove them.

A restore makes ``<db>__new_<id>`` and, when it swaps, turns the old database into ``<db>__old_<id>``.
A name proves nothing, so each carries a marker in its COMMENT (a shared catalogue, readable from
every database): what it is, of which database, from which backup. Whether the restore that made it is
still alive is told by its lock, never by its age.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pgops.backups.manifest.json_reader import MalformedError, load_object
from pgops.errors import UnreachableError
from pgops.postgres import Connection, Target, connect, execute, fetch_all, fetch_value, identifier, literal

Kind = Literal["new", "previous"]
_LONGEST_NAME = 63
_PREFIX = "pgops "
_RESTORE_ID = re.compile(r"[0-9]{8}t[0-9]{6}_[0-9a-f]{6}")
_INFIX: Mapping[Kind, str] = {"new": "__new_", "previous": "__old_"}

UNFINISHED_LIMIT = 20_611
"""CONNECTION LIMIT of a database that is being restored into. CREATE DATABASE and COMMENT can't be one
transaction; a process killed between them leaves a database without a marker. It is known as ours by this
odd number and the exact shape of its name, both set by the statement that makes it, and by having no
comment at all: who comments it, or lifts the limit, takes it over."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What a sibling's comment says. ``comment`` is the comment that the database had before, kept for an undo.

    ``replaced_by`` is the oid of the database that took the name in the swap, for ``previous`` ones;
    ``backup`` is what that one was restored from, ``None`` when an undo put it back.
    """

    kind: Kind
    of: str
    environment: str
    backup: str | None
    restore: str
    at: str
    comment: str | None = None
    replaced_by: int | None = None

    @property
    def restored(self) -> str:
        """How the database that took the name came there."""
        return f"a restore of {self.backup} put there" if self.backup else "an undo put back"

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
        )
    except MalformedError:
        return None


@dataclass(frozen=True, slots=True)
class SideDatabase:
    """A database that pgops made or set aside; ``size`` in bytes, ``None`` where we may not ask."""

    name: str
    oid: int
    size: int | None
    marker: Marker


def new_restore_id(now: dt.datetime) -> str:
    """``20261122t171500_ab12cd``: lower case and short, for it becomes part of a database's name."""
    return f"{now.astimezone(dt.UTC):%Y%m%dt%H%M%S}_{secrets.token_hex(3)}"


def side_database_name(database: str, kind: Kind, restore_id: str) -> str:
    """``<database>__new_<id>``; the database's part is cut so that the whole fits PostgreSQL's 63 bytes."""
    tail = _INFIX[kind] + restore_id
    room = _LONGEST_NAME - len(tail.encode())
    return database.encode()[:room].decode(errors="ignore") + tail


def restore_lock_key(database: str) -> str:
    """Name of the lock that a restore of ``database`` holds, in the maintenance database."""
    return f"restore:{database}"


def maintenance(target: Target) -> Target:
    """A database on the same server that is not the target: where databases are made, renamed and dropped from.

    :raises UnreachableError: none lets us in.
    """
    last: UnreachableError | None = None
    for name in ("postgres", "template1"):
        if name == target.dbname:
            continue
        try:
            connect(target.with_database(name), application_name="pgops restore").close()
        except UnreachableError as error:
            if error.kind not in ("database", "hba", "role", "other"):
                raise
            last = error
        else:
            return target.with_database(name)
    assert last is not None
    raise UnreachableError(
        f"{target.environment}: a restore needs a second database to work from, and neither postgres "
        f"nor template1 lets {target.user!r} in",
        kind=last.kind,
        untouched="nothing was touched",
        hint=f"GRANT CONNECT ON DATABASE postgres TO {identifier(target.user)}",
    )


def list_side_databases(connection: Connection, database: str) -> list[SideDatabase]:
    """Every database whose marker says that it belongs to ``database``, oldest first."""
    rows = fetch_all(
        connection,
        """
        SELECT d.datname, d.oid::bigint, shobj_description(d.oid, 'pg_database'),
               CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END
          FROM pg_database AS d
         WHERE starts_with(shobj_description(d.oid, 'pg_database'), %s)
         ORDER BY d.oid
        """,
        (_PREFIX,),
    )
    found = [
        SideDatabase(name, oid, size, marker)
        for name, oid, comment, size in rows
        if (marker := parse_marker(comment))
    ]
    mine = [
        each
        for each in found
        # The comment alone could have been copied from elsewhere: the name must say the same.
        if each.marker.of == database
        and each.name == side_database_name(database, each.marker.kind, each.marker.restore)
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
    restore_id = name.rpartition(_INFIX["new"])[2]
    return bool(_RESTORE_ID.fullmatch(restore_id)) and name == side_database_name(database, "new", restore_id)


def mark(connection: Connection, name: str, marker: Marker) -> None:
    """Write the marker as the database's comment."""
    execute(connection, comment_statement(name, marker.text()))


def comment_statement(name: str, text: str | None) -> str:
    """``COMMENT ON DATABASE``; ``None`` removes it."""
    return f"COMMENT ON DATABASE {identifier(name)} IS {'NULL' if text is None else literal(text)}"


def database_oid(connection: Connection, name: str) -> int | None:
    """The oid of a database, ``None`` when there is none of that name."""
    found: int | None = fetch_value(
        connection, "SELECT oid::bigint FROM pg_database WHERE datname = %s", (name,)
    )
    return found


def drop(connection: Connection, name: str) -> None:
    """Drop a database together with the sessions in it (an orphaned pg_restore may still write to it)."""
    execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
