"""What the journal remembers of signatures: who has to sign, and which approvals are used up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pgops.errors import RefusedError
from pgops.migrations.journal.schema import present
from pgops.postgres import Connection, fetch_one, fetch_value

# Through JSON: a journal that no run has brought up to date since lacks the column.
_APPROVAL = "pg_catalog.to_jsonb(r) -> 'approval'"


class UsedApprovalError(RefusedError):
    """A plan that was signed once is carried out once."""

    code = "signature"


def last_approval(
    connection: Connection, names: Collection[str], trusted: Collection[str] = (), *, but: str | None = None
) -> Mapping[str, Any] | None:
    """The approval of the newest run that had one; ``None`` where none ever had.

    :param names: the environment's name and those it had before.
    :param but: the id of an approval that does not count: a run that failed with it may go again.
    :raises UntrustedError: the journal is not to be believed.
    """
    if not present(connection, trusted):
        return None
    row = fetch_one(
        connection,
        f"""
        SELECT {_APPROVAL} FROM pgops.runs AS r
         WHERE r.environment = ANY(%s) AND pg_catalog.jsonb_typeof({_APPROVAL}) = 'object'
           AND {_APPROVAL} ->> 'id' IS DISTINCT FROM %s
         ORDER BY r.started_at DESC, r.id DESC LIMIT 1
        """,
        (list(names), but),
    )
    return None if row is None else row[0]


def refuse_used(connection: Connection, approval: str, version_table: str, name: str) -> None:
    """Refuse a plan that a run has carried out, whole or in part. One that failed before anything was applied may go again.

    :param approval: the id in the plan.
    :param name: the environment's, for the message.
    :raises UsedApprovalError: it was.
    """
    if fetch_value(connection, "SELECT pg_catalog.to_regclass('pgops.runs')") is None:
        return
    row = fetch_one(
        connection,
        f"""
        SELECT r.id FROM pgops.runs AS r
         WHERE {_APPROVAL} ->> 'id' = %s AND r.version_table = %s
           AND (r.outcome = 'succeeded'
                OR EXISTS (SELECT 1 FROM pgops.revisions AS v WHERE v.run = r.id AND v.outcome = 'succeeded'))
         LIMIT 1
        """,
        (approval, version_table),
    )
    if row is not None:
        raise UsedApprovalError(
            f"these signatures are used up: run {row[0]} has carried the plan out",
            untouched=f"{name} was not touched",
            hint=f"a new plan, to be signed anew: invoke migrate.plan --env={name} --out=plan.json",
        )
