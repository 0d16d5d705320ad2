"""The backup tasks where pgBackRest takes the backups: the same words and JSON, over its own commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

from pgops.terminal.messages import physical as words

if TYPE_CHECKING:
    from pgops.backups.pgbackrest import PhysicalBackup, Stanza
    from pgops.backups.pgbackrest.backup import BackupType, PhysicalProof, StanzaInfo
    from pgops.backups.verify.history import RestoreTime
    from pgops.environments import Environment
    from pgops.terminal.console import Console

_TYPES = ("full", "diff", "incr")


def create(console: Console, environment: Environment, *, kind: str | None, dry_run: bool) -> None:
    """``backup`` of such an environment."""
    from pgops.targets import stanza_for

    stanza = stanza_for(environment)
    console.say(f"{environment.name}: {stanza.url}")
    wanted = _type(kind)
    if dry_run:
        info = stanza.info()
        _same_cluster(environment, info)
        words.planned(console, stanza, info, wanted)
        console.result(
            {
                "dry_run": True,
                "intent": {
                    "engine": "pgbackrest",
                    "stanza": stanza.name,
                    "place": stanza.place,
                    "type": wanted,
                },
            }
        )
        return
    made = take(console, environment, stanza, wanted)
    console.result({"backup": made.as_json(environment.name), "removed": [], "in_use": [], "not_removed": []})


def take(
    console: Console, environment: Environment, stanza: Stanza, kind: BackupType | None
) -> PhysicalBackup:
    """Take one backup and say what was made.

    :raises BlockedError: the stanza is of another cluster than the environment's.
    :raises PgBackRestError: it failed, or holds broken pages.
    """
    from pgops.backups.pgbackrest.backup import COMMIT, DATABASE, ENVIRONMENT, HEADS
    from pgops.migrations.journal.provenance import git_state
    from pgops.targets import target_for
    from pgops.terminal.progress import StepProgress

    heads = _same_cluster(environment, stanza.info())
    commit, _dirty = git_state(environment.project)
    annotations = {
        ENVIRONMENT: environment.name,
        DATABASE: target_for(environment).dbname,
        HEADS: " ".join(heads),
        COMMIT: commit or "",
    }
    with StepProgress(console) as shown:
        shown.step(f"pgbackrest backup of {stanza.name} on {stanza.place}")
        made, warned = stanza.back_up(kind, {key: value for key, value in annotations.items() if value})
    words.made(console, made, warned)
    return made


def _type(given: str | None) -> BackupType | None:
    from pgops.errors import UsageError

    if given is None:
        return None
    for each in _TYPES:
        if given == each:
            return each  # type: ignore[return-value]
    raise UsageError(
        f"--type={given} is no type of backup",
        untouched="nothing was touched",
        hint="--type=full, diff or incr",
    )


def _same_cluster(environment: Environment, info: StanzaInfo) -> tuple[str, ...]:
    """That the environment's server is the one that the stanza is of.

    :returns: the revisions that its database is at.
    :raises BlockedError: it is another one.
    """
    from pgops.backups.database import inventory
    from pgops.errors import BlockedError
    from pgops.postgres import connected, identity, set_read_only
    from pgops.targets import target_for

    target = target_for(environment)
    with connected(target, application_name="pgops look") as connection:
        here = identity(connection).system_identifier
        if None not in (here, info.system_identifier) and here != info.system_identifier:
            raise BlockedError(
                f"stanza {info.stanza} is of cluster {info.system_identifier}, and {environment.name} "
                f"({target.place}) is cluster {here}",
                untouched="nothing was touched",
                hint="backups.stanza and backups.reach in environments.yaml; pgbackrest stanza-upgrade, if it was made anew",
            )
        set_read_only(connection)
        tables = [each for each in inventory.relations(connection) if each.kind != "S"]
        return inventory.alembic_heads(connection, tables)


def list_(console: Console, environment: Environment) -> None:
    """``backup.list`` of such an environment."""
    from pgops.completion.remembered import BACKUPS, remember
    from pgops.targets import stanza_for

    stanza = stanza_for(environment)
    info = stanza.info()
    remember(environment, BACKUPS, [each.id for each in reversed(info.backups)], os.environ)
    words.listed(console, environment, stanza, info)
    console.result(
        {
            "backups": [each.as_json(environment.name) for each in info.backups],
            "damaged": [],
            "leftovers": [],
            "archives": [
                {"id": each.id, "repository": each.repository, "min": each.min, "max": each.max}
                for each in info.archives
            ],
        }
    )


def show(console: Console, environment: Environment, name: str) -> None:
    """``backup.show`` of such an environment."""
    from pgops.targets import stanza_for

    stanza = stanza_for(environment)
    found = stanza.find(name, stanza.info().backups)
    words.show(console, environment, found)
    console.result({"backup": found.as_json(environment.name), "manifest": None})


def verify(console: Console, environment: Environment, name: str, *, restore: bool, on: str | None) -> None:
    """``backup.verify`` of such an environment.

    :raises ProblemsError: something is not as it should be.
    """
    from pgops.backups.verify.reading import ProblemsError
    from pgops.errors import UsageError
    from pgops.terminal.progress import StepProgress
    from pgops.units import human_seconds

    if on is not None:
        raise UsageError(
            f"--on={on}: a physical backup is recovered as a cluster of its own, on no server that runs",
            untouched="nothing was touched",
            hint="leave --on out",
        )
    from pgops.targets import stanza_for

    stanza = stanza_for(environment)
    found = stanza.find(name, stanza.info().backups)
    console.say(f"{environment.name}: {found.id}, {found.path}")
    if restore:
        proof, _known = recovered_proof(console, environment, stanza, found)
        console.result(
            {
                "backup": found.id,
                "method": proof.method,
                "problems": [],
                "seconds": proof.seconds,
                "details": proof.details,
            }
        )
        return
    with StepProgress(console) as shown:
        shown.step(f"pgbackrest verify of {found.id}, what it rests on, and its WAL")
        proof = stanza.verify(found)
    if not proof.ok:
        raise ProblemsError(found.id, words.as_proof(proof, found.id))
    console.say(
        f"{found.id} is sound: every file and its WAL match their checksums ({human_seconds(proof.seconds)})"
    )
    console.result({"backup": found.id, "method": proof.method, "problems": []})


def recovered_proof(
    console: Console, environment: Environment, stanza: Stanza, found: PhysicalBackup
) -> tuple[PhysicalProof, list[RestoreTime]]:
    """Prove a backup by recovering it into a scratch place, and say what was found.

    :returns: the proof, which is good; and all restores of the stanza that are known of, oldest first.
    :raises ProblemsError: something is not as it should be.
    """
    from pgops.backups.verify.reading import ProblemsError
    from pgops.recoveries.proof import prove_by_recovery
    from pgops.tasks.restore.recovery import warn_of_unfinished
    from pgops.terminal.progress import StepProgress
    from pgops.units import human_seconds

    warn_of_unfinished(console, environment)
    with StepProgress(console) as shown:
        proof, known = prove_by_recovery(stanza, environment, found, shown)
    if not proof.ok:
        raise ProblemsError(found.id, words.as_proof(proof, found.id))
    console.say(
        f"{found.id} was recovered in {human_seconds(proof.seconds)} and is sound: {proof.details}; pg_amcheck, every "
        "row counted, page checksums where the cluster has them"
    )
    return proof, known


def refuse_retention(environment: Environment, task: str) -> NoReturn:
    """What decides about pgBackRest's backups is pgBackRest.

    :raises RefusedError: always.
    """
    from pgops.errors import RefusedError

    settings = environment.backups.pgbackrest
    assert settings is not None
    raise RefusedError(
        f"{task}: pgBackRest keeps and removes the backups of {environment.name} by its own retention",
        untouched="nothing was touched",
        hint=f"repo-retention-full in its configuration; pgbackrest --stanza={settings.stanza} expire --dry-run, there",
    )
