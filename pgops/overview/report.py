"""All environments over time, for a page: where each stands, its runs, its backups with their proofs, its gates.

From the journals and the manifests alone. Reads only; what can't be read is part of the answer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pgops.backups.pgbackrest.backup import physical_history
from pgops.backups.repository import Backup, listing, open_repository
from pgops.backups.repository.origin import only_of, origin_here
from pgops.backups.verify.history import RestoreTime, expected, restore_history
from pgops.environments import Environment
from pgops.errors import PgopsError
from pgops.migrations import journal
from pgops.migrations.journal import RunRecord
from pgops.overview.overview import ReadStatus, Row, overview
from pgops.postgres import DatabaseError, connected, fetch_value, identity, redact, set_read_only
from pgops.runtime.threads import TooLateError, each_within
from pgops.targets import stanza_for, target_for
from pgops.units import one_line, timestamp

RUNS = 50
"""How many runs of an environment are told, the newest."""


@dataclass(frozen=True, slots=True)
class EnvironmentReport:
    """One environment. ``size`` is that of its database now, in bytes; ``None`` where it can't be asked.

    ``backups`` are oldest first, those of this very database (``backups_known``: they could be read); ``restores`` are
    how long restores of them took, oldest first; ``runs`` newest first. ``gates`` say what a migration
    there needs, and ``waits`` what of it is missing now, one line each; ``problems`` what could not be read.
    """

    row: Row
    protected: bool
    size: int | None
    runs: tuple[RunRecord, ...]
    backups: tuple[Backup, ...]
    gates: tuple[str, ...]
    problems: tuple[str, ...]
    waits: tuple[str, ...] = ()
    restores: tuple[RestoreTime, ...] = ()
    backups_known: bool = True

    @property
    def name(self) -> str:
        """Its name."""
        return self.row.environment

    def as_dict(self, now: dt.datetime) -> dict[str, object]:
        """The environment in ``report --json``."""
        told = expected(self.restores)
        return {
            **self.row.as_dict(now),
            "protected": self.protected,
            "size": self.size,
            "runs": [each.as_dict() for each in self.runs],
            "backups": [each.as_json() for each in self.backups],
            "restore": told.as_dict() if told else None,
            "restores": [each.as_dict() for each in self.restores],
            "gates": list(self.gates),
            "waits": list(self.waits),
            "problems": [*self.row.problems, *self.problems],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report."""

    at: dt.datetime
    environments: tuple[EnvironmentReport, ...]

    def as_dict(self) -> dict[str, object]:
        """``report`` of ``report --json``."""
        return {
            "at": timestamp(self.at),
            "environments": [each.as_dict(self.at) for each in self.environments],
        }


def report(
    environments: Sequence[Environment], read_status: ReadStatus, *, now: dt.datetime, timeout: float
) -> Report:
    """Ask every environment, all at the same time.

    :param read_status: as for :func:`pgops.overview.overview.overview`.
    :param timeout: seconds for all of them together, twice: first for where they stand, then for the rest.
    """
    rows = overview(environments, read_status, timeout=timeout)
    found = each_within(
        timeout,
        list(zip(environments, rows, strict=True)),
        lambda pair: _environment(*pair),
    )
    told = [
        each if isinstance(each, EnvironmentReport) else _too_late(environment, row, each, timeout)
        for environment, row, each in zip(environments, rows, found, strict=True)
    ]
    by_name = {each.name: each for each in told}
    return Report(
        now,
        tuple(
            replace(each, waits=tuple(_waits(environment, each, by_name)))
            for environment, each in zip(environments, told, strict=True)
        ),
    )


def _waits(
    environment: Environment, found: EnvironmentReport, by_name: Mapping[str, EnvironmentReport]
) -> Iterator[str]:
    """What the gates of an environment wait for now, as far as the runs that are told show it."""
    status = found.row.status
    pending = list(status.pending) if status is not None and status.reachable else []
    before = by_name.get(environment.promoted_from or "")
    if not pending or before is None:
        return
    if before.row.server is None:
        yield f"{before.name} could not be asked about {', '.join(pending)}"
        return
    succeeded = {
        revision.revision
        for run in before.runs
        if run.action == "upgrade"
        for revision in run.revisions
        if revision.outcome == journal.SUCCEEDED
    }
    if missing := [each for each in pending if each not in succeeded]:
        yield f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} to succeed in {before.name} first"


def _too_late(environment: Environment, row: Row, error: Exception, timeout: float) -> EnvironmentReport:
    if not isinstance(error, TooLateError):
        raise error
    late = f"its journal and backups were not read within {timeout:g} s"
    return EnvironmentReport(
        row, environment.protected, None, (), (), _gates(environment), (late,), backups_known=False
    )


def _environment(environment: Environment, row: Row) -> EnvironmentReport:
    problems: list[str] = []
    size: int | None = None
    runs: list[RunRecord] = []
    origin = None
    if row.server is not None:
        try:
            with connected(target_for(environment), application_name="pgops report") as connection:
                set_read_only(connection)
                origin = origin_here(identity(connection))
                size = int(
                    fetch_value(
                        connection, "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"
                    )
                )
                runs = journal.runs(connection, limit=RUNS, trusted=environment.trusted_owners)
        except PgopsError as error:
            problems.append(redact(error.message))
        except DatabaseError as error:
            problems.append(redact(one_line(str(error))))
    backups: tuple[Backup, ...] = ()
    restores: list[RestoreTime] = []
    known = False
    if environment.backups.pgbackrest is not None:
        # Its backups lie in no repository of ours; what stands in one is of before.
        return EnvironmentReport(
            row,
            environment.protected,
            size,
            tuple(runs),
            (),
            _gates(environment),
            tuple(problems),
            restores=tuple(_physical_restores(environment, problems)),
            backups_known=False,
        )
    try:
        repository = open_repository(environment)
        found = listing(repository)
        problems += [f"backup {backup}: {problem}" for backup, problem in found.damaged]
        backups = found.backups if origin is None else only_of(found, origin)[0].backups
        restores = restore_history(repository, backups)
        known = True
    except PgopsError as error:
        problems.append(redact(error.message))
    except OSError as error:
        problems.append(f"backups in {environment.backups.store.url} cannot be read: {error.strerror}")
    return EnvironmentReport(
        row,
        environment.protected,
        size,
        tuple(runs),
        backups,
        _gates(environment),
        tuple(problems),
        restores=tuple(restores),
        backups_known=known,
    )


def _physical_restores(environment: Environment, problems: list[str]) -> list[RestoreTime]:
    try:
        return physical_history(stanza_for(environment).info().backups)
    except PgopsError as error:
        problems.append(redact(error.message))
        return []


def _gates(environment: Environment) -> tuple[str, ...]:
    """What a migration there waits for, from environments.yaml."""
    found = []
    if environment.promoted_from is not None:
        found.append(f"each revision has to have succeeded in {environment.promoted_from}")
    if "migrate" in environment.backups.required_before:
        found.append("a verified backup is taken first")
    if "migrate" in environment.rehearsal.required_before:
        found.append("the plan has to be rehearsed on a copy")
    if environment.protected:
        found.append("its name has to be typed")
    return tuple(found)
