"""Whether a recovered cluster can take the place of the environment's own: everything that can be told before."""

from __future__ import annotations

import datetime as dt
import posixpath
from dataclasses import dataclass, field, replace

from pgops.backups.pgbackrest.cluster import RecoveredCluster, Replay
from pgops.backups.pgbackrest.stanza import Stanza
from pgops.backups.pgbackrest.wal import lsn_of
from pgops.environments import Environment
from pgops.errors import BlockedError, ConfigurationError, LockedError, PgopsError, UsageError
from pgops.local.reach import place_name
from pgops.postgres import DatabaseError, connected, fetch_one
from pgops.recoveries.debian import DebianCluster, find_debian_cluster
from pgops.recoveries.hand_over_record import RECORD, Found, Record, look, read_record
from pgops.recoveries.kept import Kept
from pgops.recoveries.place import directory_place, superusers
from pgops.targets import stanza_for, target_for
from pgops.units import timestamp

_UNTOUCHED = "nothing was touched, and nothing was stopped"
_PAGE = "docs/physical-backups.md, 'By hand', has the lines"

_RUNNING = """
SELECT (SELECT setting FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'data_directory'),
       (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()),
       pg_catalog.pg_is_in_recovery(),
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_lsn()::pg_catalog.text END,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
         WHERE backend_type OPERATOR(pg_catalog.=) 'client backend' AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots),
       (SELECT pg_catalog.sum(pg_catalog.pg_database_size(oid))::pg_catalog.int8 FROM pg_catalog.pg_database
         WHERE pg_catalog.has_database_privilege(oid, 'CONNECT')),
       pg_catalog.current_setting('archive_mode'),
       (SELECT pg_catalog.string_agg(datname, ', ' ORDER BY datname) FROM pg_catalog.pg_database
         WHERE NOT datistemplate AND datname OPERATOR(pg_catalog.<>) 'postgres'),
       pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::pg_catalog.int8
"""
_SAME_START = 30
"""Seconds between a server's pid file and its own start time; a slow machine's included."""


@dataclass(frozen=True, slots=True)
class Running:
    """The server that answers for the environment now."""

    data: str | None
    system_identifier: str
    in_recovery: bool
    lsn: str | None
    sessions: int
    replicas: int
    slots: int
    bytes: int | None
    archive_mode: str
    databases: str | None
    started: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """One that can be done, or that was begun.

    ``record`` is what is, or will be, written down. ``old``, ``kept`` and ``new`` are the three directories as they are
    now. ``running`` is the environment's server, where it answers; ``replay`` where the recovered one stands, if that
    runs. ``missing``: bytes of WAL that the old one wrote after the two diverged.
    """

    environment: Environment
    stanza: Stanza
    cluster: RecoveredCluster
    found: Kept
    record: Record
    old: Found
    kept: Found
    new: Found
    begun: bool
    running: Running | None = None
    replay: Replay | None = None
    missing: int | None = None
    warnings: tuple[str, ...] = field(default=())

    def looked_at_again(self) -> HandOver:
        """The same with the directories as they are now."""
        record = self.record
        old, kept, new = look(
            self.cluster.place.runner, record.programs, [record.data, record.kept, record.recovered]
        )
        return replace(self, old=old, kept=kept, new=new)


