"""What a rehearsal leaves behind: a receipt that says what ran, on what, and from which files."""

from __future__ import annotations

import datetime as dt
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pgops
from pgops.migrations.journal.provenance import hostname, operator
from pgops.migrations.plan.plan import Plan, relative
from pgops.migrations.rehearsal.rehearsal import Rehearsal
from pgops.migrations.revisions.revision import file_hash
from pgops.units import timestamp

_OUTSIDE = "module "
_OF_PACKAGES = frozenset(["site-packages", "dist-packages"])


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as it is read back.

    ``files`` are the hashes of the revision files by revision, ``modules`` those of what env.py and the revisions import
    from the project, by path (or by name, outside of the project). ``stall`` is the longest wait, in seconds, and
    ``stalled`` the table. ``seconds_of`` is how long each revision took. ``way_back`` says how many
    ``seconds`` the way down took and what was the ``problem`` with the way back; ``None`` where it was not tried.
    """

    id: str
    environment: str
    plan_hash: str
    place: str
    system_identifier: str | None
    database_oid: int
    current: tuple[str, ...]
    to: tuple[str, ...]
    files: Mapping[str, str]
    modules: Mapping[str, str]
    backup: str
    backup_at: dt.datetime
    server: str
    started_at: dt.datetime
    finished_at: dt.datetime
    seconds: float
    seconds_of: Mapping[str, float]
    stall: float | None
    stalled: str | None
    verdict: str
    failure: str | None
    way_back: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether the plan went through."""
        return self.verdict == "passed"

    def for_journal(self) -> dict[str, Any]:
        """What the journal keeps of it beside the run that it was the rehearsal of."""
        return {
            "id": self.id,
            "backup": self.backup,
            "at": timestamp(self.finished_at),
            "seconds": round(self.seconds, 3),
            "revisions": dict(self.seconds_of),
            "stall": self.stall,
            "stalled": self.stalled,
            "way_back": self.way_back,
        }


def document(rehearsal: Rehearsal) -> dict[str, Any]:
    """The receipt of a rehearsal, to be written out."""
    plan, measured, worst = rehearsal.plan, rehearsal.measured, rehearsal.worst
    return {
        "format": 1,
        "id": rehearsal.id,
        "environment": plan.environment.name,
        "plan_hash": plan.hash,
        "place": plan.target.place,
        "system_identifier": plan.identity.system_identifier,
        "database_oid": plan.identity.database_oid,
        "current": list(plan.current),
        "to": list(plan.to),
        "files": {each.revision: each.hash for each in plan.pending},
        "modules": _all_files(rehearsal),
        "backup_at": timestamp(rehearsal.place.backup_at),
        "server": f"{rehearsal.place.server} (PostgreSQL {rehearsal.place.version})",
        "started_at": timestamp(rehearsal.started_at),
        "finished_at": timestamp(rehearsal.finished_at),
        "seconds": round(measured.seconds, 3),
        "seconds_of": {each.revision: round(each.seconds, 3) for each in measured.revisions},
        "stall": None if worst is None else round(worst.worst, 3),
        "stalled": None if worst is None else worst.relation,
        "verdict": rehearsal.verdict,
        "failure": measured.failure or None,
        "round_trip": measured.round_trip.as_dict(),
        "models": None if measured.models is None else list(measured.models),
        "predictions": [
            [each.rule, each.revision, each.relation, each.verdict] for each in rehearsal.predictions
        ],
        "operator": operator(),
        "host": hostname(),
        "pgops_version": pgops.__version__,
    }


def _all_files(rehearsal: Rehearsal) -> dict[str, str]:
    """What the plan was made of, as it was then, and what of the project was imported while it ran."""
    later = {
        key: found for key, found in project_files(rehearsal.plan).items() if not key.startswith(_OUTSIDE)
    }
    return {**later, **rehearsal.files}


def read(found: Mapping[str, Any]) -> Receipt | None:
    """A receipt from its document; ``None`` where it is of a form that this version does not know."""
    if found.get("format") != 1:
        return None
    try:
        return Receipt(
            id=str(found["id"]),
            environment=str(found["environment"]),
            plan_hash=str(found["plan_hash"]),
            place=str(found["place"]),
            system_identifier=found["system_identifier"],
            database_oid=int(found["database_oid"]),
            current=tuple(found["current"]),
            to=tuple(found["to"]),
            files=dict(found["files"]),
            modules=dict(found["modules"]),
            backup=str(found["backup"]),
            backup_at=dt.datetime.fromisoformat(found["backup_at"]),
            server=str(found["server"]),
            started_at=dt.datetime.fromisoformat(found["started_at"]),
            finished_at=dt.datetime.fromisoformat(found["finished_at"]),
            seconds=float(found["seconds"]),
            seconds_of={str(name): float(seconds) for name, seconds in found["seconds_of"].items()},
            stall=None if found["stall"] is None else float(found["stall"]),
            stalled=found["stalled"],
            verdict=str(found["verdict"]),
            failure=found["failure"],
            way_back=_way_back(found.get("round_trip")),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _way_back(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not found or not found["tried"]:
        return None
    seconds, problems = found.get("down_seconds"), found["problems"]
    return {
        "seconds": None if seconds is None else float(seconds),
        "problem": str(problems[0]) if problems else None,
    }


def project_files(plan: Plan) -> dict[str, str]:
    """Hashes of what decides what the plan does, beside the revision files: configuration, env.py, project modules.

    Modules are those that this process has imported, env.py and the revisions among its reasons, and that are neither
    Python's own, nor an installed package's, nor pgops'. The project's tasks.py is not among them.
    """
    project = plan.environment.project
    found: dict[str, str] = {}
    env = Path(plan.scripts.directory.dir) / "env.py"
    for file in (plan.environment.alembic.config, env):
        if file.is_file():
            found[relative(file, project)] = file_hash(file.read_bytes())
    revisions = {each.file.resolve() for each in plan.history.revisions.values()}
    for name, file in sorted(_modules(project)):
        inside = relative(file, project)
        key = f"{_OUTSIDE}{name}" if Path(inside).is_absolute() else inside
        if file not in revisions and key not in found:
            found[key] = file_hash(file.read_bytes())
    return found


def _modules(project: Path) -> list[tuple[str, Path]]:
    """Imported modules of the project: name and source file."""
    not_theirs = {
        Path(path).resolve()
        for key in ("stdlib", "platstdlib", "purelib", "platlib")
        if (path := sysconfig.get_paths().get(key))
    } | {Path(pgops.__file__).resolve().parent}
    tasks = (project / "tasks.py").resolve()
    found = []
    for name, module in list(sys.modules.items()):
        given = getattr(module, "__file__", None)
        if not isinstance(given, str) or not given.endswith(".py"):
            continue
        file = Path(given).resolve()
        if (
            file == tasks
            or _OF_PACKAGES & set(file.parts)
            or any(file.is_relative_to(each) for each in not_theirs)
            or not file.is_file()
        ):
            continue
        found.append((name, file))
    return found


def hash_now(key: str, plan: Plan) -> str | None:
    """The hash of what a receipt names, as it is now; ``None`` where it is gone, or imported no more."""
    if key.startswith(_OUTSIDE):
        module = sys.modules.get(key.removeprefix(_OUTSIDE))
        given = getattr(module, "__file__", None)
        file = Path(given) if isinstance(given, str) else None
    else:
        file = plan.environment.project / key
    if file is None or not file.is_file():
        return None
    return file_hash(file.read_bytes())
