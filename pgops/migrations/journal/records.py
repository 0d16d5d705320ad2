"""The journal: every run on a database, kept in its schema ``pgops``, out of Alembic's sight.

Written on an autocommit connection of its own, so a rolled-back or failed run is on record too.
Rows that precede a revision's own commit are written without waiting for the disk: WAL is flushed
in order, so they are never lost while the revision is kept.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pgops import __version__
from pgops.environments import Environment
from pgops.migrations.journal import provenance
from pgops.migrations.journal.schema import HISTORY, present
from pgops.postgres import Connection, execute, fetch_all, fetch_one
from pgops.secrets.redaction import redact

RUNNING = "running"
SUCCEEDED = "succeeded"
FAILED = "failed"
INTERRUPTED = "interrupted"
ROLLED_BACK = "rolled_back"


def new_run_id(now: dt.datetime) -> str:
    """``20260131T235959-1a2b3c``: sorts by time, unique enough for one database."""
    return f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def run_application(run: str) -> str:
    """application_name of the connection that holds a run's lock; while it lives, the run lives."""
    return f"pgops run {run}"


def work_application(run: str) -> str:
    """application_name of the connections on which a run's revisions execute."""
    return f"pgops migration {run}"


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One revision within a run."""

    revision: str
    file: str
    file_hash: str
    message: str
    started_at: dt.datetime
    finished_at: dt.datetime | None
    outcome: str
    error: str | None
    leftovers: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One attempt to migrate, as the journal tells it.

    ``rehearsal`` is what was seen on a copy before: ``id``, ``backup``, ``seconds`` in all and of each of
    ``revisions``, ``stall`` (seconds). ``None`` where nothing was rehearsed. ``approval`` is who signed the plan:
    ``id``, ``signers`` (each with ``name`` and ``key``), ``policy`` (who has to sign the next one); ``None`` where
    nobody had to. ``restore_point`` is the name of the one that was made in front of the run.
    """

    id: str
    environment: str
    action: str
    from_heads: tuple[str, ...]
    to_heads: tuple[str, ...]
    plan_hash: str
    started_at: dt.datetime
    finished_at: dt.datetime | None
    outcome: str
    error: str | None
    operator: str
    host: str
    git_commit: str | None
    git_dirty: bool | None
    tool_version: str
    backup: str | None
    hazards_accepted: tuple[str, ...]
    promotion_overridden: bool
    reason: str | None
    version_table: str
    rehearsal: Mapping[str, Any] | None = None
    history: str | None = None
    approval: Mapping[str, Any] | None = None
    restore_point: str | None = None
    revisions: tuple[RevisionRecord, ...] = ()

    @property
    def seconds(self) -> float | None:
        """How long it took, ``None`` while it runs or when its end was not seen."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()

    def as_dict(self) -> dict[str, object]:
        """The run in ``migrate.log --json``."""
        return {
            **asdict(self),
            "duration": self.seconds,
            "revisions": [each.as_dict() for each in self.revisions],
        }


_RUN_COLUMNS = (
    "id, environment, action, from_heads, to_heads, plan_hash, started_at, finished_at, outcome, error, operator, "
    "host, git_commit, git_dirty, tool_version, backup, hazards_accepted, promotion_overridden, reason, version_table"
)
# Through JSON: a journal that no run has brought up to date since lacks the columns.
_REHEARSAL = "pg_catalog.to_jsonb(r) -> 'rehearsal'"
_APPROVAL = "nullif(pg_catalog.to_jsonb(r) -> 'approval', 'null')"
_RESTORE_POINT = "pg_catalog.to_jsonb(r) ->> 'restore_point'"
_REVISION_COLUMNS = "revision, file, file_hash, message, started_at, finished_at, outcome, error, leftovers"


def begun(
    run: str,
    environment: Environment,
    *,
    action: str,
    started: dt.datetime,
    from_heads: tuple[str, ...],
    to_heads: tuple[str, ...],
    plan_hash: str,
    version_table: str,
    backup: str | None = None,
    hazards_accepted: tuple[str, ...] = (),
    promotion_overridden: bool = False,
    reason: str | None = None,
    rehearsal: Mapping[str, Any] | None = None,
    approval: Mapping[str, Any] | None = None,
    restore_point: str | None = None,
) -> RunRecord:
    """The row of a run that begins now, with who runs it and from which commit."""
    commit, dirty = provenance.git_state(environment.project)
    return RunRecord(
        id=run,
        environment=environment.name,
        action=action,
        from_heads=from_heads,
        to_heads=to_heads,
        plan_hash=plan_hash,
        started_at=started,
        finished_at=None,
        outcome=RUNNING,
        error=None,
        operator=provenance.operator(),
        host=provenance.hostname(),
        git_commit=commit,
        git_dirty=dirty,
        tool_version=__version__,
        backup=backup,
        hazards_accepted=hazards_accepted,
        promotion_overridden=promotion_overridden,
        reason=None if reason is None else redact(reason),
        version_table=version_table,
        rehearsal=rehearsal,
        history=environment.alembic.history,
        approval=approval,
        restore_point=restore_point,
    )


def start_run(connection: Connection, run: RunRecord) -> None:
    """Record that a run begins."""
    columns = f"{_RUN_COLUMNS}, rehearsal, history, approval, restore_point"
    values = [getattr(run, name.strip()) for name in columns.split(",")]
    execute(
        connection,
        f"INSERT INTO pgops.runs ({columns}) VALUES ({', '.join(['%s'] * len(values))})",
        [_as_column(value) for value in values],
    )


def note_version_table(connection: Connection, run: str, version_table: str) -> None:
    """Record that a run's heads are kept elsewhere than its plan found them."""
    execute(connection, "UPDATE pgops.runs SET version_table = %s WHERE id = %s", (version_table, run))


