"""What is known of a connection that migrates, and asking over it in its own transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pgops.migrations.hazards.observed import Setting
from pgops.migrations.tracing.catalog import FIRST_USER_OID, SETTINGS
from pgops.migrations.tracing.savepoints import Failure, Savepoint

_BASE = f"""
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(c.oid::int8,
           pg_catalog.pg_stat_get_xact_numscans(c.oid), pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid),
           pg_catalog.pg_stat_get_xact_tuples_updated(c.oid), pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)))::text
  FROM pg_catalog.pg_class AS c
 WHERE c.oid >= {FIRST_USER_OID}::oid AND c.relkind IN ('r', 'p', 'm', 'i') AND (
       pg_catalog.pg_stat_get_xact_numscans(c.oid) > 0 OR pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) > 0
       OR pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) > 0 OR pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) > 0)
"""


@dataclass
class Session:
    """One connection. ``settings`` are :data:`SETTINGS` as they were before the first statement.

    ``held`` are the locks of its transaction (oid -> modes as ``pg_locks`` names them), ``counts`` what it had read and
    written of each relation before the statement, ``open`` whether a transaction was looked at that has not ended.
    ``unlooked`` is a statement that ran since anybody looked, ``failure`` one that failed and may have been caught.
    ``views`` are the definitions of views before a statement that may define one anew.
    """

    settings: list[str] | None = None
    changed: dict[str, str] = field(default_factory=dict)
    held: dict[int, set[str]] = field(default_factory=dict)
    counts: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    open: bool = False
    unlooked: str = ""
    savepoints: list[Savepoint] = field(default_factory=list)
    failure: Failure | None = None
    views: dict[int, str] = field(default_factory=dict)

    def ended(self) -> None:
        """Its transaction is over."""
        self.held, self.open, self.unlooked = {}, False, ""
        self.savepoints, self.failure = [], None

    def changed_settings(self, now: list[str]) -> Iterator[Setting]:
        """The settings that are no longer what the run made them, each value once, and those that are again."""
        if self.settings is None:
            # Nothing was asked before the first statement: there is nothing to compare with.
            self.settings = now
        for name, before, after in zip(SETTINGS, self.settings, now, strict=True):
            if before == after:
                if name in self.changed:
                    yield Setting(name, self.changed.pop(name), after, restored=True)
            elif self.changed.get(name) != after:
                self.changed[name] = after
                yield Setting(name, before, after)


def counts(raw: Any) -> dict[int, tuple[int, int, int, int]]:
    """Oid -> scans and rows inserted, updated and deleted, as the session counts them."""
    rows = json.loads(ask(raw, _BASE) or "null") or ()
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}


def ask(raw: Any, question: str) -> Any:
    """One value over the connection that migrates, in its own transaction."""
    cursor = raw.cursor()
    try:
        cursor.execute(question)
        row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]
    finally:
        cursor.close()


def say(raw: Any, statement: str, parameters: Any = None) -> None:
    """Run a statement over the connection that migrates.

    :param parameters: as the driver takes them.
    """
    cursor = raw.cursor()
    try:
        cursor.execute(statement) if parameters is None else cursor.execute(statement, parameters)
    finally:
        cursor.close()


def explain(raw: Any, statement: str, parameters: Any) -> Any:
    """PostgreSQL's plan of a statement with ``enable_seqscan`` off; ``None`` where it makes none.

    :param parameters: as the driver takes them.
    """
    cursor = raw.cursor()
    try:
        cursor.execute("SAVEPOINT pgops_explain")
        cursor.execute("SELECT pg_catalog.set_config('enable_seqscan', 'off', true)")
        try:
            question = f"EXPLAIN (FORMAT JSON, VERBOSE) {statement}"
            cursor.execute(question) if parameters is None else cursor.execute(question, parameters)
            row = cursor.fetchone()[0]
            plan = json.loads(row) if isinstance(row, str) else row
        except Exception:  # noqa: BLE001 - what it can't plan it will not carry out either, and says why then
            plan = None
        cursor.execute("ROLLBACK TO SAVEPOINT pgops_explain")
        cursor.execute("RELEASE SAVEPOINT pgops_explain")
    finally:
        cursor.close()
    return plan
