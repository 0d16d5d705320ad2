"""One environment's status, asked of Alembic; run as a process of its own by ``migrate.status``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgops.runtime.variables import set_aside

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.migrations.status.status import Status


def main(root: str, file: str, name: str, history: str = "") -> int:
    """Print the status as one JSON object; where there is none, it says why."""
    from pgops.environments import load
    from pgops.errors import PgopsError
    from pgops.migrations.status.status import together, unreachable

    try:
        environment = load(root=Path(root), file=Path(file)).environment(name)
        if history:
            environment = environment.history(history)
    except PgopsError as error:
        answer = unreachable(name, "?", error)
    else:
        rows = [_status(each) for each in environment.histories()]
        answer = together(rows) if environment.alembic.histories else rows[0]
    print(json.dumps(answer.as_dict(), default=str))
    return 0


def _status(environment: Environment) -> Status:
    from pgops.errors import ConfigurationError, PgopsError
    from pgops.migrations.alembic_env.failures import MigrationError
    from pgops.migrations.alembic_env.status import status_through_env_py
    from pgops.migrations.status.status import misconfigured, unreachable
    from pgops.targets import target_for

    try:
        return status_through_env_py(environment, target_for(environment))
    except (ConfigurationError, MigrationError) as error:
        # env.py itself fails: nothing is known of this database, and that is no success.
        found = misconfigured(environment.name, "?", error)
    except PgopsError as error:
        found = unreachable(environment.name, "?", error)
    return replace(found, history=environment.alembic.history)


if __name__ == "__main__":
    with set_aside():
        code = main(*sys.argv[1:])
    sys.exit(code)
