"""Hazards as findings in files, for whatever shows them beside the code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops.migrations.hazards import Hazard
from pgops.migrations.lint.changed import repository_of
from pgops.migrations.lint.lint import Linted
from pgops.migrations.plan.plan import Plan, PlannedRevision, relative
from pgops.runtime.clear_text import clear
from pgops.secrets.redaction import redact

LEVELS: Mapping[str, str] = {"block": "blocks", "warning": "warning", "note": "note"}
"""A hazard's level, as a reader is told."""

SETTINGS = "environments.yaml"

_UPGRADE = re.compile(r"^def (upgrade|downgrade)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One hazard and where it is. ``file`` is below the checkout, ``None`` where it is not in it; lines count from 1.

    ``fingerprint`` stays the same while other lines of the file come and go. ``settings`` is the project's
    environments.yaml below the checkout: what a form that wants a file of each finding is given where there is none.
    """

    rule: str
    level: str
    message: str
    fix: str
    revision: str
    table: str | None
    file: str | None
    first: int
    last: int
    fingerprint: str
    settings: str = SETTINGS


def findings_of_plans(plans: Sequence[Plan]) -> tuple[Finding, ...]:
    """The hazards of a plan; those of no revision stand at its first one."""
    found: list[Finding] = []
    for plan in plans:
        for place, revision in enumerate(plan.pending):
            also = plan.hazards if place == 0 else ()
            found += _of_revision(revision, (*also, *revision.hazards), plan.environment.project, plan.action)
    return tuple(found)


def findings_of_lint(linted: Sequence[Linted]) -> tuple[Finding, ...]:
    """The hazards of revision files."""
    return tuple(
        finding
        for each in linted
        for revision in each.revisions
        for finding in _of_revision(revision, revision.hazards, each.environment.project, "upgrade")
    )


def _of_revision(
    revision: PlannedRevision, hazards: Sequence[Hazard], project: Path, action: str
) -> Iterator[Finding]:
    # Only what the checkout has can be pointed at.
    repository = repository_of(project)
    file = None if revision.kept else relative(revision.file, repository)
    settings = relative(project / SETTINGS, repository)
    seen: dict[str, int] = {}
    for hazard in hazards:
        place = revision.place(hazard.line)
        first, last = (place.first, place.last) if place else (_function(revision.file, action),) * 2
        identity = "\0".join([hazard.rule, revision.revision, hazard.table or ""])
        seen[identity] = seen.get(identity, 0) + 1
        yield Finding(
            rule=hazard.rule,
            level=hazard.level,
            message=_one_line(hazard.message),
            fix=clear(redact(hazard.fix)),
            revision=_one_line(revision.revision),
            table=None if hazard.table is None else _one_line(hazard.table),
            file=None if file is None or Path(file).is_absolute() else Path(file).as_posix(),
            first=first,
            last=last,
            fingerprint=hashlib.sha256(f"{identity}\0{seen[identity]}".encode(errors="replace")).hexdigest(),
            settings=SETTINGS if Path(settings).is_absolute() else Path(settings).as_posix(),
        )


def _one_line(text: str) -> str:
    return " ".join(clear(redact(text)).split())


def _function(file: Path, action: str) -> int:
    """The line of a revision's function, 1 where it can't be found."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 1
    found = next((each for each in _UPGRADE.finditer(text) if action.startswith(each[1])), None)
    return 1 if found is None else text.count("\n", 0, found.start()) + 1
