"""The way of connection parameters to a child: a service file that only its owner can read, removed after.

Not every parameter has an environment variable, and a program that is older than a parameter passes its
variable over: it would connect by weaker rules than were asked for. A line of a service file that it does
not know stops it. https://www.postgresql.org/docs/current/libpq-pgservice.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pgops.errors import ConfigurationError
from pgops.postgres.passfile import private_file
from pgops.postgres.target import Target

_NAME = "pgops"
# Variables carry these (child_environment, PGAPPNAME): libpq prefers a service to a variable. And a dump's encoding is
# that of its database; with another one pg_dump fails at characters that it lacks.
_NOT_HERE = frozenset(["options", "application_name", "connect_timeout", "client_encoding"])


@contextlib.contextmanager
def service_file(target: Target) -> Iterator[dict[str, str]]:
    """Give a child's environment entries for the parameters in ``target.extra``: ``PGSERVICEFILE`` and ``PGSERVICE``.

    :raises ConfigurationError: a value can't stand in a service file.
    """
    wanted = {key: value for key, value in target.extra.items() if key not in _NOT_HERE}
    if not wanted:
        yield {}
        return
    for key, value in wanted.items():
        if value != value.rstrip() or value.splitlines()[1:]:
            # The value is not repeated: it may be sslpassword.
            raise ConfigurationError(
                f"{target.environment}: the value of {key} has a line end in it or white space at its end, "
                "which client programs can't be given",
                untouched="no connection was made",
                hint=f"choose a {key} without it",
            )
    lines = [f"[{_NAME}]", *(f"{key}={value}" for key, value in wanted.items())]
    with private_file("\n".join(lines) + "\n") as path:
        yield {"PGSERVICEFILE": str(path), "PGSERVICE": _NAME}
