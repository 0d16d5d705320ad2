"""What a statement demands of the rows that are there: a constraint, NOT NULL, a narrower type. Values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["not-null", "check", "unique", "foreign-key", "exclude", "type"]


@dataclass(frozen=True, slots=True)
class NewType:
    """The type that a column gets: ``name`` as ``format_type`` gives it, without what stands in parentheses.

    ``size`` are the numbers in parentheses, ``labels`` those of an enum (``None``: it is none). ``cut`` says that the
    statement casts explicitly, so that what is too long is cut off and nothing fails.
    """

    name: str
    size: tuple[int, ...] = ()
    labels: tuple[str, ...] | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that every row of ``table`` has to fulfil when a statement runs.

    ``table`` is the name that it had before the plan, ``public.`` left out; ``says`` the demand in SQL's words. ``keys``
    are columns or expressions and ``condition`` a CHECK's expression or an index's predicate, as SQL. ``columns`` gives
    each column that they may name and what it is called in the target, without quotes; ``None``: the same. ``other`` is the
    table that a foreign key refers to, by its primary key if there are no ``other_keys``. ``operators`` are those of an EXCLUDE, one for each key. ``mended`` says what in
    the statement itself may make rows fit (a ``USING``). ``alone``: the rows of the table's children are not asked
    for it (``ONLY``, ``NO INHERIT``). ``made`` are columns that the plan itself has added and that the demand is about,
    each with what it holds in every row that was there before, as SQL over the table's columns.
    """

    kind: Kind
    table: str
    says: str
    keys: tuple[str, ...] = ()
    condition: str = ""
    nulls_equal: bool = False
    other: str = ""
    other_keys: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    type: NewType | None = None
    columns: tuple[tuple[str, str], ...] | None = None
    mended: str = ""
    alone: bool = False
    made: tuple[tuple[str, str], ...] = ()
