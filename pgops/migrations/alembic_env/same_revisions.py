"""An env.py that runs its migrations several times, once for each tenant's schema: one plan is for all of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pgops.errors import PgopsError


def refuse_different_revisions(environment: str, current: Sequence[Collection[str]]) -> None:
    """Refuse where the version tables that one run of env.py goes through are not at the same revision.

    :param current: the heads of each, in env.py's order.
    :raises PgopsError: they differ.
    """
    if any(set(each) != set(current[0]) for each in current):
        raise PgopsError(
            f"env.py of {environment} migrates {len(current)} histories that stand at different revisions",
            untouched="nothing was applied",
            hint="bring them to the same revision with plain Alembic first; or, where env.py can take one of them, a "
            "history for each: alembic: {histories: {a: {x: {schema: a}}, …}} (docs/adopting.md)",
        )
