"""Settings that disarm the run, and what a revision does to the sessions of others."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.observed import Seen, Trace
from pgops.migrations.hazards.sql import Statement
from pgops.migrations.hazards.traced_rules import hazard_of_state
from pgops.postgres.locks import lock_key

_ENDS = re.compile(r"\bpg_(?:terminate|cancel)_backend\s*\(", re.IGNORECASE)
_TIMEOUTS = frozenset(["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"])
_UNITS = {"": 0.001, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "us": 0.000001}


def restored_settings(trace: Trace) -> frozenset[tuple[str, str, str]]:
    """(Revision, setting, value) of what a revision sets back to what it was."""
    return frozenset(
        (seen.revision, each.name, each.before)
        for seen in trace.statements
        for each in seen.settings
        if each.restored
    )


def of_session(
    seen: Seen, statement: Statement, restored: frozenset[tuple[str, str, str]]
) -> Iterator[Hazard]:
    """Settings that a statement leaves changed. ``restored`` is :func:`restored_settings`."""
    for each in seen.settings:
        if each.restored:
            continue
        change = f"{each.name} goes from {each.before or 'nothing'} to {each.after or 'nothing'}"
        if each.name in _TIMEOUTS:
            before, after = _seconds(each.before), _seconds(each.after)
            if after == 0 or (before and after > before):
                what = "never gives up" if after == 0 else "gives up later"
                yield hazard_of_state(
                    "disarming-run",
                    statement,
                    None,
                    f"{change}: the run {what}, and everybody behind it waits as long",
                    name=each.name,
                )
        elif each.name == "session_replication_role":
            yield hazard_of_state(
                "disarming-run",
                statement,
                None,
                f"{change}: triggers and foreign keys are not checked",
                name=each.name,
            )
        elif (seen.revision, each.name, each.after) not in restored:
            yield hazard_of_state(
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
        yield hazard_of_state(
            "disarming-run",
            statement,
            None,
            "it takes an advisory lock that pgops' runs and backups wait for",
        )
    if _ENDS.search(seen.sql):
        yield hazard_of_state("ending-sessions", statement, None, "it ends or cancels sessions of others")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", text)
    return float(match[1]) * _UNITS.get(match[2], 0.001) if match else 0.0
