"""Which rows of the journal a plan has nothing to do with."""

from __future__ import annotations

from pgops.migrations import journal
from pgops.migrations.plan.plan import Plan
from pgops.postgres import Connection


def others_tables(plan: Plan, connection: Connection) -> frozenset[str]:
    """The version tables in the journal that are another history's or another project's.

    :raises UntrustedError: the journal is not to be believed.
    """
    on_record = journal.tables_on_record(connection, plan.environment.trusted_owners)
    return journal.tables_of_others(connection, on_record, plan.own_tables, plan.history.hashes)
