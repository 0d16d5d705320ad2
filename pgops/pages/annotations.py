"""Findings as GitHub's workflow commands and as GitLab's Code Quality report."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pgops.pages.findings import Finding

_COMMANDS = {"block": "error", "warning": "warning", "note": "notice"}
_SEVERITIES = {"block": "critical", "warning": "minor", "note": "info"}


def as_workflow_commands(findings: Sequence[Finding]) -> str:
    """One annotation a line; whatever is in a finding, no line is another command.

    See https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands.
    """
    lines = []
    for each in findings:
        properties = [("title", f"pgops: {each.rule}")]
        if each.file is not None:
            properties = [
                ("file", each.file.encode(errors="replace").decode()),
                ("line", str(each.first)),
                ("endLine", str(each.last)),
                *properties,
            ]
        told = ",".join(f"{name}={_property(value)}" for name, value in properties)
        text = f"{each.message}\n\n{each.fix}" if each.fix else each.message
        lines.append(f"::{_COMMANDS[each.level]} {told}::{_data(text)}\n")
    return "".join(lines)


def _data(value: str) -> str:
    # A carriage return or line feed would begin a line, and a line may be a command.
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def as_code_quality(findings: Sequence[Finding]) -> str:
    """A JSON array as GitLab takes it (https://docs.gitlab.com/ci/testing/code_quality/)."""
    return (
        json.dumps(
            [
                {
                    "description": each.message,
                    "check_name": each.rule,
                    "fingerprint": each.fingerprint,
                    "severity": _SEVERITIES[each.level],
                    "location": {"path": each.file, "lines": {"begin": each.first, "end": each.last}},
                }
                for each in findings
                if each.file is not None
            ],
            indent=2,
        )
        + "\n"
    )
