"""An environment is one database: an env.py that migrates several in one go is told before it connects."""

from __future__ import annotations

import re

from alembic.config import Config

from pgops.environments import Environment
from pgops.errors import RefusedError
from pgops.migrations.revisions.location import ScriptLocation

_READS_DATABASES = re.compile(r"get_main_option\(\s*['\"]databases['\"]")


def refuse_several_databases(config: Config, location: ScriptLocation, environment: Environment) -> None:
    """Alembic's template ``multidb`` loops over ``databases`` of alembic.ini.

    :raises RefusedError: it names more than one, and env.py asks for it.
    """
    names = [each for each in re.split(r"[\s,]+", config.get_main_option("databases") or "") if each]
    if len(names) < 2 or not _READS_DATABASES.search(location.env_py()):
        return
    raise RefusedError(
        f"env.py migrates several databases in one go (databases = {', '.join(names)}); {environment.name} is one database",
        untouched="no database was touched",
        hint=f'an environment for each, which chooses its own by alembic: {{runner: "ops:{names[0]}"}}; '
        "docs/adopting.md shows the function",
    )
