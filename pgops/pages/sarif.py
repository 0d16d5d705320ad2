"""Findings as SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/), for code scanning and editors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from urllib.parse import quote

from pgops import __version__
from pgops.pages.findings import Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_LEVELS = {"block": "error", "warning": "warning", "note": "note"}


def as_sarif(findings: Sequence[Finding], category: str) -> str:
    """One run of pgops.

    :param category: tells runs of one commit apart, such as ``plan/production``.
    """
    rules = sorted({each.rule for each in findings})
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "pgops",
                        "version": __version__,
                        "rules": [_rule(each) for each in rules],
                    }
                },
                # A category ends with a slash: what may follow is an id of the run.
                "automationDetails": {"id": f"pgops/{category}/"},
                "columnKind": "unicodeCodePoints",
                "results": [_result(each, rules.index(each.rule)) for each in findings],
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _rule(rule: str) -> dict[str, object]:
    # GitHub's code scanning wants a full description and a help of each rule.
    return {
        "id": rule,
        "shortDescription": {"text": rule.replace("-", " ")},
        "fullDescription": {
            "text": f"A migration that may hurt a database in use: {rule.replace('-', ' ')}."
        },
        "help": {
            "text": "Each result says what it does to the database and, where there is one, a safer way to write it. "
            f"What is meant is accepted in the revision, with a reason: # pgops: accept {rule}: why"
        },
    }


def _result(finding: Finding, rule: int) -> dict[str, object]:
    # A result without a file, of a revision that only the journal has, would make GitHub refuse all of them.
    file, first, last = (
        (finding.settings, 1, 1) if finding.file is None else (finding.file, finding.first, finding.last)
    )
    location: dict[str, object] = {
        "logicalLocations": [{"name": finding.revision, "kind": "revision"}],
        "physicalLocation": {
            "artifactLocation": {"uri": quote(os.fsencode(file)), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": first, "endLine": last},
        },
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": _LEVELS[finding.level],
        "message": {"text": _text(f"{finding.message}\n\n{finding.fix}" if finding.fix else finding.message)},
        "locations": [location],
        "partialFingerprints": {"pgops/v1": finding.fingerprint},
        "properties": {"revision": finding.revision, **({"table": finding.table} if finding.table else {})},
    }


def _text(value: str) -> str:
    """Text in which no link and no placeholder is read (3.11.5 and 3.11.6 of the standard)."""
    return re.sub(r"([\\\[\]])", r"\\\1", value).replace("{", "{{").replace("}", "}}")
