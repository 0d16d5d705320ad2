"""A plan's statements, and what they touch in the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgops.migrations.hazards import live, partitions, sql
from pgops.migrations.hazards.known import Known
from pgops.migrations.hazards.sql import Name, Statement


@dataclass(slots=True)
class Plan:
    """The statements of a plan that touch something, and what they touch.

    ``touched`` holds for each statement the tables as they are called in the target before the plan
    runs; a table that the plan itself makes is in ``fresh`` instead. ``defaults`` holds for the place of a
    statement that makes a partition the default partition beside it, if the target has that as a table.
    """

    statements: list[Statement] = field(default_factory=list)
    touched: list[list[Name]] = field(default_factory=list)
    fresh: list[list[Name]] = field(default_factory=list)
    defaults: dict[int, Name] = field(default_factory=dict)
    unseen: list[tuple[str, int, str]] = field(default_factory=list)
    states: Mapping[Name, live.TableState] = field(default_factory=dict)
    version: str = ""

    def earlier_on(self, place: int, table: live.TableState) -> list[Statement]:
        """What the plan does to a table of the target before a statement, whatever the table is called by then."""
        found = []
        before = zip(self.statements[:place], self.touched, self.fresh, strict=False)
        for statement, touched, fresh in before:
            named = sql.tables(statement)
            if named and named[0] in fresh:
                continue  # the rest is what it refers to
            changed = touched[:1] if named else touched
            if any(name in self.states and self.states[name].oid == table.oid for name in changed):
                found.append(statement)
        return found


def read(known: Known, sql_by_revision: Mapping[str, str], unreadable: Mapping[str, str]) -> Plan:
    """Take the plan's SQL apart and look its tables up."""
    plan = Plan()
    plan.unseen = [
        (revision, 0, f"not all of its SQL is known before it runs ({why})")
        for revision, why in unreadable.items()
    ]
    for revision, text in sql_by_revision.items():
        for statement in sql.statements(revision, text):
            if statement.starts("do"):
                plan.unseen.append((revision, statement.line, "runs a DO block, whose effect can't be read"))
            if not sql.is_alembics_own(statement):
                plan.statements.append(statement)
    if not plan.statements:
        return plan
    plan.version = known.version
    _follow_names(known, plan)
    plan.states = known.table_states({name for names in plan.touched for name in names})
    return plan


def _follow_names(known: Known, plan: Plan) -> None:
    """Fill ``touched``, ``fresh`` and ``defaults``: tables made or renamed earlier in the plan are known by it."""
    schema = known.schema

    def full(name: Name) -> Name:
        return Name(name.name, name.schema or schema)

    there = known.tables_of_indexes(
        {name for statement in plan.statements for name in sql.indexes(statement)}
    )
    of_index = {full(index): table for index, table in there.items()}
    made: set[Name] = set()
    before: dict[Name, Name] = {}
    defaults: dict[Name, Name] = {}
    for place, statement in enumerate(plan.statements):
        names = sql.tables(statement)
        for index in sql.indexes(statement):
            if (table := of_index.get(full(index))) is not None:
                names.append(table)
        if (attached := partitions.attachment(statement)) is not None:
            parent = full(attached.parent)
            default = defaults.get(parent)
            if default is None and parent not in made:
                split = known.partitioning(before.get(parent, attached.parent))
                default = split.default if split is not None else None
            if default is not None:
                names.append(default)
                if full(default) not in made:
                    plan.defaults[place] = before.get(full(default), default)
            if attached.is_default:
                defaults[parent] = attached.partition
        if statement.starts("drop", "schema"):
            for dropped in statement.names_at(statement.skip(2, "if", "exists")):
                names += known.tables_of_schema(dropped.name)
        plan.fresh.append([name for name in names if full(name) in made])
        plan.touched.append([before.get(full(name), name) for name in names if full(name) not in made])
        made.update(full(name) for name in sql.created(statement))
        if (index_made := sql.created_index(statement)) is not None:
            of_index[full(index_made[0])] = index_made[1]
        if (pair := sql.renamed(statement)) is not None:
            old, new = pair
            if full(old) in defaults:
                defaults[full(new)] = defaults.pop(full(old))
            if full(old) in made:
                made.add(full(new))
            else:
                before[full(new)] = before.get(full(old), old)
