"""A recovered cluster takes the place of the environment's own; and back. Nothing is removed on the way.

Everything up to the renaming leaves the old cluster as it is. Between the two renamings each cluster is whole, under one
of three names. Where something fails after the old server was stopped, it is put back and started. What a kill left is
seen on the disk: the same command goes on from there, or back.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pgops.backups.pgbackrest.errors import PgBackRestError
from pgops.backups.pgbackrest.recovery import Observer
from pgops.errors import LockedError, PgopsError
from pgops.pgtools import Finished, Runner, run
from pgops.postgres import DatabaseError
from pgops.recoveries.debian import start_command
from pgops.recoveries.hand_over_plan import HandOver, divergence, running_server
from pgops.recoveries.hand_over_record import RECORD, Record, State

_WAIT = 600
_LOCK = 10.0
_POLL = 0.05
_HELD = 'exec 9>>"$1"; flock -n 9 || exit 75; printf %s "$2" > "$1"; exec sleep infinity'
_RENAME = 'test ! -e "$2" && test ! -L "$2" && mv -T -- "$1" "$2"'
# What is at the top and is none of the server's own; and files of configuration in directories that are none of its own.
# postgresql.auto.conf among them: with the old one's, what the recovery set is gone, archiving being off included.
_CONFIGURE = """
cd "$1" || exit 1
files=$(find . -maxdepth 3 -mindepth 1 \\( -type d \\( -name 'pg_*' -o -path ./base -o -path ./global \\) -prune \\) -o \\
    \\( -type f -o -type l \\) \\( -name '*.conf' -o \\( -path './*' ! -path './*/*' ! -name PG_VERSION ! -name 'postmaster.*' \\
        ! -name 'backup_*' ! -name 'tablespace_map*' ! -name '*.signal' ! -name 'current_logfiles*' ! -name '*.log' \\
        ! -name 'postgresql.auto.conf.tmp' -size -2048 \\) \\) -print) || exit 1
printf '%s\\n' "$files" | while IFS= read -r each; do
    mkdir -p -- "$2/$(dirname "$each")" && cp -P -p -- "$each" "$2/$each.pgops" && mv -f -T -- "$2/$each.pgops" "$2/$each" || exit 1
done
"""
_ARCHIVE_ON = """
test -f "$1/postgresql.auto.conf" || exit 0
sed '/^archive_mode = /d' "$1/postgresql.auto.conf" > "$1/postgresql.auto.conf.pgops" &&
    mv -f -- "$1/postgresql.auto.conf.pgops" "$1/postgresql.auto.conf"
