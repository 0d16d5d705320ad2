"""How a plan and a run look to a person."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from pgops.units import human_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgops.migrations.hazards import Hazard
    from pgops.migrations.plan.plan import Plan, PlannedRevision
    from pgops.migrations.rehearsal.gate import Rehearsed
    from pgops.migrations.run.gates import Promotion
    from pgops.migrations.run.recovery import Recovered
    from pgops.migrations.run.watch import IndexProgress
    from pgops.postgres import Blocker
    from pgops.terminal.console import Console
    from pgops.terminal.steps import Ticker

_EACH_TOLD = "rows-do-not-fit"
_SEEN = 10
_LEVEL_STYLES = {"warning": "yellow", "block": "red"}


SQL_LINES = 12
"""How much of a revision's SQL ``migrate.plan`` shows; ``--sql`` shows all."""


def show_plans(
    console: Console,
    plans: Sequence[Plan],
    *,
    promotions: Sequence[Promotion | None],
    backup: bool,
    sql_lines: int = 0,
    rehearsals: Sequence[Rehearsed | None],
) -> None:
    """The plan of each history, and the hash that stands for all of them.

    :param promotions: one for each plan; ``rehearsals`` too.
    :param sql_lines: how many lines of each revision's SQL are shown at most.
    """
    for plan, promotion, rehearsed in zip(plans, promotions, rehearsals, strict=True):
        show_plan(console, plan, promotion=promotion, backup=backup, sql_lines=sql_lines, rehearsed=rehearsed)
    if len(plans) > 1 and all(plan.hash for plan in plans) and any(plan.pending for plan in plans):
        from pgops.migrations.plan.histories import plans_hash

        console.say(f"all {len(plans)} histories: plan {plans_hash(plans)}")


def show_plan(
    console: Console,
    plan: Plan,
    *,
    promotion: Promotion | None,
    backup: bool,
    sql_lines: int = 0,
    rehearsed: Rehearsed | None = None,
) -> None:
    """Target, from -> to, each revision with its hazards, and what the run will do around them.

    :param sql_lines: how many lines of each revision's SQL are shown at most.
    """
    history = plan.environment.alembic.history
    of = f", history {history}" if history else ""
    console.say(f"{console.emphasised(plan.environment)}{of}: {plan.target}")
    for note in plan.notes:
        console.say(f"  note: {note}")
    current = ", ".join(plan.current) or "base"
    if not plan.pending:
        console.say(f"  at {current}, nothing {'is pending' if plan.action == 'upgrade' else 'to roll back'}")
        return
    console.say(f"  {current} -> {', '.join(plan.to) or 'base'}")
    # Whoever looks at the SQL looks for what it would do to rows; whoever runs it here has none.
    hurts_nobody = plan.empty and not sql_lines
    for revision in plan.pending:
        sign = "+" if plan.action == "upgrade" else "-"
        console.say(
            f"  {sign} {console.style(revision.revision, 'cyan')}  {revision.message or '(no message)'}"
        )
        if revision.kept:
            console.say(f"      from the journal: {revision.kept.file}, applied by {revision.kept.origin}")
        if revision.irreversible:
            console.say(
                f"      {'can not be undone' if plan.action == 'upgrade' else 'undoes nothing'}: {revision.irreversible}"
            )
        if revision.reads_data:
            _show_reading(console, plan, revision)
        elif sql_lines:
            _show_sql(console, plan, revision, sql_lines)
        if not hurts_nobody:
            show_hazards(console, revision.hazards, plan.action)
    if hurts_nobody:
        console.say("  the database is empty: nothing in it can be hurt")
    else:
        show_hazards(console, plan.hazards, plan.action)
    if plan.trace is not None:
        count = len(plan.trace.statements)
        console.say(
            console.style(
                f"  traced on {plan.trace.server} with {plan.environment.name}'s bare schema: "
                f"{count} {'statement' if count == 1 else 'statements'} in {human_seconds(plan.trace.seconds)}",
                "dim",
            )
        )
    if backup:
        console.say("  a verified backup is taken first")
    if promotion is not None:
        console.say(f"  promotion: {promotion}")
    if rehearsed is not None:
        console.say(f"  rehearsal: {rehearsed}")
    if plan.hash:
        console.say(f"  plan {plan.hash}" + (f" of --history={history}" if history else ""))


def _show_reading(console: Console, plan: Plan, revision: PlannedRevision) -> None:
    """A revision whose SQL depends on rows: what it ran where there were none, if that was tried."""
    if plan.trace is None or revision.revision not in plan.trace.revisions:
        console.say(f"      its SQL is not known before it runs: {revision.reads_data}")
        return
    if read := plan.trace.rows_read(revision.revision):
        console.say(
            f"      it reads rows of {', '.join(read)}, which decide what it runs; without any it ran:"
        )
    else:
        console.say("      it ran, of what only running it tells:")
    seen = [each for each in plan.trace.statements if each.revision == revision.revision]
    for each in seen[:_SEEN]:
        console.say(f"          {' '.join(each.sql.split())}")
    if len(seen) > _SEEN:
        console.say(f"          … and {len(seen) - _SEEN} more (migrate.plan --json lists them)")


