"""What the migrate tasks print."""

from __future__ import annotations

from collections.abc import Mapping

from pgops.tasks._output.shapes import (
    ANYTHING,
    BYTES,
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
    ref,
)

_RUN = object_of(
    {
        "run": ref("run"),
        "runs?": many(ref("run")),
        "plan?": ref("plan"),
        "notes?": {**TEXTS, "description": "of the plan that was carried out, as migrate.plan has them"},
    }
)

DEFINITIONS: Mapping[str, Schema] = {
    "hazard": object_of(
        {
            "rule": TEXT,
            "level": {"enum": ["note", "warning", "block"]},
            "table": or_null(TEXT),
            "revision": {"type": "string", "description": "empty where it is of the whole plan"},
            "line": {**COUNT, "description": "of the revision's SQL, from 1; 0 where none is known"},
            "file_line?": or_null({**COUNT, "description": "of the revision file, from 1"}),
            "message": TEXT,
            "fix": {"type": "string", "description": "how to write it instead"},
            "lock": or_null(TEXT),
            "rows": or_null(COUNT),
            "bytes": or_null(BYTES),
        }
    ),
    "revision": object_of(
        {
            "revision": TEXT,
            "history?": or_null(TEXT),
            "message": TEXT,
            "file": TEXT,
            "file_hash": TEXT,
            "source": {"enum": ["checkout", "journal"]},
            "irreversible": or_null(TEXT),
            "sql": TEXT,
            "sql_hash": or_null(TEXT),
            "reads_data": or_null({"type": "string", "description": "why its SQL is not known beforehand"}),
            "hazards": many(ref("hazard")),
        }
    ),
    "trace": object_of(
        {
            "server": TEXT,
            "schema": TEXT,
            "seconds": SECONDS,
            "statements": many(
                object_of(
                    {
                        "revision": TEXT,
                        "sql": TEXT,
                        "autocommit": FLAG,
                        "locks": many(object_of({"relation": TEXT, "mode": TEXT})),
                        "rewrites": TEXTS,
                        "scans": TEXTS,
                        "dropped": TEXTS,
                        "writes": many(open_object({})),
                        "settings": many(open_object({})),
                        "failed": or_null(TEXT),
                        "given": ANYTHING,
                        "undone": FLAG,
                    }
                )
            ),
            "untraced": TEXTS,
        }
    ),
    "plan": open_object(
        {
            "environment": TEXT,
            "history?": TEXT,
            "target": object_of({"host": TEXT, "port": COUNT, "database": TEXT}),
            "action": {"enum": ["upgrade", "downgrade"]},
            "version_table": or_null(TEXT),
            "current": TEXTS,
            "to": TEXTS,
            "pending": many(ref("revision")),
            "hazards": many(ref("hazard")),
            "notes": TEXTS,
            "trace": or_null(ref("trace")),
            "hash": TEXT,
            "histories?": many(ref("plan")),
        }
    ),
    "run": object_of(
        {
            "id": or_null(TEXT),
            "history?": TEXT,
            "outcome": TEXT,
            "applied": TEXTS,
            "backup": or_null(TEXT),
            "restore_point?": or_null(TEXT),
            "duration?": SECONDS,
        }
    ),
    "recorded_run": open_object(
        {
            "id": TEXT,
            "environment": TEXT,
            "action": TEXT,
            "from_heads": TEXTS,
            "to_heads": TEXTS,
            "plan_hash": or_null(TEXT),
            "started_at": WHEN,
            "finished_at": or_null(WHEN),
            "outcome": TEXT,
            "error": or_null(TEXT),
            "operator": TEXT,
            "host": TEXT,
            "git_commit": or_null(TEXT),
            "git_dirty": or_null(FLAG),
            "tool_version": TEXT,
            "backup": or_null(TEXT),
            "hazards_accepted": TEXTS,
            "promotion_overridden": FLAG,
            "reason": or_null(TEXT),
            "version_table": or_null(TEXT),
            "rehearsal": or_null(open_object({})),
            "history": or_null(TEXT),
            "duration": or_null(SECONDS),
            "revisions": many(
                object_of(
                    {
                        "revision": TEXT,
                        "file": or_null(TEXT),
                        "file_hash": or_null(TEXT),
                        "message": or_null(TEXT),
                        "started_at": WHEN,
                        "finished_at": or_null(WHEN),
                        "outcome": TEXT,
                        "error": or_null(TEXT),
                        "leftovers": TEXTS,
                    }
                )
            ),
        }
    ),
    "last_run": object_of({"id": TEXT, "started_at": WHEN, "outcome": TEXT}),
    "migration_status": object_of(
        {
            "environment": TEXT,
            "history?": TEXT,
            "target": TEXT,
            "reachable": FLAG,
            "current": TEXTS,
            "heads": TEXTS,
            "pending": TEXTS,
            "edited": TEXTS,
            "unknown": TEXTS,
            "last_run": or_null(ref("last_run")),
            "problem": or_null(TEXT),
            "note": or_null(TEXT),
            "misconfigured": FLAG,
            "exit_code": or_null(COUNT),
            "ahead?": many(open_object({"revision": TEXT, "file": TEXT, "kept": FLAG})),
            "histories?": many(ref("migration_status")),
        }
    ),
    "drift": object_of(
        {
            "environment": TEXT,
            "history?": TEXT,
            "current": TEXTS,
            "pending": TEXTS,
            "differences": TEXTS,
            "histories?": many(ref("drift")),
        }
    ),
    "lint": object_of(
        {
            "environment": TEXT,
            "history?": TEXT,
            "since": or_null(TEXT),
            "sizes": {"type": "string", "description": "where sizes of tables are from"},
            "revisions": many(ref("revision")),
            "unknown": {**TEXTS, "description": "what can't be known without a database"},
            "notes": TEXTS,
            "histories?": many(ref("lint")),
        }
    ),
    "stall": object_of(
        {
            "relation": TEXT,
            "read_seconds": SECONDS,
            "write_seconds": SECONDS,
            "read_error": or_null(TEXT),
            "write_error": or_null(TEXT),
        }
    ),
    "rehearsal": open_object(
        {
            "id": TEXT,
            "environment": TEXT,
            "plan_hash": TEXT,
            "backup": TEXT,
            "server": TEXT,
            "started_at": WHEN,
            "finished_at": WHEN,
            "seconds": SECONDS,
            "revisions": many(
                open_object(
                    {
                        "revision": TEXT,
                        "seconds": SECONDS,
                        "statements": many(
                            open_object(
                                {
                                    "sql": TEXT,
                                    "seconds": or_null(SECONDS),
                                    "rows": or_null(COUNT),
                                    "locks": many(
                                        open_object({"relation": TEXT, "mode": TEXT, "held_seconds": SECONDS})
                                    ),
                                    "rewrites": TEXTS,
                                    "wal_bytes": BYTES,
                                }
                            )
                        ),
                    }
                )
            ),
            "stalls": or_null(many(ref("stall"))),
            "round_trip": object_of(
                {
                    "tried": FLAG,
                    "ok": FLAG,
                    "seconds": or_null(SECONDS),
                    "down_seconds": or_null(SECONDS),
                    "problems": TEXTS,
                }
            ),
            "predictions": many(
                open_object({"rule": TEXT, "relation": or_null(TEXT), "verdict": TEXT, "evidence": TEXT})
            ),
            "failure": or_null(TEXT),
            "verdict": TEXT,
        }
    ),
}

