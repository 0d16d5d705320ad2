"""What is said of backups that run by themselves: how fresh they are, what runs them, what a drill found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgops.monitoring.drill import Drilled
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


def show_drills(console: Console, found: Sequence[Drilled]) -> None:
    """A line for each environment: how long its restore took, and what one may count on."""
    console.table(
        ["environment", "backup", "restored in", "count on", "last five"],
        [_drill(each) for each in found],
    )


def _drill(found: Drilled) -> list[object]:
    from pgops.units import human_seconds

    told = found.expected
    good = [each for each in found.history if each.ok][-5:]
    return [
        found.environment,
        found.backup,
        "FAILED" if found.problem else None if found.seconds is None else human_seconds(found.seconds),
        None if told is None else human_seconds(told.seconds),
        ", ".join(human_seconds(each.seconds) for each in good) or None,
    ]
