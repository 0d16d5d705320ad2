"""Known agents are recognised by what they leave in a command's environment; people in an editor are not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pgops.terminal.agents import agent_at_the_keyboard, agent_of


@pytest.mark.parametrize(
    ("environ", "agent"),
    [
        ({"CLAUDECODE": "1"}, "claude-code (CLAUDECODE)"),
        ({"CURSOR_AGENT": "1", "CURSOR_TRACE_ID": "x"}, "cursor-cli (CURSOR_AGENT)"),
        ({"CODEX_SANDBOX": "seatbelt"}, "codex (CODEX_SANDBOX)"),
        ({"GEMINI_CLI": "1"}, "gemini-cli (GEMINI_CLI)"),
        ({"OPENCODE": "1"}, "opencode (OPENCODE)"),
        ({"CLINE_ACTIVE": "true"}, "cline (CLINE_ACTIVE)"),
        ({"AI_AGENT": "of-tomorrow@2"}, "of-tomorrow@2 (AI_AGENT)"),
        ({"CURSOR_TRACE_ID": "x", "TERM_PROGRAM": "vscode"}, None),
        ({"CLAUDECODE": ""}, None),
        ({}, None),
    ],
)
def test_agents(environ: dict[str, str], agent: str | None) -> None:
    assert agent_of(environ) == agent


def test_nobody_is_here() -> None:
    assert agent_at_the_keyboard() is None


def test_unsetting_the_variable_hides_nobody() -> None:
    look = "from pgops.terminal.agents import agent_at_the_keyboard as look; print(look())"
    done = subprocess.run(
        ["sh", "-c", 'unset CLAUDECODE; "$0" -c "$1"; true', sys.executable, look],
        env={**os.environ, "CLAUDECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "claude-code (CLAUDECODE)"
