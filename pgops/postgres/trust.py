"""Whose objects count: a name proves nothing, for whoever may create objects can take a name of ours first.

An owner is trusted when nothing is gained by being believed: it is the role that pgops works as, or one
that can become that role already (a superuser, a member of it), or one that environments.yaml names under
``trusted_owners``. The owner of a database is not trusted for owning it: often that is the application.
"""

from __future__ import annotations

from collections.abc import Collection

from pgops.errors import BlockedError
from pgops.postgres.session import literal


class UntrustedError(BlockedError):
    """Something stands under a name of pgops' own, and belongs to somebody whom nobody said to trust."""

    code = "untrusted"


def trusted_sql(role: str, names: Collection[str] = ()) -> str:
    """SQL that says whether the role with an oid is trusted.

    :param role: an SQL expression, the role's oid; 0 (everybody) is never trusted.
    :param names: what environments.yaml names as ``trusted_owners``.
    """
    # Before 16 every member may SET ROLE; since then a membership can be an empty one.
    ways = "CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000 THEN 'SET, USAGE' ELSE 'MEMBER' END"
    listed = ", ".join(literal(name) for name in names)
    # A role that is gone (0, or an oid without a row) gives NULL here.
    named = f"pg_catalog.pg_get_userbyid({role}) IN ({listed})" if listed else "false"
    return (
        f"(EXISTS (SELECT 1 FROM pg_catalog.pg_roles AS known WHERE known.oid = {role})"
        f" AND (pg_catalog.pg_has_role({role}, current_user, {ways}) OR {named}))"
    )
