"""What the tasks say of pgBackRest's backups: what would be done, what was made, what is there."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgops.backups.manifest.proof import Proof
    from pgops.backups.pgbackrest import PhysicalBackup, Stanza
    from pgops.backups.pgbackrest.backup import PhysicalProof, StanzaInfo
    from pgops.backups.pgbackrest.cluster import Replay
    from pgops.backups.pgbackrest.goal import Route
    from pgops.backups.pgbackrest.recovery import Recovered
    from pgops.backups.repository import Backup
    from pgops.environments import Environment
    from pgops.terminal.console import Console

TYPES = {"full": "full", "diff": "differential", "incr": "incremental"}


def planned(console: Console, stanza: Stanza, info: StanzaInfo, kind: str | None) -> None:
    """What a dry run would have done."""
    wanted = TYPES[kind] if kind else ("incremental" if info.backups else "full")
    after = f", after {info.backups[-1].id}" if info.backups else ""
    console.say(f"would take {'an' if wanted == 'incremental' else 'a'} {wanted} backup{after}")
    console.say(
        f"on {stanza.place}: {' '.join(stanza.command('backup', *([f'--type={kind}'] if kind else [])))}"
    )
    if info.backup_running:
        console.warn("a backup of this stanza is running now")


def made(console: Console, backup: PhysicalBackup, warnings: Sequence[str]) -> None:
    """What was made, and where it is."""
    from pgops.units import human_bytes, human_seconds

    for warning in warnings:
        console.warn(warning)
    took = (backup.finished_at - backup.started_at).total_seconds()
    console.say(
        f"backup {backup.id}: {TYPES[backup.type]}, cluster of {human_bytes(backup.bytes)}, "
        f"{human_bytes(backup.added_bytes)} added in {human_seconds(took)}; its WAL is in the archive, "
        "it was not read back (backup.verify)"
    )
    console.say(backup.path)


def listed(console: Console, environment: Environment, stanza: Stanza, info: StanzaInfo) -> None:
    """Backups, oldest first, and what WAL there is."""
    from pgops.backups.pgbackrest.backup import flaws
    from pgops.terminal.layout import Shortened
    from pgops.terminal.messages.cells import without_day
    from pgops.units import human_bytes, human_seconds

    now = dt.datetime.now(dt.UTC)
    flawed = flaws(info.backups)
    if not info.backups:
        console.say(f"{environment.name} has no backup in {stanza.url}")
    else:
        console.table(
            ["backup", "age", "size", "added", "revision", "proof", "repo"],
            [
                [
                    each.id,
                    human_seconds((now - each.started_at).total_seconds()),
                    human_bytes(each.bytes),
                    human_bytes(each.added_bytes),
                    list(each.heads),
                    Shortened(verification, without_day(verification)),
                    str(each.repository),
                ]
                for each in info.backups
                for verification in (flawed.get((each.repository, each.id), each.verification),)
            ],
        )
    for archive in info.archives:
        console.say(
            f"WAL in repo{archive.repository}, {archive.id}: "
            + (f"{archive.min} to {archive.max}" if archive.max else "none")
        )
    if info.backup_running:
        console.say("a backup is running now")


def show(console: Console, environment: Environment, found: PhysicalBackup) -> None:
    """Everything about one backup."""
    from pgops.backups.pgbackrest.backup import COMMIT
    from pgops.units import human_bytes, human_seconds, human_time

    proof = found.proof
    facts: list[tuple[str, object]] = [
        ("backup", found.id),
        ("type", TYPES[found.type] + (f", rests on {found.prior}" if found.prior else "")),
        ("path", found.path),
        ("environment", environment.name),
        ("server", f"PostgreSQL {found.server_version}, cluster {found.system_identifier}"),
        ("started", human_time(found.started_at)),
        ("took", human_seconds((found.finished_at - found.started_at).total_seconds())),
        ("revision", list(found.heads)),
        ("commit", found.annotations.get(COMMIT)),
        (
            "size",
            f"cluster {human_bytes(found.bytes)}; in the repository {human_bytes(found.repository_bytes)}, "
            f"{human_bytes(found.added_bytes)} of it added",
        ),
        ("WAL", f"{found.wal_start} to {found.wal_stop} ({found.lsn_start} to {found.lsn_stop})"),
        (
            "proof",
            found.verification
            + (f" in {human_seconds(proof.seconds)}: {proof.details}" if proof and proof.details else ""),
        ),
    ]
    console.table(["", ""], facts)
    for problem in proof.problems if proof else ():
        console.warn(problem)


def as_proof(proof: PhysicalProof, backup: str) -> Proof:
    """The same in the words of a dump's verification."""
    from pgops.backups.manifest.proof import Proof

    return Proof(proof.method, proof.at, proof.seconds, proof.problems, backup=backup)


