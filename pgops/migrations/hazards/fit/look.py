"""Asking a target how many of its rows do not fulfil what a plan demands: bounded in time, and nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pgops.migrations.hazards.fit.demand import Demand
from pgops.migrations.hazards.fit.question import (
    MOST,
    Column,
    FitsAnywayError,
    MadeHereError,
    NotAskedError,
    Question,
    bare,
    question,
)
from pgops.migrations.hazards.target_tables import qualified
from pgops.postgres import Connection, DatabaseError, fetch_all, fetch_one, major_version, set_settings
from pgops.units import one_line

EACH = 2.0
"""Seconds that one question may take."""
ALL = 10.0
"""Seconds that the questions of one plan may take."""

_LOCK_WAIT = "500ms"
_PAGES = 8192
_TIMEOUT, _LOCKED, _DENIED, _NO_COLUMN = "57014", "55P03", "42501", "42703"
_TABLE = """
WITH RECURSIVE tree AS (
    SELECT to_regclass(%s)::oid AS oid
     UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN tree ON tree.oid = i.inhparent)
SELECT array_agg(DISTINCT c.relkind::text), coalesce(sum(greatest(c.relpages, 0)), 0)::int8,
       (SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)::oid)
  FROM tree JOIN pg_class AS c ON c.oid = tree.oid
"""
_PRIMARY_KEY = """
SELECT quote_ident(a.attname) FROM pg_index AS i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE i.indisprimary AND i.indrelid = to_regclass(%s)::oid AND k.place <= i.indnkeyatts ORDER BY k.place
"""
_COLUMNS = r"""
SELECT a.attname, format_type(a.atttypid, NULL), t.typtype = 'e',
       a.attgenerated <> 'v' AND CASE
           WHEN t.typtype = 'e' OR t.oid < 16384 THEN true
           WHEN t.typtype = 'd' THEN (
               WITH RECURSIVE base AS (
                   SELECT t.typbasetype AS oid
                    UNION SELECT b.typbasetype FROM pg_type AS b JOIN base ON base.oid = b.oid WHERE b.typtype = 'd')
               SELECT min(base.oid) < 16384 FROM base)
           WHEN t.typcategory = 'A' THEN e.typtype = 'e'
           ELSE false END,
       substring(format_type(a.atttypid, a.atttypmod) FROM '\(([0-9,]+)\)')
  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_type AS e ON e.oid = t.typelem
 WHERE a.attrelid = to_regclass(%s)::oid AND a.attnum > 0 AND NOT a.attisdropped
"""
_ENUMS = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(t.typname)
  FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE t.typtype = 'e'
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a demand stands to the rows that are there.

    ``rows`` do not fulfil it (:data:`MOST` + 1: more than are counted), ``values`` is how many values they share.
    ``sampled`` is the share of the table that was read, ``None`` for all of it. ``unknown`` says why nothing is known.
    ``made_here`` says that the plan itself makes what is asked for. ``show`` is SQL that shows the rows.
    """

    rows: int = 0
    values: int = 0
    sampled: float | None = None
    unknown: str = ""
    made_here: bool = False
    show: str = ""


