"""How a rehearsal looks to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.units import counted, human_age, human_bytes, human_seconds

if TYPE_CHECKING:
    from pgops.migrations.rehearsal.measured import HeldLock, Prediction, Revision, Statement
    from pgops.migrations.rehearsal.rehearsal import Rehearsal
    from pgops.terminal.console import Console

_SHOWN = 8
"""How many statements of a revision are told one by one: the longest."""
_WIDE = 90
_VERDICTS = {"confirmed": "yellow", "refuted": "green", "not exercised": "dim", "not predicted": "red"}


def show_rehearsal(console: Console, rehearsal: Rehearsal) -> None:
    """Each revision with its statements, the waits, the way back, predictions, and what could not be seen."""
    measured, place = rehearsal.measured, rehearsal.place
    age = human_age((rehearsal.started_at - place.backup_at).total_seconds())
    console.say(
        f"{console.emphasised(rehearsal.plan.environment)}: on a copy of {age} (backup {place.backup}), "
        f"{place.server}, PostgreSQL {place.version}; times are this machine's"
    )
    for revision in measured.revisions:
        _show_revision(console, revision)
    if measured.failure:
        console.say(f"  {console.style('failed', 'red')}: {measured.failure}")
    for stall in measured.stalls or ():
        console.say(
            f"  wait at {stall.relation}: readers {human_seconds(stall.read_seconds)}, "
            f"writers {human_seconds(stall.write_seconds)}"
            + "".join(f"; then {error}" for error in {stall.read_error, stall.write_error} - {None})
        )
    back = measured.round_trip
    if back.ok:
        console.say(
            f"  down and up again in {human_seconds(back.seconds)}: schema and row counts were the same"
        )
    for problem in back.problems:
        console.say(f"  {'down and up again' if back.tried else 'no way back was tried'}: {problem}")
    if measured.models is not None:
        console.say(
            "  the models and the migrated copy agree"
            if not measured.models
            else f"  the models differ from the migrated copy in {counted(len(measured.models), 'place')}: "
            f"{measured.models[0]}"
        )
    for prediction in rehearsal.predictions:
        _show_prediction(console, prediction)
    for each in (*place.differs, *measured.unobserved):
        console.say(console.style(f"  not seen, or not as there: {each}", "dim"))
    for before, after in rehearsal.previous:
        console.say(
            f"  an earlier run here was rehearsed in {human_seconds(before)} and took {human_seconds(after)}"
        )


def _show_revision(console: Console, revision: Revision) -> None:
    done = "" if revision.done else ", not to its end"
    temporary = (
        f", {human_bytes(revision.temporary_bytes)} of temporary files" if revision.temporary_bytes else ""
    )
    console.say(
        f"  {console.style(revision.revision, 'cyan')}  {revision.message or '(no message)'}: "
        f"{human_seconds(revision.seconds)}{temporary}{done}"
    )
    longest = sorted(revision.statements, key=lambda each: -(each.seconds or 0.0))[:_SHOWN]
    for statement in revision.statements:
        if statement in longest:
            _show_statement(console, statement)
    if len(revision.statements) > _SHOWN:
        console.say(f"      … and {len(revision.statements) - _SHOWN} quicker ones (--json lists them)")
    for size in revision.sizes:
        console.say(
            f"      {size.relation}: {human_bytes(size.before)} -> {human_bytes(size.after)} with its indexes"
        )


def _show_statement(console: Console, statement: Statement) -> None:
    text = " ".join(statement.sql.split())
    shown = text if len(text) <= _WIDE else f"{text[: _WIDE - 2]} …"
    times = f" ×{statement.times:,}" if statement.times > 1 else ""
    took = "?" if statement.seconds is None else human_seconds(statement.seconds)
    facts = [took]
    if statement.rows:
        facts.append(counted(statement.rows, "row"))
    facts.append(f"{human_bytes(statement.wal_bytes)} WAL")
    facts += [f"{table} written anew" for table in statement.rewrites]
    facts += [f"index {name} built" for name in statement.indexes]
    console.verbatim(f"      {shown}{times}")
    console.say(f"          {', '.join(facts)}")
    for lock in statement.locks:
        if lock.blocks:
            console.say(f"          {lock_line(lock)}")
    if statement.failed:
        console.say(f"          {console.style('failed', 'red')}: {statement.failed}")


def lock_line(lock: HeldLock) -> str:
    """``ACCESS EXCLUSIVE on people for 2.1 s: reads and writes wait``."""
    return f"{lock.mode} on {lock.relation} for {human_seconds(lock.held_seconds)}: {lock.blocks} wait"


def _show_prediction(console: Console, prediction: Prediction) -> None:
    verdict = console.style(prediction.verdict, _VERDICTS[prediction.verdict])
    where = f" on {prediction.relation}" if prediction.relation else ""
    console.say(
        f"  {verdict}: {prediction.rule}{where}{': ' + prediction.evidence if prediction.evidence else ''}"
    )
