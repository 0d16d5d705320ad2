"""Run by tests/faults/test_restore.py: one restore in a process that kills itself, or is killed, on the way.

Arguments: host, port, user, database, repository root, backup id, the step to die in ("" for none), and
how many milliseconds into it. The password comes as TEST_PASSWORD.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import threading
import time
from pathlib import Path

from pgops.backups.load.side_database import Hooks, Step
from pgops.backups.repository import find
from pgops.backups.repository.directory import DirectoryRepository
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.restore import restore
from pgops.postgres import Target
from pgops.secrets.references import EnvSecret


def main() -> None:
    host, port, user, dbname, root, backup_id, doomed, after = sys.argv[1:]
    password = EnvSecret("TEST_PASSWORD") if os.environ.get("TEST_PASSWORD") else None
    target = Target("test", host, int(port), dbname, user, password)
    repository = DirectoryRepository(Path(root), "test")

    def die() -> None:
        time.sleep(float(after) / 1000)
        os.kill(os.getpid(), signal.SIGKILL)

    def step(now: Step) -> None:
        print(now.name, flush=True)
        if now.name == doomed:
            if float(after) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Thread(target=die, daemon=True).start()

    looked = plan_restore(target, find(repository, backup_id))
    restore(
        looked,
        repository,
        Hooks(step=step, safety=lambda: "none, only the step"),
        now=dt.datetime.now(dt.UTC),
        jobs=2,
        lock_wait=10,
    )
    print("DONE", flush=True)


if __name__ == "__main__":
    main()
