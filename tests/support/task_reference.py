"""docs/tasks.md, written from the tasks themselves: ``python -m tests.support.task_reference``."""

from __future__ import annotations

import importlib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_HEAD = """# Tasks

Written from the tasks' own help; `invoke --help TASK` shows the same. Short flags: `-e` is `--env`, `-y`
`--yes`, `-j` `--json`, `-m` `--message`, `-f` `--follow`. Invoke's own `--dry` (before the task) is
`--dry-run`. What a task asks, and which flag answers, is in the [README](../README.md); how it ends, in
[exit codes](exit-codes.md).
"""


def reference() -> str:
    """The text of docs/tasks.md."""
    from invoke.collection import Collection

    from pgops.tasks import namespace

    parts = [_HEAD]
    collections: dict[str, Collection] = namespace.collections
    for name in [*collections, ""]:
        collection = collections[name] if name else namespace
        own = {
            key: task
            for key, task in sorted(collection.tasks.items())
            if key not in {"test", "lint", "bench"}
        }
        if name:
            parts.append(f"## {name}\n\n{importlib.import_module(f'pgops.tasks.{name}').__doc__}\n")
        else:
            parts.append("## On their own\n")
        for key, task in own.items():
            title = f"{name}.{key}" if name else key
            if task.is_default and name:
                title = f"{title} (= {name})"
            lines = [line.strip() for line in (task.__doc__ or "").strip().splitlines()]
            parts.append(f"### {title}\n\n" + "\n".join(lines) + "\n")
            rows = [
                f"| `--{str(argument.name).strip('_').replace('_', '-')}` | {(argument.help or '').replace('|', chr(92) + '|')} |"
                for argument in sorted(task.get_arguments(), key=lambda each: str(each.name))
            ]
            if rows:
                parts.append("| flag | |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (REPOSITORY / "docs" / "tasks.md").write_text(reference(), encoding="utf-8")
