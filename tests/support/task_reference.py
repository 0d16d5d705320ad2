"""docs/tasks.md, written from the tasks themselves: ``python -m tests.support.task_reference``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.recorded import recorded_session, session_block

if TYPE_CHECKING:
    from invoke.collection import Collection
    from invoke.tasks import Task

REPOSITORY = Path(__file__).resolve().parents[2]
# Tasks of tasks.py that are not pgops': they test and measure this repository.
OF_THIS_PROJECT = {"test", "lint", "bench", "site"}
_HEAD = """# Tasks

Written from the tasks' own help; `invoke --help TASK` shows the same. Short flags: `-e` is `--env`, `-y`
`--yes`, `-j` `--json`, `-m` `--message`, `-f` `--follow`, `-c` `--command`. Durations are written as in
environments.yaml: `--lock-wait=10s`. A word that no task can use ends with 2 before anything is run. Invoke's own `--dry` (before the task) is
`--dry-run`. What a task asks, and which flag answers, is in the [README](../README.md); how it ends, in
[exit codes](exit-codes.md).
"""


def reference(recordings: Mapping[str, tuple[str, str]] | None = None) -> str:
    """The text of docs/tasks.md.

    :param recordings: what was typed and seen for each task; those that stand there already when not given.
    """
    recordings = recorded_session() if recordings is None else recordings
    parts = [_HEAD]
    for name, tasks in _collections():
        if name:
            parts.append(f"## {name}\n\n{importlib.import_module(f'pgops.tasks.{name}').__doc__}\n")
        else:
            parts.append("## On their own\n")
        parts += [_described(name, key, task, recordings, heading="###") for key, task in tasks.items()]
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """A page for each task: its full name -> the page's text."""
    recordings = recorded_session()
    return {
        f"{name}.{key}" if name else key: _described(name, key, task, recordings, heading="#")
        for name, tasks in _collections()
        for key, task in tasks.items()
    }


def _collections() -> Iterator[tuple[str, dict[str, Task[Any]]]]:
    from pgops.tasks import namespace

    collections: dict[str, Collection] = namespace.collections
    for name in [*collections, ""]:
        collection = collections[name] if name else namespace
        own = {
            key: task for key, task in sorted(collection.tasks.items()) if name or key not in OF_THIS_PROJECT
        }
        yield name, own


def _described(
    collection: str, key: str, task: Task[Any], recordings: Mapping[str, tuple[str, str]], *, heading: str
) -> str:
    title = f"{collection}.{key}" if collection else key
    if task.is_default and collection:
        title = f"{title} (= {collection})"
    lines = [line.strip() for line in (task.__doc__ or "").strip().splitlines()]
    text = f"{heading} {title}\n\n" + "\n".join(lines) + "\n"
    rows = [
        f"| `--{str(argument.name).strip('_').replace('_', '-')}` | {(argument.help or '').replace('|', chr(92) + '|')} |"
        for argument in sorted(task.get_arguments(), key=lambda each: str(each.name))
    ]
    if rows:
        text += "\n| flag | |\n|---|---|\n" + "\n".join(rows) + "\n"
    from pgops.tasks._examples import EXAMPLES

    name = f"{collection}.{key}" if collection else key
    examples = EXAMPLES.get(name, ())
    if examples:
        widest = max(len(command) for command, _ in examples)
        lines = [f"$ invoke {command.ljust(widest)}  # {what}" for command, what in examples]
        text += "\n```console\n" + "\n".join(lines) + "\n```\n"
    if name in recordings:
        text += "\n" + session_block(*recordings[name])
    return text


if __name__ == "__main__":
    (REPOSITORY / "docs" / "tasks.md").write_text(reference(), encoding="utf-8")
