"""Dropping a database and making it again, empty, as it was: for databases that hold nothing dear."""

from __future__ import annotations

import datetime as dt

from pgops.backups.database.attributes import read_attributes
from pgops.backups.database.errors import database_errors
from pgops.backups.load.side_database import Hooks, remove_leftovers, restore_lock, side_database
from pgops.backups.load.side_databases import comment_statement, new_marker
from pgops.backups.load.surroundings import acts_as
from pgops.errors import BlockedError
from pgops.postgres import Target, execute, identifier, maintenance, server_facts


def recreate_database(target: Target, *, now: dt.datetime) -> None:
    """Drop ``target``'s database, ending its sessions, and leave an empty one with the same owner, encoding and locale.

    The caller has asked. The empty one is made beside before the old one is dropped: who may not make it, drops
    nothing. Settings (``ALTER DATABASE … SET``) go with the old one.

    :raises UnreachableError: no connection.
    :raises RefusedError: a proxy leads its name elsewhere.
    :raises BlockedError: its owner is a role that we can't act as.
    :raises LockedError: a restore of it is under way.
    :raises PgopsError: the server refused, for example for want of privileges; the old database is what it was.
    """
    name = target.dbname
    untouched = f"{target.place} was not touched"
    admin_target = maintenance(target)
    with (
        database_errors(
            target,
            untouched=untouched,
            hint=f"as a role that owns {name}, has CREATEDB and may end the sessions in it",
        ),
        restore_lock(admin_target, target, wait=5.0) as admin,
    ):
        here = read_attributes(admin, name)
        if here is None:
            execute(admin, f"CREATE DATABASE {identifier(name)}")
            return
        major = server_facts(admin).major
        if here.owner not in acts_as(admin, [here.owner], major):
            # It could be made for that role, and neither be renamed nor dropped any more.
            raise BlockedError(
                f"{target.place} belongs to {here.owner}, and {target.user} can't act as that role",
                hint=f"run it as {here.owner}, or GRANT that role to the user, who must inherit it",
            )
        remove_leftovers(admin, name)
        marker = new_marker(name, environment=target.environment, backup=None, now=now)
        new = target.with_database(marker.name)
        with side_database(admin, new, here, marker, Hooks(), major=major):
            execute(admin, f"DROP DATABASE {identifier(name)} WITH (FORCE)")
            with database_errors(
                target, untouched=f"the old {target.place} is gone", hint=f"createdb {name}"
            ):
                execute(admin, f"ALTER DATABASE {identifier(new.dbname)} RENAME TO {identifier(name)}")
                execute(admin, f"ALTER DATABASE {identifier(name)} CONNECTION LIMIT {here.connection_limit}")
                execute(admin, comment_statement(name, here.comment))
