"""Whether a coding agent is at the keyboard: by what it leaves in the environment of the commands that it runs.

``None`` means that none is known to be there, not that a person is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

# The editor sets it in a person's own terminal too.
_OF_PEOPLE_TOO = frozenset(["CURSOR_TRACE_ID"])
# What agent-detector does not know (yet).
_OTHERS: Mapping[str, str] = {
    "CLINE_ACTIVE": "cline",
    "GOOSE_TERMINAL": "goose",
    "CRUSH": "crush",
    "QWEN_CODE": "qwen-code",
}


def agent_of(environ: Mapping[str, str]) -> str | None:
    """The agent that runs commands with this environment, and the variable that says so."""
    from agent_detector import detect_agent

    given = {name: value for name, value in environ.items() if name not in _OF_PEOPLE_TOO}
    found = detect_agent(given, minimum_confidence="medium")
    if found is not None:
        return f"{found.agent} ({found.signal})"
    if named := given.get("AI_AGENT", "").strip():
        return f"{named} (AI_AGENT)"
    return next((f"{agent} ({name})" for name, agent in _OTHERS.items() if given.get(name)), None)


def agent_at_the_keyboard() -> str | None:
    """The agent that runs this process, or one of those that started it: unsetting a variable hides nobody."""
    for environ in (dict(os.environ), *_of_ancestors()):
        if (found := agent_of(environ)) is not None:
            return found
    return None


def _of_ancestors() -> Iterator[dict[str, str]]:
    """The environments with which our ancestors were started, as far as /proc shows them."""
    pid = os.getppid()
    while pid > 1:
        process = Path("/proc", str(pid))
        try:
            words = (process / "environ").read_bytes().split(b"\0")
            pid = int(
                (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            )
        except (OSError, ValueError, IndexError):
            # No /proc, somebody else's process, or one that has just ended.
            return
        pairs = (word.partition(b"=") for word in words)
        yield {
            name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs if name
        }
