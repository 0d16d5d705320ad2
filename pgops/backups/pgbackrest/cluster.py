"""A recovered cluster where it is made: its directory, its server, and SQL asked of it over its own socket.

Everything lies below one directory that only the server's user may enter; the socket is in it, so nobody else gets
in without a password. Nothing outside it is written to, and only a directory with our marker is ever removed.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgops.backups.pgbackrest.errors import PgBackRestError
from pgops.errors import BlockedError, ConfigurationError, PgopsError
from pgops.pgtools import Finished, Runner, run

PREFIX = "pgops-recovery-"
MARKER = "pgops.json"
_LONGEST_SOCKET = 107
_POLL = 0.2
_STOP = 60.0
_FIND_PROGRAMS = """
for each in /usr/lib/postgresql/"$1"/bin /usr/pgsql-"$1"/bin "$(pg_config --bindir 2>/dev/null)" \\
    "$(dirname "$(command -v postgres 2>/dev/null)")"; do
    if "$each/postgres" -V 2>/dev/null | grep -q " $1[.a-z]"; then printf %s "$each"; exit 0; fi
done
exit 1
"""
_WRITE = 'umask 077; printf %s "$2" > "$1.new" && mv -f -- "$1.new" "$1"'
_MAKE = f"""
mkdir -m 0700 -- "$1" && sh -c '{_WRITE}' sh "$1/{MARKER}" "$2" && exit 0
rm -f -- "$1/{MARKER}.new"
rmdir -- "$1" 2>/dev/null
exit 1
"""
# Only what has our marker, or nothing in it at all; the server in it, if one still runs, goes first, and the marker
# last: what is killed in the middle of this is known for ours.
_REMOVE = f"""
test -e "$1" || exit 0
if [ ! -f "$1/{MARKER}" ]; then rm -f -- "$1/{MARKER}.new"; rmdir -- "$1"; exit; fi
if [ -f "$1/data/postmaster.pid" ]; then
    "$2/pg_ctl" -D "$1/data" -m immediate -w -t {_STOP:.0f} stop >/dev/null 2>&1
fi
find "$1" -mindepth 1 -maxdepth 1 ! -name {MARKER} -exec rm -rf -- '{{}}' + && rm -f -- "$1/{MARKER}" && rmdir -- "$1"
"""
# What a standby must not have less of than its primary had; pg_control has the primary's.
_AS_THE_PRIMARY = {
    "max_connections": "max_connections",
    "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders",
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
_HBA = "local all all trust\nhost all all {from_} md5\n"
_RUNNING = """
SELECT json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'paused', CASE WHEN pg_is_in_recovery() THEN {paused} END,
    'lsn', (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text,
    'time', pg_last_xact_replay_timestamp(),
    'timeline', CASE WHEN pg_is_in_recovery()
        THEN (SELECT greatest(r.min_recovery_end_timeline, c.timeline_id)
                FROM pg_control_recovery() AS r, pg_control_checkpoint() AS c)
        ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END)
"""


@dataclass(frozen=True, slots=True)
class RecoveryPlace:
    """Where a cluster is recovered to.

    ``runner`` starts programs there, ``directory`` is what is made for it, ``name`` is for people. ``typed`` stands
    before a command that a person types to run it there. ``container`` is the one that it is, if any. ``listen`` is an address the server listens on besides its
    socket, or empty; ``from_`` whom it lets in there, with a password.
    """

    runner: Runner
    directory: str
    name: str
    typed: str
    listen: str = ""
    from_: str = "127.0.0.1/32"
    port: int = 5432
    container: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Where the recovery is: ``at`` is the time of the last transaction, as the server writes it."""

    in_recovery: bool
    paused: bool
    lsn: str
    at: str | None
    timeline: int


