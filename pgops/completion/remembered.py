"""Names that a task has seen and a TAB can't ask for: ids in a bucket, databases that restores kept.

TAB makes no connection: a shell would hang with a server that is away, ask for passwords, and cost a bucket's
owner money. So the tasks that list such names note them down, in this user's cache, and TAB offers those. They
may be of yesterday; who uses one is told by the task itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgops.backups.repository import Backup
    from pgops.environments import Environment

BACKUPS = "backups"
TABLES = "tables"
KEPT = "kept-databases"
RECOVERIES = "recoveries"


def remember(environment: Environment, kind: str, names: Iterable[str], environ: Mapping[str, str]) -> None:
    """Note down what there is of a kind, in place of what was noted before.

    :param kind: :data:`BACKUPS`, :data:`TABLES`, :data:`KEPT` or :data:`RECOVERIES`.
    """
    file = _file(environment, kind, environ)
    # A home that can't be written to only costs the names on TAB; the task that saw them has done its work.
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        partial.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        partial.replace(file)


def remember_backups(environment: Environment, backups: Sequence[Backup], environ: Mapping[str, str]) -> None:
    """Note down what a bucket holds: ids, the newest first, and the tables of the newest; a directory is read by TAB.

    :param backups: oldest first.
    """
    if environment.backups.store.url.startswith("file:"):
        return
    remember(environment, BACKUPS, [each.id for each in reversed(backups)], environ)
    tables = [each for backup in backups[-1:] for each in backup.manifest.tables]
    remember(environment, TABLES, [f"{each.schema}.{each.name}" for each in tables], environ)


def recall(environment: Environment, kind: str, environ: Mapping[str, str]) -> list[str]:
    """What was noted down last; nothing where nothing was."""
    try:
        return _file(environment, kind, environ).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        # Not there yet, or not ours to read: a completion has nobody to complain to.
        return []


def _file(environment: Environment, kind: str, environ: Mapping[str, str]) -> Path:
    cache = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".cache"
    project = hashlib.sha256(str(environment.project).encode()).hexdigest()[:16]
    return Path(cache) / "pgops" / "completion" / project / f"{environment.name}.{kind}"