def _as_column(value: object) -> object:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return list(value) if isinstance(value, tuple) else value


def finish_run(connection: Connection, run: str, outcome: str, error: str | None = None) -> None:
    """Record how a run ended, and wait until it is on disk (and with it all that was recorded before)."""
    execute(connection, "RESET synchronous_commit")
    execute(
        connection,
        "UPDATE pgops.runs SET outcome = %s, error = %s, finished_at = clock_timestamp() WHERE id = %s",
        (outcome, None if error is None else redact(error), run),
    )


def start_revision(
    connection: Connection,
    run: str,
    revision: str,
    *,
    file: str,
    file_hash: str,
    message: str,
    version_table: str,
    sql_hash: str | None = None,
    after: int | None = None,
) -> int:
    """Record that a revision begins; gives the row's number. A retry is a row of its own.

    :param sql_hash: of the SQL that it emitted when it was planned; ``None`` where that is not known.
    :param after: the row of the revision that succeeded just before, closed in the same round trip.
    """
    row = fetch_one(
        connection,
        """
        WITH done AS (UPDATE pgops.revisions SET outcome = 'succeeded', finished_at = clock_timestamp()
                       WHERE ordinal = %s)
        INSERT INTO pgops.revisions (run, revision, file, file_hash, sql_hash, message, version_table, outcome)
        VALUES (%s, %s, %s, %s, %s, %s, %s, 'running') RETURNING ordinal
        """,
        (after, run, revision, file, file_hash, sql_hash, message, version_table),
    )
    assert row is not None
    return int(row[0])


def finish_revision(connection: Connection, ordinal: int, outcome: str, error: str | None = None) -> None:
    """Record how a revision ended."""
    execute(
        connection,
        "UPDATE pgops.revisions SET outcome = %s, error = %s, finished_at = clock_timestamp() WHERE ordinal = %s",
        (outcome, None if error is None else redact(error), ordinal),
    )


def note_leftover(connection: Connection, ordinal: int, name: str) -> bool:
    """Record an index that this revision is about to make outside a transaction; not one that is there already."""
    row = fetch_one(
        connection,
        "UPDATE pgops.revisions SET leftovers = leftovers || %s::text "
        "WHERE ordinal = %s AND to_regclass(%s) IS NULL RETURNING ordinal",
        (name, ordinal, name),
    )
    return row is not None


