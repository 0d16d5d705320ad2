"""A rehearsal as a page of its own, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgops import __version__
from pgops.migrations.rehearsal.measured import HeldLock, Revision, Statement
from pgops.migrations.rehearsal.rehearsal import Rehearsal
from pgops.pages import markdown as md
from pgops.pages.templates import rendered
from pgops.units import counted, human_bytes, human_seconds, human_time

_MARKS = {"confirmed": "warn", "refuted": "good", "not exercised": "dim", "not predicted": "bad"}
_NARROWEST = 0.3
_LANES = 24
"""How many tables the timeline shows: those whose locks block first."""
_SQL = 2_000
"""How much of a statement Markdown takes: a comment on a pull request has an end."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a lane: ``left`` and ``width`` in percent, ``kind`` a class of the page's style."""

    left: str
    width: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The locks on one table over the run."""

    relation: str
    text: str
    bars: tuple[Bar, ...]


def as_html(rehearsal: Rehearsal) -> str:
    """The whole page: no script, no request to anywhere, everything escaped."""
    measured, place, plan = rehearsal.measured, rehearsal.place, rehearsal.plan
    statements = [each for revision in measured.revisions for each in revision.statements]
    length = max([measured.seconds, *(each.began + (each.seconds or 0.0) for each in statements)])
    return rendered(
        "rehearsal.html.j2",
        {
            "id": rehearsal.id,
            "environment": plan.environment.name,
            "target": plan.target.place,
            "source": ", ".join(plan.current) or "base",
            "destination": ", ".join(plan.to) or "base",
            "verdict": rehearsal.verdict,
            "place": place,
            "other_major": _major(place.version) != _major(place.target_version),
            "failure": measured.failure,
            "seconds": length,
            "executed": sum(each.times for each in statements),
            "revisions": measured.revisions,
            "worst": rehearsal.worst,
            "stalls": measured.stalls,
            "rewritten": sorted({name for each in statements for name in each.rewrites}),
            "wal": sum(each.wal_bytes for each in statements),
            "temporary": _temporary(measured.revisions),
            "bars": [_bar(each.began, each.seconds or 0.0, length, "", _title(each)) for each in statements],
            "lanes": list(_lanes(statements, length)),
            "predictions": rehearsal.predictions,
            "marks": _MARKS,
            "round_trip": measured.round_trip,
            "models": measured.models,
            "previous": rehearsal.previous,
            "unseen": (*place.differs, *measured.unobserved),
            "plan_hash": plan.hash,
            "started_at": rehearsal.started_at,
            "pgops_version": __version__,
        },
    )


def _major(version: str) -> str:
    return version.partition(".")[0]


def _temporary(revisions: Sequence[Revision]) -> int | None:
    known = [each.temporary_bytes for each in revisions if each.temporary_bytes is not None]
    return sum(known) if known else None


def _bar(began: float, seconds: float, length: float, kind: str, title: str) -> Bar:
    whole = max(length, 0.001)
    left = min(100.0 - _NARROWEST, max(0.0, 100 * began / whole))
    width = min(100.0 - left, max(_NARROWEST, 100 * seconds / whole))
    return Bar(f"{left:.2f}", f"{width:.2f}", kind, title)


def _title(statement: Statement) -> str:
    text = " ".join(statement.sql.split())
    took = "not timed" if statement.seconds is None else human_seconds(statement.seconds)
    return f"{text[:117]}{'…' if len(text) > 117 else ''}: {took}"


def _lanes(statements: Sequence[Statement], length: float) -> Iterator[Lane]:
    by_table: dict[str, list[HeldLock]] = {}
    for statement in statements:
        for lock in statement.locks:
            if lock.mode != "ACCESS SHARE":
                by_table.setdefault(lock.relation, []).append(lock)
    ordered = sorted(by_table.items(), key=lambda item: (-_blocked(item[1]), item[0]))
    for relation, locks in ordered[:_LANES]:
        # The stronger lies over the weaker.
        bars = [
            _bar(each.taken, each.held_seconds, length, _kind(each), _lock(each))
            for each in sorted(locks, key=lambda each: (bool(each.blocks), each.blocks == "reads and writes"))
        ]
        longest = max(locks, key=lambda each: (bool(each.blocks), each.held_seconds))
        yield Lane(relation, _lock(longest), tuple(bars))


def _blocked(locks: Sequence[HeldLock]) -> float:
    return max(each.held_seconds * (1 + bool(each.blocks)) for each in locks)


def _kind(lock: HeldLock) -> str:
    return {"reads and writes": "all", "writes": "writes"}.get(lock.blocks, "none")


def _lock(lock: HeldLock) -> str:
    return f"{lock.mode}, {human_seconds(lock.held_seconds)}"


def as_markdown(rehearsal: Rehearsal) -> str:
    """The same in a form that a pull request shows: everything of others is text, whatever is in it."""
    return "\n".join(_lines(rehearsal)) + "\n"


def _lines(rehearsal: Rehearsal) -> Iterator[str]:
    measured, place, plan = rehearsal.measured, rehearsal.place, rehearsal.plan
    way = f"{', '.join(plan.current) or 'base'} → {', '.join(plan.to) or 'base'}"
    yield f"## Rehearsal of {md.text(plan.environment.name)}: {md.text(way)} {rehearsal.verdict}"
    yield ""
    other = (
        f" **The target runs {md.text(place.target_version)}, another major.**"
        if _major(place.version) != _major(place.target_version)
        else ""
    )
    yield (
        f"On a copy from backup {md.code(place.backup)} of {human_time(place.backup_at)}, {md.text(place.server)}, "
        f"PostgreSQL {md.text(place.version)}.{other} {human_seconds(measured.seconds)} in all; times are that machine's."
    )
    if measured.failure:
        yield ""
        yield f"**It failed:** {md.text(measured.failure)}"
    if measured.stalls:
        yield ""
        yield from md.table(
            ("table", "a reader waited", "a writer waited", ""),
            [
                (
                    md.code(each.relation),
                    human_seconds(each.read_seconds),
                    human_seconds(each.write_seconds),
                    md.text(each.read_error or each.write_error or ""),
                )
                for each in measured.stalls
            ],
        )
    for revision in measured.revisions:
        yield ""
        yield f"### {md.code(revision.revision)} {md.text(revision.message or '(no message)')}: {human_seconds(revision.seconds)}"
        for statement in revision.statements:
            yield ""
            yield from md.block(statement.sql[:_SQL] + ("\n-- …" if len(statement.sql) > _SQL else ""), "sql")
            yield ""
            yield from (f"- {each}" for each in _facts(statement))
    if rehearsal.predictions:
        yield ""
        yield "### What was predicted"
        yield ""
        yield from md.table(
            ("verdict", "hazard", "table", "revision", "what was seen"),
            [
                (
                    each.verdict,
                    md.code(each.rule),
                    md.text(each.relation or ""),
                    md.text(each.revision),
                    md.text(each.evidence),
                )
                for each in rehearsal.predictions
            ],
        )
    back = measured.round_trip
    yield ""
    if back.ok:
        yield "Down and up again: schema and row counts were the same."
    else:
        yield f"Down and up again {'does not lead back' if back.tried else 'was not tried'}:"
        yield ""
        yield from (f"- {md.text(each)}" for each in back.problems)
    if measured.models:
        yield ""
        yield "The models differ from the migrated copy:"
        yield ""
        yield from (f"- {md.text(each)}" for each in measured.models)
    yield ""
    yield "What could not be seen:"
    yield ""
    yield from (f"- {md.text(each)}" for each in (*place.differs, *measured.unobserved))
    yield "- what sessions of others, replicas and the load of the target do to the run"
    yield ""
    yield f"plan {md.code(plan.hash)}, rehearsal {md.code(rehearsal.id)}"


def _facts(statement: Statement) -> Iterator[str]:
    took = "not timed" if statement.seconds is None else human_seconds(statement.seconds)
    parts = [took if statement.times == 1 else f"{took} in {counted(statement.times, 'execution')}"]
    if statement.rows is not None:
        parts.append(counted(statement.rows, "row"))
    parts.append(f"{human_bytes(statement.wal_bytes)} WAL")
    yield ", ".join(parts)
    for table in statement.rewrites:
        yield f"**{md.text(table)} written anew**"
    for index in statement.indexes:
        yield f"index {md.text(index)} built"
    for lock in statement.locks:
        if lock.blocks:
            yield f"{lock.mode} on {md.code(lock.relation)} for {human_seconds(lock.held_seconds)}: {lock.blocks} wait"
    if statement.failed:
        yield f"**failed:** {md.text(statement.failed)}"
