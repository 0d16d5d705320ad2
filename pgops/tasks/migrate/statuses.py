"""Where many environments stand at once: quickly where files are plain, by Alembic in a process of its own elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pgops.environments import Environment, Project
from pgops.errors import ConfigurationError, PgopsError
from pgops.migrations.revisions.history import History, NotPlainError
from pgops.migrations.revisions.mistakes import check_python
from pgops.migrations.status.status import Status, history_of, migration_status, misconfigured, unreachable
from pgops.runtime.variables import inherited
from pgops.targets import target_for

_AT_ONCE = 16
_PATIENCE = 300.0


def statuses(project: Project, environments: Sequence[Environment]) -> list[Status]:
    """One row per environment, in order; an unreachable one is a row too."""
    histories = _histories(environments)
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(environments) or 1)) as pool:
        rows = list(
            pool.map(lambda each: _read_status(project, each, histories[_files_of(each)]), environments)
        )
    return [
        _with_pending_files_read(row, histories[_files_of(environment)])
        for row, environment in zip(rows, environments, strict=True)
    ]


def status_reader(project: Project, environments: Sequence[Environment]) -> Callable[[Environment], Status]:
    """A look at one of these environments; the files are read once, here, for all that share them."""
    histories = _histories(environments)
    return lambda each: _read_status(project, each, histories[_files_of(each)])


def _histories(environments: Sequence[Environment]) -> dict[object, History | Exception]:
    found: dict[object, History | Exception] = {}
    for environment in environments:
        if _files_of(environment) not in found:
            found[_files_of(environment)] = _history_or_error(environment)
    return found


def _files_of(environment: Environment) -> object:
    return environment.alembic.config, environment.alembic.name


def _with_pending_files_read(row: Status, history: History | Exception) -> Status:
    """The identifiers of a file can be read where the rest of it is no Python: look at what is going to run."""
    if not isinstance(history, History):
        return row
    try:
        for revision in row.pending:
            check_python(history.revisions[revision].path)
    except ConfigurationError as error:
        return replace(row, problem=error.message, misconfigured=True, exit_code=int(error.exit_code))
    return row


def history_for(environment: Environment) -> History:
    """The revisions, read from the files or by Alembic."""
    from pgops.migrations.revisions.location import locate

    try:
        from pgops.migrations.revisions.history import read_history

        return read_history(locate(environment.alembic, environment.project))
    except NotPlainError:
        from pgops.migrations.alembic_env.command_line import HISTORY
        from pgops.migrations.alembic_env.environment import reading

        with reading(environment, target_for(environment), HISTORY) as alembic:
            return alembic.history()


def _history_or_error(environment: Environment) -> History | Exception:
    try:
        return history_of(environment)
    except (NotPlainError, PgopsError) as error:
        return error


def _read_status(project: Project, environment: Environment, history: History | Exception) -> Status:
    try:
        target = target_for(environment)
    except PgopsError as error:
        return unreachable(environment.name, "?", error)
    if isinstance(history, ConfigurationError):
        return misconfigured(environment.name, target.place, history)
    try:
        if isinstance(history, PgopsError):
            raise history
        if isinstance(history, History):
            try:
                return migration_status(environment, target, history)
            except NotPlainError:
                pass
        return _asked(project, environment, target.place)
    except PgopsError as error:
        return unreachable(environment.name, target.place, error)


def _asked(project: Project, environment: Environment, place: str) -> Status:
    """Ask Alembic in a process of its own: env.py may read a URL once per process, and there are many URLs."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pgops.overview.status_process",
            str(project.root),
            str(project.file),
            environment.name,
        ],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
        cwd=Path.cwd(),
        env=inherited(),
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise PgopsError(
            f"{environment.name}: Alembic gave no answer: {done.stderr.strip().splitlines()[-1:] or done.returncode}"
        ) from error
    return replace(Status.from_dict(answer), place=place)
