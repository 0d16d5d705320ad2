"""What the restore tasks print."""

from __future__ import annotations

from collections.abc import Mapping

from pgops.tasks._output.shapes import (
    COUNT,
    FLAG,
    SECONDS,
    TEXT,
    TEXTS,
    WHEN,
    Schema,
    many,
    object_of,
    open_object,
    or_null,
)

DEFINITIONS: Mapping[str, Schema] = {
    "restore_time": object_of(
        {
            "count_on_seconds": SECONDS,
            "median_seconds": SECONDS,
            "last_seconds": SECONDS,
            "last_at": WHEN,
            "of": COUNT,
        }
    ),
}

TASKS: Mapping[str, Schema] = {
    "restore.run": object_of(
        {"dry_run?": FLAG, "restore": open_object({"environment": TEXT})},
    ),
    "restore.undo": object_of({"dry_run?": FLAG, "restore": open_object({"environment": TEXT})}),
    "restore.hand-over": object_of(
        {
            "dry_run?": FLAG,
            "hand_over": open_object(
                {
                    "environment": TEXT,
                    "recovery": TEXT,
                    "state": TEXT,
                    "directory": TEXT,
                    "previous_cluster": or_null(TEXT),
                    "system_identifier": TEXT,
                    "timeline": or_null(COUNT),
                    "missing_wal_bytes": or_null(COUNT),
                    "sessions": or_null(COUNT),
                    "warnings": TEXTS,
                }
            ),
        }
    ),
    "restore.status": object_of(
        {
            "restore": open_object(
                {
                    "environment": TEXT,
                    "database": TEXT,
                    "exists": FLAG,
                    "previous_database": or_null(TEXT),
                    "restored_backup": or_null(TEXT),
                    "kept": many(open_object({"database": TEXT})),
                    "recoveries": many(open_object({"id": TEXT, "place": TEXT, "state": TEXT})),
                    "sentences": TEXTS,
                }
            )
        }
    ),
    "restore.discard": object_of({"dry_run?": FLAG, "discarded": TEXTS}),
}
