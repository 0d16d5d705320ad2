"""Plans made of thin air, for tests that need no database: one builder, everything in it can be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pgops.migrations.alembic_env.context import VersionTable
from pgops.migrations.alembic_env.environment import Scripts
from pgops.migrations.plan.plan import Plan, PlannedRevision, plan_hash
from pgops.migrations.revisions.history import History
from pgops.migrations.revisions.revision import Revision
from pgops.postgres import Identity, Target
from tests.support.projects import AlembicProject

TARGET = Target(environment="staging", host="db.example.com", port=5432, dbname="app", user="app_migrator")
IDENTITY = Identity(system_identifier="7000000000000000001", database="app", database_oid=16384)


def revision(
    name: str, *, after: tuple[str, ...] | None = None, sql: str = "", **changes: Any
) -> PlannedRevision:
    """One revision that would run; ``after`` are the heads when it has."""
    given: dict[str, Any] = {
        "revision": name,
        "message": f"make {name}",
        "file": Path(f"migrations/versions/{name}_.py"),
        "hash": f"hash of {name}",
        "sql": sql,
        "reads_data": None,
        "heads_after": after or (name,),
    }
    return PlannedRevision(**{**given, **changes})


def chain(*names: str) -> History:
    """A history of revisions one upon the other."""
    parents = [(), *((name,) for name in names[:-1])]
    return History(
        {
            name: Revision(name, down, (), (), f"{name}_.py", f"hash of {name}")
            for name, down in zip(names, parents, strict=True)
        }
    )


def planned(path: Path, *pending: PlannedRevision, target: Target = TARGET, **changes: Any) -> Plan:
    """A plan for ``staging`` from base through ``pending``; ``path`` is the project's."""
    environment = AlembicProject(path).environment(target)
    given: dict[str, Any] = {
        "environment": environment,
        "target": target,
        "identity": IDENTITY,
        "action": "upgrade",
        "version_table": VersionTable(),
        "current": (),
        "to": pending[-1].heads_after if pending else (),
        "pending": pending,
        "hash": plan_hash("staging", target, IDENTITY, "upgrade", (), pending),
        "history": chain(*(each.revision for each in pending)),
        "scripts": Scripts(None, (), History({})),  # type: ignore[arg-type]
    }
    return Plan(**{**given, **changes})
