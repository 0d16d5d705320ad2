"""An application that migrates its own database while it is made, or imported: that is left out.

``command.upgrade()`` in ``create_app()`` would run every revision before the first is planned, locked or recorded, and
in a look, which only reads, nothing could be made of the project at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from alembic import context
from alembic.script import ScriptDirectory

from pgops.migrations.alembic_env.context import GuardedContext


@contextlib.contextmanager
def left_to_pgops(script_directory: Path, said: Callable[[], None]) -> Iterator[None]:
    """For the block, an Alembic command of the project's own that changes this history's database does nothing.

    :param script_directory: the history's; a command on another one runs.
    :param said: called for each that is left out.
    """
    run_env = ScriptDirectory.run_env

    def run_env_of_ours(script: ScriptDirectory) -> None:
        # Alembic's own, private: whose context this run of env.py belongs to.
        running = getattr(context, "_proxy", None)
        same = Path(script.dir).resolve() == script_directory.resolve()
        if same and not isinstance(running, GuardedContext) and not _only_reads(running):
            said()
            return
        run_env(script)

    ScriptDirectory.run_env = run_env_of_ours  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ScriptDirectory.run_env = run_env  # type: ignore[method-assign]


def _only_reads(running: object) -> bool:
    """Whether this is ``alembic current``."""
    return bool(getattr(running, "context_opts", {}).get("dont_mutate"))
