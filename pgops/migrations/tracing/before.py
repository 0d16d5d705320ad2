"""Plans of other histories that will have run before the one that is traced: the copy is brought to where they lead."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pgops.migrations.alembic_env.output import OutputGuard
from pgops.migrations.plan.plan import Plan
from pgops.migrations.run.attempt import Approval
from pgops.migrations.run.reporter import Silent
from pgops.migrations.run.run import Run
from pgops.migrations.tracing.schema_copy import stamp
from pgops.postgres import Target, connected, identity


def carry_out_before(plans: Sequence[Plan], target: Target, superuser: Target) -> None:
    """Run these plans on the copy.

    :param superuser: the same database as the scratch server's superuser, who may write every version table.
    :raises PgopsError: one fails there.
    """
    for plan in plans:
        stamp(superuser, target, plan.version_table.name, plan.version_table.schema, plan.current)
        if not plan.pending:
            continue
        with connected(target) as connection:
            found = identity(connection)
        output = OutputGuard(keep_stderr=False)
        try:
            with output:
                Run(
                    dataclasses.replace(plan, target=target, identity=found),
                    Approval(),
                    Silent(),
                    lock_wait=0,
                ).carry_out()
        finally:
            output.close()