class Look:
    """One look at a target; what is asked twice is asked once.

    :param connection: read-only; its timeouts are set.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._until = time.monotonic() + ALL
        self._answers: dict[Demand, Answer] = {}
        self._columns: dict[str, dict[str, Column]] = {}
        self._enums: frozenset[str] | None = None
        set_settings(connection, {"lock_timeout": _LOCK_WAIT, "max_parallel_workers_per_gather": "0"})

    def ask(self, demand: Demand) -> Answer:
        """How many rows do not fulfil a demand."""
        if demand not in self._answers:
            self._answers[demand] = self._asked(demand)
        return self._answers[demand]

    def _asked(self, demand: Demand) -> Answer:
        try:
            tables = [demand.table, demand.other] if demand.other else [demand.table]
            sizes = {each: self._pages(each) for each in tables}
            if demand.other:
                demand = self._with_other_keys(demand)
                self._refuse_other(demand)
            asked = question(
                demand,
                self._columns_of(demand.table),
                self._all_enums(),
                major_version(self._connection),
                partitioned=frozenset(each for each, (kind, _) in sizes.items() if kind == "p"),
            )
        except MadeHereError:
            return Answer(made_here=True)
        except NotAskedError as error:
            return Answer(unknown=str(error))
        except FitsAnywayError:
            return Answer()
        except DatabaseError as error:
            return Answer(unknown=self._told(error))
        return self._counted(asked, sizes[demand.table][1])

    def _counted(self, asked: Question, pages: int) -> Answer:
        """All rows if that is quick enough; else a sample, where a sample tells something."""
        shares = [None, min(100.0, 100 * _PAGES / pages)] if asked.samples and pages > _PAGES else [None]
        answer = Answer()
        for share in shares:
            left = self._until - time.monotonic()
            if left <= 0:
                return Answer(unknown=f"the {ALL:g} s that a look may take are over", show=asked.show)
            sample = "" if share is None else f" TABLESAMPLE SYSTEM ({share:.4f})"
            try:
                set_settings(
                    self._connection, {"statement_timeout": f"{max(1, int(min(EACH, left) * 1000))}ms"}
                )
                row: Sequence[int] = fetch_one(self._connection, asked.count.replace("{sample}", sample)) or (
                    0,
                    0,
                )
            except DatabaseError as error:
                if error.pgcode == _NO_COLUMN:
                    return Answer(made_here=True)
                answer = Answer(unknown=self._told(error), show=asked.show)
                if error.pgcode != _TIMEOUT:
                    return answer
                continue
            return Answer(int(row[0]), int(row[1]), share, show=asked.show)
        return answer

    def _pages(self, table: str) -> tuple[str, int]:
        """What kind of relation a table is, and how many pages it has with its partitions and children."""
        name = qualified(table)
        kinds, pages, kind = fetch_one(self._connection, _TABLE, (name, name)) or (None, 0, "")
        if not kinds:
            raise MadeHereError
        if other := set(kinds) - {"r", "p"}:
            raise NotAskedError(
                f"{table} has parts on another server" if other == {"f"} else f"{table} is not a table"
            )
        return str(kind), int(pages)

    def _columns_of(self, table: str) -> dict[str, Column]:
        if table not in self._columns:
            rows = fetch_all(self._connection, _COLUMNS, (qualified(table),))
            self._columns[table] = {
                name: Column(kind, enum, own, tuple(map(int, size.split(","))) if size else ())
                for name, kind, enum, own, size in rows
            }
        return self._columns[table]

    def _with_other_keys(self, demand: Demand) -> Demand:
        if demand.other_keys:
            return demand
        keys = tuple(row[0] for row in fetch_all(self._connection, _PRIMARY_KEY, (qualified(demand.other),)))
        if len(keys) != len(demand.keys):
            raise NotAskedError(f"the primary key of {demand.other} is not known before the run")
        return replace(demand, other_keys=keys)

    def _refuse_other(self, demand: Demand) -> None:
        for name, column in self._columns_of(demand.other).items():
            if name in map(bare, demand.other_keys) and not column.own:
                raise NotAskedError(
                    f"column {name} of {demand.other} is of type {column.type}, "
                    "and a look does not run what is not PostgreSQL's own"
                )

    def _all_enums(self) -> frozenset[str]:
        if self._enums is None:
            self._enums = frozenset(row[0] for row in fetch_all(self._connection, _ENUMS))
        return self._enums

    def _told(self, error: DatabaseError) -> str:
        match error.pgcode:
            case code if code == _TIMEOUT:
                return f"reading them takes longer than {EACH:g} s"
            case code if code == _LOCKED:
                return "the table is locked by another session"
            case code if code == _DENIED:
                return f"the server does not let us read them: {one_line(str(error))}"
        return f"the target can't be asked as it is now: {one_line(str(error))}"


def counted_rows(answer: Answer) -> str:
    """``3 rows``, ``more than 10,000 rows``."""
    if answer.rows > MOST and not answer.values:
        return f"more than {MOST:,} rows"
    return f"{answer.rows:,} row{'' if answer.rows == 1 else 's'}"
