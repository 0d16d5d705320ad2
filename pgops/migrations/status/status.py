"""Where a database stands, without importing SQLAlchemy or Alembic: heads on disk against rows in its version table.

It concludes only where nothing is in doubt; :class:`NotPlainError` says that Alembic has to look.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgops.environments import Environment
from pgops.errors import ConfigurationError, ExitCode, PgopsError
from pgops.migrations import journal
from pgops.migrations.revisions.history import History, read_history
from pgops.migrations.revisions.location import locate
from pgops.migrations.revisions.revision import NotPlainError
from pgops.migrations.status.query import LastRun, StatusFacts, database_told, query_status
from pgops.postgres import (
    Connection,
    Target,
    fetch_all,
    identifier,
    names,
    read_only_session,
    redact,
)
from pgops.units import told_of


class AheadError(PgopsError):
    """The database has revisions that no file has; ``unknown`` names them."""

    code = "ahead"
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        unknown: Iterable[str],
        environment: Environment,
        connection: Connection,
        *,
        known: int,
        others: Collection[str],
    ) -> AheadError:
        """The error for these revisions, with what the journal knows of them.

        :param known: how many revisions are here.
        :param others: version tables of other projects, whose revisions may have the same names.
        """
        applied = journal.applied_files(
            connection,
            trusted=environment.trusted_owners,
            history=environment.alembic.history,
            others=others,
        )
        told = []
        for revision in unknown:
            by = applied.get(revision)
            told.append(
                f"{revision}, applied by {by.origin}"
                if by
                else f"{revision}, of which the journal knows nothing"
            )
        kept = [each for each in unknown if each in applied and applied[each].content is not None]
        error = cls(
            f"{environment.name} is ahead of this code: it stands at {'; '.join(told)}",
            untouched="nothing was applied",
            hint=f"check out the code that has it ({known} revisions are here); git fetch, or deploy from there"
            + (f"; to roll it back from here: invoke migrate.down {environment.flags}" if kept else ""),
        )
        error.unknown = tuple(unknown)
        return error


@dataclass(frozen=True, slots=True)
class Status:
    """Where one environment's database is.

    ``edited`` are applied revisions whose file is not the one that was applied; ``unknown`` are
    revisions in the database that no file has; ``misconfigured`` says that ``problem`` is a mistake in
    the project's files. ``exit_code`` is that of the failure which ``problem`` tells, 0 where there was none.
    ``history`` is the name of the history that it is about; of an environment with several, ``histories`` has each,
    and the rest is all of them together.
    """

    environment: str
    place: str
    reachable: bool
    current: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    last_run: LastRun | None = None
    problem: str | None = None
    note: str | None = None
    misconfigured: bool = False
    exit_code: int = 0
    history: str | None = None
    histories: tuple[Status, ...] = ()

    @property
    def pending_count(self) -> int | None:
        """How many are pending; ``None`` where it stands at a revision that this code lacks, which may build on them."""
        return None if self.unknown else len(self.pending)

    @property
    def up_to_date(self) -> bool:
        """Nothing pending and nothing unknown."""
        return self.reachable and not self.pending and not self.unknown and self.problem is None

    def as_dict(self) -> dict[str, object]:
        """The row in ``migrate.status --json``."""
        return {
            "environment": self.environment,
            **({"history": self.history} if self.history else {}),
            "target": self.place,
            "reachable": self.reachable,
            "current": list(self.current),
            "heads": list(self.heads),
            "pending": list(self.pending),
            "edited": list(self.edited),
            "unknown": list(self.unknown),
            "last_run": None
            if self.last_run is None
            else {
                "id": self.last_run.id,
                "started_at": self.last_run.started_at.isoformat(),
                "outcome": self.last_run.outcome,
            },
            "problem": self.problem,
            "note": self.note,
            "misconfigured": self.misconfigured,
            "exit_code": self.exit_code,
            **({"histories": [each.as_dict() for each in self.histories]} if self.histories else {}),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Status:
        """The same from :meth:`as_dict`, as another process printed it."""
        last = row["last_run"]
        return cls(
            environment=row["environment"],
            place=row["target"],
            reachable=row["reachable"],
            current=tuple(row["current"]),
            heads=tuple(row["heads"]),
            pending=tuple(row["pending"]),
            edited=tuple(row["edited"]),
            unknown=tuple(row["unknown"]),
            last_run=last
            and LastRun(last["id"], dt.datetime.fromisoformat(last["started_at"]), last["outcome"]),
            problem=row["problem"],
            note=row["note"],
            misconfigured=row["misconfigured"],
            exit_code=row["exit_code"],
            history=row.get("history"),
            histories=tuple(cls.from_dict(each) for each in row.get("histories", ())),
        )


class MisconfiguredError(ConfigurationError):
    """Where some databases stand can't be told, or not all of it, because files of the project are wrong."""

    def __init__(self, rows: Sequence[Status]) -> None:
        wrong = [row for row in rows if row.misconfigured and row.problem]
        # Environments that share their files share the mistake: it is told once.
        told = {
            row.problem: [each.environment for each in wrong if each.problem == row.problem] for row in wrong
        }
        super().__init__(
            "; ".join(f"{', '.join(names)}: {problem}" for problem, names in told.items()),
            untouched="no database was touched",
            hint="correct what is named, then look again: invoke migrate.status",
        )
        self.rows = tuple(rows)

    def beside(self) -> dict[str, object]:
        return {"environments": [row.as_dict() for row in self.rows]}


