"""``restore.hand-over``: a whole recovered cluster takes the place of the environment's own; and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, task
from pgops.terminal.messages import hand_over as words

if TYPE_CHECKING:
    from pgops.recoveries.hand_over_plan import HandOver
    from pgops.terminal.console import Console

_HELP = {
    "recovery": "id of a recovered cluster, as restore.status shows it; the only one when not given",
    "directory": "data directory of the running cluster; asked of its server when not given",
    "back": "put the old cluster back in its place",
}


@task(help=_HELP)
def hand_over(
    context: Context,
    console: Console,
    env: str | None = None,
    recovery: str | None = None,
    directory: str | None = None,
    back: bool = False,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Put a recovered cluster in the place of the running one, which is kept (pgBackRest)."""
    from pgops.errors import UsageError
    from pgops.recoveries import hand_over as handing
    from pgops.recoveries.hand_over_plan import check_hand_over, find_hand_over
    from pgops.recoveries.kept import find_recovery
    from pgops.terminal.confirmation import Effect
    from pgops.terminal.progress import StepProgress

    environment = load_environment(context, env)
    if environment.backups.pgbackrest is None:
        raise UsageError(
            f"backups of {environment.name} are dumps, and restore swaps databases itself",
            untouched="nothing was touched",
            hint="restore and restore.undo; or see backups: {engine: pgbackrest} in docs/physical-backups.md",
        )
    plan = find_hand_over(environment, find_recovery(environment, recovery, directory), directory)
    if back:
        _refuse_back(plan)
    elif not plan.begun:
        plan = check_hand_over(plan)
    elif plan.record.state == "done" and plan.old.there and not plan.new.there:
        raise UsageError(
            f"{plan.record.data} holds the recovered cluster already",
            untouched="nothing was touched",
            hint=f"back to the old one: {handing.back_typed(plan)}",
        )
    words.show(console, plan, back=back)
    if dry_run:
        console.say("dry run: nothing was touched")
        console.result({"dry_run": True, "hand_over": words.as_json(plan)})
        return
    console.confirm(
        environment,
        Effect.DESTROYS,
        words.question(plan, back=back),
        yes=yes,
        confirm=confirm,
    )
    console.say(f"if this is interrupted:  {handing.again_typed(plan)}  goes on, with --back goes back")
    with StepProgress(console) as shown:
        done = handing.hand_back(plan, shown) if back else handing.hand_over(plan, shown)
    words.report(console, done, back_typed=handing.back_typed(done))
    console.result({"hand_over": words.as_json(done)})


def _refuse_back(plan: HandOver) -> None:
    """Back only where something was begun, and where there was something before.

    :raises UsageError: there is nothing to go back to.
    """
    from pgops.errors import UsageError

    if not plan.begun:
        raise UsageError(
            f"no hand-over with {plan.found.place} was begun: {plan.record.data} holds what it held",
            untouched="nothing was touched",
        )
    if not plan.record.was_there:
        raise UsageError(
            f"there was no cluster in {plan.record.data} before",
            untouched="nothing was touched",
            hint="another moment is another recovery: invoke restore --at=…",
        )
