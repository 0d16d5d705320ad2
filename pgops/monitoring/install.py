"""Putting a schedule in place on this machine, and looking whether it is there: systemd, cron, a workflow's file.

A file that is not this job's own is never replaced.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops.errors import PgopsError, RefusedError
from pgops.monitoring.schedule import Job, Text, unit_names
from pgops.runtime.files import put_in_place
from pgops.runtime.variables import inherited

_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Systemd:
    """systemd's manager: the machine's own, or this user's (``flags`` is ``("--user",)``)."""

    directory: Path
    flags: tuple[str, ...] = ()

    def install(self, job: Job, texts: Sequence[Text]) -> list[str]:
        """Write the units, start the timers, and look when each runs next.

        :returns: what to tell, a line each.
        :raises RefusedError: a file of that name is somebody else's; nothing is written.
        :raises PgopsError: a file can't be written, or systemd does not take the units.
        """
        files = {self.directory / each.name: each.text for each in texts}
        _write(job, files)
        timers = [each.name for each in texts if each.name.endswith(".timer")]
        self._systemctl("daemon-reload")
        # An enabled timer that is there already keeps its old times until it is started anew.
        self._systemctl("enable", *timers)
        self._systemctl("restart", *timers)
        said = [f"written: {file}" for file in files]
        for timer in timers:
            shown = self._systemctl("show", "--property=ActiveState,NextElapseUSecRealtime", timer)
            state = dict(line.partition("=")[::2] for line in shown.splitlines())
            if state.get("ActiveState") != "active" or not state.get("NextElapseUSecRealtime"):
                raise PgopsError(
                    f"{timer} does not run: it is {state.get('ActiveState') or 'unknown'}",
                    untouched="its files are in place",
                    hint=f"systemctl {' '.join((*self.flags, 'status', timer))}",
                )
            said.append(f"{timer}: next at {state['NextElapseUSecRealtime']}")
        return said

    def remove(self, job: Job) -> list[str]:
        """Stop the timers and remove the units; a backup that runs now is not ended. None that are there is fine.

        :returns: what was removed.
        :raises RefusedError: a file of that name is somebody else's; nothing is removed.
        :raises PgopsError: systemd does not stop a timer, or a file can't be removed.
        """
        files = _own(job, [self.directory / each for each in unit_names(job)])
        timers = [each.name for each in files if each.suffix == ".timer"]
        if timers:
            _systemctl(
                self.flags, "disable", "--now", *timers, untouched="the files of the units are in place"
            )
        removed = [_removed(file) for file in files]
        if files:
            _systemctl(
                self.flags, "daemon-reload", untouched="the timers are stopped, and their files are gone"
            )
        return removed

    def _systemctl(self, *arguments: str) -> str:
        return _systemctl(self.flags, *arguments, untouched="the files of the units are in place")


def _systemctl(flags: Sequence[str], *arguments: str, untouched: str) -> str:
    return _ran(["systemctl", *flags, *arguments], untouched=untouched)


def systemd_of(*, system: bool, environ: Mapping[str, str]) -> Systemd:
    """The manager to install into.

    :param system: the machine's own; else this user's.
    """
    if system:
        return Systemd(Path("/etc/systemd/system"))
    config = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "/nonexistent") / ".config"
    return Systemd(Path(config) / "systemd" / "user", ("--user",))


def install_cron(job: Job, text: Text) -> list[str]:
    """Put the lines into this user's crontab, in place of those of before; all others stay as they are.

    :raises PgopsError: crontab does not take them, or they are not there afterwards.
    """
    before = _crontab()
    kept = _without(before, job)
    new = kept + ("" if not kept or kept.endswith("\n") else "\n") + text.text
    _ran(["crontab", "-"], given=new, untouched="the crontab stays as it was")
    if text.text not in _crontab():
        raise PgopsError(
            "crontab took the lines, and they are not there",
            untouched="the other lines were given back as they were",
            hint="crontab -l",
        )
    return [f"in the crontab: {len(text.text.splitlines())} lines"]


