"""Telling people of a scheduled run or a check: notices, a ping, a textfile. None of it can fail what it tells of."""

from __future__ import annotations

import datetime as dt
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from pgops.errors import PgopsError
from pgops.terminal.commands import as_typed

if TYPE_CHECKING:
    from pgops.environments import Environment, Project
    from pgops.monitoring.memory import Alarm, Memory, MemoryFile
    from pgops.terminal.console import Console

RUN = "run"
FRESHNESS = "freshness"
_TROUBLE = {RUN: "the scheduled backup of {0} failed", FRESHNESS: "backups of {0} are too old"}
_RECOVERY = {RUN: "the scheduled backup of {0} works again", FRESHNESS: "backups of {0} are fresh again"}


def notify(
    console: Console,
    environment: Environment,
    memory: MemoryFile,
    *,
    about: str,
    trouble: str,
    now: dt.datetime,
    next_step: str = "",
) -> dict[str, object]:
    """Send each channel what it has to hear; what could not be sent is said, and tried again at the next run.

    :param about: :data:`RUN` or :data:`FRESHNESS`.
    :param trouble: what is wrong; empty where nothing is.
    :param next_step: the command to type, for the notice.
    :returns: ``notices`` of ``--json``: the channels that were told, and why others were not.
    """
    from pgops.monitoring.alarms import after, due
    from pgops.monitoring.delivery import Notice, send
    from pgops.secrets.redaction import redact

    channels = environment.monitoring.notify
    before = memory.read().alarms.get(about)
    wanted = due(before, trouble, list(channels), now, environment.monitoring.repeat)
    bodies = {
        "trouble": (_TROUBLE[about], _trouble(before, trouble, next_step, now)),
        "recovery": (_RECOVERY[about], _recovery(before)),
    }
    notices = {
        name: Notice(kind, f"pgops: {bodies[kind][0].format(environment.name)}", redact(bodies[kind][1]))
        for name, kind in wanted.items()
    }
    said = send(channels, notices, setting=f"{environment.name}: monitoring.notify") if notices else {}
    for name, problem in said.items():
        if problem:
            console.warn(f"the notice to {name} was not sent: {problem}")
    reached = [name for name, problem in said.items() if not problem]
    alarm = after(before, trouble, reached, list(channels), now)
    if alarm != before:
        memory.change(lambda known: _with(known, about, alarm))
    return {"sent": reached, "not_sent": {name: problem for name, problem in said.items() if problem}}


def _with(memory: Memory, about: str, alarm: Alarm | None) -> Memory:
    others = {name: each for name, each in memory.alarms.items() if name != about}
    return replace(memory, alarms=others if alarm is None else {**others, about: alarm})


def _trouble(before: Alarm | None, trouble: str, next_step: str, now: dt.datetime) -> str:
    from pgops.units import human_time

    lines = [trouble]
    if before is not None and before.told:
        lines.append(f"So it is since {human_time(before.since)}.")
    lines.append(f"Seen on {socket.gethostname()} at {human_time(now)}.")
    if next_step:
        lines.append(f"Next: {as_typed(next_step)}")
    return "\n".join(lines)


def _recovery(before: Alarm | None) -> str:
    from pgops.units import human_time

    if before is None:
        return ""
    return f"Since {human_time(before.since)} it was: {before.message}"


def ping(console: Console, environment: Environment) -> str | None:
    """Ask for the dead-man switch's URL, where there is one.

    :returns: ``ping`` of ``--json``: empty where it answered, why not, or ``None`` where there is none.
    """
    from pgops.monitoring import delivery

    reference = environment.monitoring.ping
    if reference is None:
        return None
    problem = delivery.ping(reference, setting=f"{environment.name}: monitoring.ping")
    if problem:
        console.warn(f"monitoring.ping could not be told that all is well: {problem}")
    return problem


def write_metrics(console: Console, project: Project, environment: Environment) -> str | None:
    """Write the textfile, where there is a directory for it.

    :returns: ``metrics`` of ``--json``: the file, or ``None``.
    """
    from pgops.tasks.metrics import write

    if environment.monitoring.metrics is None:
        return None
    try:
        (file,) = write(console, project, [environment], to=None)
    except PgopsError as error:
        console.warn(error.message)
        return None
    return str(file)
