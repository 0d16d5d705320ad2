"""Hazards of revision files, with what is said of their tables' sizes; nothing is connected but where sizes are asked of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pgops.environments import Environment
from pgops.errors import BlockedError, ConfigurationError
from pgops.migrations import hazards
from pgops.migrations.hazards import Hazard, Known
from pgops.migrations.lint.changed import Changed, changed_since
from pgops.migrations.lint.offline import render_files
from pgops.migrations.plan.plan import PlannedRevision, relative
from pgops.migrations.plan.through_env import refuse_unintended_heads
from pgops.migrations.revisions.history import History, read_history
from pgops.migrations.revisions.location import locate
from pgops.migrations.revisions.revision import NotPlainError, text_now
from pgops.units import counted

_ALWAYS_UNKNOWN = (
    "sessions, replicas and the data of a target are not looked at: migrate.plan does",
    "env.py is not run: naming conventions and options that it sets are not known",
)

_ACCEPTED = re.compile(r"^[ \t]*#[ \t]*pgops: accept ([a-z-]+): *(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Linted:
    """What was read of one history, and what it may hurt.

    ``sizes`` says where sizes are from; ``unknown`` what a look without a database can't tell; ``notes`` what else
    a reviewer should know.
    """

    environment: Environment
    since: str | None
    revisions: tuple[PlannedRevision, ...]
    sizes: str
    unknown: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def hazards(self) -> tuple[Hazard, ...]:
        """All of them, in the revisions' order."""
        return tuple(hazard for each in self.revisions for hazard in each.hazards)

    def as_dict(self) -> dict[str, object]:
        """The value in ``migrate.lint --json``."""
        history = self.environment.alembic.history
        return {
            "environment": self.environment.name,
            **({"history": history} if history else {}),
            "since": self.since,
            "sizes": self.sizes,
            "revisions": [each.as_dict(self.environment.project) for each in self.revisions],
            "unknown": list(self.unknown),
            "notes": list(self.notes),
        }


class LintError(BlockedError):
    """A finding that a lint ends with."""

    code = "lint"

    def __init__(self, wrong: Sequence[Hazard], value: Mapping[str, object], *, sized: bool) -> None:
        rules = sorted({each.rule for each in wrong})
        sizes = "" if sized else "give the tables' sizes with --sizes or --sizes-of; "
        super().__init__(
            f"{counted(len(wrong), 'finding')}: {', '.join(rules)}",
            untouched="no database was touched",
            hint=f"{sizes}rewrite the revision as shown, or write into it: # pgops: accept {rules[0]}: why",
        )
        self._value = value

    def beside(self) -> dict[str, object]:
        return {"lint": self._value}


def lint(environment: Environment, known: Known, *, since: str | None, sizes: str) -> Linted:
    """Read the revisions that are new or edited since ``since``, or all of them.

    :param environment: one history of it; its connection is not used.
    :param sizes: where ``known`` is from, for the reader.
    :raises UsageError: git does not know ``since``; two heads that nobody chose.
    :raises ConfigurationError: the revisions can't be read without env.py.
    """
    location = locate(environment.alembic, environment.project)
    try:
        history = read_history(location)
    except NotPlainError as error:
        raise ConfigurationError(
            f"the revisions can't be read without env.py: {error}",
            untouched="no database was touched",
            hint=f"invoke migrate.plan {environment.flags} runs it",
        ) from error
    refuse_unintended_heads(history)
    changed = None if since is None else changed_since(since, location.version_directories)
    wanted = [
        history.revisions[each]
        for each in history.pending(())
        if changed is None or history.revisions[each].file.resolve() in changed.added | changed.edited
    ]
    rendered = render_files(location, wanted)
    found = hazards.find_unconnected(
        known,
        {each.revision: each.sql for each in rendered},
        environment.hazards,
        unreadable={each.revision: each.reads_data for each in rendered if each.reads_data},
    )
    return Linted(
        environment=environment,
        since=since,
        revisions=tuple(
            replace(
                each,
                hazards=tuple(_accepted(each, [one for one in found if one.revision == each.revision])),
            )
            for each in rendered
        ),
        sizes=sizes,
        unknown=_ALWAYS_UNKNOWN,
        notes=() if changed is None else tuple(_of_edited(changed, history, environment.project)),
    )


def _accepted(revision: PlannedRevision, found: Sequence[Hazard]) -> Sequence[Hazard]:
    """What the file accepts with a reason (``# pgops: accept RULE: why``) is a warning here; a run still wants the flag."""
    text = text_now(revision.file).decode("utf-8", errors="replace")
    reasons = {match[1]: match[2].strip() for match in _ACCEPTED.finditer(text)}
    return [
        replace(each, level="warning", message=f"{each.message}; accepted in the file: {reasons[each.rule]}")
        if each.blocks and each.rule in reasons
        else each
        for each in found
    ]


def _of_edited(changed: Changed, history: History, project: Path) -> Sequence[str]:
    """Files that are no new ones: a database that has applied them takes no notice."""
    there = {each.file.resolve() for each in history.revisions.values()}
    edited = [
        f"{relative(each, project)} was there at {changed.since} and is edited: a database that has it won't run it again"
        for each in sorted(changed.edited & there)
    ]
    removed = [
        f"{relative(each, project)} was there at {changed.since} and is gone: a database that has it is ahead of this code"
        for each in sorted(changed.removed)
        if each.suffix == ".py" and each.name != "__init__.py"
    ]
    return (*edited, *removed)
