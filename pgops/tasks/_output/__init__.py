"""What each task prints with ``--json``, as a JSON Schema: ``python -m pgops.tasks._output`` prints it for docs/.

A key that is required is there whenever ``ok`` is true. More keys may come at any time; one that goes or means something
else makes a new version.
"""

from __future__ import annotations

import json

from pgops.tasks._output import backup, environment, migrate, restore
from pgops.tasks._output.shapes import Schema, ref
from pgops.tasks._reference import OUTPUT_VERSION

_ROOMS = (environment, migrate, backup, restore)


def schema() -> Schema:
    """All of it: ``#/$defs/<task>`` is what a task prints where it did what was asked, ``#/$defs/failure`` where not."""
    ok = {"const": True}
    tasks = {
        name: {
            **each,
            "properties": {"ok": ok, **each.get("properties", {})},
            "required": ["ok", *each.get("required", [])],
        }
        for room in _ROOMS
        for name, each in room.TASKS.items()
    }
    failure = {
        "description": "Of every task; what is known all the same may stand beside.",
        "type": "object",
        "properties": {"ok": {"const": False}, "error": ref("error")},
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
        "then": ref("failure"),
        "$defs": {
            "failure": failure,
            **tasks,
            **{name: each for room in _ROOMS for name, each in room.DEFINITIONS.items()},
        },
    }


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
