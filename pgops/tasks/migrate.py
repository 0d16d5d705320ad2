"""Drive Alembic across environments: look, show, ask, back up, lock, apply, look again."""

from pgops.tasks._migrate_checks import check, test
from pgops.tasks._migrate_look import history, log, plan, status
from pgops.tasks._migrate_run import down, stamp, upgrade
from pgops.tasks._migrate_write import revision

__all__ = ["check", "down", "history", "log", "plan", "revision", "stamp", "status", "test", "upgrade"]
