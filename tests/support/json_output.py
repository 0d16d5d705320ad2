"""Holds what tasks print with ``--json`` to its schema: nothing may be missing, of another type, or not in the schema."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import jsonschema

_WHERE = "pgops/tasks/_output describes it, and python -m pgops.tasks._output > docs/output.v1.schema.json publishes it"


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    from pgops.tasks._output import schema

    return jsonschema.Draft202012Validator(
        {"$ref": f"#/$defs/{name}", "$defs": {key: closed(each) for key, each in schema()["$defs"].items()}}
    )


def closed(schema: Any) -> Any:
    """The same, in which a key that the schema does not know is an error; not where it says that there are others."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(each) for key, each in schema.items()}
    if found.get("type") == "object" and "properties" in found:
        found.setdefault("additionalProperties", False)
    return found


@functools.cache
def _names() -> dict[str, str]:
    """Every name of a task that prints JSON -> its whole name."""
    from pgops.tasks import namespace

    return {
        each: name
        for name, aliases in namespace.task_names.items()
        if "json" in {argument.name for argument in namespace[name].get_arguments()}
        for each in (name, *aliases)
    }


def hold_to_schema(arguments: Sequence[str], out: str) -> None:
    """Look at the output of a command line.

    :param arguments: as they were given to ``invoke`` or ``pgops``; of several tasks each prints its object.
    :raises AssertionError: it is not what the schema says.
    """
    if not {"--json", "-j"} & set(arguments):
        return
    tasks = [_names()[each] for each in arguments if each in _names()]
    answers = [line for line in out.splitlines() if line.startswith('{"ok": ')]
    for place, line in enumerate(answers):
        answer = json.loads(line)
        if not answer["ok"]:
            _check("failure", answer)
        elif place < len(tasks) and len(answers) == len(tasks):
            _check(tasks[place], answer)


def _check(name: str, answer: object) -> None:
    error = jsonschema.exceptions.best_match(_validator(name).iter_errors(answer))
    assert error is None, f"{name} --json: {error.json_path}: {error.message[:500]}; {_WHERE}"
