"""The program that is named in what a message tells to type next: ``invoke``, or ``pgops`` where that is running."""

from __future__ import annotations

import re

_COMMAND = re.compile(
    r"\binvoke (?=(?:--list|--help|(?:db|env|migrate|backup|restore|status|report|metrics|completion)\b))"
)
INVOKE = "invoke"
"""How messages are written, and what is typed where nothing else was said."""
_program = [INVOKE]


def use_program(name: str) -> None:
    """Say ``name`` from now on."""
    _program[0] = name


def program_name() -> str:
    """What to type before a task's name."""
    return _program[0]


def as_typed(text: str) -> str:
    """``text`` with the commands in it as this process's user types them."""
    return text if _program[0] == INVOKE else _COMMAND.sub(f"{_program[0]} ", text)


__all__ = ["INVOKE", "as_typed", "program_name", "use_program"]
