"""All environments over time, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_project, task

if TYPE_CHECKING:
    from pgops.terminal.console import Console

_TIMEOUT = 30.0


@task(
    help={
        "html": "file to write the page to",
        "env": "environment (name or alias); all of them when not given",
    }
)
def report(
    context: Context, console: Console, *, html: str, env: str | None = None, json: bool = False
) -> None:
    """Write a page over all environments: where each stands, runs, backups and proofs, sizes, gates; only reads."""
    import datetime as dt

    from pgops.errors import UsageError
    from pgops.overview.report import report as collect
    from pgops.pages.report import as_html
    from pgops.pages.write import write_page
    from pgops.tasks.migrate.statuses import status_reader
    from pgops.units import counted

    file = Path(html).absolute()
    if not file.parent.is_dir() or file.is_dir():
        raise UsageError(
            f"--html={html}: {'it is a directory' if file.is_dir() else f'there is no directory {file.parent}'}",
            untouched="nothing was touched",
        )
    project = load_project(context)
    environments = project.one_or_all(env)
    found = collect(
        environments,
        status_reader(project, environments),
        now=dt.datetime.now(dt.UTC),
        timeout=_TIMEOUT,
    )
    write_page(file, as_html(found))
    for each in found.environments:
        for problem in (*each.row.problems, *each.problems):
            console.warn(f"{each.name}: {problem}")
    console.say(f"written: {file}, with {counted(len(found.environments), 'environment')}")
    console.result({"report": found.as_dict()})
