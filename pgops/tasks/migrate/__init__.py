"""Drive Alembic across environments: look, show, ask, back up, lock, apply, look again."""

from pgops.tasks.migrate.approve import approve
from pgops.tasks.migrate.checks import check, test
from pgops.tasks.migrate.lint import lint
from pgops.tasks.migrate.look import plan, status
from pgops.tasks.migrate.records import log, revisions
from pgops.tasks.migrate.rehearse import rehearse
from pgops.tasks.migrate.run import down, stamp, upgrade
from pgops.tasks.migrate.undo import undo
from pgops.tasks.migrate.write import revision

__all__ = [
    "approve",
    "check",
    "down",
    "lint",
    "log",
    "plan",
    "rehearse",
    "revision",
    "revisions",
    "stamp",
    "status",
    "test",
    "undo",
    "upgrade",
]
