"""Completion of tasks, flags and their values on TAB."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, task

if TYPE_CHECKING:
    from pgops.terminal.console import Console


@task(
    help={
        "shell": "bash, zsh or fish; the one of $SHELL when not given",
        "install": "put it where your shell finds it, instead of printing it",
    }
)
def completion(
    context: Context, console: Console, *, shell: str | None = None, install: bool = False, json: bool = False
) -> None:
    """Print or install shell completion of tasks, flags and values: environments, backups, revisions, tables."""
    from pathlib import Path

    from pgops import completion as making

    chosen = shell or making.shell_of(os.environ)
    if not install:
        text = making.script(chosen)
        if json:
            console.result({"shell": chosen, "script": text})
        else:
            console.raw(text)
        return
    done = making.install(chosen, home=Path.home(), environ=os.environ)
    for path in done.written:
        console.say(f"wrote {path}")
    for path in done.unchanged:
        console.say(f"{path} is as it should be")
    console.say(f"every new {chosen} has it; for this one: {done.source}")
    console.result(
        {
            "shell": chosen,
            "written": [str(path) for path in done.written],
            "unchanged": [str(path) for path in done.unchanged],
        }
    )
