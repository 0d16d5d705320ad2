"""What the tasks that look at environments and local servers print."""

from __future__ import annotations

from collections.abc import Mapping

from pgops.tasks._output.shapes import (
    ANYTHING,
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
from pgops.tasks._reference import EXIT_CODES

_SERVER = object_of(
    {
        "provider": TEXT,
        "state": TEXT,
        "host": or_null(TEXT),
        "port": or_null(COUNT),
        "database": or_null(TEXT),
        "version": or_null(TEXT),
        "place": TEXT,
        "note": or_null(TEXT),
    }
)

DEFINITIONS: Mapping[str, Schema] = {
    "checks": object_of(
        {
            "environment": TEXT,
            "ok": FLAG,
            "checks": many(object_of({"level": TEXT, "topic": TEXT, "text": TEXT, "todo": or_null(TEXT)})),
        }
    ),
    "overview": open_object(
        {
            "environment": TEXT,
            "target": TEXT,
            "reachable": FLAG,
            "server": or_null(TEXT),
            "current": TEXTS,
            "heads": TEXTS,
            "pending": TEXTS,
            "last_run": or_null(ref("last_run")),
            "drift": or_null(TEXT),
            "backup": or_null(ref("backup")),
            "backup_age": or_null(SECONDS),
            "problems": TEXTS,
        }
    ),
    "server": _SERVER,
    "error": open_object(
        {
            "code": TEXT,
            "exit_code": {"enum": [int(code) for code in EXIT_CODES if code]},
            "message": TEXT,
            "hint": {"type": "string", "description": "what to type next; may be empty"},
        }
    ),
}

TASKS: Mapping[str, Schema] = {
    "status": object_of({"environments": many(ref("overview"))}),
    "report": object_of({"report": object_of({"at": WHEN, "environments": many(ref("overview"))})}),
    "metrics": object_of({"written": TEXTS}),
    "completion": open_object({}),
    "db.up": object_of({"server": ref("server"), "action": TEXT}),
    "db.down": object_of({"server": ref("server"), "stopped": TEXTS, "deleted": TEXTS}),
    "db.status": object_of({"server": ref("server")}),
    "db.reset": object_of({"environment": TEXT, "database?": TEXT, "applied?": TEXTS, "dry_run?": FLAG}),
    "db.url": object_of({"environment": TEXT, "url": TEXT}),
    "env.list": object_of(
        {
            "environments": many(
                object_of(
                    {
                        "name": TEXT,
                        "aliases": TEXTS,
                        "protected": FLAG,
                        "local": FLAG,
                        "default": FLAG,
                        "promoted_from": or_null(TEXT),
                        "server": TEXT,
                    }
                )
            )
        }
    ),
    "env.show": object_of(
        {
            "environment": TEXT,
            "file": TEXT,
            "settings": many(
                object_of(
                    {"setting": TEXT, "value": ANYTHING, "given_in": or_null(TEXT), "line": or_null(COUNT)}
                )
            ),
        }
    ),
    "env.check": object_of({"environments": many(ref("checks"))}),
}