class NotToldError(PgopsError):
    """Where some databases stand could not be told; it ends with the exit code of the first such failure."""

    code = "not_told"

    def __init__(self, rows: Sequence[Status], failed: Sequence[Status]) -> None:
        super().__init__(
            "; ".join(told_of(row.environment, row.problem or "") for row in failed),
            untouched="no database was touched",
            hint=f"invoke env.check --env={failed[0].environment}",
        )
        # One class for every way in which a look fails: each has its code already.
        self.exit_code = ExitCode(failed[0].exit_code)  # type: ignore[misc]
        self.rows = tuple(rows)

    def beside(self) -> dict[str, object]:
        return {"environments": [row.as_dict() for row in self.rows]}


def refuse_untold(rows: Sequence[Status], *, every: bool) -> None:
    """Raise what must not end with 0.

    :param every: any failed look counts, not only wrong files and journals that are not to be believed.
    :raises MisconfiguredError: files of the project are wrong.
    :raises NotToldError: the rest.
    """
    if any(row.misconfigured for row in rows):
        raise MisconfiguredError(rows)
    untrusted = [row for row in rows if row.exit_code == ExitCode.BLOCKED]
    failed = [row for row in rows if row.exit_code] if every else untrusted
    if failed:
        raise NotToldError(rows, untrusted or failed)


def history_of(environment: Environment) -> History:
    """The revisions of an environment's Alembic project, read without running anything.

    :raises NotPlainError: only Alembic can read them, or the version table is not the usual one.
    :raises ConfigurationError: the configuration or the graph is broken.
    """
    location = locate(environment.alembic, environment.project)
    if why := location.unusual(environment.alembic):
        raise NotPlainError(why)
    return read_history(location)


def migration_status(environment: Environment, target: Target, history: History) -> Status:
    """Look at one database over one read-only connection.

    :raises NotPlainError: its version table is not where it usually is.
    :raises RefusedError: the database is stamped as another environment.
    :raises UnreachableError: the server does not answer.
    """
    with (
        database_told(environment.name),
        read_only_session(target) as connection,
    ):
        found = query_status(connection, environment.trusted_owners)
        if found.elsewhere:
            raise NotPlainError("a schema that is not on our search_path has an alembic_version")
        others = journal.tables_of_others(connection, found.tables, ["alembic_version"], history.hashes)
    return status_from_facts(environment, target, history, found, found.current, others)


def status_from_facts(
    environment: Environment,
    target: Target,
    history: History,
    found: StatusFacts,
    current: Sequence[str],
    others: Collection[str],
) -> Status:
    """What the quick look means for an environment whose heads are ``current``.

    :param others: version tables of other histories and projects, whose rows of the journal say nothing here.
    :raises RefusedError: the database is stamped as another environment.
    """
    note = journal.check_stamp(
        found.stamp, environment.name, environment.aliases, found.identity, target.place
    )
    name = environment.alembic.history
    status = assess(
        environment.name, target.place, history, current, found.applied(others), found.last_run(others), note
    )
    return status if name is None else replace(status, history=name)


def assess(
    environment: str,
    place: str,
    history: History,
    current: Sequence[str],
    applied: Mapping[str, str],
    last_run: LastRun | None,
    note: str | None,
) -> Status:
    """Put the facts of one database together; pure."""
    done = history.ancestors(current)
    return Status(
        environment=environment,
        place=place,
        reachable=True,
        current=tuple(sorted(current)),
        heads=history.heads,
        pending=history.pending(current),
        edited=tuple(
            sorted(
                revision
                for revision, file_hash in applied.items()
                if revision in done and history.revisions[revision].hash != file_hash
            )
        ),
        unknown=history.unknown(current),
        last_run=last_run,
        note=note,
    )


def together(rows: Sequence[Status]) -> Status:
    """The row of an environment with several histories, from a row for each; pure."""
    first = rows[0]

    def named(said: Callable[[Status], str | None]) -> str | None:
        told = {
            text: [str(row.history) for row in rows if said(row) == text]
            for row in rows
            if (text := said(row))
        }
        # What is so for all is so for the environment.
        return (
            "; ".join(
                text if len(of) == len(rows) else f"history {', '.join(of)}: {text}"
                for text, of in told.items()
            )
            or None
        )

    return replace(
        first,
        reachable=all(row.reachable for row in rows),
        current=tuple(each for row in rows for each in row.current),
        heads=tuple(each for row in rows for each in row.heads),
        pending=tuple(each for row in rows for each in row.pending),
        edited=tuple(each for row in rows for each in row.edited),
        unknown=tuple(each for row in rows for each in row.unknown),
        last_run=max(
            (row.last_run for row in rows if row.last_run is not None),
            key=lambda run: (run.started_at, run.id),
            default=None,
        ),
        problem=named(lambda row: row.problem),
        note=named(lambda row: row.note),
        misconfigured=any(row.misconfigured for row in rows),
        exit_code=next((row.exit_code for row in rows if row.exit_code), 0),
        history=None,
        histories=tuple(rows),
    )


def unreachable(environment: str, place: str, error: PgopsError) -> Status:
    """The row of an environment that could not be looked at."""
    problems = error.problems if isinstance(error, ConfigurationError) else ()
    return Status(
        environment=environment,
        place=place,
        reachable=False,
        problem=redact("; ".join([error.message, *problems])),
        exit_code=int(error.exit_code),
    )


def misconfigured(environment: str, place: str, error: PgopsError) -> Status:
    """The row of an environment whose revision files or Alembic configuration are wrong."""
    return replace(unreachable(environment, place, error), misconfigured=True)


def read_heads(connection: Connection, table: str, schema: str | None = None) -> tuple[str, ...]:
    """The rows of a version table; none where the table does not exist."""
    name = names.qualified(connection, identifier(schema, table) if schema else identifier(table))
    if name is None:
        return ()
    return tuple(str(row[0]) for row in fetch_all(connection, f"SELECT version_num FROM {name} ORDER BY 1"))
