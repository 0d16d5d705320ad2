"""Every environment side by side: server, revision, last run, last backup. Reads only; what fails is part of the row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from pgops.backups.pgbackrest import PhysicalBackup
from pgops.backups.repository import Backup, load, newest_first, open_repository
from pgops.backups.repository.origin import Origin, origin_here, origin_of
from pgops.environments import Environment
from pgops.errors import ConfigurationError, ExitCode, PgopsError, SecretError, VerificationError
from pgops.migrations.status.status import Status
from pgops.monitoring.check import judged, limits_of, physical_of, unknown
from pgops.monitoring.freshness import Freshness, StaleError
from pgops.postgres import Connection, DatabaseError, MissingServiceError, connected, redact, server_facts
from pgops.runtime.threads import TooLateError, each_within
from pgops.targets import stanza_for, target_for
from pgops.units import one_line, told_of

NOT_CHECKED = "not checked"
_MISTAKES = (ExitCode.USAGE, ExitCode.BLOCKED)


@dataclass(frozen=True, slots=True)
class Row:
    """One environment. ``server`` is ``None`` where it could not be reached; ``missing`` says in two words what
    was in the way, ``problems`` in more.

    ``drift`` is a word for people: ``none``, ``3 differences``, ``not checked`` … ``exit_code`` is not 0 where
    the row is no state of the world, but a mistake: files of the project are wrong, or a journal is not ours;
    ``unseen`` is the exit code of what else kept the database from being looked at, 0 where nothing did.
    ``freshness`` is how its backups stand to its limits; ``None`` where it has none.
    """

    environment: str
    place: str | None = None
    server: str | None = None
    status: Status | None = None
    drift: str = NOT_CHECKED
    backup: Backup | PhysicalBackup | None = None
    problems: tuple[str, ...] = ()
    exit_code: int = 0
    unseen: int = 0
    missing: str = "unreachable"
    freshness: Freshness | None = None

    def backup_age(self, now: dt.datetime) -> float | None:
        """Seconds since the newest backup was begun; negative where its time is in the future."""
        return None if self.backup is None else (now - self.backup.started_at).total_seconds()

    @property
    def is_stale(self) -> bool:
        """Whether its backups are beyond its limits, or nobody can tell."""
        return self.freshness is not None and self.freshness.state in ("stale", "unknown")

    def as_dict(self, now: dt.datetime) -> dict[str, object]:
        """The row in ``status --json``."""
        status = self.status.as_dict() if self.status else {}
        return {
            "environment": self.environment,
            "target": self.place,
            "reachable": self.server is not None,
            "server": self.server,
            **{key: status.get(key, []) for key in ("current", "heads", "pending")},
            "last_run": status.get("last_run"),
            "drift": self.drift,
            "backup": self._backup_json(),
            "backup_age": self.backup_age(now),
            "freshness": self.freshness.as_dict() if self.freshness else None,
            "problems": list(self.problems),
        }

    def _backup_json(self) -> dict[str, object] | None:
        if isinstance(self.backup, PhysicalBackup):
            return self.backup.as_json(self.environment)
        return None if self.backup is None else self.backup.as_json()


class SomeFailedError(PgopsError):
    """Some environments could not be told for a reason that is wrong in itself; the rows stand beside the error."""

    code = "not_told"

    def __init__(self, rows: Sequence[Row], failed: Sequence[Row], now: dt.datetime) -> None:
        super().__init__(
            "; ".join(told_of(row.environment, "; ".join(row.problems)) for row in failed),
            untouched="no database was touched",
            hint=f"invoke migrate.status --env={failed[0].environment}",
        )
        # One class for every such mistake: each has its code already.
        self.exit_code = ExitCode(failed[0].exit_code or failed[0].unseen)  # type: ignore[misc]
        self._rows = [row.as_dict(now) for row in rows]

    def beside(self) -> dict[str, object]:
        return {"environments": self._rows}


class StaleStatusError(StaleError):
    """Backups are not as fresh as they have to be, and ``--exit-code`` asked to be told; the rows stand beside."""

    def __init__(self, rows: Sequence[Row], now: dt.datetime) -> None:
        super().__init__([row.freshness for row in rows if row.freshness is not None])
        self._rows = [row.as_dict(now) for row in rows]

    def beside(self) -> dict[str, object]:
        return {"environments": self._rows}


ReadStatus = Callable[[Environment], Status]
ReadDrift = Callable[[Environment], str]


def overview(
    environments: Sequence[Environment],
    read_status: ReadStatus,
    *,
    drift: ReadDrift | None = None,
    timeout: float = 20.0,
) -> list[Row]:
    """A row for each environment, all read at the same time.

    :param read_status: the revision, history and problems of an environment's database.
    :param drift: how it differs from the models, in a word or two; not asked when ``None``: it imports
        the whole application.
    :param timeout: seconds for all of them together.
    """
    found = each_within(timeout, environments, lambda environment: _row(environment, read_status, drift))
    return [
        row if isinstance(row, Row) else _failed(environment, row, timeout)
        for environment, row in zip(environments, found, strict=True)
    ]


def _failed(environment: Environment, error: Exception, timeout: float) -> Row:
    if not isinstance(error, TooLateError):
        raise error
    late = f"no answer within {timeout:g} s"
    fresh = unknown(environment, dt.datetime.now(dt.UTC), late) if limits_of(environment) else None
    return Row(environment.name, problems=(late,), unseen=int(ExitCode.UNREACHABLE), freshness=fresh)


def _row(environment: Environment, read_status: ReadStatus, drift: ReadDrift | None) -> Row:
    problems: list[str] = []
    backup: Backup | PhysicalBackup | None = None
    place = None
    try:
        target = target_for(environment)
        place = target.place
        with connected(target, application_name="pgops status") as connection:
            facts = server_facts(connection)
            problems += _archiving(environment, connection)
        server = f"PostgreSQL {facts.version}"
        origin = origin_here(facts.identity)
        backup = _newest_backup(environment, problems, origin)
        fresh = _freshness(environment, origin)
    except (PgopsError, DatabaseError) as error:
        backup = _newest_backup(environment, problems, None)
        said = error.message if isinstance(error, PgopsError) else one_line(str(error))
        return Row(
            environment.name,
            place=place,
            backup=backup,
            problems=(*problems, redact(said)),
            exit_code=int(error.exit_code) if _is_mistake(error) else 0,
            unseen=int(getattr(error, "exit_code", ExitCode.UNREACHABLE)),
            missing=_in_the_way(error),
            freshness=_freshness(environment, None),
        )
    status = read_status(environment)
    if status.problem:
        problems.append(status.problem)
    if status.unknown:
        problems.append(f"ahead of this code: {', '.join(status.unknown)}")
    if status.edited:
        problems.append(f"edited since applied: {', '.join(status.edited)}")
    if status.note:
        problems.append(status.note)
    return Row(
        environment.name,
        place=place,
        server=server,
        status=status,
        drift=drift(environment) if drift else NOT_CHECKED,
        backup=backup,
        problems=tuple(problems),
        exit_code=_mistake(environment, status),
        unseen=0 if status.exit_code in _MISTAKES else status.exit_code,
        freshness=fresh,
    )


def _freshness(environment: Environment, origin: Origin | None) -> Freshness | None:
    if not limits_of(environment):
        return None
    return judged(environment, origin, now=dt.datetime.now(dt.UTC))


def _mistake(environment: Environment, status: Status) -> int:
    """The exit code of what is wrong in itself; a project without Alembic's files that names none has no migrations."""
    written = "alembic.config" in environment.origins or any(
        each.alembic.config.exists() for each in environment.histories()
    )
    return status.exit_code if status.exit_code in _MISTAKES and written else 0


