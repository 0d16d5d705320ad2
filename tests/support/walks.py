"""A page of the documentation, followed word by word: its files are written and its commands typed, on a terminal.

A comment before a block says what it is for: ``<!-- walk NAME: run -->`` before commands, ``file PATH`` before a
file, ``in PATH for LINE`` before lines that take the place of a line.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pexpect

from tests.support.preloaded import preloaded

PROGRAMS = Path(sys.executable).parent
_BLOCK = re.compile(
    r"^<!-- walk (?P<walk>[\w-]+): (?P<what>[^\n]+) -->\n```\w+\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_REPLACE = re.compile(r"in (\S+) for (.+)")
_QUESTION = r"(?:\[y/N\]|Type \S+ to go on:) *$"


@dataclass(frozen=True)
class Step:
    """A block of a page: ``what`` is ``run``, ``file PATH`` or ``in PATH for LINE``."""

    what: str
    text: str


def steps(page: Path, walk: str) -> list[Step]:
    """The blocks of a walk, in their order."""
    return [
        Step(each["what"], each["text"])
        for each in _BLOCK.finditer(page.read_text(encoding="utf-8"))
        if each["walk"] == walk
    ]


def commands(text: str) -> Iterator[str]:
    """The commands of a console block, as a shell reads them."""
    for line in text.splitlines():
        assert line.startswith("$ "), line
        yield line.removeprefix("$ ")


@dataclass
class Walker:
    """Somebody who follows a page.

    :param path: the directory in which it is done.
    :param answer: what is typed at a question.
    :param instead: what stands in a command or file for what the page can't know (``<revision>``, a port).
    """

    path: Path
    environ: dict[str, str] = field(default_factory=dict)
    answer: str = "y"
    instead: Mapping[str, str] = field(default_factory=dict)
    width: int = 100

    def follow(self, found: list[Step]) -> list[str]:
        """Do every step; returns what the commands printed."""
        assert found
        printed = []
        for step in found:
            replaces = _REPLACE.fullmatch(step.what)
            if step.what == "run":
                printed += [self.type(each) for each in commands(step.text)]
            elif replaces is not None:
                file = self.path / replaces[1]
                text = file.read_text(encoding="utf-8")
                assert f"\n{replaces[2]}\n" in text, f"{file} has no line {replaces[2]}"
                file.write_text(text.replace(f"\n{replaces[2]}\n", f"\n{step.text}\n"), encoding="utf-8")
            else:
                file = self.path / step.what.removeprefix("file ")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self._meant(step.text), encoding="utf-8")
        return printed

    def type(self, command: str) -> str:
        """Type a command, answer its questions; it has to end well.

        What makes an environment and installs into it is only looked at: the tests' own has everything.
        """
        if command.startswith(("python3 -m venv ", "pip install ")):
            assert re.fullmatch(
                r"python3 -m venv \.venv && \. \.venv/bin/activate|pip install 'path/to/pgops\[embedded\]'",
                command,
            ), command
            return ""
        child = pexpect.spawn(
            "bash",
            ["-c", self._meant(command)],
            cwd=str(self.path),
            env={
                **os.environ,
                "PATH": f"{preloaded.programs()}:{PROGRAMS}:{os.environ['PATH']}",
                "NO_COLOR": "1",
                "TERM": "dumb",
                **self.environ,
            },
            encoding="utf-8",
            timeout=180,
            dimensions=(50, self.width),
        )
        said = ""
        while child.expect([pexpect.EOF, _QUESTION]) == 1:
            said += child.before + child.after
            child.sendline(self.answer)
        said += child.before
        child.close()
        assert child.exitstatus == 0, f"{command} ended with {child.exitstatus}:\n{said}"
        return said.replace("\r\n", "\n")

    def _meant(self, text: str) -> str:
        for written, meant in self.instead.items():
            text = text.replace(written, meant)
        return text
