"""What ``restore.hand-over`` says: which cluster goes, which comes, what will be missing, how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgops.recoveries.hand_over_plan import HandOver
    from pgops.terminal.console import Console


def show(console: Console, plan: HandOver, *, back: bool) -> None:
    """What would be done, before anybody is asked."""
    from pgops.units import counted, human_bytes

    record, running = plan.record, plan.running
    if plan.begun:
        console.say(_begun(plan))
        if back:
            console.say(
                f"the old cluster, kept in {record.kept}, comes back; what was written since stays in {record.recovered}"
            )
        return
    if plan.old.there:
        size = f", {human_bytes(running.bytes)}" if running is not None and running.bytes is not None else ""
        console.say(
            f"would be replaced: {record.data} (cluster {plan.old.system_identifier}, timeline {plan.old.timeline}{size}; "
            f"{'it runs' if plan.old.pid else 'it does not run'}), kept as {record.kept}"
        )
    else:
        console.say(f"there is no cluster in {record.data} now")
    console.say(f"takes its place:   {record.recovered}, recovered to {plan.found.goal}, {_where(plan)}")
    if plan.missing is not None:
        console.say(
            f"will be missing:   what the old cluster wrote since the timelines diverged, {human_bytes(plan.missing)} of WAL; it stays in "
            f"{record.kept}"
        )
    if running is not None:
        console.say(
            f"connected now:     {counted(running.sessions, 'session')}, ended when the server is stopped"
        )
    console.say("the configuration of the old cluster stays; the server is stopped and started")
    for each in plan.warnings:
        console.warn(each)


def _where(plan: HandOver) -> str:
    replay = plan.replay
    if replay is None:
        return f"stopped, timeline {plan.new.timeline}"
    if replay.in_recovery:
        return f"paused at LSN {replay.lsn}: it is promoted first"
    return f"promoted, on timeline {replay.timeline}"


def _begun(plan: HandOver) -> str:
    record = plan.record
    if record.state == "done":
        return f"{record.data} holds the recovered cluster since a hand-over that was begun at {record.began}"
    if plan.kept.there and plan.old.there:
        stands = f"{record.data} holds the recovered cluster, {'which runs' if plan.old.pid else 'stopped'}"
    elif plan.kept.there:
        stands = f"nothing is in {record.data}; the old cluster is whole in {record.kept}, the new one in {record.recovered}"
    else:
        stands = f"{record.data} still holds the old cluster, {'which runs' if plan.old.pid else 'stopped'}"
    return f"a hand-over that was begun at {record.began} did not get to its end: {stands}"


def question(plan: HandOver, *, back: bool) -> str:
    """What is asked."""
    record = plan.record
    if back:
        return f"Put the old cluster of {plan.environment.name} back into {record.data}?"
    again = "Go on with putting" if plan.begun else "Stop the server and put"
    return f"{again} the cluster recovered to {plan.found.goal} into {record.data}?"


def report(console: Console, done: HandOver, *, back_typed: str) -> None:
    """How it ended, and what to type next."""
    record = done.record
    name = done.environment.name
    runs = "and answers" if done.old.pid else "and is stopped, as it was"
    for each in done.warnings:
        console.warn(each)
    if record.state == "undone":
        console.say(f"{name} is the old cluster again: {record.data}, timeline {done.old.timeline}, {runs}")
        console.say(f"the recovered one is in {record.recovered}, stopped")
        if record.timeline:
            console.say(
                f"the archive may hold WAL of timeline {record.timeline}, which was left: restore takes --timeline={record.old_timeline}"
            )
        return
    console.say(
        f"{name} is the cluster recovered to {done.found.goal}: {record.data}, timeline {record.timeline}, {runs}; its WAL gets "
        "into the archive"
    )
    console.say(f"take a backup: invoke backup --env={name} --type=full")
    if record.was_there:
        console.say(f"back to the old:   {back_typed}")
        console.say(f"remove the old:    invoke restore.discard --env={name} --recovery={record.id}")


def as_json(plan: HandOver) -> dict[str, object]:
    """The same for ``--json``."""
    record = plan.record
    return {
        "environment": plan.environment.name,
        "recovery": record.id,
        "state": record.state if plan.begun or record.state != "forward" else "planned",
        "directory": record.data,
        "previous_cluster": record.kept if record.was_there else None,
        "recovered_cluster": record.recovered,
        "system_identifier": record.system_identifier,
        "timeline": record.timeline or None,
        "target": plan.found.goal,
        "missing_wal_bytes": plan.missing,
        "sessions": plan.running.sessions if plan.running else None,
        "warnings": list(plan.warnings),
    }
