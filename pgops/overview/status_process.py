"""One environment's status, asked of Alembic; run as a process of its own by ``migrate.status``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pgops.runtime.variables import set_aside


def main(root: str, file: str, name: str) -> int:
    """Print the status as one JSON object; where there is none, it says why."""
    from pgops.environments import load
    from pgops.errors import ConfigurationError, PgopsError
    from pgops.migrations.alembic_env.failures import MigrationError
    from pgops.migrations.alembic_env.status import status_through_env_py
    from pgops.migrations.status.status import misconfigured, unreachable
    from pgops.targets import target_for

    try:
        environment = load(root=Path(root), file=Path(file)).environment(name)
        answer = status_through_env_py(environment, target_for(environment)).as_dict()
    except (ConfigurationError, MigrationError) as error:
        # env.py itself fails: nothing is known of this database, and that is no success.
        answer = misconfigured(name, "?", error).as_dict()
    except PgopsError as error:
        answer = unreachable(name, "?", error).as_dict()
    print(json.dumps(answer, default=str))
    return 0


if __name__ == "__main__":
    with set_aside():
        code = main(*sys.argv[1:])
    sys.exit(code)
