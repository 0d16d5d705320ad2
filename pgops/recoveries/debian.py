"""Debian's clusters: configuration in /etc/postgresql, and started by pg_ctlcluster, which gives the server its environment.

pg_ctl alone would start one without what /etc/postgresql/<major>/<name>/environment says, and with no configuration at
all where the data directory is lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pgops.pgtools import Runner, run

# The data directory may have blanks in its name; of what stands around it only the log's may, and that is the last.
_FIND = """
command -v pg_ctlcluster >/dev/null || exit 0
pg_lsclusters -h 2>/dev/null | awk -v data="$1" '
    { at = index($0, " " data " ") }
    at { log_ = substr($0, at + length(data) + 2); sub(/^ +/, "", log_); printf "%s %s %s", $1, $2, log_; exit }'
test -d /run/systemd/system && printf '\\nsystemd'
exit 0
"""
# What pg_ctlcluster says to the server by itself.
_ITS_OWN = re.compile(
    r'"-c" "(?:config_file|hba_file|ident_file|external_pid_file|unix_socket_director(?:y|ies))=[^"]*" *'
)


@dataclass(frozen=True, slots=True)
class DebianCluster:
    """One of pg_lsclusters: ``15``, ``main``, its log (empty where the server writes elsewhere).

    ``systemd``: whether systemd rules that machine, and would start it in a unit.
    """

    major: str
    name: str
    log: str
    systemd: bool

    @property
    def label(self) -> str:
        """As it is written down: ``15 main``."""
        return f"{self.major} {self.name}"


def find_debian_cluster(runner: Runner, data: str, options: str | None) -> DebianCluster | None:
    """Debian's cluster in a data directory, which may be lost.

    :param options: what its server was started with last; ``None`` where nobody knows.
    :returns: ``None`` where there is none, or where its server was started with another configuration.
    """
    found, _, systemd = run(runner, ["sh", "-c", _FIND, "sh", data]).stdout.partition("\n")
    said = found.split(" ", 2)
    if len(said) != 3:
        return None
    major, name, log = said
    if options is not None and f"config_file=/etc/postgresql/{major}/{name}/postgresql.conf" not in options:
        return None
    return DebianCluster(major, name, log if log.startswith("/") else "", systemd == "systemd")


def start_command(label: str, options: str, wait: int) -> Sequence[str]:
    """What starts the server of a cluster as it was started.

    :param label: :attr:`DebianCluster.label`.
    :param options: what the server was started with last.
    :param wait: seconds.
    """
    more = _ITS_OWN.sub("", options).strip()
    asked = ["-o", more] if more else []
    return ["pg_ctlcluster", *asked, *label.split(" "), "start", "--", "-w", "-t", str(wait)]
