"""migrate.check and migrate.test: what is wrong before anything is run."""

from __future__ import annotations

import atexit
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, histories_of, load_environment, task

if TYPE_CHECKING:
    from pgops.migrations.round_trip.result import Step
    from pgops.terminal.console import Console
    from pgops.testing import ServerChoice

_NAMED = 3


@task()
def check(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    json: bool = False,
) -> None:
    """Compare a database with the models; exit 5 where they differ."""
    from pgops.migrations.autogenerate import drift
    from pgops.targets import target_for

    environment = load_environment(context, env)
    target = target_for(environment)
    console.say(f"{environment.name}: {target}")
    if history is None:
        found = drift.check_histories(environment, target)
    else:
        (chosen,) = histories_of(environment, history)
        others = [each for each in environment.histories() if each.alembic.history != history]
        found = drift.check(chosen, target, others)
    if found.pending:
        raise drift.BehindError(found)
    for line in found.lines:
        console.say(f"  {line}")
    if found.lines:
        raise drift.ModelsDifferError(found)
    console.say(f"the models and {environment.name} at {', '.join(found.current) or 'base'} agree")
    console.result({"drift": found.as_dict()})


@task(
    help={
        "env": "environment whose Alembic settings count; its database is not touched",
        "data": "Python file with the project's rows, see docs/adopting.md; tests/migration_data.py where it exists",
        "base": "SQL file that makes what the first revision builds on, for a history that starts from existing tables",
        "base_revision": "revision that the base stands at; before the first one when not given",
        "since": "revision to begin going down and up at; what it builds on only goes up",
        "server": "where the scratch database is made: auto, local or embedded",
    }
)
def test(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    data: str | None = None,
    base: str | None = None,
    base_revision: str | None = None,
    since: str | None = None,
    server: str = "auto",
    json: bool = False,
) -> None:
    """Run every revision up, down and up again on a scratch database, and compare the schema each time."""
    from pgops.migrations.round_trip.result import Base, RoundTripError
    from pgops.testing import round_trip

    environment = load_environment(context, env)
    if history is not None:
        (environment,) = histories_of(environment, history)
    # Connections that the application still holds when the process ends lose their server before: that is
    # no error, and SQLAlchemy would log it as one.
    atexit.register(logging.getLogger("sqlalchemy.pool").setLevel, logging.CRITICAL)
    result = round_trip(
        environment,
        server=_server(server),
        data=None if data is None else Path(data).absolute(),
        base=None if base is None else Base(Path(base).absolute(), base_revision),
        since=since,
        on_step=lambda step: _show(console, step),
        on_server=lambda target: console.say(f"scratch database: {target}"),
    )
    for remark in (*result.remarks, *result.not_carried):
        console.warn(remark)
    for problem in result.problems:
        console.say(f"  {console.style('fails', 'red')}  {problem}")
    if not result.ok:
        raise RoundTripError(result)
    count = len(result.steps)
    there_and_back = f"; from {since} on also down and up again" if since else ", down and up again"
    console.say(
        f"{count} {'revision' if count == 1 else 'revisions'} went up{there_and_back}; the schema was the same each time"
        + ("" if result.remarks else ", and the models match")
    )
    console.result({"test": result.as_dict()})


def _server(given: str) -> ServerChoice:
    from pgops.errors import UsageError
    from pgops.testing import SERVER_CHOICES

    for choice in SERVER_CHOICES:
        if choice == given:
            return choice
    raise UsageError(
        f"--server={given} is not one of {', '.join(SERVER_CHOICES)}", untouched="nothing was touched"
    )


def _show(console: Console, step: Step) -> None:
    from pgops.units import human_seconds

    word = console.style("fails", "red") if step.problems else console.style("ok", "green") + "   "
    of = f"{step.history}: " if step.history else ""
    console.say(f"  {word}  {of}{step.revision}  {step.message}  ({human_seconds(step.seconds)})")
    for line in step.problems or _grouped(step.changed):
        console.say(f"         {line}")


def _grouped(changes: tuple[str, ...]) -> list[str]:
    """``adds column a.b.c`` … -> one line for each verb and kind; many names become a number."""
    groups: dict[str, list[str]] = {}
    for change in changes:
        verb, kind, name = change.split(" ", 2)
        groups.setdefault(f"{verb} {kind}", []).append(name)
    return [
        f"{group} {', '.join(names)}" if len(names) <= _NAMED else f"{group}: {len(names)}"
        for group, names in sorted(groups.items(), key=lambda item: ("table" not in item[0], item[0]))
    ]
