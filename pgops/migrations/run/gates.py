"""What must be true before a plan may run: promotion, a backup, hazards accepted with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgops.environments import Environment
from pgops.errors import BlockedError, UnreachableError, UsageError
from pgops.migrations import journal
from pgops.migrations.run.session import on_a_replica
from pgops.postgres import Target, UntrustedError, read_only_session

if TYPE_CHECKING:
    from pgops.migrations.plan.plan import Plan, PlannedRevision


@dataclass(frozen=True, slots=True)
class Promotion:
    """What the environment before this one says about the pending revisions.

    ``missing`` never succeeded there; ``different`` did, with another file; ``other_sql`` did with the same file, but
    it emitted other SQL there; ``unknown`` says why it could not be asked.
    """

    before: str
    missing: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    other_sql: tuple[str, ...] = ()
    unknown: str | None = None

    @property
    def granted(self) -> bool:
        """Every pending revision has been through the environment before, as the same file and with the same SQL."""
        return not (self.missing or self.different or self.other_sql or self.unknown)

    def __str__(self) -> str:
        if self.unknown:
            return f"{self.before} could not be asked: {self.unknown}"
        parts = []
        if self.missing:
            parts.append(f"not yet applied in {self.before}: {', '.join(self.missing)}")
        if self.different:
            parts.append(f"applied in {self.before} from another file: {', '.join(self.different)}")
        if self.other_sql:
            parts.append(
                f"emitted other SQL in {self.before}: {', '.join(self.other_sql)} (what the file reads or imports"
                " changed since, or depends on the environment)"
            )
        return "; ".join(parts) or f"every pending revision succeeded in {self.before}"

    def as_dict(self) -> dict[str, object]:
        """The promotion in ``migrate.plan --json``."""
        return {
            "before": self.before,
            "granted": self.granted,
            "missing": list(self.missing),
            "different": list(self.different),
            "other_sql": list(self.other_sql),
            "unknown": self.unknown,
        }


class IrreversibleError(BlockedError):
    """A revision can't be undone, and the environment takes only what can."""

    code = "irreversible"


def check_server(plan: Plan) -> None:
    """Before anybody is asked and anything is backed up: could a run take place there at all.

    :raises RefusedError: the server is a replica.
    """
    if plan.in_recovery:
        raise on_a_replica(plan.target)


def promotion(
    before: str,
    pending: Sequence[PlannedRevision],
    succeeded: frozenset[tuple[str, str, str, str | None]],
    *,
    version_table: str,
    files: Mapping[str, str],
) -> Promotion:
    """Compare the pending files and their SQL with what succeeded in the environment before; pure.

    SQL that is not known (on either side) is not compared: the file alone decides. Other histories and projects may
    call their revisions alike: what counts is recorded in this one's version table, or, where that has another name
    there, in one in which a file of it was applied.

    :param files: all revisions of the history, with the hash of each file.
    """
    ours = {version_table} | {
        table for table, revision, file, _sql in succeeded if files.get(revision) == file
    }
    revisions = {revision for table, revision, _file, _sql in succeeded if table in ours}
    emitted: dict[tuple[str, str], set[str | None]] = {}
    for _table, revision, file, sql in succeeded:
        emitted.setdefault((revision, file), set()).add(sql)
    lacking = [each for each in pending if (each.revision, each.hash) not in emitted]
    others = [
        each.revision
        for each in pending
        if (there := emitted.get((each.revision, each.hash))) and not there & {None, each.sql_hash}
        if each.sql_hash is not None
    ]
    return Promotion(
        before=before,
        missing=tuple(each.revision for each in lacking if each.revision not in revisions),
        different=tuple(each.revision for each in lacking if each.revision in revisions),
        other_sql=tuple(others),
    )


def all_promotions(found: Sequence[Promotion]) -> Promotion | None:
    """What it says about all histories together; ``None`` where there is no environment before, or nothing pending."""
    if not found:
        return None
    return Promotion(
        before=found[0].before,
        missing=tuple(revision for each in found for revision in each.missing),
        different=tuple(revision for each in found for revision in each.different),
        other_sql=tuple(revision for each in found for revision in each.other_sql),
        unknown=next((each.unknown for each in found if each.unknown), None),
    )