"""
_ARCHIVE_OFF = "printf '%s\\n' 'archive_mode = off' >> \"$1/postgresql.auto.conf\""
_TABLESPACES = """
if test -d "$1/tablespaces"; then mv -T -- "$1/tablespaces" "$2" || exit 1; fi
for link in "$1"/data/pg_tblspc/*; do
    test -L "$link" || continue
    ln -sfnT -- "$2/$(basename "$(readlink "$link")")" "$link" || exit 1
done
"""
# With archiving off the server noted down nothing for the archiver. Without the history file the next recovery would
# take the same number for its timeline, and two clusters would write the same names into the archive.
_TO_BE_ARCHIVED = """
cd "$1/pg_wal" && mkdir -p archive_status || exit 1
if test -f "$2.history" && test ! -e "archive_status/$2.history.done"; then : > "archive_status/$2.history.ready" || exit 1; fi
ls | awk -v line="$2" -v now="$3" 'length($0) == 24 && substr($0, 1, 8) == line && ($0 "x") < (now "x")' |
while read -r each; do
    test -e "archive_status/$each.done" || : > "archive_status/$each.ready" || exit 1
done
"""


class HandOverError(PgBackRestError):
    """A hand-over did not get to its end; the message says which cluster is in place."""


@contextlib.contextmanager
def hand_over_lock(plan: HandOver) -> Iterator[None]:
    """One hand-over at a time beside a data directory; gone with this process.

    :raises LockedError: another one is at work.
    """
    above, _, name = plan.record.data.rpartition("/")
    path, mine = f"{above}/.{name}.hand-over", secrets.token_hex(8)
    runner = plan.cluster.place.runner
    child = runner.start(["sh", "-c", _HELD, "sh", path, mine], environ={})
    try:
        deadline = time.monotonic() + _LOCK
        while run(runner, ["cat", "--", path]).stdout != mine:
            if (code := child.poll()) is not None or time.monotonic() >= deadline:
                if code == 75:
                    raise LockedError(
                        f"another hand-over of {plan.record.data} is at work",
                        untouched="nothing was touched",
                        hint="wait for it",
                    )
                raise PgopsError(f"{path} can't be locked", untouched="nothing was touched")
            time.sleep(_POLL)
        yield
    finally:
        child.stop()


def hand_over(plan: HandOver, observer: Observer) -> HandOver:
    """Put the recovered cluster in the place of the old one, or go on with that.

    :returns: how it is afterwards.
    :raises HandOverError: it failed; the old cluster is in its place, and runs if it did.
    :raises PgBackRestError: the new cluster is in place and works, but its WAL does not get into the archive.
    """
    with hand_over_lock(plan):
        plan = _noted(plan.looked_at_again(), "forward")
        if not _moved(plan):
            plan = _prepared(plan, observer)
        try:
            plan = _put_in_place(plan, observer)
        except BaseException as error:
            _go_back_after(plan, observer, error)
            raise
        observer.step("pgbackrest check: whether its WAL gets into the archive")
        _check_archive(plan)
        return _noted(plan, "done")


def hand_back(plan: HandOver, observer: Observer) -> HandOver:
    """Put the old cluster back in its place; the new one lies again where it was recovered to.

    :returns: how it is afterwards.
    :raises HandOverError: it failed; the message says where the old cluster is.
    """
    with hand_over_lock(plan):
        return _closed(_back(plan.looked_at_again(), observer, start=True))


def _moved(plan: HandOver) -> bool:
    """Whether the old cluster has left its place."""
    return plan.kept.there or not plan.new.there


def _noted(plan: HandOver, state: State) -> HandOver:
    made = replace(plan, record=replace(plan.record, state=state))
    made.cluster.write(RECORD, made.record.text())
    return made


def _prepared(plan: HandOver, observer: Observer) -> HandOver:
    """Bring the recovered cluster to a standstill, with the old one's configuration. The old one runs on."""
    cluster, record = plan.cluster, plan.record
    try:
        _promote(plan, observer)
        observer.step("stopping the recovered cluster")
        plan = _stopped(plan)
        line = f"{plan.new.timeline:08X}"
        diverged = divergence(replace(plan, replay=None))
        if diverged is None or plan.new.system_identifier != record.system_identifier:
            raise HandOverError(f"{record.recovered} has no timeline of its own: it is not promoted")
        plan = replace(plan, record=replace(record, timeline=plan.new.timeline, lsn=plan.new.lsn or diverged))
        cluster.write(RECORD, plan.record.text())
        observer.step(f"giving it the configuration of {record.data}")
        runner = cluster.place.runner
        _script(runner, _TABLESPACES, cluster.place.directory, record.tablespaces)
        if plan.old.there:
            _script(runner, _CONFIGURE, record.data, record.recovered)
        else:
            _script(runner, _ARCHIVE_ON, record.recovered)
        _script(runner, _TO_BE_ARCHIVED, record.recovered, line, plan.new.segment)
    except Exception as error:
        # A full disk may be why: then the record says that it was begun, and the same command begins again.
        with contextlib.suppress(PgopsError):
            _noted(plan, "undone")
        raise HandOverError(
            f"the recovered cluster can't be made ready: {_message(error)}",
            untouched=f"the cluster in {record.data} was not touched and not stopped",
            hint="the same command once more; or another recovery",
        ) from error
    return plan


def _promote(plan: HandOver, observer: Observer) -> None:
    """See that it is promoted: also one whose server was killed before it was stopped."""
    cluster = plan.cluster
    if not plan.new.pid:
        if plan.new.stopped_properly and not plan.new.signal:
            return
        observer.step("starting the recovered cluster: it was not stopped properly")
        cluster.start()
        cluster.wait(plan.found.goal, lambda _replay: None)
    at = cluster.replay()
    if at is None:
        raise HandOverError(f"the recovered cluster in {cluster.data} does not answer")
    if at.in_recovery:
        observer.step("promoting the recovered cluster")
        cluster.promote()


def _stopped(plan: HandOver) -> HandOver:
    said = plan.cluster.stop() if plan.new.pid or plan.looked_at_again().new.pid else None
    plan = plan.looked_at_again()
    if not plan.new.stopped_properly:
        raise HandOverError(
            f"it does not stop: {_said(said) if said else plan.new.facts.get('Database cluster state')}"
        )
    return plan


def _put_in_place(plan: HandOver, observer: Observer) -> HandOver:
    record, runner = plan.record, plan.cluster.place.runner
    if not _moved(plan) and plan.old.there:
        observer.step(f"stopping the server in {record.data}")
        plan = _old_stopped(plan)
        observer.step(f"renaming {record.data} to {record.kept}")
        _script(runner, _RENAME, record.data, record.kept)
        plan = plan.looked_at_again()
        if plan.kept.pid:
            raise HandOverError(f"somebody started the server in {record.data} again")
    if plan.new.there:
        observer.step(f"renaming {record.recovered} to {record.data}")
        _script(runner, _RENAME, record.recovered, record.data)
        plan = plan.looked_at_again()
    if plan.old.system_identifier != record.system_identifier or plan.old.timeline < record.timeline:
        raise HandOverError(f"{record.data} does not hold the recovered cluster")
    observer.step(f"starting the server in {record.data}")
    return _answering(_started(plan))


def _answering(plan: HandOver) -> HandOver:
    """That the environment's address leads to it; one that does not let the role in is told, not failed.

    :raises HandOverError: it leads to another server.
    """
    try:
        running = running_server(plan.environment)
    except (PgopsError, DatabaseError) as error:
        said = (
            f"{plan.environment.name} can't log in to the recovered cluster: {' '.join(str(error).split())}"
        )
        return replace(plan, warnings=(*plan.warnings, said))
    other = running.data not in (None, plan.record.data)
    if other or running.system_identifier != plan.record.system_identifier:
        raise HandOverError(f"{plan.environment.name} leads to another server, in {running.data}")
    return replace(plan, running=running)


def _old_stopped(plan: HandOver) -> HandOver:
    record = plan.record
    said = None
    if plan.old.pid:
        argv = [f"{record.programs}/pg_ctl", "-D", record.data, "-m", "fast", "-w", "-t", str(_WAIT), "stop"]
        said = run(plan.cluster.place.runner, argv)
    plan = plan.looked_at_again()
    if plan.old.pid:
        raise HandOverError(
            f"the server in {record.data} does not stop: {_said(said) if said else 'started again'}"
        )
    return plan


def _started(plan: HandOver) -> HandOver:
    """Start the server in the place, as the old one was started, and see that it is the one that is meant."""
    record, runner = plan.record, plan.cluster.place.runner
    if not plan.old.pid:
        said = run(runner, _start_command(record))
        if said.exit_code != 0:
            why = _why_it_ended(runner, record.log) or _said(said)
            raise HandOverError(f"the server in {record.data} does not start: {why}")
    plan = plan.looked_at_again()
    if not plan.old.pid:
        raise HandOverError(f"the server in {record.data} ended again: {record.log} says why")
    return plan


def _why_it_ended(runner: Runner, log: str) -> str:
    """What a server that does not start wrote last; farther up are the sessions that the old one ended, fatal ones too."""
    lines = run(runner, ["tail", "-n", "5", "--", log]).stdout.splitlines()
    fatal = [each for each in lines if re.search(r"\b(?:FATAL|PANIC): ", each)]
    return " ".join(" ".join(fatal[-1:] or lines[-3:]).split())


def _start_command(record: Record) -> Sequence[str]:
    if record.debian:
        return start_command(record.debian, record.options, _WAIT)
    options = ["-o", record.options] if record.options else []
    argv = ["env", "-u", "LC_ALL", f"{record.programs}/pg_ctl", "-D", record.data, "-l", record.log]
    return [*argv, "-w", "-t", str(_WAIT), *options, "start"]


def _check_archive(plan: HandOver) -> None:
    plan.stanza.call(
        "check",
        untouched=f"the recovered cluster is in {plan.record.data} and runs; the old one is kept in {plan.record.kept}",
        hint=f"the same command once more, when archiving works; back to the old one: {back_typed(plan)}",
    )


def _go_back_after(plan: HandOver, observer: Observer, error: BaseException) -> None:
    """The old cluster back in its place, and running where it ran; the error then says so.

    :raises HandOverError: from ``error``.
    """
    record = plan.record
    if not record.was_there:
        raise HandOverError(
            f"the recovered cluster can't be put in place: {_message(error)}",
            untouched=f"there was no cluster in {record.data}; nothing was removed",
            hint=f"the same command once more; {record.log}",
        ) from error
    why = f"the recovered cluster can't be put in place: {_message(error)}"
    try:
        plan = _back(plan.looked_at_again(), observer, start=record.was_running)
    except PgopsError as second:
        raise HandOverError(
            f"{why}; and the old one not back: {_message(second)}",
            untouched=f"nothing was removed: the old cluster is in {record.data} or {record.kept}",
            hint=back_typed(plan),
        ) from error
    try:
        _closed(plan)
    except PgopsError as second:
        why = f"{why}; and that can't be noted down: {_message(second)}"
    if isinstance(error, Exception):
        raise HandOverError(
            why,
            untouched=f"the old cluster is in {record.data} again{' and runs' if record.was_running else ''}",
            hint=f"{record.log} says more; invoke restore.status",
        ) from error


def _back(plan: HandOver, observer: Observer, *, start: bool) -> HandOver:
    record, runner = plan.record, plan.cluster.place.runner
    if plan.kept.there and not plan.new.there and plan.old.timeline not in (0, record.timeline):
        raise HandOverError(
            f"{record.data} holds timeline {plan.old.timeline}, and the cluster that was handed over is {record.timeline}",
            untouched="nothing was touched",
            hint="another one was handed over since: go back from that first; invoke restore.status",
        )
    # A full disk can't be noted down on, and is a reason to go back: all of it is seen on the disk, too.
    with contextlib.suppress(PgopsError):
        plan = _noted(plan, "back")
    if plan.kept.there:
        if plan.old.there and not plan.new.there:
            if plan.old.pid:
                observer.step(f"stopping the server in {record.data}")
                plan = _old_stopped(plan)
            observer.step(f"renaming {record.data} to {record.recovered}")
            _script(runner, _RENAME, record.data, record.recovered)
        observer.step(f"renaming {record.kept} to {record.data}")
        _script(runner, _RENAME, record.kept, record.data)
        plan = plan.looked_at_again()
    if plan.old.system_identifier != record.system_identifier or plan.old.timeline != record.old_timeline:
        raise HandOverError(f"{record.data} does not hold the old cluster")
    if start:
        observer.step(f"starting the server in {record.data}")
        plan = _started(plan)
    return plan


def _closed(plan: HandOver) -> HandOver:
    """Note down that the old cluster is back; nobody who starts the other by hand shall write into the archive."""
    if plan.new.there:
        _script(plan.cluster.place.runner, _ARCHIVE_OFF, plan.record.recovered)
    return _noted(plan, "undone")


def back_typed(plan: HandOver) -> str:
    """What a person types to go back."""
    return f"{again_typed(plan)} --back"


def again_typed(plan: HandOver) -> str:
    """What a person types to go on."""
    return f"invoke restore.hand-over --env={plan.environment.name} --recovery={plan.record.id} --directory={plan.record.data}"


def _script(runner: Runner, script: str, *arguments: str) -> None:
    said = run(runner, ["sh", "-c", script, "sh", *arguments])
    if said.exit_code != 0:
        raise HandOverError(f"{' -> '.join(arguments[:2])}: {_said(said)}")


def _said(finished: Finished) -> str:
    text = " ".join((finished.stderr or finished.stdout).split())
    return text or f"exit code {finished.exit_code}"


def _message(error: BaseException) -> str:
    return error.message if isinstance(error, PgopsError) else f"{type(error).__name__}: {error}"
