"""Which run is undone, and where its downgrades have to end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pgops.errors import RefusedError, UsageError
from pgops.migrations import journal
from pgops.migrations.journal import RunRecord


@dataclass(frozen=True, slots=True)
class Undoing:
    """A run that is to be undone. ``revisions`` of it are still applied; ``later`` runs are undone with it.

    ``undone`` are the revisions of them all.
    """

    run: RunRecord
    revisions: tuple[str, ...]
    later: tuple[RunRecord, ...]
    undone: tuple[str, ...]


def choose_run(
    recorded: Sequence[RunRecord], wanted: str | None, environment: str, others: Collection[str] = ()
) -> Undoing:
    """The run to undo; pure.

    :param recorded: the journal, newest first.
    :param wanted: an id or its beginning; the newest one of which something is still applied when ``None``.
    :param others: version tables of other projects, whose runs they undo themselves.
    :raises RefusedError: there is none.
    :raises UsageError: no such run, several, another project's, or one that has nothing left to undo.
    """
    runs = [each for each in recorded if each.version_table not in others]
    applied = _still_applied(runs)
    undoable = [each for each in runs if applied.get(each.id)]
    if not undoable:
        stamp = next((each for each in runs if each.action == "stamp"), None)
        adopted = (
            "" if stamp is None else f"; what stands there was adopted by migrate.stamp (run {stamp.id})"
        )
        raise RefusedError(
            f"the journal of {environment} has no run that could be undone{adopted}",
            untouched=f"{environment} was not touched",
            hint=f"invoke migrate.log --env={environment}; by downgrades alone: invoke migrate.down --env={environment} "
            "--to=<revision>",
        )
    chosen = undoable[0]
    if wanted is not None:
        fitting = [each for each in recorded if each.id.startswith(wanted)]
        if len(fitting) != 1 or fitting[0] not in undoable:
            what = "has nothing left to undo"
            if len(fitting) != 1:
                what = f"fits {len(fitting)} runs" if fitting else "fits no run of the journal"
            elif fitting[0] not in runs:
                what = f"is another project's run: its heads are in {fitting[0].version_table}"
            raise UsageError(
                f"--run={wanted} {what}",
                untouched=f"{environment} was not touched",
                hint=f"what can be undone: {', '.join(each.id for each in undoable[:5])}",
            )
        chosen = fitting[0]
    later = undoable[: undoable.index(chosen)]
    undone = [revision for each in (chosen, *later) for revision in applied[each.id]]
    return Undoing(chosen, applied[chosen.id], tuple(later), tuple(undone))


def _still_applied(runs: Sequence[RunRecord]) -> dict[str, tuple[str, ...]]:
    """The revisions of each upgrade that nothing has rolled back since."""
    owner: dict[str, str] = {}
    for run in reversed(runs):
        for each in run.revisions:
            if each.outcome != journal.SUCCEEDED:
                continue
            if run.action == "downgrade":
                owner.pop(each.revision, None)
            else:
                owner[each.revision] = run.id
    upgrades = {each.id for each in runs if each.action == "upgrade"}
    found: dict[str, list[str]] = {}
    for revision, run_id in owner.items():
        if run_id in upgrades:
            found.setdefault(run_id, []).append(revision)
    return {run_id: tuple(revisions) for run_id, revisions in found.items()}


def destination(begun_at: Sequence[str], current: Sequence[str]) -> str:
    """What ``alembic downgrade`` would be called with, for env.py to see, to get back to where a run began.

    :param begun_at: the heads at the run's beginning; of several, one stands for all.
    :param current: the heads now.
    """
    return next(iter(sorted(set(begun_at) - set(current)) or sorted(begun_at)), "base")
