"""What SARIF 2.1.0 says of the objects that pgops writes, as a JSON Schema.

Narrower where GitHub's code scanning is: it refuses the whole file for one result without a physical location, and
wants a full description and a help of each rule
(https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning).

From https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html; the numbers are its sections. Narrower than
the standard's own schema: what pgops has no use for is refused.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_MESSAGE = _object(["text"], text=_TEXT)  # 3.11
_LINE = {"type": "integer", "minimum": 1}
_URI = {"type": "string", "format": "uri-reference", "pattern": r"^[^\\ :]+$"}
_PLACE = _object(  # 3.29
    ["artifactLocation", "region"],
    artifactLocation=_object(["uri"], uri=_URI, uriBaseId=_TEXT),  # 3.4
    region=_object(["startLine"], startLine=_LINE, endLine=_LINE),  # 3.30
)
_RESULT = _object(  # 3.27
    ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
    ruleId=_TEXT,
    ruleIndex={"type": "integer", "minimum": -1},
    level={"enum": ["none", "note", "warning", "error"]},
    message=_MESSAGE,
    locations={
        "type": "array",
        "minItems": 1,
        "items": _object(  # 3.28
            ["physicalLocation"],
            physicalLocation=_PLACE,
            logicalLocations={"type": "array", "items": _object([], name=_TEXT, kind=_TEXT)},  # 3.33
        ),
    },
    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
    properties={"type": "object"},
)
_RUN = _object(  # 3.14
    ["tool", "results"],
    tool=_object(
        ["driver"],
        driver=_object(  # 3.19
            ["name", "rules"],
            name=_TEXT,
            version=_TEXT,
            rules={
                "type": "array",
                "uniqueItems": True,
                "items": _object(  # 3.49
                    ["id", "shortDescription", "fullDescription", "help"],
                    id=_TEXT,
                    shortDescription=_MESSAGE,
                    fullDescription=_MESSAGE,
                    help=_MESSAGE,
                ),
            },
        ),
    ),
    automationDetails=_object(["id"], id=_TEXT),  # 3.17
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results={"type": "array", "items": _RESULT},
)
SCHEMA = _object(  # 3.13
    ["version", "runs"],
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"const": "2.1.0"},
    runs={"type": "array", "items": _RUN},
)


def read_sarif(text: str) -> Any:
    """The one run of a document that keeps to the standard.

    :raises jsonschema.ValidationError: it does not.
    """
    document = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    for each in run["results"]:
        assert rules[each["ruleIndex"]]["id"] == each["ruleId"]
        for location in each["locations"]:
            region = location.get("physicalLocation", {}).get("region", {"startLine": 1, "endLine": 1})
            assert region["startLine"] <= region["endLine"]
    return run
