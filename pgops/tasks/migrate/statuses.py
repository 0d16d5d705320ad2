"""Where many environments stand at once: quickly where files are plain, by Alembic in a process of its own elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pgops.environments import Environment, Project
from pgops.errors import ConfigurationError, PgopsError
from pgops.migrations.revisions.history import History
from pgops.migrations.revisions.mistakes import check_python
from pgops.migrations.revisions.revision import NotPlainError
from pgops.migrations.status.status import (
    Status,
    history_of,
    migration_status,
    misconfigured,
    together,
    unreachable,
)
from pgops.postgres import MissingServiceError
from pgops.runtime.variables import inherited
from pgops.targets import target_for

_AT_ONCE = 16
_TIMEOUT = 300.0


def statuses(project: Project, environments: Sequence[Environment]) -> list[Status]:
    """One row per environment, in order; an unreachable one is a row too."""
    histories = _histories(environments)
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(environments) or 1)) as pool:
        rows = list(pool.map(lambda each: _read_status(project, each, histories), environments))
    return [
        _with_pending_files_read(row, environment, histories)
        for row, environment in zip(rows, environments, strict=True)
    ]


def status_reader(project: Project, environments: Sequence[Environment]) -> Callable[[Environment], Status]:
    """A look at one of these environments; the files are read once, here, for all that share them."""
    histories = _histories(environments)
    return lambda each: _read_status(project, each, histories)


Histories = Mapping[object, History | Exception]
"""By what says where the files are (:func:`_files_of`)."""


def _histories(environments: Sequence[Environment]) -> Histories:
    found: dict[object, History | Exception] = {}
    for environment in environments:
        for each in environment.histories():
            if _files_of(each) not in found:
                found[_files_of(each)] = _history_or_error(each)
    return found


def _files_of(environment: Environment) -> object:
    """What decides which files are read, and whether reading them is enough."""
    alembic = environment.alembic
    return alembic.config, alembic.name, alembic.app, alembic.runner, bool(alembic.x)


def _with_pending_files_read(row: Status, environment: Environment, histories: Histories) -> Status:
    """The identifiers of a file can be read where the rest of it is no Python: look at what is going to run."""
    if row.histories:
        return together(
            [
                _with_pending_files_read(each, own, histories)
                for each, own in zip(row.histories, environment.histories(), strict=True)
            ]
        )
    history = histories[_files_of(environment.histories()[0])]
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


def _read_status(project: Project, environment: Environment, histories: Histories) -> Status:
    rows = [_quick(each, histories) for each in environment.histories()]
    known = [row for row in rows if row is not None]
    if len(known) < len(rows):
        return _asked(project, environment)
    return together(known) if environment.alembic.histories else known[0]


def _quick(environment: Environment, histories: Histories) -> Status | None:
    """The row as far as files and the version table tell it; ``None`` where Alembic has to be asked."""
    place = "?"
    history = histories[_files_of(environment)]
    try:
        target = target_for(environment)
        place = target.place
        if isinstance(history, History):
            return migration_status(environment, target, history)
        if isinstance(history, NotPlainError):
            return None
        raise history
    except NotPlainError:
        return None
    except ConfigurationError as error:
        wrong = unreachable if isinstance(error, MissingServiceError) else misconfigured
        found = wrong(environment.name, place, error)
    except PgopsError as error:
        found = unreachable(environment.name, place, error)
    return replace(found, history=environment.alembic.history)


def _asked(project: Project, environment: Environment) -> Status:
    """Ask Alembic in a process of its own: env.py may read a URL once per process, and there are many URLs."""
    place = target_for(environment).place
    argv = [
        sys.executable,
        "-m",
        "pgops.overview.status_process",
        str(project.root),
        str(project.file),
        environment.name,
        *([environment.alembic.history] if environment.alembic.history else []),
    ]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            cwd=Path.cwd(),
            env=inherited(),
        )
        answer = Status.from_dict(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return _no_answer(environment, place, f"Alembic gave no answer within {_TIMEOUT:g} s")
    except ValueError:
        said = done.stderr.strip().splitlines()[-1:] or done.returncode
        return _no_answer(environment, place, f"Alembic gave no answer: {said}")
    each = tuple(replace(row, place=place) for row in answer.histories)
    return replace(answer, place=place, histories=each)


def _no_answer(environment: Environment, place: str, said: str) -> Status:
    error = PgopsError(f"{environment.name}: {said}")
    rows = [
        replace(unreachable(environment.name, place, error), history=each.alembic.history)
        for each in environment.histories()
    ]
    return together(rows) if environment.alembic.histories else rows[0]
