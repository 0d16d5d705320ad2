"""``backups: {engine: pgbackrest, stanza: …, reach: …}`` -> :class:`PgBackRest`, with the rules that span them."""

from __future__ import annotations

from pgops.environments.layers import Layers, values
from pgops.environments.model import PgBackRest
from pgops.environments.walk import Walker

_OURS = ("stanza", "reach")


def read_pgbackrest(layers: Layers, walker: Walker) -> PgBackRest | None:
    """How pgBackRest is reached; ``None`` where pg_dump takes the backups, or after noting what is wrong."""
    backups = values(layers.merged.get("backups"))
    engine = backups.get("engine")
    if engine is None or engine.value != "pgbackrest":
        for key in _OURS:
            if key in backups:
                given = backups[key]
                walker.problem(given.at, given.path, "goes with engine: pgbackrest only")
        return None
    if "stanza" not in backups:
        if not layers.is_broken("backups.stanza", walker):
            walker.problem(
                engine.at, engine.path, "pgbackrest needs `stanza`, its name of the cluster, beside it"
            )
        return None
    reach = values(backups.get("reach"))
    for key in ("ssh", "recovery"):
        if "container" in reach and key in reach:
            walker.problem(reach[key].at, reach[key].path, f"{key} and container do not go together")
    return PgBackRest(backups["stanza"].value, **{key: given.value for key, given in reach.items()})
