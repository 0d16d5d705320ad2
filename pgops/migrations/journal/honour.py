"""The stamp of a database is honoured by whoever changes or replaces it, not only by migrations."""

from __future__ import annotations

from pgops.environments import Environment
from pgops.errors import UnreachableError
from pgops.migrations.journal.stamp import check_stamp, read_stamp
from pgops.postgres import Target, identity, read_only_session


def honour_stamp(environment: Environment, target: Target) -> str | None:
    """Look whether this very database is stamped as another environment; before anybody is asked anything.

    :returns: a note for people where the stamp is a copy's or an old name; ``None`` where nothing is to say, also
        where there is no such database.
    :raises RefusedError: it is another environment's.
    :raises UntrustedError: its journal is not to be believed.
    :raises UnreachableError: the server does not answer or does not let us in.
    """
    try:
        with read_only_session(target) as connection:
            return check_stamp(
                read_stamp(connection, environment.trusted_owners),
                environment.name,
                environment.aliases,
                identity(connection),
                target.place,
            )
    except UnreachableError as error:
        if error.kind == "database":
            return None
        raise
