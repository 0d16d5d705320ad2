"""The published schema of --json: every task has one, and what breaks it is seen."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from pgops.errors import ExitCode
from pgops.tasks import namespace
from pgops.tasks._output import schema, text
from pgops.tasks._reference import EXIT_CODES, OUTPUT_VERSION, reference
from tests.support.json_output import hold_to_schema

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
FAILURE = {"ok": False, "error": {"code": "usage", "exit_code": 2, "message": "no", "hint": ""}}
LIST = {
    "name": "dev",
    "aliases": [],
    "protected": False,
    "local": True,
    "default": True,
    "promoted_from": None,
    "server": "compose",
}


def test_the_published_schema_is_this_one_and_is_a_schema() -> None:
    assert (DOCS / f"output.v{OUTPUT_VERSION}.schema.json").read_text(encoding="utf-8") == text(), (
        f"python -m pgops.tasks._output > docs/output.v{OUTPUT_VERSION}.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(schema())


def test_every_task_that_prints_json_is_in_it() -> None:
    printing = {
        name
        for name in namespace.task_names
        if "json" in {each.name for each in namespace[name].get_arguments()}
    }
    assert printing <= schema()["$defs"].keys()


def held(answer: object, *arguments: str) -> None:
    hold_to_schema([*arguments, "--json"], json.dumps(answer) + "\n")


def test_what_is_as_it_should_be_passes() -> None:
    held({"ok": True, "environments": [LIST]}, "env.list")
    held(FAILURE, "env.list")
    held(
        {"ok": True, "run": {"id": None, "outcome": "nothing_pending", "applied": [], "backup": None}},
        "migrate",
    )
    hold_to_schema(["env.list"], "not JSON at all")


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": True},
        {"ok": True, "environments": [{**LIST, "protected": "no"}]},
        {"ok": True, "environments": [{key: value for key, value in LIST.items() if key != "server"}]},
        {"ok": True, "environments": [{**LIST, "new": 1}]},
        {"ok": True, "environments": [LIST], "new": 1},
        {"ok": False},
        {"ok": False, "error": {"code": "usage", "exit_code": 77, "message": "no", "hint": ""}},
    ],
)
def test_a_key_that_is_missing_of_another_type_or_unknown_is_told(answer: object) -> None:
    with pytest.raises(AssertionError, match=r"(env\.list|failure) --json: \$"):
        held(answer, "env.list")


def test_for_readers_more_keys_are_no_error() -> None:
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/env.list", "$defs": schema()["$defs"]})
    validator.validate({"ok": True, "environments": [{**LIST, "new": 1}], "new": 1})


def test_the_reference_knows_every_task_flag_and_exit_code() -> None:
    told = json.loads(json.dumps(reference(namespace)))
    tasks = {each["task"]: each for each in told["tasks"]}
    # `./inv` adds tasks of this repository's own, which are not pgops'.
    assert tasks.keys() == set(namespace.task_names)
    for name, task in tasks.items():
        flags = {each.name for each in namespace[name].get_arguments()}
        assert {each["flag"] for each in task["flags"]} == {
            f"--{each.strip('_').replace('_', '-')}" for each in flags
        }
        assert task["does"]
    upgrade = {each["flag"]: each for each in tasks["migrate.upgrade"]["flags"]}
    assert tasks["migrate.upgrade"]["aliases"] == ["migrate"]
    assert (upgrade["--env"]["short"], upgrade["--env"]["takes"], upgrade["--env"]["required"]) == (
        "-e",
        "text",
        False,
    )
    assert (upgrade["--lock-wait"]["takes"], upgrade["--lock-wait"]["default"]) == ("duration", 30.0)
    assert upgrade["--yes"]["takes"] is None
    assert upgrade["--accept-hazard"]["takes"] == "texts"
    plan = {each["flag"]: each for each in tasks["migrate.plan"]["flags"]}
    assert plan["--markdown"]["value_optional"]
    html = {each["flag"]: each for each in tasks["report"]["flags"]}["--html"]
    assert (html["required"], html["default"]) == (True, None)
    assert [each["exit_code"] for each in told["exit_codes"]] == [int(each) for each in ExitCode]


def test_the_exit_codes_are_those_of_the_page() -> None:
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)`", page, flags=re.MULTILINE))
    assert rows == {str(int(code)): word for code, (word, _) in EXIT_CODES.items()}