def find_hand_over(environment: Environment, found: Kept, directory: str | None) -> HandOver:
    """What is on the disk of a hand-over, begun or not.

    :param directory: the data directory that changes hands; ``None``: as the server says, or as was written down.
    :raises UsageError: it can't be done there.
    :raises ConfigurationError: nobody knows which directory it is.
    """
    settings = environment.backups.pgbackrest
    assert settings is not None
    if settings.container is not None:
        raise UsageError(
            f"{found.place}: the data of container {settings.container} lie in a volume of its own, and a volume can't be "
            "renamed",
            untouched=_UNTOUCHED,
            hint=_PAGE,
        )
    place = directory_place(environment, found.id, directory)
    cluster = RecoveredCluster(place, found.server, superusers(environment))
    programs = cluster.find_programs()
    written = read_record(cluster.read(RECORD))
    if written is not None and written.state != "undone":
        old, kept, new = look(place.runner, programs, [written.data, written.kept, written.recovered])
        return HandOver(
            environment,
            stanza_for(environment),
            cluster,
            found,
            written,
            old,
            kept,
            new,
            begun=True,
            running=_running(environment),
        )
    if found.state == "unfinished":
        raise BlockedError(
            f"{found.place} never got to its goal: it is no cluster",
            untouched=_UNTOUCHED,
            hint=f"invoke restore.discard --env={environment.name} --recovery={found.id}, and recover again",
        )
    running = _running(environment)
    data = posixpath.normpath(directory or (running.data if running and running.data else ""))
    if not data.startswith("/"):
        raise ConfigurationError(
            f"which directory the cluster of {environment.name} is in is not known: its server does not answer, or the role "
            "may not read data_directory",
            untouched=_UNTOUCHED,
            hint="--directory=/var/lib/postgresql/17/main",
        )
    paths = [data, f"{data}.before-{found.id}", cluster.data]
    old, kept, new = look(place.runner, programs, paths)
    # A server that ran left a file that says with what; where that is lost, so is the cluster.
    debian = find_debian_cluster(place.runner, data, old.options if old.facts.get("options") else None)
    record = Record(
        id=found.id,
        environment=environment.name,
        data=data,
        kept=kept.path,
        recovered=new.path,
        programs=programs,
        options=old.options,
        log=_log(old, debian),
        system_identifier=new.system_identifier,
        old_timeline=old.timeline,
        began=timestamp(dt.datetime.now(dt.UTC)),
        was_there=old.there,
        was_running=bool(old.pid),
        timeline=written.timeline if written else 0,
        debian=debian.label if debian else "",
    )
    return HandOver(
        environment,
        stanza_for(environment),
        cluster,
        found,
        record,
        old,
        kept,
        new,
        begun=False,
        running=running,
        replay=cluster.replay() if new.pid else None,
        warnings=_outside_of_systemd(old, debian),
    )


def running_server(environment: Environment) -> Running:
    """Ask the environment's server.

    :raises PgopsError: it can't be reached.
    :raises DatabaseError: the role may not ask.
    """
    with connected(target_for(environment), application_name="pgops look") as connection:
        row = fetch_one(connection, _RUNNING)
    assert row is not None
    return Running(*row)


def _running(environment: Environment) -> Running | None:
    try:
        return running_server(environment)
    except (PgopsError, DatabaseError):
        return None  # a server that is gone is what this is for


def _log(old: Found, debian: DebianCluster | None) -> str:
    """Where the old server's messages go that no logging collector takes."""
    if debian is not None and debian.log:
        return debian.log
    # A log that was removed while the server runs is made anew.
    told = old.facts.get("log", "").removesuffix(" (deleted)")
    return told if told.startswith("/") and not told.startswith("/dev/") else f"{old.path}.log"


def _outside_of_systemd(old: Found, debian: DebianCluster | None) -> tuple[str, ...]:
    if debian is None or not debian.systemd or old.pid:
        return ()
    unit = f"postgresql@{debian.major}-{debian.name}"
    return (
        f"the server is started outside of {unit}; afterwards, as root: pg_ctlcluster {debian.label} stop; systemctl start "
        f"{unit}",
    )


def check_hand_over(plan: HandOver) -> HandOver:
    """Refuse what can't be done; measure what will be missing.

    :raises BlockedError: it can't be done there, or would lose or mix something.
    :raises LockedError: a backup is running.
    """
    _refuse_directories(plan)
    _refuse_server(plan)
    _refuse_timelines(plan)
    info = plan.stanza.info()
    if info.backup_running:
        raise LockedError(
            f"a backup of {plan.stanza.url} is running, and its server would be stopped",
            untouched=_UNTOUCHED,
            hint="wait for it",
        )
    return replace(plan, missing=_missing(plan), warnings=(*plan.warnings, *_warnings(plan)))


def _refuse(what: str, hint: str = _PAGE) -> BlockedError:
    return BlockedError(what, untouched=_UNTOUCHED, hint=hint)


def _refuse_directories(plan: HandOver) -> None:
    old, new, where = plan.old, plan.new, place_name(plan.stanza.settings)
    for each in (old, new):
        if each.there and each.facts.get("owner") != each.facts.get("we"):
            raise _refuse(
                f"{each.path} belongs to {each.facts.get('owner')}, and pgops runs programs as {each.facts.get('we')} there",
                "backups.reach.user in environments.yaml: the server's own user",
            )
    if not new.system_identifier:
        raise _refuse(f"{new.path} on {where} holds no cluster", "invoke restore.status")
    if plan.kept.there:
        raise _refuse(f"{plan.kept.path} is there already on {where}", "look what it is, and move it away")
    if old.there and not old.system_identifier:
        raise _refuse(f"{old.path} on {where} holds no cluster that PostgreSQL {plan.found.server} knows")
    if old.there and old.facts.get("device") != old.facts.get("above"):
        raise _refuse(f"{old.path} is a mount point, which can't be renamed")
    if not old.facts.get("renamable") or old.facts.get("above") != new.facts.get("device"):
        raise _refuse(
            f"{new.path} can't be renamed to {old.path}: it is on another disk, or {posixpath.dirname(old.path)} can't be "
            "written to"
        )
    if old.there and old.system_identifier != new.system_identifier:
        raise _refuse(
            f"{old.path} holds cluster {old.system_identifier}, and the recovered one is {new.system_identifier}: not the same "
            "cluster at two moments",
            "the right --directory; or by hand: docs/physical-backups.md",
        )


