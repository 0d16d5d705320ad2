"""What a restore does besides restoring: back up what is there, and let the journal say where it lives now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgops.backups.load.side_database import Hooks
    from pgops.environments import Environment
    from pgops.postgres import Target
    from pgops.terminal.console import Console
    from pgops.terminal.progress import StepProgress


def shown_hooks(
    console: Console, environment: Environment, target: Target, lock_wait: float, shown: StepProgress
) -> Hooks:
    """A safety backup first, the journal's new stamp at the end, and each step as it is shown."""
    from pgops.backups.load.side_database import Hooks

    return Hooks(
        safety=_safety_backup(environment, target, lock_wait, shown),
        restamp=_restamped(console, environment),
        step=lambda step: shown.step(step.value),
        progress=lambda done, total: shown.progress(done, total, ""),
    )


def _safety_backup(
    environment: Environment, target: Target, lock_wait: float, shown: StepProgress
) -> Callable[[], str]:
    """Takes a backup of what is there when it is called, and gives its id."""

    def back_up() -> str:
        from pgops.backups.dump.create import create
        from pgops.local.tools import tool_sources

        return create(environment, target, sources=tool_sources(), lock_wait=lock_wait, observer=shown).id

    return back_up


def _restamped(console: Console, environment: Environment) -> Callable[[Target, str], None]:
    """Stamps a restored database with its environment when it is called."""

    def restamp(new: Target, name: str) -> None:
        import dataclasses

        from pgops.migrations import journal
        from pgops.postgres import WORKING, UntrustedError, connected, identity

        with connected(new, application_name="pgops restore: stamp", settings=WORKING) as connection:
            lives_at = dataclasses.replace(identity(connection), database=name)
            try:
                journal.restamp(connection, environment.name, lives_at, environment.trusted_owners)
            except UntrustedError as error:
                # The data is what was asked for; whoever migrates next is told the same, and refused.
                console.warn(f"the journal that came with the backup is left as it is: {error.message}")

    return restamp
