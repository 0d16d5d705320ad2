"""What PostgreSQL did with a plan, times what the target is like now, as hazards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgops.environments import HazardSettings
from pgops.migrations.hazards import live, sql
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.judge import facts_of, recipe, span
from pgops.migrations.hazards.observed import Change, Seen, Trace
from pgops.migrations.hazards.rules import BESIDE_DEFAULT_PARTITION, STATEMENT_RULES, Level, Rule
from pgops.migrations.hazards.sql import Name, Statement
from pgops.migrations.hazards.traced_rules import READING, STATES
from pgops.postgres import Connection, fetch_all, fetch_value
from pgops.postgres.locks import lock_key
from pgops.units import human_bytes

_ORDER = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
_BLOCKING = _ORDER.index("SHARE")
_FEW = 1_000
_ENDS = re.compile(r"\bpg_(?:terminate|cancel)_backend\s*\(", re.IGNORECASE)
_TIMEOUTS = frozenset(["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"])
_UNITS = {"": 0.001, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "us": 0.000001}


@dataclass(frozen=True, slots=True)
class _Target:
    """What the target has under the names of the trace."""

    states: Mapping[str, live.TableState]
    roots: Mapping[str, str]
    defaults: frozenset[str]
    user: str


def judge(
    connection: Connection, trace: Trace, sql_by_revision: Mapping[str, str], settings: HazardSettings
) -> Iterator[Hazard]:
    """The hazards of what a trace saw."""
    target = _target(connection, trace)
    lines = {revision: _lines(text) for revision, text in sql_by_revision.items()}
    finally_disabled = _left_disabled(trace)
    for seen in trace.statements:
        statement = _statement(seen, lines)
        if seen.failed is not None:
            yield _state(
                "failing-statement",
                statement,
                None,
                f"PostgreSQL refused it on the target's own schema: {seen.failed}",
            )
            continue
        yield from _of_relations(seen, statement, target, settings)
        yield from _of_writes(seen, statement, target, settings)
        yield from _of_session(seen, statement)
        yield from _of_access(connection, seen, statement, target, finally_disabled)


def _target(connection: Connection, trace: Trace) -> _Target:
    names = {each.table for seen in trace.statements for each in seen.changes}
    names |= {each.table for seen in trace.statements for each in seen.writes}
    names |= {name for seen in trace.statements for name in seen.scans}
    names = {each for each in names if not each.startswith("schema ")}
    rows = fetch_all(
        connection,
        """
        SELECT shown,
               (SELECT CASE n.nspname WHEN 'public' THEN '' ELSE pg_catalog.quote_ident(n.nspname) || '.' END
                       || pg_catalog.quote_ident(r.relname)
                  FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
                 WHERE r.oid = pg_catalog.pg_partition_root(c.oid)),
               EXISTS (SELECT FROM pg_catalog.pg_partitioned_table AS p WHERE p.partdefid = c.oid)
          FROM unnest(%s::text[], %s::text[]) AS given (shown, qualified)
          JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass(qualified)
        """,
        (sorted(names), [_qualified(each) for each in sorted(names)]),
    )
    roots = {row[0]: row[1] or row[0] for row in rows}
    wanted = {shown: _name(shown) for shown in {*names, *roots.values()}}
    states = live.table_states(connection, wanted.values())
    return _Target(
        {shown: states[name] for shown, name in wanted.items() if name in states},
        roots,
        frozenset(row[0] for row in rows if row[2]),
        str(fetch_value(connection, "SELECT current_user::text")),
    )


def _statement(seen: Seen, lines: Mapping[str, Mapping[str, int]]) -> Statement:
    words = next(sql.statements(seen.revision, seen.sql), None)
    line = lines.get(seen.revision, {}).get(_key(seen.sql), 0)
    tokens = words.tokens if words is not None else ()
    return Statement(seen.revision, line, seen.sql, tokens, None if seen.alone else 0)


def wanted_locks(
    connection: Connection, trace: Trace, sql_by_revision: Mapping[str, str]
) -> dict[int, list[tuple[str, Statement]]]:
    """Oid in the target -> the locks that the plan takes on it, each with its statement."""
    lines = {revision: _lines(text) for revision, text in sql_by_revision.items()}
    named: dict[str, list[tuple[str, Statement]]] = {}
    for seen in trace.statements:
        statement = _statement(seen, lines)
        for lock in seen.locks:
            if _ORDER.index(lock.mode) > _ORDER.index("ACCESS SHARE"):
                named.setdefault(lock.relation, []).append((lock.mode, statement))
    rows = fetch_all(
        connection,
        "SELECT shown, to_regclass(qualified)::oid::int8"
        " FROM unnest(%s::text[], %s::text[]) AS given (shown, qualified)",
        (sorted(named), [_qualified(each) for each in sorted(named)]),
    )
    return {row[1]: named[row[0]] for row in rows if row[1] is not None}


def _name(shown: str) -> Name:
    """``public."Order"`` as PostgreSQL shows it -> its parts."""
    statement = next(sql.statements("", shown), None)
    found = statement.name_at(0)[0] if statement is not None else None
    return found or Name(shown)


def _qualified(shown: str) -> str:
    """A name as the trace shows it, with its schema: the trace leaves out ``public``, and our sessions look nowhere."""
    return shown if _name(shown).schema else f"public.{shown}"


def _lines(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for statement in sql.statements("", text):
        found.setdefault(_key(statement.text), statement.line)
    return found


def _key(text: str) -> str:
    return " ".join(text.rstrip("; \n").split())


def _strongest(seen: Seen, table: str) -> str:
    held = [each.mode for each in (*seen.held, *seen.locks) if each.relation == table]
    return max(held, key=_ORDER.index, default="ACCESS SHARE")


def _grouped(seen: Seen, table: str, target: _Target) -> str:
    """The partitioned table that a partition's finding is told of, where the statement took that too."""
    root = target.roots.get(table, table)
    return root if root != table and any(each.relation == root for each in seen.held) else table