def _refuse_server(plan: HandOver) -> None:
    old, running = plan.old, plan.running
    if running is not None and not old.pid:
        raise _refuse(
            f"a server answers for {plan.environment.name}, and none runs in {old.path} on {place_name(plan.stanza.settings)}: it "
            "is elsewhere, or another program's child",
            "backups.reach and --directory have to name the server that answers",
        )
    if running is not None and (
        running.system_identifier != old.system_identifier
        or posixpath.normpath(running.data or old.path) != old.path
        or abs(running.started - int(old.facts.get("started") or running.started)) > _SAME_START
    ):
        raise _refuse(
            f"the server that answers for {plan.environment.name} (cluster {running.system_identifier} in {running.data}) is not "
            f"the one that runs in {old.path} (cluster {old.system_identifier})",
            "the right --directory",
        )
    if old.signal or (running is not None and running.in_recovery):
        raise _refuse(f"{old.path} is a standby: hand over where its primary is")
    unit = old.facts.get("unit")
    if unit:
        raise _refuse(f"the server in {old.path} is run by systemd ({unit}), which would take it for ended")
    if old.pid == 1:
        raise _refuse(f"the server in {old.path} is the first process there: all else would end with it")
    # 1, or what systemd gives a session in its place: nobody waits for it.
    if old.pid and old.facts.get("parent") != "1" and old.facts.get("parent name") != "systemd":
        raise _refuse(
            f"the server in {old.path} is the child of {old.facts.get('parent name')} (process {old.facts.get('parent')}), which "
            "may start it again"
        )


def _refuse_timelines(plan: HandOver) -> None:
    """Refuse a timeline that another cluster has in the archive already: its WAL would be written twice."""
    line = plan.replay.timeline if plan.replay and not plan.replay.in_recovery else plan.new.timeline
    promoted = not plan.new.signal and line > 1
    if not promoted or line == plan.record.timeline:
        return
    backups = plan.stanza.info().backups
    mine = [each for each in backups if each.system_identifier == plan.new.system_identifier]
    if not mine:
        return
    wal = plan.stanza.archive(mine[-1])
    if line in {*wal.histories, *(number for number, _segment in wal.segments)}:
        raise _refuse(
            f"timeline {line} is in the archive already, of another recovery that was promoted: both would write the same "
            "files",
            "recover again: a new one gets a timeline of its own",
        )


def _missing(plan: HandOver) -> int | None:
    """Bytes of WAL that the old cluster wrote after the recovered one left it."""
    old = plan.running.lsn if plan.running and plan.running.lsn else plan.old.lsn
    diverged = plan.replay.lsn if plan.replay and plan.replay.in_recovery else divergence(plan)
    if not old or not diverged:
        return None
    return max(0, lsn_of(old) - lsn_of(diverged))


def divergence(plan: HandOver) -> str | None:
    """Where the recovered cluster's timeline left the one before it; ``None`` where it is not promoted yet."""
    line = plan.replay.timeline if plan.replay else plan.new.timeline
    text = plan.cluster.read(f"data/pg_wal/{line:08X}.history")
    last = [each.split() for each in text.splitlines() if each.strip()]
    return last[-1][1] if last and len(last[-1]) > 1 else None


def _warnings(plan: HandOver) -> list[str]:
    found = []
    running = plan.running
    if plan.old.there and not plan.old.pid and not plan.old.stopped_properly:
        found.append(
            "the old server was not stopped, it ended: what it had not archived is in its directory alone"
        )
    if plan.old.pid and running is None:
        found.append(
            f"a server runs in {plan.old.path}, and {plan.environment.name} can't be reached: who is connected is not known"
        )
    if running is not None and running.replicas:
        found.append(
            f"{running.replicas} replicas follow the old cluster; they have to be made anew from the new one"
        )
    if running is not None and running.slots:
        found.append(f"{running.slots} replication slots of the old cluster are not in the new one")
    if running is not None and running.archive_mode == "off":
        found.append("archive_mode is off in the old cluster's configuration, and so it will be")
    return found
