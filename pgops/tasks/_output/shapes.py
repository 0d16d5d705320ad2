"""The shapes that answers are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
WHEN: Schema = {"type": "string", "description": "ISO 8601, UTC", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T"}
SECONDS: Schema = {"type": "number", "description": "seconds", "minimum": 0}
BYTES: Schema = {"type": "integer", "description": "bytes", "minimum": 0}
ANYTHING: Schema = {}


def many(item: Schema) -> Schema:
    """A list of such values."""
    return {"type": "array", "items": item}


TEXTS = many(TEXT)


def or_null(schema: Schema) -> Schema:
    """Such a value, or null where there is none."""
    return {"anyOf": [schema, {"type": "null"}]}


def object_of(keys: Mapping[str, Schema]) -> Schema:
    """Keys and their values; one that ends with ``?`` may be left out."""
    return {
        "type": "object",
        "properties": {name.removesuffix("?"): each for name, each in keys.items()},
        "required": [name for name in keys if not name.endswith("?")],
    }


def open_object(keys: Mapping[str, Schema]) -> Schema:
    """The same where which other keys there are depends on the engine or on what was asked for."""
    return {**object_of(keys), "additionalProperties": True}


def ref(name: str) -> Schema:
    """A shape that stands once among the definitions."""
    return {"$ref": f"#/$defs/{name}"}
