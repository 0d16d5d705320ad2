"""The text of every revision file that was applied, kept by the journal: what an older checkout needs to undo it.

Each text is kept once, under the hash by which the journal's rows know it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pgops.migrations.journal.schema import HISTORY, present
from pgops.postgres import Connection, execute, fetch_all, fetch_value
from pgops.units import human_time


@dataclass(frozen=True, slots=True)
class AppliedFile:
    """A revision as the journal knows it: the file it was last applied from, and by whom.

    ``content`` has its line ends as ``\\n``; ``None`` where the journal has the hash alone: an older pgops applied it.
    """

    revision: str
    file: str
    hash: str
    message: str
    content: bytes | None
    run: str
    operator: str
    host: str
    commit: str | None
    dirty: bool
    finished_at: dt.datetime | None

    @property
    def origin(self) -> str:
        """In words: which run applied it, from which commit."""
        when = f" on {human_time(self.finished_at)}" if self.finished_at else ""
        commit = (self.commit or "unknown")[:12]
        return (
            f"run {self.run} by {self.operator}@{self.host}{when}, "
            f"commit {commit}{' with uncommitted changes' if self.dirty else ''}"
        )

    def as_dict(self) -> dict[str, object]:
        """The revision in ``--json``, without its text."""
        return {
            "revision": self.revision,
            "message": self.message,
            "file": self.file,
            "file_hash": self.hash,
            "kept": self.content is not None,
            "run": self.run,
            "operator": self.operator,
            "host": self.host,
            "git_commit": self.commit,
            "git_dirty": self.dirty,
        }


def keep_files(connection: Connection, texts: Mapping[str, bytes]) -> None:
    """Keep these texts; those that are kept already stay.

    :param texts: by hash, line ends as ``\\n``; the server refuses a text of another hash.
    """
    if texts:
        execute(
            connection,
            "INSERT INTO pgops.files (hash, content) SELECT * FROM unnest(%s::text[], %s::bytea[]) "
            "ON CONFLICT (hash) DO NOTHING",
            (list(texts), [memoryview(each) for each in texts.values()]),
        )


def hashes_without_text(connection: Connection) -> set[tuple[str, str]]:
    """(revision, file hash) of what was applied and whose text is not kept."""
    return {
        (str(revision), str(file_hash))
        for revision, file_hash in fetch_all(
            connection,
            "SELECT DISTINCT v.revision, v.file_hash FROM pgops.revisions AS v "
            "WHERE v.outcome = 'succeeded' AND NOT EXISTS (SELECT FROM pgops.files AS f WHERE f.hash = v.file_hash)",
        )
    }


def applied_files(
    connection: Connection,
    *,
    but: Collection[str] = (),
    trusted: Collection[str] = (),
    history: str | None = None,
    others: Collection[str] = (),
) -> dict[str, AppliedFile]:
    """Every revision that was applied or adopted here, by its id, from the file that was last used for it.

    :param but: revisions that are of no interest: this checkout has them.
    :param history: only what this one applied, and what was applied before it had a name: others' revisions may
        have the same.
    :param others: version tables of other projects: what was applied in them is left out.
    :param trusted: roles whose journal counts besides this one's own.
    :raises UntrustedError: the journal is not to be believed; nothing in it was read.
    """
    if not present(connection, trusted):
        return {}
    # A journal that no run has brought up to date since keeps no texts.
    kept = fetch_value(
        connection, "SELECT coalesce(has_table_privilege(to_regclass('pgops.files'), 'SELECT'), false)"
    )
    rows = fetch_all(
        connection,
        f"""
        SELECT DISTINCT ON (v.revision) v.revision, v.file, v.file_hash, v.message, {"f.content" if kept else "NULL"},
               r.id, r.operator, r.host, r.git_commit, coalesce(r.git_dirty, false), v.finished_at
          FROM pgops.revisions AS v JOIN pgops.runs AS r ON r.id = v.run
          {"LEFT JOIN pgops.files AS f ON f.hash = v.file_hash" if kept else ""}
         WHERE v.outcome = 'succeeded' AND r.action IN ('upgrade', 'stamp') AND v.revision <> ALL(%s)
           AND v.version_table <> ALL(%s)
           AND (%s::text IS NULL OR {HISTORY} = %s OR ({HISTORY} IS NULL AND NOT EXISTS (
                SELECT FROM pgops.runs AS r WHERE r.version_table = v.version_table AND {HISTORY} <> %s)))
         ORDER BY v.revision, v.ordinal DESC
        """,
        (list(but), list(others), history, history, history),
    )
    return {
        str(revision): AppliedFile(
            revision=revision,
            file=file,
            hash=file_hash,
            message=message,
            content=None if content is None else bytes(content),
            run=run,
            operator=operator,
            host=host,
            commit=commit,
            dirty=dirty,
            finished_at=finished,
        )
        for revision, file, file_hash, message, content, run, operator, host, commit, dirty, finished in rows
    }
