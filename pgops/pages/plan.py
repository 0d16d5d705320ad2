"""A plan, or revisions that were read, as Markdown for a comment: everything of others is text, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pgops.migrations.hazards import Hazard
from pgops.migrations.lint.lint import Linted
from pgops.migrations.plan.histories import plans_hash
from pgops.migrations.plan.plan import Plan, PlannedRevision
from pgops.migrations.rehearsal.gate import Rehearsed
from pgops.migrations.run.gates import Promotion
from pgops.pages import markdown as md
from pgops.pages.findings import LEVELS
from pgops.units import counted

LONGEST = 60_000
"""Characters; GitHub refuses a comment of more than 65,536."""

_SQL = (6_000, 1_500, 300, 0)
"""How much of each revision's SQL is shown: the most that makes the whole fit."""

_ORDER = {"block": 0, "warning": 1, "note": 2}
_CUT = "*The rest is left out: a comment has an end.* `migrate.plan` shows all.\n"


def plan_markdown(
    plans: Sequence[Plan],
    *,
    promotions: Sequence[Promotion | None],
    rehearsals: Sequence[Rehearsed | None],
    backup: bool,
) -> str:
    """What ``migrate.plan`` shows: from where to where, hazards, SQL (folded), gates, the hash.

    :param promotions: one for each plan; ``rehearsals`` too.
    """
    return _fitting(lambda most: _plans(plans, promotions, rehearsals, backup, most))


def lint_markdown(linted: Sequence[Linted]) -> str:
    """What ``migrate.lint`` shows."""
    return _fitting(lambda most: _lints(linted, most))


def _fitting(lines: Callable[[int], Iterator[str]]) -> str:
    for most in _SQL:
        text = "\n".join(lines(most)) + "\n"
        if len(text) <= LONGEST:
            return text
    # Between two blocks, so that no fence and no fold stays open.
    kept, size, depth = [], 0, 0
    whole = 0
    for line in lines(0):
        size += len(line) + 1
        if size > LONGEST - len(_CUT):
            break
        kept.append(line)
        depth += line.startswith("<details>") - line.startswith("</details>")
        if not line and depth == 0:
            whole = len(kept)
    return "\n".join([*kept[:whole], _CUT])


def _plans(
    plans: Sequence[Plan],
    promotions: Sequence[Promotion | None],
    rehearsals: Sequence[Rehearsed | None],
    backup: bool,
    most: int,
) -> Iterator[str]:
    name = plans[0].environment.name
    count = sum(len(each.pending) for each in plans)
    what = counted(count, "revision") if count else "nothing pending"
    yield f"## Migration of {md.text(name)}: {what}"
    yield ""
    yield f"On {md.code(str(plans[0].target.place))}."
    for plan, promotion, rehearsed in zip(plans, promotions, rehearsals, strict=True):
        yield ""
        history = plan.environment.alembic.history
        if history:
            yield f"### History {md.text(history)}"
            yield ""
        current, to = ", ".join(plan.current) or "base", ", ".join(plan.to) or "base"
        yield f"{md.code(current)} → {md.code(to)}" if plan.pending else f"At {md.code(current)}."
        if plan.notes:
            yield ""
            yield from (f"- {md.text(each)}" for each in plan.notes)
        if not plan.pending:
            continue
        yield ""
        yield from _overview(plan.pending, plan.hazards)
        for revision in plan.pending:
            yield from _revision(revision, revision.path(plan.environment.project), most)
        yield ""
        if plan.trace is not None:
            yield f"Hazards are what PostgreSQL did on {md.text(name)}'s bare schema ({md.text(plan.trace.server)})."
        if promotion is not None:
            yield f"- promotion: {md.text(str(promotion))}"
        yield f"- rehearsal: {md.text(str(rehearsed)) if rehearsed is not None else 'none'}"
        if backup:
            yield "- a verified backup is taken first"
    if count and (together := plans_hash(plans)):
        yield ""
        yield f"plan {md.code(together)}"


def _lints(linted: Sequence[Linted], most: int) -> Iterator[str]:
    count = sum(len(each.revisions) for each in linted)
    since = linted[0].since
    yield f"## Lint of {counted(count, 'revision')}" + (f" since {md.text(since)}" if since else "")
    for each in linted:
        history = each.environment.alembic.history
        if history:
            yield ""
            yield f"### History {md.text(history)}"
        if each.notes:
            yield ""
            yield from (f"- {md.text(note)}" for note in each.notes)
        yield ""
        yield from _overview(each.revisions, ())
        for revision in each.revisions:
            yield from _revision(revision, revision.path(each.environment.project), most)
    yield ""
    yield "<details><summary>What this can't know</summary>"
    yield ""
    yield f"- sizes: {md.text(linted[0].sizes)}"
    yield from (
        f"- {md.text(each)}" for each in dict.fromkeys(one for each in linted for one in each.unknown)
    )
    yield ""
    yield "</details>"


def _overview(revisions: Sequence[PlannedRevision], of_the_plan: Sequence[Hazard]) -> Iterator[str]:
    told = [("", each) for each in of_the_plan]
    told += [(each.revision, hazard) for each in revisions for hazard in each.hazards]
    told = [each for each in told if each[1].level != "note"]
    if not told:
        yield "No hazards."
        return
    yield from md.table(
        ("", "hazard", "revision", "why"),
        [
            (
                "**blocks**" if hazard.blocks else LEVELS[hazard.level],
                md.code(hazard.rule),
                md.code(revision),
                md.text(hazard.message),
            )
            for revision, hazard in sorted(told, key=lambda each: _ORDER[each[1].level])
        ],
    )


def _revision(revision: PlannedRevision, path: str, most: int) -> Iterator[str]:
    yield ""
    yield f"#### {md.code(revision.revision)} {md.text(revision.message or '(no message)')}"
    yield ""
    yield md.code(path) + (" (from the journal: this checkout lacks it)" if revision.kept else "")
    if revision.irreversible:
        yield ""
        yield f"Can not be undone: {md.text(revision.irreversible)}"
    if revision.reads_data:
        yield ""
        yield f"Its SQL is not known before it runs: {md.text(revision.reads_data)}"
    for hazard in revision.hazards:
        yield ""
        yield f"- {LEVELS[hazard.level]}: {md.code(hazard.rule)} {md.text(hazard.message)}"
        if hazard.fix and hazard.level != "note":
            yield ""
            yield from _folded("a safer way to write it", hazard.fix, "python")
    lines = [line for line in revision.sql.splitlines() if line.strip()]
    if not lines or revision.reads_data:
        return
    text = "\n".join(lines)
    if len(text) > most:
        text = text[:most].rpartition("\n")[0]
    left = len(lines) - (text.count("\n") + 1 if text else 0)
    yield ""
    if not text:
        yield f"{counted(len(lines), 'line')} of SQL: left out here, `migrate.plan --sql` prints it"
        return
    yield from _folded(
        f"SQL, {counted(len(lines), 'line')}", text + (f"\n-- … {left} more" if left else ""), "sql"
    )


def _folded(title: str, text: str, language: str) -> Iterator[str]:
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield from md.block(text, language)
    yield ""
    yield "</details>"