TASKS: Mapping[str, Schema] = {
    "migrate.upgrade": _RUN,
    "migrate.down": _RUN,
    "migrate.stamp": _RUN,
    "migrate.undo": object_of(
        {
            "dry_run?": FLAG,
            "undo": open_object({"run": TEXT, "revisions": TEXTS, "by": or_null(TEXT)}),
            "run?": ref("run"),
            "runs?": many(ref("run")),
            "restore?": open_object({}),
        }
    ),
    "migrate.plan": {
        **DEFINITIONS["plan"],
        "properties": {
            **DEFINITIONS["plan"]["properties"],
            "backup_required": FLAG,
            "promotion": or_null(
                open_object({"before": TEXT, "granted": FLAG, "missing": TEXTS, "different": TEXTS})
            ),
            "out": {**TEXT, "description": "with --out: the file that was written"},
            "expires_at": {
                **WHEN,
                "description": "with --out: until when the plan in it may be carried out",
            },
            "approvals": many(open_object({"count": COUNT, "signers": TEXTS, "signers_hash": TEXT})),
            "rehearsal_required": FLAG,
            "rehearsal": or_null(open_object({"granted": FLAG, "problems": TEXTS})),
        },
        "required": [
            *DEFINITIONS["plan"]["required"],
            *("backup_required", "promotion", "rehearsal_required", "rehearsal"),
        ],
    },
    "migrate.approve": object_of(
        {
            "approval": open_object(
                {
                    "plan": TEXT,
                    "hash": TEXT,
                    "environment": TEXT,
                    "signer": TEXT,
                    "key": TEXT,
                    "signature": TEXT,
                    "expires_at": or_null(TEXT),
                }
            )
        }
    ),
    "migrate.lint": object_of({"lint": ref("lint")}),
    "migrate.status": object_of({"environments": many(ref("migration_status"))}),
    "migrate.history": object_of(
        {
            "heads": TEXTS,
            "revisions": many(
                object_of(
                    {
                        "revision": TEXT,
                        "history?": TEXT,
                        "down": TEXTS,
                        "depends_on": TEXTS,
                        "labels": TEXTS,
                        "head": FLAG,
                        "message": or_null(TEXT),
                        "file": TEXT,
                        "source": {"enum": ["checkout", "journal"]},
                    }
                )
            ),
        }
    ),
    "migrate.log": object_of({"runs": many(ref("recorded_run"))}),
    "migrate.check": object_of({"drift": ref("drift")}),
    "migrate.test": object_of(
        {
            "test": open_object(
                {
                    "heads": TEXTS,
                    "revisions": many(
                        open_object(
                            {"revision": TEXT, "message": TEXT, "seconds": SECONDS, "problems": TEXTS}
                        )
                    ),
                    "problems": TEXTS,
                    "remarks": TEXTS,
                    "not_carried": TEXTS,
                }
            )
        }
    ),
    "migrate.rehearse": object_of({"rehearsal": or_null(ref("rehearsal"))}),
    "migrate.revision": object_of({"revision": or_null(TEXT), "file": or_null(TEXT)}),
}
