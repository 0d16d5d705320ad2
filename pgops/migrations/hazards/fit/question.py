"""A demand as the question how many rows do not fulfil it. SQL texts; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.fit.demand import Demand, NewType
from pgops.migrations.hazards.target_tables import qualified

MOST = 10_000
"""More rows than this are not counted."""

_WHOLE = {
    "smallint": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_TEXTS = ("text", "character varying", "character", "name")
_KNOWS_VALID_INPUT = 16
_OPERATOR = re.compile(r"[-+*/<>=~!@#%^&|`?]+")


class NotAskedError(Exception):
    """Why rows are not asked for a demand."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the target: its type (``format_type`` without modifiers), whether an enum, and whether reading and
    comparing it runs nothing but PostgreSQL's own functions; ``size`` are the numbers behind the type in parentheses."""

    type: str
    enum: bool
    own: bool
    size: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """``count`` gives the rows (and the values they share, for a UNIQUE); ``{sample}`` stands where a sample of the table
    is asked for. ``show`` shows a person which rows they are."""

    count: str
    show: str
    samples: bool


def question(
    demand: Demand,
    columns: Mapping[str, Column],
    enums: frozenset[str],
    major: int,
    *,
    partitioned: frozenset[str] = frozenset(),
) -> Question:
    """How a target is asked.

    :param columns: the table's, in the target, by name.
    :param partitioned: which of the demand's tables are; of others a key holds for their own rows, not their children's.
    :param enums: qualified names of the target's enums.
    :raises MadeHereError: the plan itself makes the column.
    :raises NotAskedError: it can't be asked without running what is not PostgreSQL's own, or not before the run.
    """
    named = dict(demand.columns) if demand.columns is not None else {each: each for each in columns}
    for text in (*demand.keys, demand.condition, *(expression for _, expression in demand.made)):
        _refuse_foreign(text, named, columns, enums)
    if not all(_OPERATOR.fullmatch(each) for each in demand.operators):
        raise NotAskedError(f"it compares by {', '.join(demand.operators)}, which a look does not run")
    listed = ", ".join(
        f"t.{quoted(there)} AS {quoted(here)}" for here, there in named.items() if there in columns
    )
    keyed = demand.kind in {"unique", "exclude", "foreign-key"} and demand.table not in partitioned
    only = "ONLY " if demand.alone or keyed else ""
    whole = f"(SELECT {listed or 'NULL'}{{ctid}} FROM {only}{qualified(demand.table)} AS t{{sample}})"
    if demand.made:
        made = ", ".join(f"({expression}\n) AS {quoted(name)}" for name, expression in demand.made)
        whole = f"(SELECT g.*, {made} FROM {whole} AS g)"
    source = whole.replace("{ctid}", "")
    match demand.kind:
        case "unique":
            return _unique(demand, source)
        case "exclude":
            return _exclude(
                demand, whole.replace("{ctid}", ", t.tableoid AS pgops_table, t.ctid AS pgops_row")
            )
        case "foreign-key":
            return _rows(source, _without_parent(demand, "" if demand.other in partitioned else "ONLY "))
        case "not-null":
            return _rows(source, f"r.{demand.keys[0]} IS NULL")
        case "check":
            return _rows(source, f"NOT ({demand.condition}\n)")
        case "type":
            assert demand.type is not None
            key = demand.keys[0]
            old = columns.get(named.get(bare(key), ""))
            if old is None:
                raise MadeHereError
            wrong = _not_of(f"r.{key}", old, demand.type, major)
            if wrong is None:
                raise FitsAnywayError
            return _rows(source, wrong)


class MadeHereError(Exception):
    """The plan makes the table or column, and fills it."""


class FitsAnywayError(Exception):
    """Every value of the old type is one of the new type."""


def _rows(source: str, wrong: str) -> Question:
    return Question(
        f"SELECT count(*), 0 FROM (SELECT FROM {source} AS r WHERE {wrong} LIMIT {MOST + 1}) AS found",
        _in_one_line(f"SELECT * FROM {source} AS r WHERE {wrong} LIMIT 20"),
        samples=True,
    )


def _in_one_line(question: str) -> str:
    return question.replace("{sample}", "").replace("\n)", ")")


def _unique(demand: Demand, source: str) -> Question:
    keys = ", ".join(f"({each})" for each in demand.keys)
    wanted = [f"({demand.condition}\n)"] if demand.condition else []
    if not demand.nulls_equal:
        wanted += [f"({each}) IS NOT NULL" for each in demand.keys]
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    shared = f"FROM {source} AS r{where} GROUP BY {keys} HAVING count(*) > 1"
    return Question(
        f"SELECT coalesce(sum(n), 0), count(*) FROM (SELECT count(*) AS n {shared}) AS found",
        _in_one_line(f"SELECT {keys}, count(*) {shared} ORDER BY count(*) DESC LIMIT 20"),
        samples=False,
    )