def show_route(console: Console, environment: Environment, route: Route) -> None:
    """What a recovery would do."""
    from pgops.units import human_bytes, human_time

    backup = route.backup
    console.say(
        f"{environment.name}: recover to {route.goal.words}, from backup {backup.id} "
        f"(ended {human_time(backup.finished_at)}, cluster of {human_bytes(backup.bytes)})"
    )
    if route.until is not None:
        console.say(
            f"the WAL is in the archive without a gap; its last segment on the way is of {human_time(route.until)}"
        )
    for note in route.notes:
        console.warn(note)
    console.say(
        "it becomes a cluster of its own beside the running one, which is not touched and not stopped"
    )


def route_json(environment: Environment, route: Route) -> dict[str, object]:
    """The same for ``--json``."""
    return {
        "environment": environment.name,
        "backup": route.backup.id,
        "target": route.goal.words,
        "target_kind": route.goal.kind,
        "timeline": route.timeline,
    }


def recovered(
    console: Console,
    environment: Environment,
    route: Route,
    done: Recovered,
    replay: Replay,
) -> None:
    """Where the recovered cluster stands, and what to type next."""
    from pgops.units import human_seconds

    last = f", last transaction {replay.at}" if replay.at else ""
    state = (
        "read-only, paused"
        if replay.in_recovery
        else f"promoted, on timeline {replay.timeline}, archiving off"
    )
    console.say(
        f"{environment.name} stands at {route.goal.words} in {done.cluster.place.name} after "
        f"{human_seconds(done.seconds)}: LSN {replay.lsn}{last}; {state}"
    )
    console.say(f"look at it:  {done.cluster.psql_typed}")
    if replay.in_recovery:
        console.say(f"promote it:  {done.cluster.promote_typed}")
    if done.cluster.place.container is None:
        console.say(f"let it take the place of the running one:  {_typed('hand-over', environment, done)}")
    console.say(f"remove it:   {_typed('discard', environment, done)}")


def _typed(task: str, environment: Environment, done: Recovered) -> str:
    return f"invoke restore.{task} --env={environment.name} --recovery={done.id}"


def dumped(console: Console, environment: Environment, route: Route, backup: Backup) -> None:
    """The dump that came out of a recovery, and what it is for."""
    console.say(
        f"backup {backup.id}: {backup.manifest.database} as it was at {route.goal.words}, {backup.verification}; the recovered "
        "cluster is gone again"
    )
    console.say(f"bring it back:  invoke restore --env={environment.name} --backup={backup.id} [--table=…]")


def recovered_json(
    environment: Environment, route: Route, done: Recovered, replay: Replay
) -> dict[str, object]:
    """The same for ``--json``."""
    return {
        **route_json(environment, route),
        "database": None,
        "previous_database": None,
        "seconds": round(done.seconds, 3),
        "recovery": {
            "id": done.id,
            "place": done.cluster.place.name,
            "directory": done.cluster.data,
            "state": "paused" if replay.in_recovery else "promoted",
            "lsn": replay.lsn,
            "last_transaction": replay.at,
            "timeline": replay.timeline,
            "restore_seconds": round(done.restore_seconds, 3),
            "psql": done.cluster.psql_typed,
        },
    }
