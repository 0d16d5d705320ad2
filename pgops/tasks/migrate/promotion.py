"""What the environment before says about plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_project

if TYPE_CHECKING:
    from pgops.migrations.plan.plan import Plan
    from pgops.migrations.run.gates import Promotion


def ask_promotions(context: Context, plans: Sequence[Plan]) -> list[Promotion | None]:
    """One answer for each plan; ``None`` where there is no environment before, or nothing is pending."""
    from pgops.migrations.run.gates import ask_promotion
    from pgops.targets import target_for

    found: list[Promotion | None] = []
    for plan in plans:
        if plan.environment.promoted_from is None or not plan.pending:
            found.append(None)
            continue
        before = load_project(context).environment(plan.environment.promoted_from)
        found.append(ask_promotion(before, target_for(before), plan))
    return found