def _of_relations(
    seen: Seen, statement: Statement, target: _Target, settings: HazardSettings
) -> Iterator[Hazard]:
    told: set[tuple[str, str]] = set()
    by_table: dict[str, list[Change]] = {}
    for change in seen.changes:
        if change.table.startswith("schema "):
            continue
        by_table.setdefault(change.table, []).append(change)
    for table in [*by_table, *(name for name in seen.scans if name not in by_table)]:
        for rule, change, did in _harms(seen, statement, table, by_table.get(table, []), target):
            of = _grouped(seen, table, target) if rule.name != "attaching-partition" else table
            if (rule.name, f"{of} {change.what}" if change.kind in _APART else of) in told:
                continue
            told.add((rule.name, f"{of} {change.what}" if change.kind in _APART else of))
            hazard = _hazard(rule, statement, seen, of, change, did, target, settings)
            if hazard is not None:
                yield hazard


_APART = frozenset(["drop-column", "rename-column", "drop-index"])


def _harms(
    seen: Seen, statement: Statement, table: str, changes: Sequence[Change], target: _Target
) -> Iterator[tuple[Rule, Change, str]]:
    """(Rule, change, what PostgreSQL did) for one table."""
    kinds: set[str] = {each.kind for each in changes}
    lock = _strongest(seen, table)
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
            case "drop-table":
                if change.detail == "m":
                    continue
                name = "ban-drop-schema" if statement.starts("drop", "schema") else "ban-drop-table"
                yield rules[name], change, f"dropped {table}"
            case "drop-column":
                yield rules["ban-drop-column"], change, f"dropped {change.what} of {table}"
            case "rename" if change.detail != "v":
                yield rules["renaming-table"], change, f"renamed {table} to {change.what}"
            case "rename-column":
                yield rules["renaming-column"], change, f"renamed {change.what} of {table} to {change.detail}"
            case "drop-index":
                # The index of a constraint goes with it; there is no other way to drop it.
                if not copied and not statement.starts("alter") and not _concurrently(seen, statement):
                    yield (
                        rules["require-concurrent-index-deletion"],
                        change,
                        f"dropped {change.what} under {lock} on {table}",
                    )
            case "build-index":
                if not copied and not _concurrently(seen, statement):
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
                        f"built {change.what} of {table} anew under {lock}",
                    )
            case "detach":
                if not seen.alone:
                    yield (
                        rules["require-concurrent-partition-detach"],
                        change,
                        f"detached {table} under {lock}",
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
    seen: Seen, statement: Statement, table: str, changes: Sequence[Change], lock: str, target: _Target
) -> tuple[Rule, Change, str] | None:
    """A table that is read from end to end while others wait for it."""
    if _ORDER.index(lock) < _BLOCKING or seen.writes:
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
    target: _Target,
    settings: HazardSettings,
) -> Hazard | None:
    state = target.states.get(table)
    lock = _strongest(seen, table)
    facts = {**facts_of(statement, _name(table)), **_from_change(change)}
    fix = recipe(rule, statement, facts)
    text = did if did else rule.harm.format(**{**facts, "table": table})
    blocked = _blocked(lock) if rule.blocked else ""
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


