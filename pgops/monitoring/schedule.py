"""What runs backups by itself, as text: systemd units, lines for cron, Kubernetes CronJobs, a GitHub workflow; pure.

No secret is in any of it, only the names of the variables that an environment takes them from. Every word that comes
from a name or a path is quoted in the way of the program that reads it; what can't be quoted there is refused.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pgops.environments import Environment
from pgops.errors import UsageError
from pgops.monitoring.slots import Slots
from pgops.secrets.references import EnvSecret

KINDS = ("systemd", "cron", "kubernetes", "github")
_CHECK_AFTER = 40
_LONGEST_CRON = 900


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run, and where.

    :param program: how pgops is started: a program and what comes before the task, absolute.
    :param variables: names of variables that hold secrets of the environment.
    :param env_file: the file that the machine's own scheduler reads them from.
    :param checked: the environment has limits, so that ``backup.check`` can judge it.
    :param image: for Kubernetes; a stand-in when empty.
    :param user: whom the machine's own systemd runs it as; itself when empty.
    """

    environment: str
    slots: Slots
    project: Path
    program: tuple[str, ...]
    variables: tuple[str, ...]
    env_file: Path
    checked: bool
    image: str = ""
    user: str = ""

    @property
    def name(self) -> str:
        """``pgops-shop-production``: of this project and environment, in letters that every scheduler takes."""
        return f"pgops-{slug(self.project, self.environment)}"

    @property
    def mark(self) -> str:
        """By which a file is known as this job's own."""
        return f"pgops backup.schedule: {self.environment} of {self.project}"

    @property
    def backup(self) -> tuple[str, ...]:
        """The task that backs up, and its flags."""
        return ("backup.unattended", f"--env={self.environment}")

    @property
    def catching_up(self) -> tuple[str, ...]:
        """The same for a scheduler that forgets what it missed: started often, it runs where it is due."""
        slots = self.slots
        return (*self.backup, f"--at={slots.hour:02}:{slots.minute:02}", f"--every={slots.step}h")

    @property
    def check(self) -> tuple[str, ...]:
        """The task that looks whether all is well, and tells."""
        return ("backup.check", f"--env={self.environment}", "--notify")


@dataclass(frozen=True, slots=True)
class Text:
    """A file of a schedule, by its name alone, or lines of one."""

    name: str
    text: str


def slug(project: Path, environment: str) -> str:
    """``shop-production``: what tells this job from those of other projects whose environments have the same names."""
    return re.sub(r"[^a-z0-9]+", "-", f"{project.name}-{environment}".lower()).strip("-")


def variables_of(environment: Environment) -> tuple[str, ...]:
    """The variables that an environment's secrets are in, sorted. What a command of its own reads is not known."""
    found: set[str] = set()

    def look(value: object) -> None:
        if isinstance(value, EnvSecret):
            found.add(value.name)
        elif isinstance(value, Mapping):
            for each in value.values():
                look(each)
        elif hasattr(value, "__dataclass_fields__"):
            for field in fields(value):  # type: ignore[arg-type]
                look(getattr(value, field.name))

    for part in (environment.connection, environment.backups.store, environment.monitoring):
        look(part)
    return tuple(sorted(found))


def schedule(job: Job, kind: str) -> list[Text]:
    """The files of a schedule.

    :param kind: one of :data:`KINDS`.
    :raises UsageError: a path can't be written there.
    """
    made: Mapping[str, Callable[[Job], Iterator[Text]]] = {
        "systemd": _systemd,
        "cron": _cron,
        "kubernetes": _kubernetes,
        "github": _github,
    }
    return list(made[kind](job))


# systemd


def _systemd(job: Job) -> Iterator[Text]:
    calendar = f"*-*-* {','.join(f'{each:02}' for each in job.slots.hours)}:{job.slots.minute:02}:00 UTC"
    yield from _unit(job, f"{job.name}-backup", f"backup of {job.environment}", job.backup, calendar, _RETRY)
    if job.checked:
        often = f"*-*-* *:{_check_minute(job):02}:00 UTC"
        yield from _unit(
            job, f"{job.name}-check", f"are backups of {job.environment} fresh", job.check, often
        )


