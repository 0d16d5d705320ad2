"""The program that is named in what a message tells to type next: ``invoke``, or ``pgops`` where that is running."""

from __future__ import annotations

import re

_COMMAND = re.compile(r"\binvoke (?=(?:--list|--help|(?:db|env|migrate|backup|restore|status|completion)\b))")
_program = ["invoke"]


def use_program(name: str) -> None:
    """Say ``name`` from now on."""
    _program[0] = name


def program_name() -> str:
    """What to type before a task's name."""
    return _program[0]


def as_typed(text: str) -> str:
    """``text`` with the commands in it as this process's user types them."""
    return text if _program[0] == "invoke" else _COMMAND.sub(f"{_program[0]} ", text)


__all__ = ["as_typed", "program_name", "use_program"]
