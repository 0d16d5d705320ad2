"""What the backup tasks say of backups: what is meant to be done, what was made, what is there and why it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from pgops.backups.dump.create import BackupPlan
    from pgops.backups.manifest.manifest import Manifest
    from pgops.backups.repository import Backup
    from pgops.backups.retention.policy import Decision
    from pgops.errors import LockedError, PgopsError
    from pgops.terminal.console import Console


def planned(console: Console, intent: BackupPlan) -> None:
    """What a dry run would have done."""
    from pgops.units import human_bytes

    console.say(
        f"would dump {human_bytes(intent.database_bytes)} of PostgreSQL {intent.server_version} with "
        f"{intent.tools}, {intent.jobs} jobs, {intent.compression}: {intent.reason}"
    )
    for warning in intent.warnings:
        console.warn(warning)


def planned_json(intent: BackupPlan) -> dict[str, object]:
    """The same for ``--json``."""
    import dataclasses

    return dataclasses.asdict(intent)


def made(console: Console, backup: Backup) -> None:
    """What was made, and where it is."""
    from pgops.units import human_bytes, human_seconds

    manifest = backup.manifest
    for warning in manifest.warnings:
        console.warn(warning)
    took = (manifest.finished_at - manifest.started_at).total_seconds()
    console.say(
        f"backup {backup.id}: {holdings(manifest)}, {human_bytes(manifest.bytes)} "
        f"in {human_seconds(took)}, {'read back' if backup.proof else 'NOT VERIFIED'}"
    )
    console.say(backup.path)


def holdings(manifest: Manifest) -> str:
    """``3 tables, 1,200 rows``: the project's own, without Alembic's version table and pgops' journal."""
    from pgops.units import counted

    own = [each for each in manifest.tables if each.schema != "pgops" and each.name != "alembic_version"]
    return f"{counted(len(own), 'table')}, {counted(sum(each.rows or 0 for each in own), 'row')}"


def line(backup: Backup, now: dt.datetime) -> list[object]:
    """One backup's row of the list."""
    from pgops.terminal.layout import Shortened
    from pgops.terminal.messages.cells import without_day
    from pgops.units import human_bytes, human_seconds

    manifest = backup.manifest
    proof = _proof(backup)
    age = (now - manifest.started_at).total_seconds()
    return [
        backup.id,
        human_seconds(age) if age >= 0 else "in the future",
        human_bytes(manifest.bytes),
        manifest.heads,
        Shortened(proof, without_day(proof)),
        "pin" if backup.pinned else "",
    ]


def _proof(backup: Backup) -> str:
    from pgops.units import human_seconds

    proof = backup.proof
    if backup.damaged and proof is not None:
        return f"{backup.verification}, {len(proof.problems)} problems"
    restored = [each for each in backup.proofs if each.ok and each.method == "restore"]
    if backup.verified and restored:
        return f"{backup.verification} in {human_seconds(restored[-1].seconds)}"
    return backup.verification


def show(console: Console, found: Backup) -> None:
    """Everything about one backup."""
    from pgops.units import human_bytes, human_seconds, human_time

    manifest = found.manifest
    facts: list[tuple[str, object]] = [
        ("backup", manifest.id),
        ("path", found.path),
        ("environment", manifest.environment),
        ("database", f"{manifest.database}, owner {manifest.owner}"),
        (
            "server",
            f"PostgreSQL {manifest.server_version}, cluster {manifest.system_identifier or 'unknown'}",
        ),
        ("started", human_time(manifest.started_at)),
        ("took", human_seconds((manifest.finished_at - manifest.started_at).total_seconds())),
        ("revision", manifest.heads),
        ("commit", manifest.git_commit),
        ("size", f"{human_bytes(manifest.bytes)} in {len(manifest.files)} files, {manifest.compression}"),
        ("tools", f"{manifest.tools.version} ({manifest.tools.origin}): {manifest.tools.reason}"),
        ("locale", f"{manifest.encoding}, {manifest.locale.provider}, {manifest.locale.collate}"),
        ("extensions", [f"{each.name} {each.version}" for each in manifest.extensions]),
        ("roles", manifest.roles),
        ("proof", _proof(found)),
        ("manifest", _manifest(found)),
        ("pinned", "yes" if found.pinned else "no"),
    ]
    console.table(["", ""], facts)
    console.say()
    console.table(
        ["table", "rows", "size"],
        [
            [
                f"{each.schema}.{each.name}",
                "-" if each.rows is None else f"{each.rows:,}",
                human_bytes(each.bytes),
            ]
            for each in manifest.tables
        ],
    )
    for warning in manifest.warnings:
        console.warn(warning)


def _manifest(found: Backup) -> str:
    from pgops.backups.repository.backup import UNTRUSTED

    signed = {"ours": "signed by us", "unchecked": "no key here to check a signature"}
    covered = "its hash fits" if found.covered else "of before manifests had a hash: nothing covers it"
    return f"{covered}; {signed.get(found.origin) or UNTRUSTED[found.origin]}"


def show_decision(console: Console, decision: Decision) -> None:
    """What stays, what goes, and why; the newest first."""
    rows = [("keep", each) for each in decision.kept] + [("remove", each) for each in decision.removed]
    rows.sort(key=lambda each: each[1].candidate.time, reverse=True)
    if rows:
        console.table(["", "backup", "why"], [[word, each.candidate.id, each.reasons] for word, each in rows])
    else:
        console.say("there is no backup")


def stays(console: Console, error: LockedError) -> None:
    """A backup that is in use, and was to be removed."""
    console.warn(f"{error.message}: it stays until the next backup or backup.prune")


def not_removed(console: Console, error: PgopsError) -> None:
    """Something that was to be removed, and can't be."""
    console.warn(f"{error.message}; {error.hint}" if error.hint else error.message)
