"""``config.cmd_opts`` as Alembic's own command line makes it: an env.py may ask which command it runs for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field

from alembic import command
from alembic.config import CommandLine

from pgops.environments import AlembicSettings

_POSITIONAL = {"upgrade": "revision", "downgrade": "revision", "stamp": "revisions"}


@dataclass(frozen=True, slots=True)
class Command:
    """One call of ``alembic``: its verb, and what the verb was given beside its defaults."""

    verb: str
    arguments: Mapping[str, object] = field(default_factory=dict)


CURRENT = Command("current")
HISTORY = Command("history")


def upgrade(to: str | None) -> Command:
    """``alembic upgrade``, to all heads when ``to`` is ``None``."""
    return Command("upgrade", {"revision": to or "heads"})


def downgrade(to: str) -> Command:
    """``alembic downgrade``."""
    return Command("downgrade", {"revision": to})


def stamp(to: str) -> Command:
    """``alembic stamp``."""
    return Command("stamp", {"revisions": [to]})


def revision(message: str | None, *, autogenerate: bool) -> Command:
    """``alembic revision``."""
    return Command("revision", {"message": message, "autogenerate": autogenerate})


def check() -> Command:
    """``alembic check``; before Alembic 1.9 the comparison is ``alembic revision --autogenerate``."""
    return Command("check") if hasattr(command, "check") else revision(None, autogenerate=True)


def command_options(wanted: Command, settings: AlembicSettings) -> Namespace:
    """What Alembic's parser makes of ``alembic -c … -n … VERB …``; ``x`` is filled in while env.py runs."""
    arguments = ["-c", str(settings.config)]
    if settings.name:
        arguments += ["-n", settings.name]
    # The value itself is set below: one that begins with a dash would be read as an option.
    placeholder = ["heads"] if wanted.verb in _POSITIONAL else []
    options = CommandLine(prog="alembic").parser.parse_args([*arguments, wanted.verb, *placeholder])
    for name, value in wanted.arguments.items():
        setattr(options, name, value)
    return options
