"""Whether somebody else's code runs at every login, or with the DDL of a migration."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pgops.checks.report import Finding, warn
from pgops.postgres import Connection, fetch_all, identifier, trusted_sql

# A SECURITY DEFINER function runs as its owner, and gains nothing.
_FOREIGN = """
SELECT e.evtname::text, e.evtevent::text, pg_get_userbyid(CASE WHEN {owner} THEN p.proowner ELSE e.evtowner END)::text,
       e.evtfoid::regprocedure::text
  FROM pg_event_trigger AS e JOIN pg_proc AS p ON p.oid = e.evtfoid
 WHERE e.evtenabled <> 'D' AND NOT p.prosecdef AND NOT ({owner} AND {function})
 ORDER BY 1
"""


def event_triggers(connection: Connection, trusted_owners: Collection[str]) -> Iterator[Finding]:
    """A warning for each event trigger whose code an untrusted role can change.

    A superuser made it, and its function may be another's, who can put in it what he likes. One on logins (PostgreSQL 17
    and newer) runs before the first statement of any session could look for it.

    :param trusted_owners: roles that environments.yaml names.
    """
    sql = _FOREIGN.format(
        owner=trusted_sql("e.evtowner", trusted_owners), function=trusted_sql("p.proowner", trusted_owners)
    )
    for name, event, who, function in fetch_all(connection, sql):
        when = "at every login, of pgops' looks too" if event == "login" else f"at {event}, in migrations too"
        yield warn(
            "event triggers",
            f"{name} runs {function} {when}, as whoever is there; {who} can change what it does",
            f"ALTER EVENT TRIGGER {identifier(name)} DISABLE; or give trigger and function to a role that you trust; "
            "where it is one, trusted_owners in environments.yaml",
        )
