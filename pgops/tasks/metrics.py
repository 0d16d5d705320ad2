"""What environments look like in numbers, for Prometheus."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_project, task

if TYPE_CHECKING:
    from pgops.environments import Environment, Project
    from pgops.terminal.console import Console

_TIMEOUT = 30.0


@task(
    help={
        "to": "directory to write `pgops-<project>-<environment>.prom` to; each environment's `monitoring.metrics` when not given",
        "env": "environment (name or alias); all of them when not given",
    }
)
def metrics(
    context: Context, console: Console, *, to: str = "", env: str | None = None, json: bool = False
) -> None:
    """Write a Prometheus textfile for each environment: backups, proofs, runs, sizes; reads databases only."""
    from pgops.errors import UsageError

    project = load_project(context)
    environments = project.one_or_all(env)
    if not to:
        environments = [each for each in environments if each.monitoring.metrics is not None]
        if not environments:
            raise UsageError(
                f"no directory for metrics: neither --to nor monitoring.metrics in {project.file.name}",
                untouched="nothing was touched",
                hint="--to=/var/lib/prometheus/node-exporter",
            )
    written = write(console, project, environments, to=Path(to).absolute() if to else None)
    for file in written:
        console.say(f"written: {file}")
    console.result({"written": [str(each) for each in written]})


def write(
    console: Console, project: Project, environments: Sequence[Environment], *, to: Path | None
) -> list[Path]:
    """Write the textfile of each environment.

    :param to: the directory; each environment's own when ``None``.
    :returns: the files.
    :raises PgopsError: one of them can't be written, or is another project's; those before it are.
    """
    from pgops.monitoring.memory import MemoryFile
    from pgops.overview.report import Report
    from pgops.overview.report import report as collect
    from pgops.pages.metrics import exposition, textfile, write_textfile
    from pgops.tasks.migrate.statuses import status_reader
    from pgops.units import told_of

    found = collect(
        environments,
        status_reader(project, environments),
        now=dt.datetime.now(dt.UTC),
        timeout=_TIMEOUT,
    )
    memories = {each.name: MemoryFile(each, os.environ, console.warn).read() for each in environments}
    written = []
    for environment, each in zip(environments, found.environments, strict=True):
        directory = to or environment.monitoring.metrics
        if directory is None:
            continue
        for problem in (*each.row.problems, *each.problems):
            console.warn(told_of(each.name, problem))
        file = textfile(directory, environment.project, environment.name)
        content = exposition(Report(found.at, (each,)), memories, environment.project.name)
        write_textfile(file, content, project=environment.project, environment=environment.name)
        written.append(file)
    return written
