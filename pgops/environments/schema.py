"""The JSON Schema of environments.yaml for editors, made from the specification that the loader follows.

``python -m pgops.environments.schema`` prints it; a test holds the published copies to it.
"""

from __future__ import annotations

import json
from typing import Any

from pgops.environments.kinds import (
    BYTES,
    Boolean,
    Choice,
    Duration,
    Field,
    File,
    Integer,
    Items,
    Kind,
    Record,
    SecretKind,
    Size,
    Table,
    Text,
)
from pgops.environments.spec import (
    BACKUPS,
    COMPOSE,
    DEFAULTS,
    DOCUMENT,
    ENVIRONMENT,
    KEEP,
    MONITORING,
    STORE,
    TIMEOUTS,
)
from pgops.environments.spec_migrations import ALEMBIC, HAZARDS, HISTORY, REHEARSAL, REVERSIBLE
from pgops.environments.spec_values import PASSWORD, SECRET_SOURCES, VALUE
from pgops.units import SECONDS

Schema = dict[str, Any]
# What stands in more than one place is said once.
_RECORDS = (
    DEFAULTS,
    ENVIRONMENT,
    COMPOSE,
    TIMEOUTS,
    BACKUPS,
    KEEP,
    ALEMBIC,
    HISTORY,
    HAZARDS,
    REHEARSAL,
    MONITORING,
    REVERSIBLE,
    STORE,
)
_SECRETS = {"password": PASSWORD, "secret": VALUE}


def schema() -> Schema:
    """The whole schema (draft 2020-12). It knows each value's form; rules between settings are the loader's."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "environments.yaml of pgops",
        **_record(DOCUMENT),
        "$defs": {
            **{each.name: _record(each) for each in _RECORDS},
            **{name: _secret(kind) for name, kind in _SECRETS.items()},
        },
    }


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _kind(kind: Kind) -> Schema:
    match kind:
        case Text(what=what, pattern=pattern):
            return {"type": "string", "description": what} | ({"pattern": _whole(pattern)} if pattern else {})
        case File(what=what):
            return {"type": "string", "description": what, "minLength": 1}
        case Choice(words=words):
            return {"enum": list(words)}
        case Integer(minimum=minimum, maximum=maximum):
            return {"type": "integer", "minimum": minimum, "maximum": maximum}
        case Boolean():
            return {"type": "boolean"}
        case Duration(zero=zero):
            number = "[0-9]{1,12}" if zero else "0*[1-9][0-9]{0,11}"
            return {"type": "string", "pattern": _whole(f"{number}({'|'.join(SECONDS)})")}
        case Size():
            return {"type": "string", "pattern": _whole(f"[0-9]{{1,12}}({'|'.join(BYTES)})")}
        case Items(item=item, at_least=at_least, unique=unique):
            items: Schema = {"type": "array", "items": _kind(item)}
            return (
                items
                | ({"minItems": at_least} if at_least else {})
                | ({"uniqueItems": True} if unique else {})
            )
        case Table():
            return _table(kind)
        case SecretKind():
            return {"$ref": f"#/$defs/{next(name for name, each in _SECRETS.items() if each == kind)}"}
        case Record():
            return {"$ref": f"#/$defs/{kind.name}"} if kind in _RECORDS else _record(kind)


def _secret(kind: SecretKind) -> Schema:
    return {"oneOf": [_fields(SECRET_SOURCES[source]) for source in kind.sources]}


def _table(kind: Table) -> Schema:
    value = _nullable(_kind(kind.value)) if kind.layered else _kind(kind.value)
    found: Schema = {
        "type": "object",
        "propertyNames": {"pattern": _whole(kind.key.pattern)},
        "additionalProperties": value,
    }
    return found | ({"minProperties": kind.at_least} if kind.at_least else {})


def _record(kind: Record) -> Schema:
    found = _fields(kind.fields)
    if kind.layered:
        found["properties"] = {name: _nullable(each) for name, each in found["properties"].items()}
        # What is required may come from another layer.
        found.pop("required", None)
    if kind.free:
        found["patternProperties"] = {"^x-": {}}
    return found


def _fields(fields: tuple[Field, ...]) -> Schema:
    found: Schema = {
        "type": "object",
        "properties": {each.name: _field(each) for each in fields},
        "additionalProperties": False,
    }
    required = [each.name for each in fields if each.required]
    return found | ({"required": required} if required else {})


def _field(field: Field) -> Schema:
    described = field.help + (f" (default: {field.default})" if field.default else "")
    return {**_kind(field.kind), "description": described}


def _nullable(schema: Schema) -> Schema:
    """Also null, which takes away what an earlier layer gave."""
    description = {"description": schema["description"]} if "description" in schema else {}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}], **description}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


if __name__ == "__main__":
    print(text(), end="")
