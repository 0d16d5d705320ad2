"""What PostgreSQL did with a plan on a copy of the target's schema: values, one for each statement."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Literal

from pgops.migrations.hazards.fit.demand import Demand
from pgops.migrations.hazards.lock_modes import strongest

_GIVES_ROWS = re.compile(
    r"\s*(?:SELECT|WITH|TABLE|DECLARE|--)|\s*(?:UPDATE|DELETE|MERGE)\b.*\bRETURNING\b",
    re.IGNORECASE | re.DOTALL,
)

Kind = Literal[
    "rewrite",
    "truncate",
    "refresh",
    "build-index",
    "rebuild-index",
    "drop-index",
    "drop-table",
    "drop-view",
    "drop-column",
    "add-column",
    "not-null",
    "retype",
    "constraint",
    "attach",
    "detach",
    "disinherit",
    "rename",
    "rename-column",
    "move",
    "rights",
    "row-security",
    "policy",
    "narrow-policy",
    "restrict-policy",
    "grants",
    "membership",
    "login",
    "search-path",
    "read-only",
    "redefine-view",
    "disable-trigger",
    "enable-trigger",
]

_WORK = frozenset(
    ["rewrite", "refresh", "build-index", "rebuild-index", "constraint", "not-null", "retype", "attach"]
)
"""Changes that take time by themselves, whether they are kept or not."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on a relation that was there before the plan; ``mode`` is PostgreSQL's word (``ACCESS EXCLUSIVE``)."""

    relation: str
    mode: str


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is different after a statement. ``table`` was there before the plan; of an index, its table.

    ``what`` names the column, constraint, index or new name; ``detail`` what PostgreSQL says of it. ``table`` is ``""`` of
    what concerns no table.
    """

    kind: Kind
    table: str
    what: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """Rows of a table that a statement changes: ``verb`` is insert, update or delete.

    ``bounded`` says that PostgreSQL's plan finds them by a unique key, or that the statement names them;
    ``rows`` is how many it changed in the copy, which holds none of the target's. ``equal`` are columns that have a value
    in each row that it changes (column, value; ``None`` is NULL).
    """

    table: str
    verb: str
    bounded: bool
    rows: int
    equal: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the session that is no longer what the run made it, or is again (``restored``)."""

    name: str
    before: str
    after: str
    restored: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One statement of a revision, as PostgreSQL carried it out.

    ``locks`` are those it took itself, ``held`` also what its transaction held before; ``scans`` are tables
    read from end to end, ``reads`` also those looked up by an index. ``alone``: it ran outside of a transaction.
    ``failed`` is PostgreSQL's message; ``demands`` is what every row has to fulfil.

    ``undone``: a savepoint took it back, so nothing of it is left.

    A statement that did not run, since there were no rows, has ``within``, the statement of the revision that it is
    a part of, and ``given``, what it takes (``trigger t, for each row of orders``).
    """

    revision: str
    sql: str
    alone: bool = False
    locks: tuple[Lock, ...] = ()
    held: tuple[Lock, ...] = ()
    scans: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    writes: tuple[Write, ...] = ()
    settings: tuple[Setting, ...] = ()
    advisory: tuple[str, ...] = ()
    failed: str | None = None
    within: str = ""
    given: str = ""
    demands: tuple[Demand, ...] = ()
    undone: bool = False

    def taken_back(self) -> Seen:
        """The same after its transaction went back to a savepoint: the work was done, others waited for it, nothing is left."""
        return replace(
            self,
            undone=True,
            held=(),
            changes=tuple(each for each in self.changes if each.kind in _WORK),
            settings=(),
            demands=(),
        )

    def mode_on(self, table: str) -> str:
        """The strongest lock that its transaction holds on a table by then."""
        return strongest(each.mode for each in (*self.held, *self.locks) if each.relation == table)

    @property
    def rows_read(self) -> tuple[str, ...]:
        """Tables whose rows it gives to the code that ran it."""
        return self.reads if not self.within and self.gives_rows else ()

    @property
    def gives_rows(self) -> bool:
        """Whether it is a query, or a change that gives the rows it changed."""
        return _GIVES_ROWS.match(self.sql) is not None

    @property
    def rewrites(self) -> tuple[str, ...]:
        """Tables written anew."""
        return tuple(each.table for each in self.changes if each.kind in {"rewrite", "refresh"})

    @property
    def dropped(self) -> tuple[str, ...]:
        """Tables, views and columns that are gone, and tables that lost their rows."""
        found = []
        for each in self.changes:
            if each.kind in {"drop-table", "drop-view", "truncate"}:
                found.append(each.table)
            elif each.kind == "drop-column":
                found.append(f"{each.table}.{each.what}")
        return tuple(found)

    def as_dict(self) -> dict[str, object]:
        """The statement in ``migrate.plan --json``."""
        return {
            "revision": self.revision,
            "sql": self.sql,
            "autocommit": self.alone,
            "locks": [asdict(each) for each in self.locks],
            "rewrites": list(self.rewrites),
            "scans": list(self.scans),
            "dropped": list(self.dropped),
            "writes": [asdict(each) for each in self.writes],
            "settings": [asdict(each) for each in self.settings],
            "failed": self.failed,
            "given": self.given or None,
            "undone": self.undone,
        }


@dataclass(frozen=True, slots=True)
class Trace:
    """A plan carried out on the target's bare schema.

    ``revisions`` were traced to their end; ``untraced`` says of what was not why not, one line each.
    ``source`` says where the schema is from.
    """

    server: str
    source: str
    seconds: float
    statements: tuple[Seen, ...]
    revisions: tuple[str, ...]
    untraced: tuple[str, ...] = ()

    def rows_read(self, revision: str) -> tuple[str, ...]:
        """Tables whose rows the code of a revision was given, or would have been if there were any."""
        found = {
            table: None for seen in self.statements if seen.revision == revision for table in seen.rows_read
        }
        return tuple(found)

    def as_dict(self) -> dict[str, object]:
        """``trace`` in ``migrate.plan --json``."""
        return {
            "server": self.server,
            "schema": self.source,
            "seconds": round(self.seconds, 3),
            "statements": [each.as_dict() for each in self.statements],
            "untraced": list(self.untraced),
        }
