"""The forms in which a plan or a lint goes to a review: Markdown, SARIF, GitHub's annotations, GitLab's report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgops.pages.findings import Finding
    from pgops.terminal.console import Console


@dataclass(frozen=True, slots=True)
class Documents:
    """What was asked for: of each form a file, ``True`` for standard output, or ``None``."""

    markdown: str | bool | None = None
    sarif: str | bool | None = None
    annotations: str | bool | None = None
    code_quality: str | bool | None = None

    def __bool__(self) -> bool:
        return any(given for _, given in self._given())

    @property
    def on_stdout(self) -> bool:
        """Whether standard output is one of them, and so nothing else."""
        return any(given is True for _, given in self._given())

    def check(self, *, sql: bool = False, json: bool = False) -> None:
        """Refuse what can't be done before anything is looked at.

        :raises UsageError: two things for standard output, or a file that can't be written.
        """
        from pgops.errors import UsageError

        there = [f"--{name}" for name, given in self._given() if given is True]
        there += [flag for flag, given in (("--sql", sql), ("--json", json)) if given]
        if len(there) > 1 and self.on_stdout:
            raise UsageError(
                f"{' and '.join(there)} would both be on standard output",
                untouched="nothing was looked at",
                hint=f"give files to all but one: {there[0]}=FILE",
            )
        for name, given in self._given():
            if isinstance(given, str) and (
                not (file := Path(given).absolute()).parent.is_dir() or file.is_dir()
            ):
                why = "it is a directory" if file.is_dir() else f"there is no directory {file.parent}"
                raise UsageError(f"--{name}={given}: {why}", untouched="nothing was looked at")

    def write(
        self, console: Console, findings: Sequence[Finding], markdown: Callable[[], str], *, category: str
    ) -> None:
        """Print or write each form that was asked for.

        :param category: tells SARIF runs of one commit apart.
        """
        from pgops.pages.annotations import as_code_quality, as_workflow_commands
        from pgops.pages.sarif import as_sarif
        from pgops.pages.write import write_page

        forms: dict[str, Callable[[], str]] = {
            "markdown": markdown,
            "sarif": lambda: as_sarif(findings, category),
            "annotations": lambda: as_workflow_commands(findings),
            "code-quality": lambda: as_code_quality(findings),
        }
        for name, given in self._given():
            if isinstance(given, str):
                file = Path(given).absolute()
                write_page(file, forms[name]())
                if not self.on_stdout:
                    console.say(f"written: {file}")
            elif given:
                console.raw(forms[name]())

    def _given(self) -> Iterator[tuple[str, str | bool | None]]:
        yield "markdown", self.markdown
        yield "sarif", self.sarif
        yield "annotations", self.annotations
        yield "code-quality", self.code_quality