def _is_mistake(error: Exception) -> TypeGuard[ConfigurationError]:
    """Whether a file of the project is wrong; what only this machine lacks is no mistake of a file."""
    return isinstance(error, ConfigurationError) and not isinstance(error, MissingServiceError)


def _in_the_way(error: Exception) -> str:
    """Nothing was tried where a secret or a setting is missing: that server is not unreachable."""
    if isinstance(error, SecretError):
        return "no password"
    return "not set up" if isinstance(error, ConfigurationError) else "unreachable"


def _archiving(environment: Environment, connection: Connection) -> list[str]:
    """Why WAL does not get into the archive, where pgBackRest takes the backups."""
    if environment.backups.pgbackrest is None:
        return []
    from pgops.backups.pgbackrest.archiving import judge_archiving, read_archiving

    return [each.text for each in judge_archiving(read_archiving(connection)) if each.level == "fail"]


def _newest_backup(
    environment: Environment, problems: list[str], origin: Origin | None
) -> Backup | PhysicalBackup | None:
    """What ``latest`` is, if it can be read; a damaged one is a problem, and the next older one counts.

    :param origin: the environment's database: a backup of another one is none of its own. ``None``: nobody knows.
    """
    try:
        if environment.backups.pgbackrest is not None:
            ours, strange = physical_of(stanza_for(environment).info().backups, origin)
            if strange and not ours:
                problems.append(
                    f"none of the stanza's backups is of this cluster; the newest, {strange[-1].id}, is of cluster "
                    f"{strange[-1].system_identifier}"
                )
            return ours[-1] if ours else None
        repository = open_repository(environment)
        ordered, future = newest_first(repository.ids(), dt.datetime.now(dt.UTC))
        problems += [f"backup {each}: its time is in the future, so a clock was wrong" for each in future]
        others: list[Backup] = []
        for backup_id in ordered:
            try:
                found = load(repository, backup_id)
                if origin is None or origin.fits(origin_of(found.manifest)):
                    return found
                others.append(found)
            except VerificationError as error:
                problems.append(f"backup {backup_id}: {error.message}")
            except FileNotFoundError:
                continue  # removed since it was listed
        if others:
            problems.append(
                f"none of its backups is of this database; the newest, {others[0].id}, is of "
                f"{origin_of(others[0].manifest)}"
            )
    except PgopsError as error:
        problems.append(redact(error.message))
    except OSError as error:
        problems.append(f"backups in {environment.backups.store.url} cannot be read: {error.strerror}")
    return None
