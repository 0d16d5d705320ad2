"""What each task prints with ``--json``, as a JSON Schema: ``python -m pgops.tasks._output`` prints it for docs/.

A key that is required is there whenever ``ok`` is true. More keys may come at any time; one that goes or means something
else makes a new version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pgops.tasks._reference import EXIT_CODES, OUTPUT_VERSION

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_WHEN: Schema = {"type": "string", "description": "ISO 8601, UTC", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T"}
_SECONDS: Schema = {"type": "number", "description": "seconds", "minimum": 0}
_BYTES: Schema = {"type": "integer", "description": "bytes", "minimum": 0}
_ANY: Schema = {}


def _many(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_TEXTS = _many(_TEXT)


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(keys: Mapping[str, Schema]) -> Schema:
    """Keys and their values; one that ends with ``?`` may be left out."""
    return {
        "type": "object",
        "properties": {name.removesuffix("?"): each for name, each in keys.items()},
        "required": [name for name in keys if not name.endswith("?")],
    }


def _open(keys: Mapping[str, Schema]) -> Schema:
    """The same where which other keys there are depends on the engine or on what was asked for."""
    return {**_object(keys), "additionalProperties": True}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


_SERVER = _object(
    {
        "provider": _TEXT,
        "state": _TEXT,
        "host": _or_null(_TEXT),
        "port": _or_null(_COUNT),
        "database": _or_null(_TEXT),
        "version": _or_null(_TEXT),
        "place": _TEXT,
        "note": _or_null(_TEXT),
    }
)

_DEFINITIONS: Mapping[str, Schema] = {
    "hazard": _object(
        {
            "rule": _TEXT,
            "level": {"enum": ["note", "warning", "block"]},
            "table": _or_null(_TEXT),
            "revision": {"type": "string", "description": "empty where it is of the whole plan"},
            "line": {**_COUNT, "description": "of the revision's SQL, from 1; 0 where none is known"},
            "file_line?": _or_null({**_COUNT, "description": "of the revision file, from 1"}),
            "message": _TEXT,
            "fix": {"type": "string", "description": "how to write it instead"},
            "lock": _or_null(_TEXT),
            "rows": _or_null(_COUNT),
            "bytes": _or_null(_BYTES),
        }
    ),
    "revision": _object(
        {
            "revision": _TEXT,
            "history?": _or_null(_TEXT),
            "message": _TEXT,
            "file": _TEXT,
            "file_hash": _TEXT,
            "source": {"enum": ["checkout", "journal"]},
            "irreversible": _or_null(_TEXT),
            "sql": _TEXT,
            "sql_hash": _or_null(_TEXT),
            "reads_data": _or_null({"type": "string", "description": "why its SQL is not known beforehand"}),
            "hazards": _many(_ref("hazard")),
        }
    ),
    "trace": _object(
        {
            "server": _TEXT,
            "schema": _TEXT,
            "seconds": _SECONDS,
            "statements": _many(
                _object(
                    {
                        "revision": _TEXT,
                        "sql": _TEXT,
                        "autocommit": _FLAG,
                        "locks": _many(_object({"relation": _TEXT, "mode": _TEXT})),
                        "rewrites": _TEXTS,
                        "scans": _TEXTS,
                        "dropped": _TEXTS,
                        "writes": _many(_open({})),
                        "settings": _many(_open({})),
                        "failed": _or_null(_TEXT),
                        "given": _ANY,
                    }
                )
            ),
            "untraced": _TEXTS,
        }
    ),
    "plan": _open(
        {
            "environment": _TEXT,
            "history?": _TEXT,
            "target": _object({"host": _TEXT, "port": _COUNT, "database": _TEXT}),
            "action": {"enum": ["upgrade", "downgrade"]},
            "version_table": _or_null(_TEXT),
            "current": _TEXTS,
            "to": _TEXTS,
            "pending": _many(_ref("revision")),
            "hazards": _many(_ref("hazard")),
            "notes": _TEXTS,
            "trace": _or_null(_ref("trace")),
            "hash": _TEXT,
            "histories?": _many(_ref("plan")),
        }
    ),
    "run": _object(
        {
            "id": _or_null(_TEXT),
            "history?": _TEXT,
            "outcome": _TEXT,
            "applied": _TEXTS,
            "backup": _or_null(_TEXT),
            "restore_point?": _or_null(_TEXT),
            "duration?": _SECONDS,
        }
    ),
    "recorded_run": _open(
        {
            "id": _TEXT,
            "environment": _TEXT,
            "action": _TEXT,
            "from_heads": _TEXTS,
            "to_heads": _TEXTS,
            "plan_hash": _or_null(_TEXT),
            "started_at": _WHEN,
            "finished_at": _or_null(_WHEN),
            "outcome": _TEXT,
            "error": _or_null(_TEXT),
            "operator": _TEXT,
            "host": _TEXT,
            "git_commit": _or_null(_TEXT),
            "git_dirty": _or_null(_FLAG),
            "tool_version": _TEXT,
            "backup": _or_null(_TEXT),
            "hazards_accepted": _TEXTS,
            "promotion_overridden": _FLAG,
            "reason": _or_null(_TEXT),
            "version_table": _or_null(_TEXT),
            "rehearsal": _or_null(_open({})),
            "history": _or_null(_TEXT),
            "duration": _or_null(_SECONDS),
            "revisions": _many(
                _object(
                    {
                        "revision": _TEXT,
                        "file": _or_null(_TEXT),
                        "file_hash": _or_null(_TEXT),
                        "message": _or_null(_TEXT),
                        "started_at": _WHEN,
                        "finished_at": _or_null(_WHEN),
                        "outcome": _TEXT,
                        "error": _or_null(_TEXT),
                        "leftovers": _TEXTS,
                    }
                )
            ),
        }
    ),
    "last_run": _object({"id": _TEXT, "started_at": _WHEN, "outcome": _TEXT}),
    "migration_status": _object(
        {
            "environment": _TEXT,
            "history?": _TEXT,
            "target": _TEXT,
            "reachable": _FLAG,
            "current": _TEXTS,
            "heads": _TEXTS,
            "pending": _TEXTS,
            "edited": _TEXTS,
            "unknown": _TEXTS,
            "last_run": _or_null(_ref("last_run")),
            "problem": _or_null(_TEXT),
            "note": _or_null(_TEXT),
            "misconfigured": _FLAG,
            "exit_code": _or_null(_COUNT),
            "ahead?": _many(_open({"revision": _TEXT, "file": _TEXT, "kept": _FLAG})),
            "histories?": _many(_ref("migration_status")),
        }
    ),
    "backup": _open(
        {
            "id": _TEXT,
            "environment": _TEXT,
            "path": _TEXT,
            "started_at": _WHEN,
            "finished_at": _WHEN,
            "bytes": _BYTES,
            "heads": _TEXTS,
            "verified": _FLAG,
        }
    ),
    "drift": _object(
        {
            "environment": _TEXT,
            "history?": _TEXT,
            "current": _TEXTS,
            "pending": _TEXTS,
            "differences": _TEXTS,
            "histories?": _many(_ref("drift")),
        }
    ),
    "lint": _object(
        {
            "environment": _TEXT,
            "history?": _TEXT,
            "since": _or_null(_TEXT),
            "sizes": {"type": "string", "description": "where sizes of tables are from"},
            "revisions": _many(_ref("revision")),
            "unknown": {**_TEXTS, "description": "what can't be known without a database"},
            "notes": _TEXTS,
            "histories?": _many(_ref("lint")),
        }
    ),
    "stall": _object(
        {
            "relation": _TEXT,
            "read_seconds": _SECONDS,
            "write_seconds": _SECONDS,
            "read_error": _or_null(_TEXT),
            "write_error": _or_null(_TEXT),
        }
    ),
    "rehearsal": _open(
        {
            "id": _TEXT,
            "environment": _TEXT,
            "plan_hash": _TEXT,
            "backup": _TEXT,
            "server": _TEXT,
            "started_at": _WHEN,
            "finished_at": _WHEN,
            "seconds": _SECONDS,
            "revisions": _many(
                _open(
                    {
                        "revision": _TEXT,
                        "seconds": _SECONDS,
                        "statements": _many(
                            _open(
                                {
                                    "sql": _TEXT,
                                    "seconds": _or_null(_SECONDS),
                                    "rows": _or_null(_COUNT),
                                    "locks": _many(
                                        _open({"relation": _TEXT, "mode": _TEXT, "held_seconds": _SECONDS})
                                    ),
                                    "rewrites": _TEXTS,
                                    "wal_bytes": _BYTES,
                                }
                            )
                        ),
                    }
                )
            ),
            "stalls": _or_null(_many(_ref("stall"))),
            "round_trip": _object(
                {"tried": _FLAG, "ok": _FLAG, "seconds": _or_null(_SECONDS), "problems": _TEXTS}
            ),
            "predictions": _many(
                _open({"rule": _TEXT, "relation": _or_null(_TEXT), "verdict": _TEXT, "evidence": _TEXT})
            ),
            "failure": _or_null(_TEXT),
            "verdict": _TEXT,
        }
    ),
    "freshness": _open({"environment": _TEXT, "state": _TEXT, "problems": _TEXTS, "notes": _TEXTS}),
    "restore_time": _object(
        {
            "count_on_seconds": _SECONDS,
            "median_seconds": _SECONDS,
            "last_seconds": _SECONDS,
            "last_at": _WHEN,
            "of": _COUNT,
        }
    ),
    "checks": _object(
        {
            "environment": _TEXT,
            "ok": _FLAG,
            "checks": _many(
                _object({"level": _TEXT, "topic": _TEXT, "text": _TEXT, "todo": _or_null(_TEXT)})
            ),
        }
    ),
    "overview": _open(
        {
            "environment": _TEXT,
            "target": _TEXT,
            "reachable": _FLAG,
            "server": _or_null(_TEXT),
            "current": _TEXTS,
            "heads": _TEXTS,
            "pending": _TEXTS,
            "last_run": _or_null(_ref("last_run")),
            "drift": _or_null(_TEXT),
            "backup": _or_null(_ref("backup")),
            "backup_age": _or_null(_SECONDS),
            "problems": _TEXTS,
        }
    ),
    "server": _SERVER,
    "error": _open(
        {
            "code": _TEXT,
            "exit_code": {"enum": [int(code) for code in EXIT_CODES if code]},
            "message": _TEXT,
            "hint": {"type": "string", "description": "what to type next; may be empty"},
        }
    ),
}

_RUN = _object({"run": _ref("run"), "runs?": _many(_ref("run")), "plan?": _ref("plan")})

_TASKS: Mapping[str, Schema] = {
    "status": _object({"environments": _many(_ref("overview"))}),
    "report": _object({"report": _object({"at": _WHEN, "environments": _many(_ref("overview"))})}),
    "metrics": _object({"written": _TEXTS}),
    "completion": _open({}),
    "db.up": _object({"server": _ref("server"), "action": _TEXT}),
    "db.down": _object({"server": _ref("server"), "stopped": _TEXTS, "deleted": _TEXTS}),
    "db.status": _object({"server": _ref("server")}),
    "db.reset": _object({"environment": _TEXT, "database?": _TEXT, "applied?": _TEXTS, "dry_run?": _FLAG}),
    "db.url": _object({"environment": _TEXT, "url": _TEXT}),
    "env.list": _object(
        {
            "environments": _many(
                _object(
                    {
                        "name": _TEXT,
                        "aliases": _TEXTS,
                        "protected": _FLAG,
                        "local": _FLAG,
                        "default": _FLAG,
                        "promoted_from": _or_null(_TEXT),
                        "server": _TEXT,
                    }
                )
            )
        }
    ),
    "env.show": _object(
        {
            "environment": _TEXT,
            "file": _TEXT,
            "settings": _many(
                _object(
                    {"setting": _TEXT, "value": _ANY, "given_in": _or_null(_TEXT), "line": _or_null(_COUNT)}
                )
            ),
        }
    ),
    "env.check": _object({"environments": _many(_ref("checks"))}),
    "migrate.upgrade": _RUN,
    "migrate.down": _RUN,
    "migrate.stamp": _RUN,
    "migrate.undo": _object(
        {
            "dry_run?": _FLAG,
            "undo": _open({"run": _TEXT, "revisions": _TEXTS, "by": _or_null(_TEXT)}),
            "run?": _ref("run"),
            "runs?": _many(_ref("run")),
            "restore?": _open({}),
        }
    ),
    "migrate.plan": {
        **_DEFINITIONS["plan"],
        "properties": {
            **_DEFINITIONS["plan"]["properties"],
            "backup_required": _FLAG,
            "promotion": _or_null(
                _open({"before": _TEXT, "granted": _FLAG, "missing": _TEXTS, "different": _TEXTS})
            ),
            "out": {**_TEXT, "description": "with --out: the file that was written"},
            "expires_at": {
                **_WHEN,
                "description": "with --out: until when the plan in it may be carried out",
            },
            "approvals": _many(_open({"count": _COUNT, "signers": _TEXTS, "signers_hash": _TEXT})),
            "rehearsal_required": _FLAG,
            "rehearsal": _or_null(_open({"granted": _FLAG, "problems": _TEXTS})),
        },
        "required": [
            *_DEFINITIONS["plan"]["required"],
            *("backup_required", "promotion", "rehearsal_required", "rehearsal"),
        ],
    },
    "migrate.approve": _object(
        {
            "approval": _open(
                {
                    "plan": _TEXT,
                    "hash": _TEXT,
                    "environment": _TEXT,
                    "signer": _TEXT,
                    "key": _TEXT,
                    "signature": _TEXT,
                    "expires_at": _or_null(_TEXT),
                }
            )
        }
    ),
    "migrate.lint": _object({"lint": _ref("lint")}),
    "migrate.status": _object({"environments": _many(_ref("migration_status"))}),
    "migrate.history": _object(
        {
            "heads": _TEXTS,
            "revisions": _many(
                _object(
                    {
                        "revision": _TEXT,
                        "history?": _TEXT,
                        "down": _TEXTS,
                        "depends_on": _TEXTS,
                        "labels": _TEXTS,
                        "head": _FLAG,
                        "message": _or_null(_TEXT),
                        "file": _TEXT,
                        "source": {"enum": ["checkout", "journal"]},
                    }
                )
            ),
        }
    ),
    "migrate.log": _object({"runs": _many(_ref("recorded_run"))}),
    "migrate.check": _object({"drift": _ref("drift")}),
    "migrate.test": _object(
        {
            "test": _open(
                {
                    "heads": _TEXTS,
                    "revisions": _many(
                        _open({"revision": _TEXT, "message": _TEXT, "seconds": _SECONDS, "problems": _TEXTS})
                    ),
                    "problems": _TEXTS,
                    "remarks": _TEXTS,
                }
            )
        }
    ),
    "migrate.rehearse": _object({"rehearsal": _or_null(_ref("rehearsal"))}),
    "migrate.revision": _object({"revision": _or_null(_TEXT), "file": _or_null(_TEXT)}),
    "backup.create": _object(
        {
            "backup?": _ref("backup"),
            "removed?": _many(_ANY),
            "in_use?": _many(_ANY),
            "not_removed?": _many(_ANY),
            "dry_run?": _FLAG,
            "intent?": _open({}),
        }
    ),
    "backup.list": _object(
        {
            "backups": _many(_ref("backup")),
            "damaged?": _many(_ANY),
            "leftovers?": _many(_ANY),
            "archives?": _many(
                _object(
                    {
                        "id": _TEXT,
                        "repository": {"type": "integer"},
                        "min": _or_null(_TEXT),
                        "max": _or_null(_TEXT),
                    }
                )
            ),
        }
    ),
    "backup.show": _object({"backup": _ref("backup"), "manifest": _or_null(_open({}))}),
    "backup.verify": _object(
        {
            "backup": _TEXT,
            "method": {"enum": ["read", "restore"]},
            "problems": _TEXTS,
            "seconds?": _SECONDS,
            "tools?": _or_null(_TEXT),
            "details?": _TEXT,
        }
    ),
    "backup.prune": _open(
        {
            "dry_run?": _FLAG,
            "kept": _many(_open({"id": _TEXT, "reasons": _TEXTS})),
            "removed": _many(_ANY),
        }
    ),
    "backup.pin": _object({"backup": _ref("backup")}),
    "backup.check": _object({"checks": _many(_ref("freshness"))}),
    "backup.unattended": _object(
        {
            "backup": _or_null(_ref("backup")),
            "removed": _TEXTS,
            "in_use": _TEXTS,
            "not_removed": _TEXTS,
            "proof": _or_null(_object({"backup": _TEXT, "seconds": _SECONDS, "tools": _TEXT})),
            "notices": _object({"sent": _TEXTS, "not_sent": _open({})}),
            "ping": {
                **_or_null(_TEXT),
                "description": "empty where it answered, else why not; null where there is none",
            },
            "metrics": _or_null(_TEXT),
        }
    ),
    "backup.drill": _object(
        {
            "drills": _many(
                _object(
                    {
                        "environment": _TEXT,
                        "backup": _or_null(_TEXT),
                        "ok": _FLAG,
                        "skipped": _FLAG,
                        "seconds": _or_null(_SECONDS),
                        "problem": _or_null(_TEXT),
                        "restore": _or_null(_ref("restore_time")),
                        "restores": _many(
                            _object(
                                {
                                    "at": _WHEN,
                                    "backup": _TEXT,
                                    "seconds": _SECONDS,
                                    "bytes": _BYTES,
                                    "ok": _FLAG,
                                }
                            )
                        ),
                    }
                )
            )
        }
    ),
    "backup.schedule": _object(
        {
            "kind": _TEXT,
            "times": _TEXT,
            "files": _many(_object({"name": _TEXT, "text": _TEXT})),
            "variables": _TEXTS,
            "installed": _TEXTS,
        }
    ),
    "restore.run": _object(
        {"dry_run?": _FLAG, "restore": _open({"environment": _TEXT})},
    ),
    "restore.undo": _object({"dry_run?": _FLAG, "restore": _open({"environment": _TEXT})}),
    "restore.status": _object(
        {
            "restore": _open(
                {
                    "environment": _TEXT,
                    "database": _TEXT,
                    "exists": _FLAG,
                    "previous_database": _or_null(_TEXT),
                    "restored_backup": _or_null(_TEXT),
                    "kept": _many(_open({"database": _TEXT})),
                    "recoveries": _many(_open({"id": _TEXT, "place": _TEXT})),
                    "sentences": _TEXTS,
                }
            )
        }
    ),
    "restore.discard": _object({"dry_run?": _FLAG, "discarded": _TEXTS}),
}


def schema() -> Schema:
    """All of it: ``#/$defs/<task>`` is what a task prints where it did what was asked, ``#/$defs/failure`` where not."""
    ok = {"const": True}
    tasks = {
        name: {
            **each,
            "properties": {"ok": ok, **each.get("properties", {})},
            "required": ["ok", *each.get("required", [])],
        }
        for name, each in _TASKS.items()
    }
    failure = {
        "description": "Of every task; what is known all the same may stand beside.",
        "type": "object",
        "properties": {"ok": {"const": False}, "error": _ref("error")},
        "required": ["ok", "error"],
        "additionalProperties": True,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What pgops' tasks print with --json, version {OUTPUT_VERSION}",
        "description": "One object; #/$defs has one for each task by its whole name, such as migrate.plan.",
        "type": "object",
        "required": ["ok"],
        "if": {"properties": {"ok": {"const": False}}},
        "then": _ref("failure"),
        "$defs": {"failure": failure, **tasks, **_DEFINITIONS},
    }


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
