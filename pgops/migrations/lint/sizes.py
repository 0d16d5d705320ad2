"""Sizes of tables from a file: a list of tables, a backup's manifest.json, or what backup.show --json prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pgops.errors import UsageError
from pgops.migrations.hazards.live import TableState
from pgops.migrations.hazards.sql import Name


def read_sizes(file: Path) -> Mapping[Name, TableState]:
    """Schema and name of each table -> its size.

    :raises UsageError: it can't be read, or is no list of tables.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is no JSON: {error}"
        raise _refused(file, why or str(error)) from error
    if isinstance(document, dict) and isinstance(document.get("backup"), dict):
        document = document["backup"]
    tables = document.get("tables") if isinstance(document, dict) else None
    if not isinstance(tables, list):
        raise _refused(file, 'it has no list "tables"')
    found: dict[Name, TableState] = {}
    for place, each in enumerate(tables):
        match each:
            case {"schema": str(schema), "name": str(name), "rows": int(rows), "bytes": int(size)} if (
                rows >= 0 and size >= 0
            ):
                shown = name if schema == "public" else f"{schema}.{name}"
                found[Name(name, schema)] = TableState(place, shown, rows, size, bool(rows or size))
            case _:
                raise _refused(
                    file,
                    f'tables[{place}] is not {{"schema": …, "name": …, "rows": number, "bytes": number}}',
                )
    return found


def _refused(file: Path, why: str) -> UsageError:
    return UsageError(
        f"--sizes={file}: {why}",
        untouched="nothing was read",
        hint="backup.show --json > sizes.json writes one; or leave it out: then every table is taken for a large one",
    )