def _blocked(lock: str) -> str:
    if lock == "ACCESS EXCLUSIVE":
        return "reads and writes"
    return "writes" if _ORDER.index(lock) >= _BLOCKING else "schema changes"


def _from_change(change: Change) -> dict[str, str]:
    if change.kind in {"drop-column", "rename-column", "not-null", "retype", "add-column"}:
        return {"column": change.what}
    if change.kind == "constraint" and change.what:
        return {"constraint": change.what}
    if change.kind in {"build-index", "drop-index"}:
        return {"index": change.what}
    return {}


def _of_writes(
    seen: Seen, statement: Statement, target: _Target, settings: HazardSettings
) -> Iterator[Hazard]:
    rule = STATEMENT_RULES["unbatched-write"]
    told: set[str] = set()
    for write in seen.writes:
        table = _grouped(seen, write.table, target)
        if (write.bounded and write.rows < _FEW) or table in told or statement.has("ctid"):
            continue
        state = target.states.get(table)
        sources = [target.states[each] for each in seen.scans if each in target.states]
        adds = write.verb in {"insert", "merge"}
        # What is added comes from what is read; what is changed is there already.
        sized = (
            max([*sources, *([state] if state else [])], key=lambda each: each.bytes, default=None)
            if adds
            else state
        )
        if sized is None:
            continue
        told.add(table)
        verb = {"insert": "adds rows to", "delete": "deletes rows of"}.get(write.verb, "changes rows of")
        if not sized.has_rows and write.rows < _FEW:
            if not adds:
                yield _note_empty(rule, statement, seen, table, verb)
            continue
        large = sized.large(settings) or write.rows >= settings.large_rows
        level: Level = "block" if large else rule.small
        everything = (statement.starts("update") or statement.starts("delete")) and not statement.has("where")
        if large and not everything:
            level = "warning"
        text = (
            f"one statement {verb} {table} that nothing bounds: as many as {sized.name} gives"
            f" (about {max(sized.rows, write.rows):,} rows, {human_bytes(sized.bytes)}), and keeps them locked until the revision ends"
        )
        yield Hazard(
            rule.name,
            level,
            table if state is None else state.name,
            seen.revision,
            statement.line,
            text,
            recipe(rule, statement, facts_of(statement, _name(table))),
            lock="ROW EXCLUSIVE",
            rows=sized.rows,
            bytes=sized.bytes,
        )


def _note_empty(rule: Rule, statement: Statement, seen: Seen, table: str, verb: str) -> Hazard:
    return Hazard(
        rule.name,
        "note",
        table,
        seen.revision,
        statement.line,
        f"one statement {verb} {table} (empty)",
        recipe(rule, statement, facts_of(statement, _name(table))),
        lock="ROW EXCLUSIVE",
        rows=0,
        bytes=0,
    )


def _state(rule: str, statement: Statement, table: str | None, message: str, **facts: str) -> Hazard:
    fix = STATES[rule][1].format(**{"table": table or "…", "name": "…", **facts})
    return Hazard(rule, "warning", table, statement.revision, statement.line, message, fix)


