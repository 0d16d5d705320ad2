"""A plan as a file: what people sign. Its bytes are signed, so there is one way only to write them."""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgops.errors import UsageError
from pgops.migrations.approval.openssh import LIMIT, SignatureError
from pgops.migrations.approval.policy import InForce, Policy
from pgops.migrations.plan.histories import plans_hash
from pgops.migrations.plan.plan import Plan
from pgops.migrations.run.gates import Promotion
from pgops.runtime.files import read_regular

# 2 has notes, and what is known of a revision besides its SQL.
FORMAT = 2
_MAYBE = (str, type(None))
_SHAPE: Mapping[str, Any] = {
    "pgops_plan": int,
    "id": str,
    "made_at": str,
    "made_by": str,
    "expires_at": str,
    "environment": str,
    "target": dict,
    "action": str,
    "hash": str,
    "plans": list,
    "promotion": list,
    "promotion_granted": bool,
    "backup_required": bool,
    "approvals": (dict, type(None)),
    "approvals_before": (dict, type(None)),
}
_TARGET: Mapping[str, Any] = {
    "host": str,
    "port": int,
    "database": str,
    "system_identifier": _MAYBE,
    "database_oid": (int, type(None)),
}
_PLAN: Mapping[str, Any] = {
    "history": _MAYBE,
    "version_table": str,
    "current": list,
    "to": list,
    "hash": str,
    "notes": list,
    "hazards": list,
    "pending": list,
}
_REVISION: Mapping[str, Any] = {
    "revision": str,
    "message": str,
    "file": str,
    "file_hash": str,
    "sql": str,
    "sql_hash": _MAYBE,
    "reads_data": _MAYBE,
    "varies": bool,
    "asked": bool,
    "irreversible": _MAYBE,
    "hazards": list,
}
_HASH = re.compile(r"[0-9a-f]*")


def is_file(plan: str) -> bool:
    """Whether ``--plan`` names a file, not a hash."""
    return _HASH.fullmatch(plan) is None and (plan.endswith(".json") or Path(plan).is_file())


@dataclass(frozen=True, slots=True)
class Document:
    """``raw`` is what was read and is signed, ``facts`` what it says."""

    file: Path
    raw: bytes
    facts: Mapping[str, Any]

    @property
    def id(self) -> str:
        """A random id: what was carried out once is used up."""
        return str(self.facts["id"])

    @property
    def made_at(self) -> dt.datetime:
        """When it was written, by the clock of whoever did."""
        return dt.datetime.fromisoformat(self.facts["made_at"])

    @property
    def expires_at(self) -> dt.datetime:
        """Until when it may be carried out."""
        return dt.datetime.fromisoformat(self.facts["expires_at"])

    @property
    def history(self) -> str | None:
        """The one history that it is of; ``None`` for a project without histories, and for several of them."""
        plans = self.facts["plans"]
        return plans[0]["history"] if len(plans) == 1 else None

    @property
    def to(self) -> str | None:
        """Where its one history goes, as ``--to`` takes it; ``None`` for several histories or several heads."""
        if len(self.facts["plans"]) != 1 or len(self.facts["plans"][0]["to"]) > 1:
            return None
        return next(iter(self.facts["plans"][0]["to"]), "base")

    @property
    def blocking(self) -> frozenset[str]:
        """The rules that blocked when it was made: those who sign have seen them."""
        return frozenset(
            hazard["rule"]
            for plan in self.facts["plans"]
            for hazard in (*plan["hazards"], *(each for one in plan["pending"] for each in one["hazards"]))
            if hazard["level"] == "block"
        )


def facts_of(
    plans: Sequence[Plan],
    policies: InForce,
    promotions: Sequence[Promotion | None],
    *,
    backup: bool,
    by: str,
    now: dt.datetime,
) -> dict[str, Any]:
    """What a plan's file says.

    :param backup: whether a verified backup is taken first.
    :param by: who makes it, for people; nothing is decided by it.
    :param now: the clock; the plan may be carried out for the shortest ``max_age`` from now.
    """
    ages = [each.max_age for each in policies.all]
    return {
        "pgops_plan": FORMAT,
        "id": secrets.token_hex(16),
        "made_at": now.isoformat(timespec="seconds"),
        "made_by": by,
        "expires_at": (now + dt.timedelta(seconds=min(ages, default=86400.0))).isoformat(timespec="seconds"),
        **_bound(plans),
        "plans": [_plan(each) for each in plans],
        "promotion": [str(each) for each in promotions if each is not None],
        "promotion_granted": all(each is None or each.granted for each in promotions),
        "backup_required": backup,
        "approvals": _policy(policies.now),
        "approvals_before": _policy(policies.before),
    }


def _policy(policy: Policy | None) -> dict[str, Any] | None:
    return None if policy is None else policy.as_dict()


def _bound(plans: Sequence[Plan]) -> dict[str, Any]:
    first = plans[0]
    return {
        "environment": first.environment.name,
        "target": {
            "host": first.target.host,
            "port": first.target.port,
            "database": first.target.dbname,
            "system_identifier": first.identity.system_identifier,
            "database_oid": first.identity.database_oid,
        },
        "action": first.action,
        "hash": plans_hash(plans),
    }


