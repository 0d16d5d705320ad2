"""What a statement demands of rows where only the target knows it: VALIDATE CONSTRAINT, and the columns of a domain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.fit.by_sql import actions, bare_name, of_constraint, read
from pgops.migrations.hazards.fit.demand import Demand
from pgops.migrations.hazards.sql import Statement, Token
from pgops.postgres import Connection, fetch_all, fetch_one, names

_CONSTRAINT = """
SELECT pg_get_constraintdef(oid) FROM pg_constraint
 WHERE {of} = %s AND conname = %s AND NOT convalidated
"""
# A domain over this one has its constraints too; what a partition has, its table shows.
_COLUMNS = """
WITH RECURSIVE domains AS (
    SELECT %s::oid AS oid
     UNION SELECT t.oid FROM pg_type AS t JOIN domains AS d ON t.typbasetype = d.oid WHERE t.typtype = 'd')
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(a.attname)
  FROM pg_attribute AS a JOIN domains AS d ON d.oid = a.atttypid
  JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT a.attisdropped
   AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid)
 ORDER BY 1, 2
"""


def of_validation(connection: Connection, statement: Statement) -> Iterator[Demand]:
    """What an ``ALTER TABLE … VALIDATE CONSTRAINT`` demands, for constraints that the target has.

    :param connection: of the target, read-only.
    """
    table = sql.altered(statement)
    if table is None:
        return
    for action in actions(statement):
        if not action.words("validate", "constraint"):
            continue
        oid = names.relation(connection, table.quoted)
        row = fetch_one(connection, _CONSTRAINT.format(of="conrelid"), (oid, bare_name(action.name())))
        if row is not None:
            yield from of_constraint(table.quoted, read(row[0].removesuffix(" NOT VALID")))


@dataclass
class DomainDemands:
    """Reads one ALTER DOMAIN after the other; what was added NOT VALID is remembered."""

    connection: Connection
    _not_valid: dict[tuple[int, str], str] = field(default_factory=dict)

    def of(self, statement: Statement) -> Iterator[Demand]:
        """The demands on each column of the domain that the target has."""
        if not statement.starts("alter", "domain"):
            return
        words = read(statement.text)
        words.words("alter", "domain")
        name = words.name()
        domain = names.domain(self.connection, name)
        if domain is None:
            return  # the plan makes it
        if words.words("set", "not", "null"):
            yield from self._each(domain, name, "NOT NULL")
        elif words.words("add"):
            constraint = words.name() if words.words("constraint") else ""
            definition = words.rest()
            if definition.lower().split()[-2:] == ["not", "valid"]:
                self._not_valid[domain, bare_name(constraint)] = definition
            else:
                yield from self._each(domain, name, definition)
        elif words.words("validate", "constraint"):
            constraint = bare_name(words.name())
            row = fetch_one(self.connection, _CONSTRAINT.format(of="contypid"), (domain, constraint))
            definition = self._not_valid.pop((domain, constraint), "" if row is None else row[0])
            yield from self._each(domain, name, definition)

    def _each(self, domain: int, name: str, definition: str) -> Iterator[Demand]:
        action = read(definition)
        condition = action.parenthesis() if action.words("check") else None
        not_null = condition is None and action.words("not", "null")
        for table, column in fetch_all(self.connection, _COLUMNS, (domain,)):
            shown = table.removeprefix("public.")
            if not_null:
                yield Demand("not-null", shown, f"{column} {name} NOT NULL", keys=(column,))
            elif condition is not None:
                yield Demand(
                    "check",
                    shown,
                    f"CHECK ({condition}) of {name} in {column}",
                    condition=of_column(condition, column),
                )


def of_column(condition: str, column: str) -> str:
    """A domain's condition with a column in the place of ``VALUE``."""
    found, end = "", 0
    for token, begin, behind in sql.scan(condition):
        if token == Token("word", "value"):
            found += condition[end:begin] + column
            end = behind
    return found + condition[end:]
