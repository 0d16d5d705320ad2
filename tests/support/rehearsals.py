"""A rehearsal made up, for tests of what is made of one: everything of others in it is as nasty as it gets."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from pgops.migrations.hazards import Hazard
from pgops.migrations.hazards.observed import Change
from pgops.migrations.rehearsal.measured import HeldLock, Revision, RoundTrip, Size, Stall, Statement
from pgops.migrations.rehearsal.rehearsal import Place, Rehearsal
from pgops.migrations.rehearsal.rehearse import Measured
from tests.support.plans import planned, revision

NASTY = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes' `ticks` ```fence``` | bar [link](http://evil.example) "
    "@someone \u202egnirts \x1b[31m {{ 7 * 7 }} {% raw %} --><!-- ]]> <style>*{display:none}</style>"
)
MOMENT = dt.datetime(2026, 11, 27, 10, 0, tzinfo=dt.UTC)


def statement(sql: str = "SELECT 1", **changes: Any) -> Statement:
    """One statement that took two seconds."""
    given: dict[str, Any] = {
        "sql": sql,
        "began": 0.5,
        "seconds": 2.0,
        "rows": 1_000,
        "wal_bytes": 5_000_000,
        "times": 1,
        "autocommit": False,
    }
    return Statement(**{**given, **changes})


def ran(name: str = "aa02", *statements: Statement, **changes: Any) -> Revision:
    """One revision that ran."""
    given: dict[str, Any] = {
        "revision": name,
        "message": f"make {name}",
        "seconds": 3.0,
        "statements": statements,
        "sizes": (),
        "temporary_bytes": 0,
        "done": True,
    }
    return Revision(**{**given, **changes})


def rehearsal(
    path: Path, *revisions: Revision, hazards: tuple[Hazard, ...] = (), **changes: Any
) -> Rehearsal:
    """A rehearsal of a plan of ``staging``."""
    plan = planned(path, *(revision(each.revision) for each in revisions), hazards=hazards)
    given: dict[str, Any] = {
        "seconds": 4.0,
        "revisions": revisions,
        "stalls": (Stall("people", 1.5, 2.5),),
        "failure": "",
        "failure_hint": "",
        "round_trip": RoundTrip(tried=True, seconds=1.0, problems=()),
        "models": (),
        "unobserved": ("waits shorter than 20 ms",),
    }
    place = changes.pop("place", None) or Place(
        "20261127T095900Z-abc123", MOMENT, "embedded PostgreSQL 18.6", "18.6", "18.6", 12.0
    )
    return Rehearsal(
        id="20261127T100000-abcdef",
        plan=plan,
        place=place,
        started_at=MOMENT,
        finished_at=MOMENT + dt.timedelta(seconds=30),
        measured=Measured(**{**given, **changes}),
        files={},
    )


def nasty(path: Path) -> Rehearsal:
    """One in which every text of others is :data:`NASTY`."""
    hurt = statement(
        NASTY,
        locks=(HeldLock(NASTY, "ACCESS EXCLUSIVE", 0.5, 2.0),),
        changes=(Change("rewrite", NASTY), Change("build-index", NASTY, NASTY)),
        scans=(NASTY,),
        failed=NASTY,
    )
    return rehearsal(
        path,
        ran("aa02", hurt, message=NASTY, sizes=(Size(NASTY, 1, 2),)),
        hazards=(Hazard("rewriting-table", "warning", NASTY, "aa02", 1, NASTY, NASTY, "ACCESS EXCLUSIVE"),),
        stalls=(Stall(NASTY, 1.0, 2.0, NASTY, NASTY),),
        failure=NASTY,
        round_trip=RoundTrip(tried=True, seconds=1.0, problems=(NASTY,)),
        models=(NASTY,),
        unobserved=(NASTY,),
        place=Place(NASTY, MOMENT, NASTY, NASTY, NASTY, 1.0, (NASTY,)),
    )
