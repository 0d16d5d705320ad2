"""Take backups, look at them, prove them, keep the right ones."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, task

if TYPE_CHECKING:
    from types import TracebackType

    from pgops.backups import Backup, Repository
    from pgops.backups.retention import Decision
    from pgops.console import Console, Ticker
    from pgops.environments import Environment

_WHICH = "id of the backup, its beginning or end, or `latest`"


@task(
    default=True, help={"dry_run": "say what would be dumped, with which tools and where to; write nothing"}
)
def create(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    dry_run: bool = False,
    lock_wait: float = 30.0,
    json: bool = False,
) -> None:
    """Dump a database, prove the backup by reading it back, publish it; then apply retention."""
    from pgops.backups import create as making
    from pgops.backups import open_repository
    from pgops.console import human_bytes, human_seconds
    from pgops.local.tools import tool_sources
    from pgops.targets import target_for

    environment = load_environment(context, env)
    target = target_for(environment)
    repository = open_repository(environment)
    sources = tool_sources()
    console.say(f"{environment.name}: {target} -> {repository.url}")
    if dry_run:
        intent = making.intent(environment, target, repository=repository, sources=sources)
        console.say(
            f"would dump {human_bytes(intent.database_bytes)} of PostgreSQL {intent.server_version} with "
            f"{intent.tools}, {intent.jobs} jobs, {intent.compression}: {intent.reason}"
        )
        for warning in intent.warnings:
            console.warn(warning)
        console.result({"dry_run": True, "intent": intent_json(intent)})
        return
    with Shown(console) as shown:
        backup = making.create(
            environment,
            target,
            repository=repository,
            sources=sources,
            lock_wait=lock_wait,
            observer=shown,
        )
    manifest = backup.manifest
    for warning in manifest.warnings:
        console.warn(warning)
    rows = sum(each.rows or 0 for each in manifest.tables)
    took = (manifest.finished_at - manifest.started_at).total_seconds()
    console.say(
        f"backup {backup.id}: {len(manifest.tables)} tables, {rows:,} rows, {human_bytes(manifest.bytes)} "
        f"in {human_seconds(took)}, read back and verified"
    )
    console.say(backup.path)
    removed = _retain(console, environment, repository)
    console.result({"backup": backup.as_json(), "removed": removed})


def intent_json(intent: object) -> dict[str, object]:
    """A dataclass as ``--json`` shows it."""
    import dataclasses

    return dataclasses.asdict(intent)  # type: ignore[call-overload,no-any-return]


def _retain(console: Console, environment: Environment, repository: Repository) -> list[str]:
    """Apply the environment's own policy; a policy that can't be applied does not spoil the backup just made."""
    from pgops.backups import listing
    from pgops.backups.prune import candidates, prune
    from pgops.backups.retention import decide, is_empty
    from pgops.errors import PgopsError

    keep = environment.backups.keep
    if is_empty(keep):
        return []
    now = dt.datetime.now(dt.UTC)
    try:
        return prune(
            repository,
            decide(candidates(listing(repository)), keep, now),
            on_removed=lambda verdict: console.say(
                f"retention removed {verdict.candidate.id}: {'; '.join(verdict.reasons)}"
            ),
        )
    except PgopsError as error:
        console.warn(f"retention: {error.message}; {error.hint}")
        return []


@task(name="list")
def list_(context: Context, console: Console, *, env: str | None = None, json: bool = False) -> None:
    """List backups, oldest first: age, size, revision, proof."""
    from pgops.backups import listing, open_repository

    environment = load_environment(context, env)
    repository = open_repository(environment)
    found = listing(repository)
    now = dt.datetime.now(dt.UTC)
    if found.backups:
        console.table(
            ["backup", "age", "size", "revision", "proof", "kept by"],
            [_line(each, now) for each in found.backups],
        )
    else:
        console.say(f"{environment.name} has no backup in {repository.url}")
    for backup_id, problem in found.damaged:
        console.warn(f"{backup_id}: {problem}")
    leftovers = repository.leftovers()
    if leftovers:
        console.warn(
            f"half-made and abandoned, removed by the next backup: {', '.join(leftovers)}",
        )
    console.result(
        {
            "backups": [each.as_json() for each in found.backups],
            "damaged": [{"id": backup_id, "problem": problem} for backup_id, problem in found.damaged],
            "leftovers": leftovers,
        }
    )


def _line(backup: Backup, now: dt.datetime) -> list[object]:
    from pgops.console import human_bytes, human_seconds

    manifest = backup.manifest
    age = (now - manifest.started_at).total_seconds()
    return [
        backup.id,
        human_seconds(age) if age >= 0 else "in the future",
        human_bytes(manifest.bytes),
        manifest.heads,
        _proof(backup),
        "pin" if backup.pinned else "",
    ]


def _proof(backup: Backup) -> str:
    from pgops.console import human_seconds

    proof = backup.proof
    if proof is None:
        return "none"
    if not proof.ok:
        return f"FAILED ({len(proof.problems)} problems, {proof.at:%Y-%m-%d})"
    restored = [each for each in backup.proofs if each.ok and each.method == "restore"]
    if restored:
        return f"restored in {human_seconds(restored[-1].seconds)} ({restored[-1].at:%Y-%m-%d})"
    return f"read ({proof.at:%Y-%m-%d})"


@task(help={"backup": _WHICH})
def show(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    backup: str = "latest",
    json: bool = False,
) -> None:
    """Show one backup: server, tools, tables and rows, warnings, proofs."""
    import json as jsonlib

    from pgops.backups import find, open_repository
    from pgops.backups.manifest import timestamp
    from pgops.console import human_bytes, human_seconds

    found = find(open_repository(load_environment(context, env)), backup)
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
        ("started", timestamp(manifest.started_at)),
        ("took", human_seconds((manifest.finished_at - manifest.started_at).total_seconds())),
        ("revision", manifest.heads),
        ("commit", manifest.git_commit),
        ("size", f"{human_bytes(manifest.bytes)} in {len(manifest.files)} files, {manifest.compression}"),
        ("tools", f"{manifest.tools.version} ({manifest.tools.origin}): {manifest.tools.reason}"),
        ("locale", f"{manifest.encoding}, {manifest.locale.provider}, {manifest.locale.collate}"),
        ("extensions", [f"{each.name} {each.version}" for each in manifest.extensions]),
        ("roles", manifest.roles),
        ("proof", _proof(found)),
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
    console.result({"backup": found.as_json(), "manifest": jsonlib.loads(manifest.to_json())})


@task(
    help={
        "backup": _WHICH,
        "restore": "prove it by restoring it into a scratch database and comparing every row",
        "on": "environment on whose server the scratch database is made; the running local one, else one made for it, when not given",
    }
)
def verify(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    backup: str = "latest",
    restore: bool = False,
    on: str | None = None,
    json: bool = False,
) -> None:
    """Prove a backup: hashes and a full read, or (--restore) a real restore, compared."""
    from pgops.backups import find, open_repository
    from pgops.backups.verify import ProblemsError
    from pgops.backups.verify import verify as verify_by_reading
    from pgops.console import human_seconds
    from pgops.local.tools import tool_sources

    repository = open_repository(load_environment(context, env))
    found = find(repository, backup)
    console.say(f"{found.manifest.environment}: {found.path}")
    if restore:
        from pgops.tasks._proof import prove_by_restoring

        prove_by_restoring(context, console, repository, found, on=on)
        return
    with Shown(console) as shown:
        shown.step(f"reading {found.id}")
        proof = verify_by_reading(
            repository,
            found,
            now=dt.datetime.now(dt.UTC),
            sources=tool_sources(),
            progress=lambda done, total: shown.progress(done, total, ""),
        )
    if not proof.ok:
        raise ProblemsError(found.id, proof)
    console.say(
        f"{found.id} is sound: {len(found.manifest.files)} files match, the archive reads to its end "
        f"({human_seconds(proof.seconds)})"
    )
    console.result({"backup": found.id, "method": proof.method, "problems": []})


@task(help={"dry_run": "show what would be removed and why, remove nothing"})
def prune(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
    confirm: str | None = None,
    json: bool = False,
) -> None:
    """Remove backups that the retention policy does not keep; asks first, says why for each."""
    from pgops.backups import listing, open_repository
    from pgops.backups.prune import candidates
    from pgops.backups.prune import prune as remove
    from pgops.backups.retention import decide
    from pgops.confirmation import Effect, required_answer

    environment = load_environment(context, env)
    repository = open_repository(environment)
    found = listing(repository)
    decision = decide(candidates(found), environment.backups.keep, dt.datetime.now(dt.UTC))
    _show_decision(console, decision)
    for backup_id, problem in found.damaged:
        console.warn(f"{backup_id} is left to you: {problem}")
    removed: list[str] = []
    if decision.removed and not dry_run:
        console.ask(
            environment,
            required_answer(environment, Effect.DESTROYS),
            f"Remove {len(decision.removed)} of {len(found.backups)} backups of {environment.name} from "
            f"{repository.url}?",
            yes=yes,
            confirm=confirm,
        )
        repository.clear_leftovers()
        removed = remove(
            repository, decision, on_removed=lambda verdict: console.say(f"removed {verdict.candidate.id}")
        )
    console.result(
        {
            "dry_run": dry_run,
            "kept": [{"id": each.candidate.id, "reasons": list(each.reasons)} for each in decision.kept],
            "removed": [
                {"id": each.candidate.id, "reasons": list(each.reasons)}
                for each in decision.removed
                if dry_run or each.candidate.id in removed
            ],
        }
    )


def _show_decision(console: Console, decision: Decision) -> None:
    rows = [("keep", each) for each in decision.kept] + [("remove", each) for each in decision.removed]
    rows.sort(key=lambda each: each[1].candidate.time, reverse=True)
    if rows:
        console.table(["", "backup", "why"], [[word, each.candidate.id, each.reasons] for word, each in rows])
    else:
        console.say("there is no backup")


@task(help={"backup": _WHICH, "reason": "why it must stay", "remove": "take the pin away instead"})
def pin(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    backup: str = "latest",
    reason: str = "",
    remove: bool = False,
    json: bool = False,
) -> None:
    """Keep a backup from retention for good (--remove takes the pin away)."""
    import json as jsonlib

    from pgops.backups import find, load, open_repository
    from pgops.backups.manifest import timestamp
    from pgops.backups.repository import PIN_NAME

    repository = open_repository(load_environment(context, env))
    found = find(repository, backup)
    if remove:
        repository.remove_note(found.id, PIN_NAME)
        console.say(f"{found.id} is not pinned any more: retention decides about it again")
    else:
        note = {"at": timestamp(dt.datetime.now(dt.UTC)), "reason": reason}
        repository.write_note(found.id, PIN_NAME, jsonlib.dumps(note, ensure_ascii=False) + "\n")
        console.say(f"{found.id} is pinned: retention never removes it")
    console.result({"backup": load(repository, found.id).as_json()})


class Shown:
    """An observer whose steps are lines, or bars on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stack = contextlib.ExitStack()
        self._ticker: Ticker | None = None

    def __enter__(self) -> Shown:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def step(self, text: str) -> None:
        """Close the bar of the step before, begin one for this."""
        self._stack.close()
        self._ticker = self._stack.enter_context(self._console.progress(text, total=1.0))

    def progress(self, done: float, total: float, text: str) -> None:
        """Move the bar."""
        from pgops.console import human_bytes

        if self._ticker is not None:
            share = min(1.0, done / total) if total else 1.0
            self._ticker.update(share, f"{human_bytes(done)} of {human_bytes(total)} {text}".strip())
