"""An application that is made more than once in a process makes the tables that it made the first time.

The plan makes it, and the run makes it again. ``create_all()`` in the middle of its making knows the models that were
imported until then; the second time all of them were, and tables of revisions that have not run yet would be there
before them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import MetaData, Table
from sqlalchemy.schema import sort_tables

_FIRST: WeakKeyDictionary[MetaData, list[frozenset[str]]] = WeakKeyDictionary()
"""The tables that were known at the first, second, ... ``create_all()`` of a making."""


@contextlib.contextmanager
def with_the_models_of_the_first_time() -> Iterator[None]:
    """For the block, one making of the application, ``create_all()`` leaves out tables that it did not know before."""
    create_all = MetaData.create_all
    calls: Counter[int] = Counter()

    def create_all_of_then(
        metadata: MetaData, bind: Any = None, tables: Sequence[Table] | None = None, *more: Any, **named: Any
    ) -> None:
        makings = _FIRST.setdefault(metadata, [])
        at = calls[id(metadata)]
        calls[id(metadata)] += 1
        if at == len(makings):
            makings.append(frozenset(metadata.tables))
        if makings[at] == metadata.tables.keys():
            create_all(metadata, bind, tables, *more, **named)
            return
        wanted = metadata.tables.values() if tables is None else tables
        # One by one: create_all() of some tables makes the enum types of all.
        for table in sort_tables([each for each in wanted if each.key in makings[at]]):
            table.create(bind, checkfirst=True)

    MetaData.create_all = create_all_of_then  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        MetaData.create_all = create_all  # type: ignore[method-assign]
