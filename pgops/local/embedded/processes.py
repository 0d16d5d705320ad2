"""Which processes of this machine are a server's own; the one place that decides who may be signalled.

A server's process works in its data directory and holds the lock file (``alive``) open, which it has
inherited. Somebody's shell in that directory has only the first, a pgops that looks at the lock only
the second: neither is ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from pgops.local.embedded.installation import Cluster

# Prints those of the given pids that work in $1 and hold $2 open.
_LOOK = """
data=$1; alive=$2; shift 2
for pid do
    test "/proc/$pid/cwd" -ef "$data" || continue
    for file in "/proc/$pid/fd"/*; do
        if test "$file" -ef "$alive"; then echo "$pid"; break; fi
    done
done
"""


def members(cluster: Cluster) -> list[int]:
    """Processes of this machine that serve this data; none where there is no ``/proc`` to tell."""
    return _serving(cluster, [int(path.name) for path in Path("/proc").glob("[0-9]*")])


def leads(pid: int, cluster: Cluster) -> bool:
    """Whether ``pid`` is a process of this machine that serves this data."""
    if Path("/proc/self").exists():
        return bool(_serving(cluster, [pid]))
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def led_elsewhere(pids: Iterable[int], postmaster: int | None) -> bool:
    """Whether one of ``pids`` is, to another pid namespace, the postmaster: a container's server is seen here too.

    :param postmaster: the number in ``postmaster.pid``; ``None`` while there is none, when every process
        of another namespace may be a postmaster that starts.
    """
    numbers = [_numbers(pid) for pid in pids]
    return any(len(each) > 1 and postmaster in (None, each[-1]) for each in numbers)


def _numbers(pid: int) -> list[int]:
    """What a process is called in our pid namespace and in each one below, its own the last.

    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html (NSpid)
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "NSpid":
                return [int(each) for each in value.split()]
    return []


def _serving(cluster: Cluster, pids: Iterable[int]) -> list[int]:
    try:
        lock = cluster.alive.stat()
    except FileNotFoundError:
        return []
    found: list[int] = []
    hidden: list[int] = []
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/cwd").samefile(cluster.data) and _holds(pid, lock):
                found.append(pid)
        except PermissionError:
            hidden.append(pid)
        except OSError:
            continue  # it has ended
    if hidden and cluster.user is not None:
        # In a container, root may not look into another user's processes; that user itself may.
        asked = subprocess.run(
            ["/bin/sh", "-c", _LOOK, "sh", str(cluster.data), str(cluster.alive), *map(str, hidden)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            **cluster.user.as_child(),
        )
        found += map(int, asked.stdout.split())
    return found


def _holds(pid: int, lock: os.stat_result) -> bool:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            if os.path.samestat(entry.stat(), lock):
                return True
    return False