def _exclude(demand: Demand, source: str) -> Question:
    source = source.replace("{sample}", "")
    pairs = " AND ".join(
        f"a.{key} {operator} b.{key}" for key, operator in zip(demand.keys, demand.operators, strict=True)
    )
    if demand.condition:
        source = f"(SELECT * FROM {source} AS r WHERE {demand.condition}\n)"
    wrong = (
        f"EXISTS (SELECT FROM {source} AS b WHERE (a.pgops_table, a.pgops_row) <> (b.pgops_table, b.pgops_row)"
        f" AND {pairs})"
    )
    return Question(
        f"SELECT count(*), 0 FROM (SELECT FROM {source} AS a WHERE {wrong} LIMIT {MOST + 1}) AS found",
        _in_one_line(f"SELECT * FROM {source} AS a WHERE {wrong} LIMIT 20"),
        samples=False,
    )


def _without_parent(demand: Demand, only: str) -> str:
    there = " AND ".join(
        f"p.{other} = r.{key}" for key, other in zip(demand.keys, demand.other_keys, strict=True)
    )
    named = " AND ".join(f"r.{key} IS NOT NULL" for key in demand.keys)
    return f"{named} AND NOT EXISTS (SELECT FROM {only}{qualified(demand.other)} AS p WHERE {there})"


def _not_of(value: str, old: Column, new: NewType, major: int) -> str | None:
    """Where a value is none of the new type; ``None`` where each one is."""
    if not old.own:
        raise NotAskedError(f"its type {old.type} has functions of its own, which a look does not run")
    if new.labels is not None:
        labels = ", ".join("'" + label.replace("'", "''") + "'" for label in new.labels)
        return f"{value}::text NOT IN ({labels})" if labels else f"{value} IS NOT NULL"
    if new.name in {"character varying", "character"}:
        # Blanks at the end may be left out: https://www.postgresql.org/docs/current/datatype-character.html
        size = new.size[0] if new.size else 1 if new.name == "character" else None
        if size is not None and old.type in {"character varying", "character"} and 0 < sum(old.size) <= size:
            return None
        return None if size is None else f"length(rtrim({value}::text, ' ')) > {size}"
    if old.type in _NUMBERS and new.name in _WHOLE:
        least, most = _WHOLE[new.name]
        if _WHOLE.get(old.type, (least - 1, most))[0] >= least:
            return None
        return f"round({value}::numeric) NOT BETWEEN {least} AND {most}"
    if old.type in _NUMBERS and new.name == "numeric":
        if not new.size:
            return None
        precision, scale = (*new.size, 0)[:2]
        if _fits_digits(old, precision, scale):
            return None
        return f"abs(round({value}::numeric, {scale})) >= 1e{precision - scale} AND {value}::numeric <> 'NaN'"
    if new.name == "text" or (old.type not in _TEXTS and not old.enum):
        return None
    if major < _KNOWS_VALID_INPUT:
        raise NotAskedError(f"servers before {_KNOWS_VALID_INPUT} can't say which text is a valid {new.name}")
    size_of = f"({', '.join(map(str, new.size))})" if new.size else ""
    return f"NOT pg_input_is_valid({value}::text, '{new.name.replace(chr(39), chr(39) * 2)}{size_of}')"


def _fits_digits(old: Column, precision: int, scale: int) -> bool:
    """Whether every number of the old type has so few digits before the point, and behind it none that is rounded."""
    if old.type in _WHOLE:
        return len(str(_WHOLE[old.type][1])) <= precision - scale
    before, behind = (*old.size, 0, 0)[:2]
    return bool(old.size) and before - behind <= precision - scale and behind <= scale


def _refuse_foreign(
    text: str, named: Mapping[str, str], columns: Mapping[str, Column], enums: frozenset[str]
) -> None:
    """An expression may use PostgreSQL's own functions, operators and types, enums, and columns of such types.

    With ``pg_catalog`` alone to look in, what is not qualified is one of these or is not found.

    :raises NotAskedError: it names something else, whose owner's code would run in a look.
    """
    for name, cast in qualified_names(text):
        if name.split(".")[0] != "pg_catalog" and not (cast and name in enums):
            raise NotAskedError(f"it names {name}, and a look does not run what is not PostgreSQL's own")
    for token, _, _ in sql.scan(text):
        if token == sql.Token("mark", ";") or token == sql.Token("word", "select"):
            raise NotAskedError("it is more than an expression")
        if token.kind not in {"word", "quoted"}:
            continue
        for here, there in named.items():
            if token.value == here and there in columns and not columns[there].own:
                raise NotAskedError(
                    f"column {here} is of type {columns[there].type}, and a look does not run what is not PostgreSQL's own"
                )


def quoted(name: str) -> str:
    """A name in quotes."""
    return '"' + name.replace('"', '""') + '"'


def bare(name: str) -> str:
    """A name without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def qualified_names(text: str) -> Iterator[tuple[str, bool]]:
    """Each ``schema.name`` of an expression, quoted where it is, and whether a cast to it."""
    found = list(sql.scan(text))
    dot, colon = sql.Token("mark", "."), sql.Token("mark", ":")
    for at in range(1, len(found) - 1):
        if found[at][0] == dot and found[at - 1][0].kind in {"word", "quoted"}:
            before = [each[0] for each in found[max(0, at - 3) : at - 1]]
            yield text[found[at - 1][1] : found[at + 1][2]], before == [colon, colon]
