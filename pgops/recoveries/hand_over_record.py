"""What is written down of a hand-over, in the recovery's directory, and what is found on the disk of it.

The record says what is meant: which directories, which server. How far it is, is never written down: the disk says it,
by which directory is there and which cluster is in it. So it can't be wrong after a kill.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pgops.errors import PgopsError
from pgops.pgtools import Runner, run

RECORD = "hand-over.json"

_LOOK = """
bin=$1; shift
for each in "$@"; do
    printf '=%s\\n' "$each"
    above=$(dirname "$(readlink -f -- "$each")")
    printf 'above: %s\\n' "$(stat -c %d -- "$above")"
    test -w "$above" && echo 'renamable: yes'
    test -e "$each" || continue
    printf 'there: yes\\nwe: %s\\nowner: %s\\n' "$(id -un)" "$(stat -c %U -- "$each")"
    printf 'device: %s\\n' "$(stat -c %d -- "$each")"
    test -e "$each/recovery.signal" && echo 'signal: recovery'
    test -e "$each/standby.signal" && echo 'signal: standby'
    "$bin/pg_controldata" "$each" 2>/dev/null
    pid=$(head -n 1 -- "$each/postmaster.pid" 2>/dev/null)
    # A pid that is left over may be another program's by now: a server works in its data directory.
    if test -n "$pid" && test "$(readlink "/proc/$pid/cwd")" = "$(readlink -f -- "$each")"; then
        parent=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status")
        printf 'pid: %s\\nparent: %s\\nparent name: %s\\n' "$pid" "$parent" "$(cat "/proc/$parent/comm")"
        printf 'started: %s\\n' "$(sed -n 3p "$each/postmaster.pid")"
        printf 'log: %s\\n' "$(readlink "/proc/$pid/fd/2")"
        printf 'unit: %s\\n' "$(grep -o '[^/]*[.]service$' "/proc/$pid/cgroup" | grep -v '^user@' | head -n 1)"
    fi
    printf 'options: %s\\n' "$(head -n 1 -- "$each/postmaster.opts" 2>/dev/null)"
done
exit 0
"""

State = Literal["forward", "done", "back", "undone"]


@dataclass(frozen=True, slots=True)
class Record:
    """One hand-over.

    ``data`` is the data directory that changes hands, ``kept`` where the old cluster lies meanwhile, ``recovered`` where
    the new one lay before. ``options`` and ``log``: how the old server was started. ``timeline``: the new cluster's,
    0 until it stands still. ``debian``: as Debian's pg_ctlcluster knows the cluster, ``15 main``, where that started it.
    ``state``: on the way to the new one, there, on the way back, back.
    """

    id: str
    environment: str
    data: str
    kept: str
    recovered: str
    programs: str
    options: str
    log: str
    system_identifier: str
    old_timeline: int
    began: str
    was_there: bool
    was_running: bool
    timeline: int = 0
    lsn: str = ""
    debian: str = ""
    state: State = "forward"

    def text(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def tablespaces(self) -> str:
        """Where the new cluster's tablespaces lie from now on."""
        return f"{self.data}.tablespaces-{self.id}"


def read_record(text: str) -> Record | None:
    """The reverse of :meth:`Record.text`; ``None`` for what is none."""
    try:
        return Record(**json.loads(text))
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Found:
    """One directory as it is on the disk; ``pid`` is that of the server that runs in it."""

    path: str
    facts: Mapping[str, str]

    @property
    def there(self) -> bool:
        """Whether there is anything of that name."""
        return "there" in self.facts

    @property
    def pid(self) -> int:
        """Of its server; 0 where none runs."""
        return int(self.facts.get("pid") or 0)

    @property
    def system_identifier(self) -> str:
        """Of the cluster in it; empty where there is none."""
        return self.facts.get("Database system identifier", "")

    @property
    def timeline(self) -> int:
        """Of its latest checkpoint."""
        return int(self.facts.get("Latest checkpoint's TimeLineID") or 0)

    @property
    def lsn(self) -> str:
        """Of its latest checkpoint."""
        return self.facts.get("Latest checkpoint location", "")

    @property
    def segment(self) -> str:
        """The WAL segment of its latest checkpoint."""
        return self.facts.get("Latest checkpoint's REDO WAL file", "")

    @property
    def stopped_properly(self) -> bool:
        """Whether its server was stopped, and did not just end."""
        return not self.pid and self.facts.get("Database cluster state") == "shut down"

    @property
    def signal(self) -> str:
        """``recovery`` or ``standby`` where it is one; else empty."""
        return self.facts.get("signal", "")

    @property
    def options(self) -> str:
        """What its server was started with last, as pg_ctl hands it on, quoted for a shell; not in which directory."""
        return re.sub(r'"-D" "[^"]*" *', "", self.facts.get("options", "").partition(" ")[2])


def look(runner: Runner, programs: str, paths: Sequence[str]) -> list[Found]:
    """What is in directories, in their order.

    :param programs: the directory of the server's programs.
    :raises PgopsError: nobody can be asked.
    """
    said = run(runner, ["sh", "-c", _LOOK, "sh", programs, *paths])
    if said.exit_code != 0:
        raise PgopsError(f"{paths[0]} can't be looked at: {' '.join(said.stderr.split())}")
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in said.stdout.splitlines():
        if line.startswith("="):
            current = found.setdefault(line[1:], {})
        elif (fact := re.match(r"([^:]+):\s*(.*)$", line)) is not None:
            current.setdefault(fact[1], fact[2].strip())
    return [Found(each, found.get(each, {})) for each in paths]
