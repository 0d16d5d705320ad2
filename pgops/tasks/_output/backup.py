"""What the backup tasks print."""

from __future__ import annotations

from collections.abc import Mapping

from pgops.tasks._output.shapes import (
    ANYTHING,
    BYTES,
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
    ref,
)

DEFINITIONS: Mapping[str, Schema] = {
    "backup": open_object(
        {
            "id": TEXT,
            "environment": TEXT,
            "path": TEXT,
            "started_at": WHEN,
            "finished_at": WHEN,
            "bytes": BYTES,
            "heads": TEXTS,
            "verified": FLAG,
        }
    ),
    "freshness": open_object({"environment": TEXT, "state": TEXT, "problems": TEXTS, "notes": TEXTS}),
}

TASKS: Mapping[str, Schema] = {
    "backup.create": object_of(
        {
            "backup?": ref("backup"),
            "removed?": many(ANYTHING),
            "in_use?": many(ANYTHING),
            "not_removed?": many(ANYTHING),
            "dry_run?": FLAG,
            "intent?": open_object({}),
        }
    ),
    "backup.list": object_of(
        {
            "backups": many(ref("backup")),
            "damaged?": many(ANYTHING),
            "leftovers?": many(ANYTHING),
            "archives?": many(
                object_of(
                    {
                        "id": TEXT,
                        "repository": {"type": "integer"},
                        "min": or_null(TEXT),
                        "max": or_null(TEXT),
                    }
                )
            ),
        }
    ),
    "backup.show": object_of({"backup": ref("backup"), "manifest": or_null(open_object({}))}),
    "backup.verify": object_of(
        {
            "backup": TEXT,
            "method": {"enum": ["read", "restore"]},
            "problems": TEXTS,
            "seconds?": SECONDS,
            "tools?": or_null(TEXT),
            "details?": TEXT,
        }
    ),
    "backup.prune": open_object(
        {
            "dry_run?": FLAG,
            "kept": many(open_object({"id": TEXT, "reasons": TEXTS})),
            "removed": many(ANYTHING),
        }
    ),
    "backup.pin": object_of({"backup": ref("backup")}),
    "backup.check": object_of({"checks": many(ref("freshness"))}),
    "backup.unattended": object_of(
        {
            "backup": or_null(ref("backup")),
            "removed": TEXTS,
            "in_use": TEXTS,
            "not_removed": TEXTS,
            "proof": or_null(object_of({"backup": TEXT, "seconds": SECONDS, "tools": TEXT})),
            "notices": object_of({"sent": TEXTS, "not_sent": open_object({})}),
            "ping": {
                **or_null(TEXT),
                "description": "empty where it answered, else why not; null where there is none",
            },
            "metrics": or_null(TEXT),
        }
    ),
    "backup.drill": object_of(
        {
            "drills": many(
                object_of(
                    {
                        "environment": TEXT,
                        "backup": or_null(TEXT),
                        "ok": FLAG,
                        "skipped": FLAG,
                        "seconds": or_null(SECONDS),
                        "problem": or_null(TEXT),
                        "restore": or_null(ref("restore_time")),
                        "restores": many(
                            object_of(
                                {
                                    "at": WHEN,
                                    "backup": TEXT,
                                    "seconds": SECONDS,
                                    "bytes": BYTES,
                                    "ok": FLAG,
                                }
                            )
                        ),
                    }
                )
            )
        }
    ),
    "backup.schedule": object_of(
        {
            "kind": TEXT,
            "times": TEXT,
            "files": many(object_of({"name": TEXT, "text": TEXT})),
            "variables": TEXTS,
            "installed": TEXTS,
            "removed": TEXTS,
        }
    ),
}