def unit_names(job: Job) -> list[str]:
    """Every unit that a job may have: what it has now, and what it had with other limits."""
    return [f"{job.name}-{what}.{kind}" for what in ("backup", "check") for kind in ("timer", "service")]


_SERVERS = "postgresql.service docker.service"

# Failed runs are tried again until one succeeds, but for what only a person can mend: usage, a gate, a refusal.
_RETRY = "Restart=on-failure\nRestartSec=15min\nRestartPreventExitStatus=2 7 8\n"


def _unit(
    job: Job, name: str, what: str, task: Sequence[str], calendar: str, more: str = ""
) -> Iterator[Text]:
    user = f"User={_systemd_path(Path(job.user))}\n" if job.user else ""
    words = " ".join(systemd_word(each) for each in (*_systemd_program(job), *task))
    yield Text(
        f"{name}.service",
        f"# {_one_line(job.mark)}\n"
        "[Unit]\n"
        f"Description=pgops: {what}\n"
        "Wants=network-online.target\n"
        # What was missed is run at the start of the machine: a server on it has to be up. Units that are not there
        # are waited for by nobody.
        f"After=network-online.target {_SERVERS}\n"
        # Runs that are tried again are no loop that has to be stopped.
        "StartLimitIntervalSec=0\n"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"{user}"
        f"WorkingDirectory={_systemd_path(job.project)}\n"
        f"EnvironmentFile=-{_systemd_path(job.env_file)}\n"
        f"ExecStart={words}\n"
        f"{more}",
    )
    yield Text(
        f"{name}.timer",
        f"# {_one_line(job.mark)}\n"
        "[Unit]\n"
        f"Description=pgops: {what}\n"
        "\n"
        "[Timer]\n"
        f"OnCalendar={calendar}\n"
        # What was missed while the machine was off is run as soon as it is on.
        "Persistent=true\n"
        "AccuracySec=1min\n"
        "\n"
        "[Install]\n"
        "WantedBy=timers.target\n",
    )


def _systemd_program(job: Job) -> tuple[str, ...]:
    """The program; through a shell where systemd takes no such name for a program, though any for an argument."""
    if re.search(r"""["'\\$]""", job.program[0]):
        return ("/bin/sh", "-c", 'exec "$0" "$@"', *job.program)
    return job.program


def systemd_word(text: str) -> str:
    """One word of a command line in a unit (systemd.service(5), systemd.unit(5)).

    >>> systemd_word('50% of $HOME "x"')
    '"50%% of $$HOME \\\\"x\\\\""'
    """
    _refuse_control(text, "systemd")
    for special, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(special, written)
    return f'"{text}"'


def _systemd_path(path: Path) -> str:
    """A path that is a value of its own: specifiers are filled in there, quotes and variables are not."""
    text = str(path)
    _refuse_control(text, "systemd")
    if text != text.strip() or text.endswith("\\"):
        raise UsageError(f"{text!r} can't be written into a unit", untouched="nothing was written")
    return text.replace("%", "%%")


# cron


def _cron(job: Job) -> Iterator[Text]:
    minutes = [(job.slots.minute, job.catching_up)]
    if job.checked:
        minutes.append((_check_minute(job), job.check))
    lines = [f"{minute} * * * * {_cron_command(job, task)}" for minute, task in minutes]
    yield Text(
        "crontab",
        "".join(
            f"{line}\n"
            for line in (
                f"# BEGIN {_one_line(job.mark)}",
                f"# {job.slots}; each hour looks whether a run was missed",
                *lines,
                f"# END {_one_line(job.mark)}",
            )
        ),
    )


def _cron_command(job: Job, task: Sequence[str]) -> str:
    words = (str(job.project), str(job.env_file), *job.program, *task)
    for each in words:
        _refuse_control(each, "cron")
        if "\\" in each:
            raise UsageError(
                f"{each!r} has a backslash, which crons read in different ways",
                untouched="nothing was written",
            )
    secrets = shlex.quote(str(job.env_file))
    read = f"if [ -r {secrets} ]; then set -a; . {secrets}; set +a; fi; " if job.variables else ""
    # cron takes a bare % for the end of the line.
    line = f"cd {shlex.quote(str(job.project))} && {{ {read}exec {shlex.join((*job.program, *task))}; }}"
    line = line.replace("%", "\\%")
    if len(line) > _LONGEST_CRON:
        raise UsageError(
            f"the line for cron would have {len(line)} characters, and some crons cut at 1000",
            untouched="nothing was written",
            hint="put the project below a shorter path",
        )
    return line