class RecoveredCluster:
    """The cluster in a :class:`RecoveryPlace`, from the making of its directory on."""

    def __init__(self, place: RecoveryPlace, major: str, superusers: Sequence[str]) -> None:
        """:param superusers: names to try, the likeliest first."""
        self.place = place
        self.data = f"{place.directory}/data"
        self._major = major
        self._superusers = list(dict.fromkeys(superusers))
        self._programs = ""

    # its directory

    def find_programs(self) -> str:
        """Find the server's programs there.

        :returns: their directory.
        :raises ConfigurationError: no server of the major is installed there.
        """
        found = self._run(["sh", "-c", _FIND_PROGRAMS, "sh", self._major])
        if found.exit_code != 0:
            raise ConfigurationError(
                f"there is no PostgreSQL {self._major} server on {self.place.name}",
                untouched="nothing was touched",
                hint=f"install postgresql-{self._major} there",
            )
        self._programs = found.stdout.strip()
        return self._programs

    def prepare(self, about: Mapping[str, object]) -> None:
        """Make the directory, empty, with the marker in it.

        :raises BlockedError: it is there already, or its socket's path would be too long.
        :raises ConfigurationError: no server of the major is installed there.
        """
        if len(f"{self.place.directory}/.s.PGSQL.{self.place.port}") > _LONGEST_SOCKET:
            raise BlockedError(
                f"{self.place.directory} is too long a path for a server's socket",
                untouched="nothing was touched",
                hint="backups.reach.recovery in environments.yaml: a shorter one",
            )
        self.find_programs()
        made = self._run(["sh", "-c", _MAKE, "sh", self.place.directory, json.dumps(dict(about))])
        if made.exit_code != 0:
            raise BlockedError(
                f"{self.place.directory} can't be made on {self.place.name}: {_said(made)}",
                untouched="nothing was touched",
                hint="backups.reach.recovery in environments.yaml names a directory that the server's user may write to",
            )

    def mark(self, about: Mapping[str, object]) -> None:
        """Write the marker anew."""
        self.write(MARKER, json.dumps(dict(about)))

    def room(self) -> int:
        """Bytes that are free where the directory is."""
        said = self._run(["df", "-Pk", self.place.directory])
        if said.exit_code != 0:
            raise PgopsError(f"df on {self.place.name}: {_said(said)}")
        return int(said.stdout.splitlines()[-1].split()[3]) * 1024

    def write(self, name: str, text: str) -> None:
        """Write a file of the directory."""
        done = self._run(["sh", "-c", _WRITE, "sh", f"{self.place.directory}/{name}", text])
        if done.exit_code != 0:
            raise PgBackRestError(f"{name} can't be written on {self.place.name}: {_said(done)}")

    def read(self, name: str) -> str:
        """The text of a file of the directory; empty where there is none."""
        return self._run(["cat", "--", f"{self.place.directory}/{name}"]).stdout

    def remove(self) -> None:
        """End the server and remove the directory.

        :raises PgopsError: it is not ours, or can't be removed.
        """
        done = self._run(["sh", "-c", _REMOVE, "sh", self.place.directory, self._programs])
        if done.exit_code != 0:
            raise PgopsError(
                f"{self.place.name} can't be removed: {_said(done)}", untouched="it was left as it is"
            )

    # its server

    def start(self) -> None:
        """Start the server; it begins to replay. Returns at once.

        The settings of the cluster itself hold where it has them in its directory; what would make it the other
        one (archiving, addresses, files elsewhere) does not.
        """
        self.write("pg_hba.conf", _HBA.format(from_=self.place.from_))
        self.write("pg_ident.conf", "")
        self.write("postgresql.conf", f"include_if_exists = '{self.data}/postgresql.conf'\n")
        options = {
            "config_file": f"{self.place.directory}/postgresql.conf",
            "hba_file": f"{self.place.directory}/pg_hba.conf",
            "ident_file": f"{self.place.directory}/pg_ident.conf",
            "external_pid_file": "",
            "unix_socket_directories": self.place.directory,
            "unix_socket_permissions": "0700",
            "listen_addresses": self.place.listen,
            "port": str(self.place.port),
            "cluster_name": "pgops-recovery",
            "archive_mode": "off",
            "ssl": "off",
            "hot_standby": "on",
            "logging_collector": "off",
            "log_destination": "stderr",
            "log_min_messages": "warning",
            "log_line_prefix": "",
            "synchronous_standby_names": "",
            "primary_conninfo": "",
            "huge_pages": "off",
            "shared_buffers": "128MB",
            "recovery_end_command": "",
            **self._as_the_primary(),
        }
        shown = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
        log = f"{self.place.directory}/log"
        argv = [f"{self._programs}/pg_ctl", "-D", self.data, "-W", "-l", log, "-o", shown, "start"]
        done = self._run(argv)
        if done.exit_code != 0:
            raise PgBackRestError(f"the recovered server does not start on {self.place.name}: {_said(done)}")

    def _as_the_primary(self) -> dict[str, str]:
        said = self._run([f"{self._programs}/pg_controldata", self.data])
        found = dict(re.findall(r"^(\w+) setting: +(\S+)$", said.stdout, re.MULTILINE))
        return {setting: found[name] for name, setting in _AS_THE_PRIMARY.items() if name in found}

    def wait(self, goal: str, on_poll: Callable[[Replay | None], None]) -> Replay:
        """Wait until it stands at its goal, or has reached the end of the WAL and works.

        :param goal: for messages.
        :param on_poll: called meanwhile with where it is; ``None`` while it does not answer yet.
        :raises PgBackRestError: the server ended; with its own reason.
        """
        while True:
            at = self.replay()
            on_poll(at)
            if at is not None and (at.paused or not at.in_recovery):
                return at
            if at is None and not self.runs():
                raise self._ended(goal)
            time.sleep(_POLL)

    def runs(self) -> bool:
        """Whether its server runs."""
        return self._run([f"{self._programs}/pg_ctl", "-D", self.data, "status"]).exit_code == 0

    def log(self, lines: int = 400) -> str:
        """The end of the server's log."""
        return self._run(["tail", "-n", str(lines), f"{self.place.directory}/log"]).stdout

    def _ended(self, goal: str) -> PgBackRestError:
        log = self.log()
        fatal = re.findall(r"^(?:FATAL|PANIC): +(.*)$", log, re.MULTILINE)
        reason = next((each for each in fatal[::-1] if "the database system is" not in each), "") or " ".join(
            log.split()[-30:]
        )
        hint = ""
        if "recovery ended before configured recovery target was reached" in reason:
            done = self._run([f"{self._programs}/pg_controldata", self.data]).stdout
            last = re.search(r"^Minimum recovery ending location: +(\S+)$", done, re.MULTILINE)
            reason = "the WAL in the archive ends before it: nothing that was committed afterwards is there"
            if last is not None:
                hint = (
                    f"if the database was idle until then, all of it: --to-lsn={last[1]}; else what the server still "
                    "writes goes into the archive by SELECT pg_switch_wal()"
                )
        return PgBackRestError(
            f"the recovery to {goal} did not reach it: {reason}",
            untouched="the running cluster was not touched; what was recovered is removed",
            hint=hint or "another backup, or another goal",
        )

    def replay(self) -> Replay | None:
        """Where the recovery is; ``None`` while the server does not answer."""
        paused = (
            "pg_get_wal_replay_pause_state() = 'paused'"
            if int(self._major) >= 14
            else "pg_is_wal_replay_paused()"
        )
        try:
            found = self.query("postgres", _RUNNING.format(paused=paused))
        except PgopsError:
            return None
        return Replay(
            bool(found["in_recovery"]),
            bool(found["paused"]),
            str(found["lsn"]),
            found["time"],
            int(found["timeline"]),
        )

    def promote(self) -> Replay:
        """Let it become a cluster that is written to, on a timeline of its own.

        :raises PgBackRestError: it does not.
        """
        argv = [f"{self._programs}/pg_ctl", "-D", self.data, "-w", "-t", "3600", "promote"]
        done = self._run(argv)
        at = self.replay()
        if done.exit_code != 0 or at is None or at.in_recovery:
            raise PgBackRestError(f"the recovered cluster is not promoted: {_said(done)}")
        return at

    # SQL

    def query(self, dbname: str, sql: str) -> Any:
        """Ask as a superuser; ``sql`` gives one JSON value.

        :raises PgopsError: the server does not answer or refuses.
        """
        said = self._psql(dbname, sql)
        return json.loads(said.stdout)

    def execute(self, dbname: str, sql: str) -> None:
        """Run statements as a superuser."""
        self._psql(dbname, sql)

    def _psql(self, dbname: str, sql: str) -> Finished:
        for name in list(self._superusers):
            said = self._run(
                [
                    f"{self._programs}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.place.directory,
                    "-p", str(self.place.port), "-U", name, "-d", dbname, "-c", sql,
                ]
            )  # fmt: skip
            if said.exit_code == 0:
                # The one that is let in is the one to ask for from now on.
                self._superusers = [name]
                return said
            if "does not exist" not in said.stderr:
                break
        raise PgopsError(f"the recovered cluster on {self.place.name}: {_said(said)}")

    def program(self, name: str, *arguments: str) -> Finished:
        """Run a client program on the recovered cluster, as a superuser, to its end."""
        where = ["-h", self.place.directory, "-p", str(self.place.port), "-U", self._superusers[0]]
        return self._run([f"{self._programs}/{name}", *where, *arguments])

    def stop(self) -> Finished:
        """Stop the server properly; exit code 0 when it has ended."""
        return self._run(
            [f"{self._programs}/pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", "600", "stop"]
        )

    def checksum_problems(self) -> list[str]:
        """Stop the server, and read every page's checksum where the cluster has them."""
        stopped = self.stop()
        if stopped.exit_code != 0:
            return [f"the recovered server does not stop: {_said(stopped)}"]
        control = self._run([f"{self._programs}/pg_controldata", self.data]).stdout
        if re.search(r"^Data page checksum version: +0$", control, re.MULTILINE):
            return []
        said = self._run([f"{self._programs}/pg_checksums", "--check", "-D", self.data])
        if said.exit_code == 0:
            return []
        lines = [" ".join(each.split()) for each in said.stderr.splitlines() if each.strip()]
        return lines or [f"pg_checksums ended with {said.exit_code}"]

    @property
    def psql_typed(self) -> str:
        """What a person types for a shell on it."""
        user = self._superusers[0]
        return f"{self.place.typed} psql -h {self.place.directory} -p {self.place.port} -U {user}".strip()

    @property
    def promote_typed(self) -> str:
        """What a person types to promote it."""
        return f"{self.place.typed} {self._programs}/pg_ctl -D {self.data} promote".strip()

    def _run(self, argv: Sequence[str]) -> Finished:
        return run(self.place.runner, argv)


def _said(finished: Finished) -> str:
    text = " ".join((finished.stderr or finished.stdout).split())
    return text or f"exit code {finished.exit_code}"