def ask_promotion(before: Environment, target: Target, plan: Plan) -> Promotion:
    """Ask the journal of the environment before about a plan, read-only. One that is not to be believed is not asked."""
    try:
        with read_only_session(target) as connection:
            succeeded = journal.succeeded_files(connection, before.name, before.trusted_owners)
    except UnreachableError as error:
        return Promotion(before=before.name, unknown=error.message)
    except UntrustedError as error:
        return Promotion(before=before.name, unknown=f"{error.message} ({error.hint})")
    return promotion(
        before.name,
        plan.pending,
        succeeded,
        version_table=str(plan.version_table),
        files=plan.history.hashes,
    )


def check_promotion(
    environment: Environment, state: Promotion | None, *, override: bool, reason: str | None
) -> bool:
    """Whether promotion was overridden.

    :raises BlockedError: not granted and not overridden.
    :raises UsageError: overridden without a reason.
    """
    if override and not reason:
        raise UsageError(
            "--override-promotion needs a reason for the journal",
            untouched=f"{environment.name} was not touched",
            hint="say why: --reason='…'",
        )
    if state is None or state.granted:
        return False
    if override:
        return True
    raise BlockedError(
        f"{environment.name} takes a revision only after {state.before}: {state}",
        untouched=f"{environment.name} was not touched",
        hint=f"invoke migrate --env={state.before}"
        + ("" if environment.protected else "; or --override-promotion --reason='…'"),
    )


def check_rules(name: str, rules: Sequence[str]) -> None:
    """Whether each rule that is to be accepted exists; asked before anything else, whatever is pending.

    :param name: the environment's.
    :raises UsageError: a rule that does not exist.
    """
    if not rules:
        return
    from pgops.migrations.hazards import RULES

    for rule in rules:
        if rule not in RULES:
            import difflib

            near = difflib.get_close_matches(rule, list(RULES), n=1)
            raise UsageError(
                f"--accept-hazard={rule}: there is no such rule"
                + (f"; did you mean {near[0]}?" if near else ""),
                untouched=f"{name} was not touched",
                hint="the rules are in docs/hazards.md",
            )


def check_reversible(plans: Sequence[Plan]) -> None:
    """Where an environment takes only what can be undone (``reversible: {required_before: [migrate]}``).

    :param plans: of one environment, upgrades.
    :raises BlockedError: a revision has no downgrade that undoes it.
    """
    environment = plans[0].environment
    if "migrate" not in environment.reversible_before:
        return
    found = [
        f"{each.revision} ({each.irreversible})"
        for plan in plans
        for each in plan.pending
        if each.irreversible
    ]
    if found:
        raise IrreversibleError(
            f"{environment.name} takes only revisions that can be undone, and these can not: {', '.join(found)}",
            untouched=f"{environment.name} was not touched",
            hint="write their downgrade(), and try it: invoke migrate.test",
        )


def check_hazards(plans: Sequence[Plan], accepted: Iterable[str], reason: str | None) -> tuple[str, ...]:
    """The rules that were accepted and that a plan really trips.

    :param plans: of one environment.
    :raises UsageError: a rule that does not exist, or no reason given.
    :raises BlockedError: a hazard that blocks was not accepted.
    """
    name = plans[0].environment.name
    found = [each for plan in plans for each in plan.all_hazards]
    given = list(dict.fromkeys(accepted))
    check_rules(name, given)
    if given and not reason:
        raise UsageError(
            "--accept-hazard needs a reason for the journal",
            untouched=f"{name} was not touched",
            hint="say why: --reason='…'",
        )
    blocking = {each.rule for each in found if each.blocks}
    if left := sorted(blocking - set(given)):
        raise BlockedError(
            f"{name}: blocked by {', '.join(left)}",
            untouched=f"{name} was not touched",
            hint="rewrite the migration as shown"
            + (
                "; docs/hazards.md says what else a person can do"
                if plans[0].environment.protected
                else f", or {' '.join(f'--accept-hazard={rule}' for rule in left)} --reason='…'"
            ),
        )
    return tuple(rule for rule in given if rule in {each.rule for each in found})


def backup_required(environment: Environment) -> bool:
    """Whether ``required_before`` asks for a verified backup before a migration."""
    return "migrate" in environment.backups.required_before
