"""Where many environments stand at once: quickly where files are plain, by Alembic in a process of its own elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pgops.environments import Environment, Project
from pgops.errors import PgopsError
from pgops.migrations.history import History, NotPlainError
from pgops.migrations.standing import Standing, history_of, standing, unreachable
from pgops.targets import target_for

_AT_ONCE = 16
_PATIENCE = 300.0


def standings(project: Project, environments: Sequence[Environment]) -> list[Standing]:
    """One row per environment, in order; an unreachable one is a row too."""
    look = looker(project, environments)
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(environments) or 1)) as pool:
        return list(pool.map(look, environments))


def looker(project: Project, environments: Sequence[Environment]) -> Callable[[Environment], Standing]:
    """A look at one of these environments; the files are read once, here, for all that share them."""
    histories: dict[object, History | Exception] = {}
    for environment in environments:
        key = environment.alembic.config, environment.alembic.name
        if key not in histories:
            histories[key] = _history_or_error(environment)
    return lambda each: _standing(project, each, histories[each.alembic.config, each.alembic.name])


def history_for(environment: Environment) -> History:
    """The revisions, read from the files or by Alembic."""
    from pgops.migrations.location import locate

    try:
        from pgops.migrations.history import read_history

        return read_history(locate(environment.alembic, environment.project))
    except NotPlainError:
        from pgops.migrations.alembic_env import reading

        with reading(environment, target_for(environment)) as alembic:
            return alembic.history()


def _history_or_error(environment: Environment) -> History | Exception:
    try:
        return history_of(environment)
    except (NotPlainError, PgopsError) as error:
        return error


def _standing(project: Project, environment: Environment, history: History | Exception) -> Standing:
    place = "?"
    try:
        target = target_for(environment)
        place = target.place
        if isinstance(history, PgopsError):
            raise history
        if isinstance(history, History):
            try:
                return standing(environment, target, history)
            except NotPlainError:
                pass
        return _asked(project, environment, place)
    except PgopsError as error:
        return unreachable(environment.name, place, error)


def _asked(project: Project, environment: Environment, place: str) -> Standing:
    """Ask Alembic in a process of its own: env.py may read a URL once per process, and there are many URLs."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pgops.tasks._migrate_child",
            str(project.root),
            str(project.file),
            environment.name,
        ],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
        cwd=Path.cwd(),
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise PgopsError(
            f"{environment.name}: Alembic gave no answer: {done.stderr.strip().splitlines()[-1:] or done.returncode}"
        ) from error
    if "message" in answer:
        raise PgopsError(answer["message"])
    return Standing.from_dict(answer)