def remove_cron(job: Job) -> list[str]:
    """Take this job's lines out of this user's crontab; all others stay as they are. None that are there is fine.

    :returns: what was removed.
    :raises RefusedError: their beginning is there and their end is not.
    :raises PgopsError: crontab does not take the rest, or the lines are still there afterwards.
    """
    before = _crontab()
    kept = _without(before, job)
    if kept == before:
        return []
    _ran(["crontab", "-"], given=kept, untouched="the crontab stays as it was")
    if _without(after := _crontab(), job) != after:
        raise PgopsError(
            "crontab took the rest, and the lines are still there",
            untouched="the other lines were given back as they were",
            hint="crontab -e",
        )
    return [f"from the crontab: {len(before.splitlines()) - len(kept.splitlines())} lines"]


def remove_workflow(job: Job) -> list[str]:
    """Remove the workflow from the project; none that is there is fine.

    :returns: what was removed.
    :raises RefusedError: a file of that name is somebody else's.
    """
    file = job.project / ".github" / "workflows" / f"{job.name}.yml"
    return [f"{_removed(each)}; commit that, and it runs no more" for each in _own(job, [file])]


def _own(job: Job, files: Sequence[Path]) -> list[Path]:
    """Those that are there.

    :raises RefusedError: one of them is somebody else's.
    """
    for file in files:
        _refuse_foreign(file, job)
    return [file for file in files if file.exists()]


def _removed(file: Path) -> str:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise PgopsError(
            f"{file} can't be removed: {error.strerror}",
            untouched="what it runs was stopped before",
            hint=f"ls -ld {file.parent}",
        ) from error
    return f"{file}"


def _crontab() -> str:
    if shutil.which("crontab") is None:
        raise PgopsError(
            "there is no crontab here",
            untouched="nothing was written",
            hint="leave --install out, and take the lines",
        )
    done = subprocess.run(
        ["crontab", "-l"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
        env={**inherited(), "LC_ALL": "C"},
    )
    if done.returncode != 0 and "no crontab" not in done.stderr:
        raise PgopsError(
            f"crontab -l ended with {done.returncode}: {done.stderr.strip()}", untouched="nothing was written"
        )
    return done.stdout if done.returncode == 0 else ""


def _without(crontab: str, job: Job) -> str:
    """A crontab without the lines of a job.

    :raises RefusedError: its beginning is there and its end is not.
    """
    begin, end = f"# BEGIN {job.mark}\n", f"# END {job.mark}\n"
    before, found, rest = crontab.partition(begin)
    if not found:
        return crontab
    _own, found, after = rest.partition(end)
    if not found:
        raise RefusedError(
            f"the crontab has {begin.strip()!r} without its end",
            untouched="nothing was written",
            hint="mend it: crontab -e",
        )
    return before + after


def install_workflow(job: Job, text: Text) -> list[str]:
    """Write the workflow into the project.

    :raises RefusedError: a file of that name is somebody else's.
    """
    file = job.project / ".github" / "workflows" / text.name
    _write(job, {file: text.text})
    return [f"written: {file}; commit it, and it runs from the default branch"]


def _write(job: Job, files: Mapping[Path, str]) -> None:
    for file in files:
        _refuse_foreign(file, job)
    for file, text in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            put_in_place(file, text.encode(), mode=0o644)
        except OSError as error:
            raise PgopsError(
                f"{file} can't be written: {error.strerror}",
                untouched="nothing was started",
                hint=f"ls -ld {file.parent}",
            ) from error


def _refuse_foreign(file: Path, job: Job) -> None:
    try:
        first = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except FileNotFoundError:
        return
    except OSError as error:
        raise PgopsError(
            f"{file} can't be read: {error.strerror}", untouched="nothing was written", hint=f"ls -l {file}"
        ) from error
    if first != f"# {job.mark}":
        raise RefusedError(
            f"{file} is there already, and is not of {job.environment} of {job.project}",
            untouched="nothing was written",
            hint=f"look at it, and remove it if nobody needs it: rm {file}",
        )


def _ran(argv: Sequence[str], *, untouched: str, given: str | None = None) -> str:
    try:
        done = subprocess.run(
            argv,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
            env={**inherited(), "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise PgopsError(f"there is no {argv[0]} here", untouched=untouched) from error
    except subprocess.TimeoutExpired as error:
        raise PgopsError(f"{' '.join(argv)} did not end in {_TIMEOUT:g} s", untouched=untouched) from error
    if done.returncode != 0:
        raise PgopsError(
            f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}",
            untouched=untouched,
            hint="a user's own manager needs a login: loginctl enable-linger" if "--user" in argv else "",
        )
    return done.stdout