def _of_session(seen: Seen, statement: Statement) -> Iterator[Hazard]:
    for each in seen.settings:
        change = f"{each.name} goes from {each.before or 'nothing'} to {each.after or 'nothing'}"
        if each.name in _TIMEOUTS:
            before, after = _seconds(each.before), _seconds(each.after)
            if after == 0 or (before and after > before):
                what = "never gives up" if after == 0 else "gives up later"
                yield _state(
                    "disarming-run",
                    statement,
                    None,
                    f"{change}: the run {what}, and everybody behind it waits as long",
                    name=each.name,
                )
        elif each.name == "session_replication_role":
            yield _state(
                "disarming-run",
                statement,
                None,
                f"{change}: triggers and foreign keys are not checked",
                name=each.name,
            )
        else:
            yield _state(
                "changing-session",
                statement,
                None,
                f"{change}, for everything that comes after in this session",
                name=each.name,
            )
    ours = {lock_key(name)[0] for name in ("schema",)}
    if any(
        int(each.split(":")[0]) - (1 << 32 if int(each.split(":")[0]) >= 1 << 31 else 0) in ours
        for each in seen.advisory
    ):
        yield _state(
            "disarming-run",
            statement,
            None,
            "it takes an advisory lock that pgops' runs and backups wait for",
        )
    if _ENDS.search(seen.sql):
        yield _state("ending-sessions", statement, None, "it ends or cancels sessions of others")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", text)
    return float(match[1]) * _UNITS.get(match[2], 0.001) if match else 0.0


def _left_disabled(trace: Trace) -> frozenset[tuple[str, str]]:
    return frozenset(
        (each.table, each.what)
        for seen in trace.statements
        for each in seen.changes
        if each.kind == "disable-trigger"
    ) - frozenset(
        (each.table, each.what)
        for seen in trace.statements
        for each in seen.changes
        if each.kind == "enable-trigger"
    )


def _of_access(
    connection: Connection,
    seen: Seen,
    statement: Statement,
    target: _Target,
    disabled: frozenset[tuple[str, str]],
) -> Iterator[Hazard]:
    for each in seen.changes:
        match each.kind:
            case "row-security":
                yield _state(
                    "hiding-rows",
                    statement,
                    each.table,
                    f"row security of {each.table} is on without a policy: all but its owner see no row",
                )
            case "rights":
                lost = _lost(each.detail, target.user)
                if lost:
                    yield _state("revoking-rights", statement, each.table, f"{lost} on {each.table}")
            case "move":
                yield _state(
                    "moving-table",
                    statement,
                    each.table,
                    f"{each.table} goes to schema {each.what}: code that is running does not find it",
                )
            case "rename" if each.table.startswith("schema "):
                yield _state(
                    "moving-table",
                    statement,
                    each.table,
                    f"{each.table} becomes {each.what}: code that is running does not find what is in it",
                )
            case "disable-trigger" if (each.table, each.what) in disabled:
                yield _state(
                    "disarming-run",
                    statement,
                    each.table,
                    f"trigger {each.what} of {each.table} is turned off and stays so",
                )
            case "drop-view" | "rename" if each.kind == "drop-view" or each.detail == "v":
                users = _sessions_on(connection, each.table)
                if users:
                    did = "dropped" if each.kind == "drop-view" else f"renamed to {each.what}"
                    yield _state(
                        "dropping-view",
                        statement,
                        each.table,
                        f"{each.table} is {did}, and {users} uses it now",
                    )
            case _:
                continue


def _sessions_on(connection: Connection, view: str) -> str:
    rows = fetch_all(connection, "SELECT to_regclass(%s)::oid::int8", (_qualified(view),))
    if not rows or rows[0][0] is None:
        return ""
    found = live.busy_sessions(connection, [rows[0][0]])
    return ", ".join(f"pid {each.pid} ({each.user})" for each in found)


def _lost(change: str, migrating: str) -> str:
    """``{a=rw/o} -> {a=r/o}`` -> who loses what, in words; ``""`` where nobody does but who migrates."""
    before, _, after = change.partition(" -> ")
    had, has = _grants(before), _grants(after)
    lost = []
    for role, rights in had.items():
        missing = rights - has.get(role, set())
        if missing and role != migrating:
            words = ", ".join(sorted(_RIGHTS[each] for each in missing if each in _RIGHTS))
            lost.append(f"{role or 'PUBLIC'} loses {words}")
    return "; ".join(lost)


_RIGHTS = {
    "a": "INSERT",
    "r": "SELECT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "m": "MAINTAIN",
    "U": "USAGE",
    "C": "CREATE",
}


def _grants(acl: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in acl.strip("{}").split(","):
        role, equals, rights = each.strip('"').partition("=")
        if equals:
            found.setdefault(role, set()).update(rights.partition("/")[0].replace("*", ""))
    return found
