"""``backup.schedule``: what runs backups by itself, printed or put in place."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgops.errors import UsageError
from pgops.tasks._task import Context, load_environment, task

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.monitoring.schedule import Job, Text
    from pgops.monitoring.slots import Slots
    from pgops.terminal.console import Console

_DAY = 86400.0


@task(
    help={
        "kind": "`systemd`, `cron`, `kubernetes` or `github`; what this machine has when not given",
        "at": "time of day in UTC",
        "every": "hours between two runs: 1h, 2h, 3h, 4h, 6h, 8h, 12h or 24h",
        "install": "put it in place on this machine; asks first",
        "remove": "take away what --install put in place; asks first",
        "system": "systemd: units of the machine, not of this user; needs root",
        "image": "kubernetes: the image with pgops and the project",
    }
)
def schedule(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    kind: str = "",
    at: str = "03:00",
    every: float = _DAY,
    install: bool = False,
    remove: bool = False,
    system: bool = False,
    image: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Print what runs backups by itself: timers, cron lines, CronJobs, a workflow; --install, --remove: here."""
    from pgops.monitoring.schedule import KINDS
    from pgops.monitoring.schedule import schedule as written
    from pgops.monitoring.slots import slots
    from pgops.terminal.confirmation import Answer

    environment = load_environment(context, env)
    kind = kind or _kind_here()
    if kind not in KINDS:
        raise UsageError(f"--kind={kind}: it is one of {', '.join(KINDS)}", untouched="nothing was touched")
    system = system or (kind in ("systemd", "cron") and os.geteuid() == 0)
    times = slots(at, every)
    if remove:
        if install:
            raise UsageError(
                "--install and --remove are given", untouched="nothing was touched", hint="leave one out"
            )
        _remove(console, environment, _job(environment, times, system=system, image=image), kind, system, yes)
        return
    _refuse_too_rare(environment, times)
    job = _job(environment, times, system=system, image=image)
    texts = written(job, kind)
    for each in texts:
        if len(texts) > 1:
            console.say(f"# --- {each.name}")
        for line in each.text.rstrip("\n").split("\n"):
            console.verbatim(line)
    _say_what_it_needs(console, environment, job, kind)
    said: list[str] = []
    if install:
        console.ask(environment, Answer.YES, f"Install this for {environment.name}?", yes=yes)
        said = _installed(job, texts, kind, system=system)
        for line in said:
            console.say(line)
    console.result(
        {
            "kind": kind,
            "times": str(times),
            "files": [{"name": each.name, "text": each.text} for each in texts],
            "variables": list(job.variables),
            "installed": said,
            "removed": [],
        }
    )


def _remove(console: Console, environment: Environment, job: Job, kind: str, system: bool, yes: bool) -> None:
    """``--remove``: the way back of ``--install``; what is not there is said, and no failure."""
    from pgops.terminal.confirmation import Answer

    console.ask(environment, Answer.YES, f"Remove the schedule of {environment.name} ({kind})?", yes=yes)
    removed = _removed(job, kind, system=system)
    for line in removed:
        console.say(f"removed: {line}")
    if not removed:
        console.say(f"{environment.name}: no schedule of it is there ({kind}); nothing was removed")
    if job.env_file.exists():
        console.warn(f"{job.env_file} holds its secrets, and stays: rm {job.env_file}")
    console.result(
        {
            "kind": kind,
            "times": str(job.slots),
            "files": [],
            "variables": list(job.variables),
            "installed": [],
            "removed": removed,
        }
    )


def _kind_here() -> str:
    """systemd where it runs, else cron where there is one; systemd where nothing is known."""
    if Path("/run/systemd/system").is_dir() or shutil.which("crontab") is None:
        return "systemd"
    return "cron"


def _refuse_too_rare(environment: Environment, times: Slots) -> None:
    """A schedule whose backups are too old before the next one is due is a mistake."""
    most = environment.backups.max_age
    if most is not None and times.seconds > most:
        from pgops.units import human_seconds

        raise UsageError(
            f"{times}: backups of {environment.name} would be older than max_age, {human_seconds(most)}, "
            "before the next one",
            untouched="nothing was touched",
            hint="run it more often: --every=6h",
        )


def _job(environment: Environment, times: Slots, *, system: bool, image: str) -> Job:
    from pgops.monitoring.check import limits_of
    from pgops.monitoring.schedule import Job, slug, variables_of
    from pgops.terminal.commands import program_name

    config = os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME") or "/nonexistent") / ".config"
    home = Path("/etc/pgops") if system else Path(config) / "pgops"
    # However it was typed (./inv): what stands beside this Python is what a schedule can start from anywhere.
    program = Path(sys.executable).with_name(Path(program_name()).name)
    return Job(
        environment.name,
        times,
        environment.project,
        (str(program),) if program.exists() else (sys.executable, "-m", "pgops"),
        variables_of(environment),
        # Not the environment's name alone: another project's production would be handed these secrets.
        home / f"{slug(environment.project, environment.name)}.env",
        bool(limits_of(environment)),
        image,
        _owner(environment.project) if system else "",
    )


def _owner(project: Path) -> str:
    """Whom the project's directory belongs to; its number where that has no name here."""
    try:
        return project.owner()
    except KeyError:
        return str(project.stat().st_uid)


def _say_what_it_needs(console: Console, environment: Environment, job: Job, kind: str) -> None:
    """What no file of a schedule can hold: the secrets; and what nobody would notice without."""
    if job.variables:
        names = ", ".join(job.variables)
        where = {
            "kubernetes": f"in the Secret {job.name[:63].rstrip('-')}",
            "github": "in the repository's secrets",
        }.get(kind, f"in {job.env_file} (mode 0600, a line NAME=value each)")
        console.warn(f"it needs {names}: put them {where}")
    if not job.checked:
        console.warn(
            f"{environment.name} has neither backups.max_age nor backups.prove_every, so nobody would notice "
            "that this does not run"
        )


def _installed(job: Job, texts: Sequence[Text], kind: str, *, system: bool) -> list[str]:
    from pgops.monitoring.install import install_cron, install_workflow, systemd_of

    match kind:
        case "systemd":
            return systemd_of(system=system, environ=os.environ).install(job, texts)
        case "cron":
            return install_cron(job, texts[0])
        case "github":
            return install_workflow(job, texts[0])
    raise UsageError(
        "pgops installs nothing into a cluster",
        untouched="nothing was written",
        hint=f"invoke backup.schedule --kind=kubernetes --env={job.environment} | kubectl apply -f -",
    )


def _removed(job: Job, kind: str, *, system: bool) -> list[str]:
    from pgops.monitoring.install import remove_cron, remove_workflow, systemd_of
    from pgops.monitoring.schedule import cron_job_names

    match kind:
        case "systemd":
            return systemd_of(system=system, environ=os.environ).remove(job)
        case "cron":
            return remove_cron(job)
        case "github":
            return remove_workflow(job)
    raise UsageError(
        "pgops removes nothing from a cluster",
        untouched="nothing was touched",
        hint=f"kubectl delete cronjob --ignore-not-found {' '.join(cron_job_names(job))}",
    )