def _show_sql(console: Console, plan: Plan, revision: PlannedRevision, most: int) -> None:
    """The revision's SQL, folded where it is long: the plan around it has to stay in sight."""
    lines = [line for line in revision.sql.splitlines() if line.strip()]
    # A fold that hides two lines takes as much room as they do.
    shown = lines if len(lines) <= most + 2 else lines[:most]
    for line in shown:
        console.verbatim(console.style(f"      {line}", "dim"))
    if len(shown) < len(lines) and plan.action == "upgrade":
        console.say(
            f"      … {len(lines) - len(shown)} more lines: invoke migrate.plan --env={plan.environment.name} --sql"
        )


def show_hazards(console: Console, hazards: Sequence[Hazard], action: str) -> None:
    """Those that hurt first, each with its way out; then what can't hurt here, one line for each kind."""
    hurting: dict[tuple[str, str, str], list[Hazard]] = {}
    for hazard in hazards:
        if hazard.level != "note":
            hurting.setdefault((hazard.level, hazard.rule, hazard.message), []).append(hazard)
    for same in hurting.values():
        hazard = same[0]
        level = console.style(hazard.level, _LEVEL_STYLES.get(hazard.level, "dim"))
        # Forty statements that do the same to one table say so once.
        times = f" ×{len(same)}" if len(same) > 1 else ""
        console.say(f"      {level} {hazard.rule}{times}: {hazard.message}")
        for line in hazard.fix.splitlines():
            console.verbatim(f"          {line}")
    alike: dict[tuple[str, str], list[Hazard]] = {}
    for hazard in hazards:
        if hazard.level == "note":
            is_loss = action == "downgrade" and hazard.rule.startswith("ban-drop")
            alike.setdefault(("loses" if is_loss else "note", hazard.rule), []).append(hazard)
    for (word, rule), same in alike.items():
        if word == "loses":
            for hazard in same:
                console.say(f"      {console.style('loses', 'yellow')}: {hazard.message}")
            continue
        if rule == _EACH_TOLD:
            for hazard in same:
                console.say(f"      note {rule}: {hazard.message}")
            continue
        times = f" ×{len(same)}" if len(same) > 1 else ""
        others = list(
            dict.fromkeys(each.table for each in same if each.table and each.table != same[0].table)
        )
        also = f"; also on {', '.join(others)}" if others else ""
        console.say(f"      note {rule}{times}: {same[0].message}{also}")


class Progress:
    """Tells what a run does: a line per revision, a moving bar for a long index build on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = contextlib.ExitStack()
        self._bar: tuple[str, Ticker] | None = None
        # The watching thread draws the bar while the run's own thread prints and closes it.
        self._drawing = threading.Lock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_bar()

    def waiting(self, holders: list[Blocker]) -> None:
        """Another run holds the lock."""
        for holder in holders:
            self._console.say(f"waiting: the lock is held by {holder}")

    def recovered(self, what: Recovered) -> None:
        """An earlier run that was killed has been put in order."""
        self._console.warn(str(what))

    def applying(self, revision: PlannedRevision, number: int, of: int) -> None:
        """A revision begins."""
        self._console.say(f"  [{number}/{of}] {revision.revision}  {revision.message or '(no message)'} …")

    def applied(self, revision: PlannedRevision, seconds: float) -> None:
        """A revision is committed."""
        self._close_bar()
        self._console.say(f"        done in {human_seconds(seconds)}")

    def blocked(self, revision: PlannedRevision, blockers: list[Blocker], pause: float) -> None:
        """A revision did not get its lock."""
        self._close_bar()
        for blocker in blockers:
            self._console.warn(f"{revision.revision} is blocked by {blocker}")
        if not blockers:
            self._console.warn(f"{revision.revision} did not get its lock; who held it was not seen")
        self._console.say(f"        trying {revision.revision} again in {human_seconds(pause)}")

    def building(self, progress: IndexProgress) -> None:
        """An index is being built."""
        if not self._console.interactive():
            return
        share = 100 * progress.done / progress.total if progress.total else 0
        with self._drawing:
            if self._bar is None or self._bar[0] != progress.index:
                self._bars.close()
                ticker = self._bars.enter_context(self._console.progress(f"index {progress.index}", 100))
                self._bar = (progress.index, ticker)
            self._bar[1].update(share, progress.phase)

    def _close_bar(self) -> None:
        with self._drawing:
            self._bar = None
            self._bars.close()
