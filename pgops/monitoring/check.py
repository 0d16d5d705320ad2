"""Reading an environment's backups and judging them: what ``backup.check`` and ``status`` ask."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from pgops.backups.pgbackrest import PhysicalBackup
from pgops.backups.pgbackrest.backup import flaws
from pgops.backups.repository import Repository, load, newest_first, open_repository
from pgops.backups.repository.origin import Origin, origin_at, origin_of
from pgops.environments import Environment
from pgops.errors import ExitCode, PgopsError, UsageError, VerificationError
from pgops.monitoring.freshness import Freshness, Limits, Restore, Taken, freshness
from pgops.postgres import DatabaseError, redact
from pgops.runtime.threads import TooLateError, each_within
from pgops.targets import stanza_for, target_for
from pgops.units import one_line

TIMEOUT = 90.0
"""Seconds for all environments together; a bucket that does not answer is given up after a minute."""


def limits_of(environment: Environment) -> Limits:
    """What the environment's file says."""
    return Limits(environment.backups.max_age, environment.backups.prove_every)


def check(
    environments: Sequence[Environment], *, now: dt.datetime, timeout: float = TIMEOUT
) -> list[Freshness]:
    """Judge each environment's backups, all at the same time; in their order.

    A database that does not answer does not keep its backups from being judged: then all that lie under the
    environment's name count, and a note says so. A repository that can't be read is ``unknown``.

    :param timeout: seconds for all of them together.
    """
    found = each_within(timeout, environments, lambda environment: _checked(environment, now))
    return [
        each if isinstance(each, Freshness) else _too_late(environment, each, now, timeout)
        for environment, each in zip(environments, found, strict=True)
    ]


def _too_late(environment: Environment, error: Exception, now: dt.datetime, timeout: float) -> Freshness:
    if not isinstance(error, TooLateError):
        raise error
    said = f"its backups in {environment.backups.store.url} were not read within {timeout:g} s"
    return unknown(environment, now, said)


def refuse_without_limits(environments: Sequence[Environment], file: str) -> None:
    """Refuse an exit code where no environment has limits: it would say for ever that all is well.

    :param file: the name of environments.yaml.
    :raises UsageError: none of the environments has limits.
    """
    if any(limits_of(each) for each in environments):
        return
    named = ", ".join(each.name for each in environments)
    raise UsageError(
        f"{named} {'has' if len(environments) == 1 else 'have'} neither backups.max_age nor backups.prove_every, "
        "so nobody can say whether a backup is too old",
        untouched="nothing was touched",
        hint=f"set them in {file}, e.g. backups: {{max_age: 26h, prove_every: 7d}}",
    )


def _checked(environment: Environment, now: dt.datetime) -> Freshness:
    if not limits_of(environment):
        return Freshness(environment.name, Limits(None, None), now)
    note = ""
    origin = None
    try:
        origin = origin_at(target_for(environment))
    except (PgopsError, DatabaseError) as error:
        said = error.message if isinstance(error, PgopsError) else one_line(str(error))
        note = (
            f"its database could not be asked which backups are its own, so all of them count: {redact(said)}"
        )
    return judged(environment, origin, now=now, note=note)


def judged(environment: Environment, origin: Origin | None, *, now: dt.datetime, note: str = "") -> Freshness:
    """Judge the backups of one environment.

    :param origin: its database: backups of another one are none of its own. ``None``: nobody knows.
    :param note: what was said on the way here.
    """
    notes = [note] if note else []
    try:
        found = freshness(
            environment.name,
            limits_of(environment),
            _all(environment, origin, now, notes),
            now,
        )
    except PgopsError as error:
        return unknown(environment, now, redact(error.message), error.exit_code)
    except OSError as error:
        said = f"backups in {environment.backups.store.url} cannot be read: {error.strerror}"
        return unknown(environment, now, said)
    return dataclasses.replace(found, notes=(*notes, *found.notes))


def last_success(environment: Environment, origin: Origin | None, *, now: dt.datetime) -> Freshness:
    """The newest good backup and the newest proof by restoring, whatever the limits.

    :raises PgopsError: the repository can't be read.
    """
    # Limits that nothing can meet, so that every backup is looked at.
    return freshness(environment.name, Limits(0.0, 0.0), _all(environment, origin, now, []), now)


def _all(
    environment: Environment, origin: Origin | None, now: dt.datetime, notes: list[str]
) -> Iterator[Taken]:
    """Its backups, newest first, whatever takes them."""
    if environment.backups.pgbackrest is not None:
        return _taken_by_pgbackrest(environment, origin, notes)
    return _taken(open_repository(environment), origin, now, notes)


def unknown(
    environment: Environment, now: dt.datetime, said: str, code: int = ExitCode.UNREACHABLE
) -> Freshness:
    """What is said of backups that could not be looked at.

    :param said: why.
    :param code: the exit code of that.
    """
    return Freshness(environment.name, limits_of(environment), now, unknown=said, exit_code=int(code))


def _taken_by_pgbackrest(
    environment: Environment, origin: Origin | None, notes: list[str]
) -> Iterator[Taken]:
    """The stanza's backups, newest first; a proof that found damage or broken pages makes one no success."""
    ours, others = physical_of(stanza_for(environment).info().backups, origin)
    if others:
        notes.append(
            f"{len(others)} of the stanza's backups are of another cluster (the newest: {others[-1].id}) and do not count"
        )
    flawed = flaws(ours)
    for each in reversed(ours):
        yield Taken(
            each.id,
            each.started_at,
            flawed.get((each.repository, each.id), ""),
            tuple(Restore(found.at, found.seconds, found.ok) for found in each.restores),
        )


def physical_of(
    backups: Iterable[PhysicalBackup], origin: Origin | None
) -> tuple[list[PhysicalBackup], list[PhysicalBackup]]:
    """A stanza's backups that are of a database's cluster, and those of others: it was made anew, or the stanza is wrong.

    :param origin: ``None``, or without a system identifier: nobody knows, and all are of it.
    """
    known = origin.system_identifier if origin is not None else None
    ours: list[PhysicalBackup] = []
    others: list[PhysicalBackup] = []
    for each in backups:
        (ours if known in (None, each.system_identifier) else others).append(each)
    return ours, others


def _taken(
    repository: Repository, origin: Origin | None, now: dt.datetime, notes: list[str]
) -> Iterator[Taken]:
    """The backups, newest first; one whose manifest is damaged is there, and no success."""
    ordered, _future = newest_first(repository.ids(), now)
    others = 0
    for backup_id in ordered:
        try:
            found = load(repository, backup_id)
        except VerificationError as error:
            yield Taken(backup_id, _time_of(backup_id), f"its manifest can't be read: {error.message}")
            continue
        except FileNotFoundError:
            continue  # it was removed just now
        if origin is not None and not origin.fits(origin_of(found.manifest)):
            others += 1
            continue
        yield Taken.of(found)
    if others:
        notes.append(f"{others} of its backups are of another database and do not count")


def _time_of(backup_id: str) -> dt.datetime:
    """When a backup was made, by its id alone."""
    return dt.datetime.strptime(backup_id.partition("-")[0], "%Y%m%dT%H%M%S%z")