def _plan(plan: Plan) -> dict[str, Any]:
    project = plan.environment.project
    return {
        "history": plan.environment.alembic.history,
        "version_table": str(plan.version_table),
        "current": list(plan.current),
        "to": list(plan.to),
        "hash": plan.hash,
        "notes": list(plan.notes),
        "hazards": [each.as_dict() for each in plan.hazards],
        "pending": [
            {
                "revision": each.revision,
                "message": each.message,
                "file": each.path(project),
                "file_hash": each.hash,
                "sql": each.sql,
                "sql_hash": each.sql_hash,
                "reads_data": each.reads_data,
                "varies": each.varies,
                "asked": each.asked,
                "irreversible": each.irreversible,
                "hazards": [hazard.as_dict() for hazard in each.hazards],
            }
            for each in plan.pending
        ],
    }


def encode(facts: Mapping[str, Any]) -> bytes:
    """The one way to write it."""
    return (json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def read(file: Path) -> Document:
    """Read a plan's file.

    :raises UsageError: there is no such file.
    :raises SignatureError: it is not as it was written.
    """
    try:
        raw = read_regular(file, LIMIT * 64)
    except OSError as error:
        raise UsageError(
            f"the plan can't be read: {file}: {error.strerror}",
            untouched="nothing was touched",
            hint=f"invoke migrate.plan --out={file}",
        ) from error
    facts: Any = None
    try:
        facts = json.loads(raw)
        whole = _is_whole(facts) and encode(facts) == raw
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        written = facts.get("pgops_plan") if isinstance(facts, dict) else None
        raise SignatureError(
            f"{file} was written by another version of pgops (form {written}; this one knows {FORMAT})"
            if isinstance(written, int) and written != FORMAT
            else f"{file} is not a plan as pgops writes it; it was changed, or is something else",
            untouched="nothing was touched",
            hint="make it anew: invoke migrate.plan --out=plan.json",
        )
    return Document(file, raw, facts)


def _is_whole(facts: Any) -> bool:
    """Whether all that is read later is there, and nothing besides.

    :raises ValueError: a time is none.
    """
    if not _has_shape(facts, _SHAPE) or facts["pgops_plan"] != FORMAT:
        return False
    times = [dt.datetime.fromisoformat(facts[key]) for key in ("made_at", "expires_at")]
    plans = facts["plans"]
    if not (
        _has_shape(facts["target"], _TARGET) and plans and all(_has_shape(each, _PLAN) for each in plans)
    ):
        return False
    pending = [each for plan in plans for each in plan["pending"]]
    if not all(_has_shape(each, _REVISION) for each in pending):
        return False
    words = [
        *facts["promotion"],
        *(word for plan in plans for word in (*plan["current"], *plan["to"], *plan["notes"])),
    ]
    hazards = [each for one in (*plans, *pending) for each in one["hazards"]]
    return (
        all(each.tzinfo is not None for each in times)
        and bool(facts["id"])
        and all(isinstance(each, str) for each in words)
        and all(
            isinstance(each, dict)
            and all(isinstance(each.get(key), str) for key in ("rule", "level", "message"))
            for each in hazards
        )
    )


def _has_shape(found: Any, shape: Mapping[str, Any]) -> bool:
    return (
        isinstance(found, dict)
        and found.keys() == shape.keys()
        and all(isinstance(found[key], kind) for key, kind in shape.items())
    )


def differences(document: Document, plans: Sequence[Plan]) -> list[str]:
    """How the plan of now is not the one in the file; empty where it is."""
    there, here = document.facts, _bound(plans)
    if there["environment"] != here["environment"]:
        return [f"it is for {there['environment']}"]
    if there["target"] != here["target"]:
        return [f"it is for another target: {_place(there['target'])}, and this is {_place(here['target'])}"]
    if there["action"] != here["action"]:
        return [f"it is an {there['action']}"]
    signed = [_comparable(each) for each in there["plans"]]
    now = [_comparable(_plan(each)) for each in plans]
    if [each["history"] for each in signed] != [each["history"] for each in now]:
        return ["it is of other histories"]
    found = [why for one, other in zip(signed, now, strict=True) for why in _of_one(one, other)]
    if not found and there["hash"] != here["hash"]:
        found.append(f"its hash is {there['hash']}, and the plan's is {here['hash']}")
    return found


def _place(target: Mapping[str, Any]) -> str:
    server = target["system_identifier"] or "unknown"
    return f"{target['host']}:{target['port']}/{target['database']} (server {server}, oid {target['database_oid']})"


def _comparable(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is of the moment: notes, hazards, and SQL that is other SQL each time."""
    pending = [
        {**each, "hazards": [], **({"sql": "", "sql_hash": None} if each["varies"] else {})}
        for each in plan["pending"]
    ]
    return {**plan, "notes": [], "hazards": [], "pending": pending}


def _of_one(signed: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if signed == now:
        return
    said = False
    if signed["current"] != now["current"]:
        said = True
        yield (
            f"it begins at {', '.join(signed['current']) or 'base'}, and the target is at "
            f"{', '.join(now['current']) or 'base'}"
        )
    there = {each["revision"]: each for each in signed["pending"]}
    here = {each["revision"]: each for each in now["pending"]}
    if more := [each for each in here if each not in there]:
        said = True
        yield f"not part of it: {', '.join(more)}"
    if fewer := [each for each in there if each not in here]:
        said = True
        yield f"it also runs {', '.join(fewer)}"
    for what, key in (("the file", "file_hash"), ("the SQL", "sql")):
        if changed := [each for each in here if each in there and there[each][key] != here[each][key]]:
            said = True
            yield f"{what} of {', '.join(changed)} is another one now"
    if unsaid := [
        each for each in here if each in there and here[each]["asked"] and not there[each]["asked"]
    ]:
        said = True
        yield f"it does not say that {', '.join(unsaid)} can tell that its SQL is only being written"
    if not said:
        yield "it is not what would run now"
