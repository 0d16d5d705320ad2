"""What is said of backups that run by themselves: how fresh they are, what runs them, what a drill found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgops.monitoring.freshness import Freshness
    from pgops.terminal.console import Console


def show_checks(console: Console, found: Sequence[Freshness]) -> None:
    """A line for each environment, and beneath it what is to be known."""
    console.table(
        ["environment", "state", "last good backup", "last proof by restoring"],
        [_line(each) for each in found],
    )
    for each in found:
        for problem in (*each.problems, *each.notes, *([each.unknown] if each.unknown else [])):
            console.say(f"  {each.environment}: {problem}")


def _line(found: Freshness) -> list[object]:
    from pgops.units import human_age

    backup, restore = found.backup_age, found.restore_age
    return [
        found.environment,
        "no limits" if found.state == "unlimited" else found.state,
        None if backup is None else human_age(backup),
        None if restore is None else human_age(restore),
    ]