# Kubernetes


def _kubernetes(job: Job) -> Iterator[Text]:
    slots = job.slots
    backup = f"{slots.minute} {','.join(map(str, slots.hours))} * * *"
    yield Text(
        f"{job.name}.yaml",
        f"# {_one_line(job.mark)}\n"
        + _cron_job(job, "backup", backup, job.backup, int(slots.seconds) - 60)
        + (
            "---\n" + _cron_job(job, "check", f"{_check_minute(job)} * * * *", job.check, 3000)
            if job.checked
            else ""
        ),
    )


def cron_job_names(job: Job) -> list[str]:
    """The CronJobs that a job may have."""
    return [_cron_job_name(job, what) for what in ("backup", "check")]


def _cron_job_name(job: Job, what: str) -> str:
    # A CronJob's name has at most 52 characters: 11 are added for each Job.
    return f"{job.name[:45].rstrip('-')}-{what}"


def _cron_job(job: Job, what: str, times: str, task: Sequence[str], deadline: int) -> str:
    name = _cron_job_name(job, what)
    image = job.image or "registry.example.com/app-pgops:1.0.0"
    secrets = "".join(
        f"                - name: {each}\n"
        "                  valueFrom:\n"
        f"                    secretKeyRef: {{name: {job.name[:63].rstrip('-')}, key: {each}}}\n"
        for each in job.variables
    )
    return f"""\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}
spec:
  schedule: "{times}"
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {deadline}
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: {3 if what == "backup" else 0}
      template:
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          containers:
            - name: pgops
              image: {json.dumps(image)}
              args: {json.dumps(list(task))}
              env:
                - {{name: HOME, value: /tmp}}
{secrets}\
              securityContext:
                runAsNonRoot: true
                runAsUser: 10001
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {{drop: [ALL]}}
              volumeMounts:
                - {{name: tmp, mountPath: /tmp}}
          volumes:
            - name: tmp
              emptyDir: {{}}
"""


# GitHub


def _github(job: Job) -> Iterator[Text]:
    slots = job.slots
    # GitHub drops scheduled runs when it is busy: two later ones catch up, and end at once where nothing is due.
    offsets = (0, 2, 5) if slots.step >= 12 else (0,)
    hours = sorted({(hour + each) % 24 for hour in slots.hours for each in offsets})
    secrets = "".join(f"      {each}: ${{{{ secrets.{each} }}}}\n" for each in job.variables)
    environ = f"    env:\n{secrets}" if secrets else ""
    check = (
        f"      - name: are backups fresh\n        if: always()\n        run: pgops {shlex.join(job.check)}\n"
        if job.checked
        else ""
    )
    yield Text(
        f"{job.name}.yml",
        f"""\
# {_one_line(job.mark)}
name: {json.dumps(f"backup of {job.environment}")}
on:
  schedule:
    - cron: "{slots.minute} {",".join(map(str, hours))} * * *"
  workflow_dispatch: {{}}
permissions:
  contents: read
concurrency:
  group: {job.name}
  cancel-in-progress: false
jobs:
  backup:
    runs-on: ubuntu-latest
    timeout-minutes: 350
{environ}\
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683  # v4.2.2
      - uses: actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065  # v5.6.0
        with: {{python-version: "3.12"}}
      # pgops with the extras that environments.yaml needs, and client programs of the server's major.
      - run: pip install --requirement requirements.txt
      - name: backup
        run: pgops {shlex.join(job.catching_up)}
{check}""",
    )


def _check_minute(job: Job) -> int:
    """The minute of the check: not while the backup has just begun."""
    return (job.slots.minute + _CHECK_AFTER) % 60


def _refuse_control(text: str, where: str) -> None:
    if not text.isprintable():
        raise UsageError(
            f"{text!r} can't be written for {where}: it has a line break or another character that does not print",
            untouched="nothing was written",
        )


def _one_line(text: str) -> str:
    _refuse_control(text, "a comment")
    return text
