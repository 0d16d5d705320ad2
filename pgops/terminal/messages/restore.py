"""What the restore tasks say: before they ask, and when they are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.terminal.commands import as_typed

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from pgops.backups.restore.plan import RestorePlan
    from pgops.backups.restore.restore import Restored
    from pgops.backups.restore.undo import State
    from pgops.backups.restore.written import Written
    from pgops.environments import Environment
    from pgops.postgres import Target
    from pgops.terminal.console import Console


def size_of(size: int | None) -> str:
    """``, 1.2 GB`` to follow a name; nothing where the size is unknown."""
    from pgops.units import human_bytes

    return "" if size is None else f", {human_bytes(size)}"


def show(
    console: Console,
    plan: RestorePlan,
    source: Environment,
    now: dt.datetime,
    *,
    safety: bool,
    in_place: bool,
) -> None:
    """From what, into what, and what happens to what is there."""
    from pgops.terminal.messages.backup import holdings
    from pgops.units import counted, human_age, human_bytes, human_time

    backup, manifest, around = plan.backup, plan.backup.manifest, plan.around
    age = (now - manifest.started_at).total_seconds()
    console.say(f"restore {plan.target.environment}")
    console.say(
        f"  backup     {backup.id} of {source.name}, taken {human_time(manifest.started_at)} ({human_age(age)}), "
        f"{human_bytes(manifest.bytes)}, {backup.verification}"
    )
    console.say(f"  holds      {holdings(manifest)}; revision {', '.join(manifest.heads) or 'none'}")
    console.say(f"  into       {plan.target.place} as {plan.target.user}, PostgreSQL {around.facts.version}")
    if around.oid is None:
        console.say("  there now  no such database; it is made")
    else:
        fate = "it is overwritten" if in_place else "it is kept beside the new one for restore.undo"
        console.say(
            f"  there now  {counted(plan.own_tables or 0, 'table')}, about {counted(plan.rows or 0, 'row')}{size_of(around.size)}; {fate}"
        )
    if not plan.empty:
        console.say(
            f"  first      {'a backup of what is there now' if safety else 'no backup of what is there now'}"
        )
    toolset = plan.tools.toolset
    console.say(f"  with       pg_restore {toolset.version} ({toolset.origin}): {plan.tools.reason}")
    if plan.compression is not None:
        console.say(
            f"  stores     large values with {plan.compression}: faster, and nobody has chosen another compression here"
        )
    for each in around.side_databases:
        what = "kept from an earlier restore" if each.marker.kind == "previous" else "left of a dead restore"
        if not each.trusted:
            what = f"named and marked like {what}, but it belongs to {each.owner}: it counts for nothing"
        console.say(f"  beside     {each.name}, {what}{size_of(each.size)}")
    for warning in plan.warnings:
        console.warn(warning)


def show_state(console: Console, state: State) -> None:
    """Wholly old or wholly restored, and what stands beside it."""
    for sentence in state.sentences():
        console.say(sentence)
    for each in state.kept:
        if each != state.before:
            console.say(f"also kept: {each.name}, set aside at {each.marker.time}{size_of(each.size)}")


_TABLES_NAMED = 5


def show_written(console: Console, written: Sequence[Written] | None) -> None:
    """What was written since the restore, and is set aside with the database: kept, and out of sight."""
    from pgops.units import counted

    if written is None:
        console.say("what was written since can't be told: the backup that it was made from is not here")
        return
    if not written:
        console.say("nothing was written since, as far as the server can tell")
        return
    console.warn(
        "written since, as far as the server can tell; it is set aside with the database that is there now"
    )
    for each in written[:_TABLES_NAMED]:
        console.warn(f"  {each}")
    if len(written) > _TABLES_NAMED:
        console.warn(f"  and {counted(len(written) - _TABLES_NAMED, 'more table')}")


def written_json(written: Sequence[Written] | None) -> list[dict[str, object]] | None:
    """``written_since`` of ``restore.undo --json``; ``null`` where it can't be told."""
    import dataclasses

    return None if written is None else [dataclasses.asdict(each) for each in written]


def planned_json(plan: RestorePlan, environment: Environment) -> dict[str, object]:
    """The ``restore`` object of a dry run."""
    return {
        "environment": environment.name,
        "backup": plan.backup.id,
        "database": plan.target.dbname,
        "previous_database": None,
        "seconds": 0.0,
        "toast_compression": plan.compression,
    }


def done_json(done: Restored, environment: Environment) -> dict[str, object]:
    """The ``restore`` object of ``--json``."""
    return {
        "environment": environment.name,
        "backup": done.backup.id,
        "database": done.database,
        "previous_database": done.previous_database,
        "seconds": round(done.seconds, 3),
        "safety_backup": done.safety_backup,
        "heads": list(done.comparison.heads),
        "tables": done.comparison.tables,
        "rows": done.comparison.rows,
        "notes": list(done.comparison.notes),
        "ended_sessions": done.ended_sessions,
        "removed_leftovers": list(done.removed_leftovers),
    }


def report(console: Console, done: Restored, environment: Environment, target: Target) -> None:
    """What was proven, and the way back."""
    import shlex

    from pgops.terminal.messages.backup import holdings
    from pgops.units import human_seconds

    found = done.comparison
    for name in done.removed_leftovers:
        console.say(f"removed {name}, left of an earlier restore that did not end")
    console.say(
        f"restored {target.place} from {done.backup.id} in {human_seconds(done.seconds)}; compared with its manifest: "
        f"{holdings(done.backup.manifest)}, sequences, extensions, indexes; revision "
        f"{', '.join(found.heads) or 'none'}"
    )
    for note in found.notes:
        console.warn(note)
    if done.safety_backup is not None:
        console.say(f"what was there before is in backup {done.safety_backup}")
    if done.previous_database is not None:
        console.say(
            as_typed(
                f"and kept as {done.previous_database}: invoke restore.undo --env={environment.name} swaps it back,"
            )
        )
        console.say(
            as_typed(f"invoke restore.discard --env={environment.name} ")
            + f"--database={shlex.quote(done.previous_database)} frees its disk"
        )