def runs(
    connection: Connection,
    *,
    limit: int | None = None,
    trusted: Collection[str] = (),
    history: str | None = None,
    others: Collection[str] = (),
) -> list[RunRecord]:
    """Runs, newest first, each with its revisions. One that never ended and whose process is gone is ``interrupted``.

    :param history: only this one's, and those on its version tables from the time before it had a name.
    :param others: version tables of other projects, whose runs are left out.
    :raises UntrustedError: the journal is not to be believed.
    """
    if not present(connection, trusted):
        return []
    rows = fetch_all(
        connection,
        f"""
        SELECT {_RUN_COLUMNS}, {_REHEARSAL}, {HISTORY}, {_APPROVAL}, {_RESTORE_POINT}, EXISTS (SELECT 1 FROM pg_stat_activity AS a
                                        WHERE a.datname = current_database()
                                          AND a.application_name = 'pgops run ' || r.id)
          FROM pgops.runs AS r
         WHERE version_table <> ALL(%s)
           AND (%s::text IS NULL OR {HISTORY} = %s
                OR ({HISTORY} IS NULL
                    AND version_table IN (SELECT r.version_table FROM pgops.runs AS r WHERE {HISTORY} = %s)))
         ORDER BY started_at DESC, id DESC LIMIT %s
        """,
        (list(others), history, history, history, limit),
    )
    revisions: dict[str, list[RevisionRecord]] = {}
    for run, *values in fetch_all(
        connection,
        f"SELECT run, {_REVISION_COLUMNS} FROM pgops.revisions WHERE run = ANY(%s) ORDER BY ordinal",
        ([row[0] for row in rows],),
    ):
        revisions.setdefault(run, []).append(RevisionRecord(*[*values[:-1], tuple(values[-1])]))
    return [_record(row[:-1], alive=row[-1], revisions=revisions.get(row[0], [])) for row in rows]


def _record(values: Sequence[Any], *, alive: bool, revisions: Sequence[RevisionRecord]) -> RunRecord:
    names = (
        name.strip() for name in f"{_RUN_COLUMNS}, rehearsal, history, approval, restore_point".split(",")
    )
    named = dict(zip(names, values, strict=True))
    for name in ("from_heads", "to_heads", "hazards_accepted"):
        named[name] = tuple(named[name])
    if named["outcome"] == RUNNING and not alive:
        named["outcome"] = INTERRUPTED
        named["error"] = "the process ended without a word"
    return RunRecord(**named, revisions=tuple(revisions))


def unfinished(connection: Connection, *, but: str) -> list[tuple[str, dt.datetime, str]]:
    """Runs that never ended and their version tables, oldest first. Under the lock they are all dead."""
    return [
        (str(run), started, str(table))
        for run, started, table in fetch_all(
            connection,
            "SELECT id, started_at, version_table FROM pgops.runs WHERE outcome = 'running' AND id <> %s ORDER BY started_at",
            (but,),
        )
    ]


def succeeded_files(
    connection: Connection,
    environment: str,
    trusted: Collection[str] = (),
) -> frozenset[tuple[str, str, str, str | None]]:
    """Every (version table, revision, file hash, SQL hash) that was run in ``environment``, by its own journal.

    A stamp runs nothing. The hash of the SQL is ``None`` where it was not known, or not noted down yet.

    :raises UntrustedError: the journal is not to be believed.
    """
    if not present(connection, trusted):
        return frozenset()
    rows = fetch_all(
        connection,
        """
        -- Through JSON: a journal that no run has brought up to date since lacks the column.
        SELECT DISTINCT v.version_table, v.revision, v.file_hash, pg_catalog.to_jsonb(v) ->> 'sql_hash'
          FROM pgops.revisions AS v JOIN pgops.runs AS r ON r.id = v.run
         WHERE v.outcome = 'succeeded' AND r.action = 'upgrade' AND r.environment = %s
        """,
        (environment,),
    )
    return frozenset(
        (str(table), revision, file_hash, sql_hash) for table, revision, file_hash, sql_hash in rows
    )
