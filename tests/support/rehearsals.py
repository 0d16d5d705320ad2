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


def example() -> Rehearsal:
    """The one that docs/rehearsal-example.html shows."""
    retype = statement(
        "ALTER TABLE orders ALTER COLUMN total TYPE numeric(12, 2)",
        began=0.1,
        seconds=8.4,
        rows=None,
        wal_bytes=1_310_000_000,
        locks=(HeldLock("orders", "ACCESS EXCLUSIVE", 0.1, 8.6),),
        changes=(Change("rewrite", "orders"), Change("rebuild-index", "orders", "orders_pkey")),
        scans=("orders",),
    )
    constraint = statement(
        "ALTER TABLE orders ADD CONSTRAINT orders_customer FOREIGN KEY (customer) REFERENCES customers (id) NOT VALID",
        began=8.9,
        seconds=0.02,
        rows=None,
        wal_bytes=9_200,
        locks=(
            HeldLock("orders", "SHARE ROW EXCLUSIVE", 8.9, 5.3),
            HeldLock("customers", "SHARE ROW EXCLUSIVE", 8.9, 5.3),
        ),
        changes=(Change("constraint", "orders", "orders_customer", "f not valid"),),
    )
    names = statement(
        "UPDATE customers SET name = %(name)s WHERE id = %(id)s",
        began=9.0,
        seconds=4.9,
        rows=12_480,
        times=12_480,
        wal_bytes=3_400_000,
        locks=(HeldLock("customers", "ROW EXCLUSIVE", 9.0, 5.2),),
    )
    index = statement(
        "CREATE INDEX CONCURRENTLY orders_by_day ON orders (placed_at)",
        began=14.4,
        seconds=3.1,
        rows=None,
        wal_bytes=180_000_000,
        autocommit=True,
        locks=(HeldLock("orders", "SHARE UPDATE EXCLUSIVE", 14.4, 3.1),),
        changes=(Change("build-index", "orders", "orders_by_day"),),
    )
    return rehearsal(
        Path("shop"),
        ran(
            "3f1c8a52b7d4",
            retype,
            message="orders: totals with cents",
            seconds=8.7,
            sizes=(Size("orders", 1_240_000_000, 1_310_000_000),),
            temporary_bytes=420_000_000,
            stalls=(Stall("orders", 8.5, 8.6),),
        ),
        ran(
            "9b60d2e4f118",
            constraint,
            names,
            message="orders: a customer for each",
            seconds=5.4,
            stalls=(Stall("orders", 0.0, 5.3), Stall("customers", 0.0, 5.3)),
        ),
        ran(
            "c47e05a1936f",
            index,
            message="orders: by day",
            seconds=3.2,
            sizes=(Size("orders", 1_310_000_000, 1_490_000_000),),
            temporary_bytes=160_000_000,
        ),
        hazards=(
            Hazard("changing-column-type", "block", "orders", "3f1c8a52b7d4", 1, "", "", "ACCESS EXCLUSIVE"),
            Hazard("unbatched-write", "warning", "customers", "9b60d2e4f118", 1, "", "", "ROW EXCLUSIVE"),
            Hazard("constraint-missing-not-valid", "note", "orders", "9b60d2e4f118", 1, "", ""),
            Hazard("long-transaction", "warning", "orders", "", 0, "", ""),
        ),
        seconds=17.6,
        stalls=(Stall("orders", 8.5, 8.6), Stall("customers", 0.0, 5.3)),
        tables=frozenset({"orders", "customers"}),
        unobserved=("waits shorter than 40 ms: that is how often each table was tried",),
        place=Place(
            "20261127T030000Z-ab12cd",
            MOMENT - dt.timedelta(hours=7),
            "image postgres:17",
            "17.11",
            "17.11",
            94.0,
        ),
    )
