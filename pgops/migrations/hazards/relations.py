"""Relations that a statement changed or read under a lock, as hazards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgops.environments import HazardSettings
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.judge import facts_of, recipe, span
from pgops.migrations.hazards.lock_modes import blocks_writes, strongest, whom_it_blocks
from pgops.migrations.hazards.observed import Change, Seen
from pgops.migrations.hazards.rule import Level, Rule
from pgops.migrations.hazards.rules import BESIDE_DEFAULT_PARTITION, STATEMENT_RULES
from pgops.migrations.hazards.sql import Statement
from pgops.migrations.hazards.target_tables import TargetTables, name_of
from pgops.migrations.hazards.traced_rules import READING
from pgops.units import human_bytes

_APART = frozenset(["drop-column", "rename-column", "drop-index"])
"""Changes that are told one by one, not once for each table."""


def of_relations(
    seen: Seen, statement: Statement, target: TargetTables, settings: HazardSettings
) -> Iterator[Hazard]:
    told: set[tuple[str, str]] = set()
    by_table: dict[str, list[Change]] = {}
    for change in seen.changes:
        if change.table.startswith("schema "):
            continue
        by_table.setdefault(change.table, []).append(change)
    for table in [*by_table, *(name for name in seen.scans if name not in by_table)]:
        for rule, change, did in _harms(seen, statement, table, by_table.get(table, []), target):
            of = target.told_of(seen, table) if rule.name != "attaching-partition" else table
            if (rule.name, f"{of} {change.what}" if change.kind in _APART else of) in told:
                continue
            told.add((rule.name, f"{of} {change.what}" if change.kind in _APART else of))
            hazard = _hazard(rule, statement, seen, of, change, did, target, settings)
            if hazard is not None:
                yield hazard


def _harms(
    seen: Seen, statement: Statement, table: str, changes: Sequence[Change], target: TargetTables
) -> Iterator[tuple[Rule, Change, str]]:
    """(Rule, change, what PostgreSQL did) for one table."""
    kinds: set[str] = {each.kind for each in changes}
    lock = seen.mode_on(table)
    rules = STATEMENT_RULES
    copied = kinds & {"rewrite", "truncate", "refresh"}
    for change in changes:
        match change.kind:
            case "rewrite":
                yield _of_rewrite(statement, kinds), change, f"rewrote {table} under {lock}"
            case "refresh":
                yield rules["refreshing-materialized-view"], change, f"computed {table} anew under {lock}"
            case "truncate":
                cascades = statement.has("cascade") or not statement.starts("truncate")
                name = "ban-truncate-cascade" if cascades else "truncating-table"
                yield rules[name], change, f"emptied {table}"
            case "drop-table" if change.detail != "m":
                name = "ban-drop-schema" if statement.starts("drop", "schema") else "ban-drop-table"
                yield rules[name], change, f"dropped {table}"
            case "drop-column":
                yield rules["ban-drop-column"], change, f"dropped {change.what} of {table}"
            case "rename" if change.detail != "v":
                yield rules["renaming-table"], change, f"renamed {table} to {change.what}"
            case "rename-column":
                yield rules["renaming-column"], change, f"renamed {change.what} of {table} to {change.detail}"
            case "drop-index":
                # It takes an instant, as adding a column does. The index of a constraint goes with it.
                used = target.scans.get((table, change.what), 0)
                if (
                    used
                    and not copied
                    and not statement.starts("alter")
                    and not _concurrently(seen, statement)
                ):
                    did = f"dropped {change.what} under {lock} on {table}, which queries have used {used:,} times"
                    yield rules["require-concurrent-index-deletion"], change, did
            case "build-index":
                # Nobody writes to a materialized view but REFRESH.
                unread = target.kinds.get(table) == "m" and lock != "ACCESS EXCLUSIVE"
                if not copied and not unread and not _concurrently(seen, statement):
                    yield (
                        _of_index(statement, kinds, changes),
                        change,
                        f"built {change.what} on {table} under {lock}",
                    )
            case "rebuild-index":
                if not copied and not _concurrently(seen, statement):
                    yield (
                        rules["require-concurrent-reindex"],
                        change,
                        f"built {change.what} of {table} anew under {_lock_on(seen, table, change)}",
                    )
            case "detach":
                if not seen.alone:
                    yield (
                        rules["require-concurrent-partition-detach"],
                        change,
                        f"detached {table} under {lock}: whoever reads the partitioned table misses its rows",
                    )
            case "add-column":
                if change.detail == "required":
                    yield (
                        rules["adding-required-field"],
                        change,
                        f"added {change.what} to {table}, NOT NULL and without a default, which fails where there are rows",
                    )
            case _:
                continue
    if table in seen.scans and not copied and not kinds & {"build-index", "rebuild-index"}:
        found = _of_scan(seen, statement, table, changes, lock, target)
        if found is not None:
            yield found


def _lock_on(seen: Seen, table: str, change: Change) -> str:
    """The lock that counts: of an index that is built anew its own as well, since whoever reads the table wants it."""
    lock = seen.mode_on(table)
    if change.kind != "rebuild-index":
        return lock
    own = [each.mode for each in seen.held if each.relation.rpartition(".")[2].strip('"') == change.what]
    return strongest([lock, *own])


def _concurrently(seen: Seen, statement: Statement) -> bool:
    return seen.alone and statement.has("concurrently")


def _of_rewrite(statement: Statement, kinds: set[str]) -> Rule:
    if "retype" in kinds:
        return STATEMENT_RULES["changing-column-type"]
    if "add-column" in kinds:
        return STATEMENT_RULES["adding-field-with-default"]
    return STATEMENT_RULES["rewriting-table"]


def _of_index(statement: Statement, kinds: set[str], changes: Sequence[Change]) -> Rule:
    constraints = {each.detail[:1] for each in changes if each.kind == "constraint"}
    if "p" in constraints:
        return STATEMENT_RULES["adding-serial-primary-key-field"]
    if "u" in constraints:
        return STATEMENT_RULES["disallowed-unique-constraint"]
    if "x" in constraints:
        return STATEMENT_RULES["constraint-missing-not-valid"]
    if "retype" in kinds:
        return STATEMENT_RULES["changing-column-type"]
    if "attach" in kinds:
        return STATEMENT_RULES["attaching-partition"]
    return STATEMENT_RULES["require-concurrent-index-creation"]


def _of_scan(
    seen: Seen, statement: Statement, table: str, changes: Sequence[Change], lock: str, target: TargetTables
) -> tuple[Rule, Change, str] | None:
    """A table that is read from end to end while others wait for it."""
    if not blocks_writes(lock) or seen.writes:
        return None
    if statement.starts("refresh"):
        return None  # CONCURRENTLY keeps others from writing a view that nobody else writes
    if seen.sql.lstrip()[:6].lower() in {"select", "insert", "with"}:
        return None
    did = f"read every row of {table} under {lock}"
    first: dict[str, Change] = {}
    for each in changes:
        first.setdefault(each.kind if each.kind != "constraint" else f"constraint {each.detail[:1]}", each)
    rules = STATEMENT_RULES
    if "not-null" in first:
        return rules["adding-not-nullable-field"], first["not-null"], did
    if "constraint f" in first:
        return rules["adding-foreign-key-constraint"], first["constraint f"], did
    if "constraint c" in first:
        name = "adding-column-with-check" if "add-column" in first else "constraint-missing-not-valid"
        return rules[name], first["constraint c"], did
    if "attach" in first:
        return rules["attaching-partition"], first["attach"], did
    if table in target.defaults:
        return BESIDE_DEFAULT_PARTITION, Change("attach", table), did
    others = [each for each in seen.changes if each.table != table]
    if any(each.kind == "constraint" and each.detail[:1] == "f" for each in others):
        return None  # the table that a foreign key refers to is looked up, and locked: a wait, not a harm
    return READING, Change("constraint", table), did


def _hazard(
    rule: Rule,
    statement: Statement,
    seen: Seen,
    table: str,
    change: Change,
    did: str,
    target: TargetTables,
    settings: HazardSettings,
) -> Hazard | None:
    state = target.states.get(table)
    lock = _lock_on(seen, table, change)
    facts = {**facts_of(statement, name_of(table)), **_from_change(change)}
    fix = recipe(rule, statement, facts)
    text = f"{seen.given}: {did}" if seen.given else did
    blocked = whom_it_blocks(lock) if rule.blocked and lock != "ACCESS SHARE" else ""
    if state is None:
        return Hazard(
            rule.name,
            "warning",
            table,
            seen.revision,
            statement.line,
            f"{text} (not in the target now)",
            fix,
            lock=lock,
        )
    if not state.has_rows:
        return Hazard(
            rule.name,
            "note",
            state.name,
            seen.revision,
            statement.line,
            f"{text} (empty)",
            fix,
            lock=lock,
            rows=0,
            bytes=state.bytes,
        )
    level: Level = "block" if state.large(settings) else rule.small
    text += f" (about {state.rows:,} rows, {human_bytes(state.bytes)})"
    if blocked:
        text += f"; {lock} blocks {blocked} {span(rule, rule.cost.seconds(state.bytes))}"
    return Hazard(
        rule.name,
        level,
        state.name,
        seen.revision,
        statement.line,
        text,
        fix,
        lock=lock,
        rows=state.rows,
        bytes=state.bytes,
    )


def _from_change(change: Change) -> dict[str, str]:
    if change.kind in {"drop-column", "rename-column", "not-null", "retype", "add-column"}:
        return {"column": change.what}
    if change.kind == "constraint" and change.what:
        return {"constraint": change.what}
    if change.kind in {"build-index", "drop-index"}:
        return {"index": change.what}
    return {}
