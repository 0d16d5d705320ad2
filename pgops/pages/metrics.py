"""What a Prometheus textfile says of environments: values in, text out, and the one way it is put in place.

Ages are not among them: a file that is not written any more would show the age of its last day for good. There are the
moments of the last successes, and the limits beside them; how old they are is for whoever reads them to say.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pgops.backups.verify.history import expected
from pgops.errors import PgopsError, RefusedError
from pgops.monitoring.freshness import SKEW
from pgops.monitoring.memory import Memory
from pgops.overview.report import EnvironmentReport, Report
from pgops.runtime.files import put_in_place, read_regular

_LABELS = ("project", "environment")
_MARK_LIMIT = 1 << 20
_HELP = {
    "pgops_environment_reachable": "1 where the database answered",
    "pgops_database_size_bytes": "Size of the database",
    "pgops_migrations_pending": "Revisions that are pending",
    "pgops_migration_last_run_timestamp_seconds": "When the last migration run began",
    "pgops_migration_last_run_duration_seconds": "How long the last migration run took",
    "pgops_migration_last_run_success": "1 where the last migration run succeeded",
    "pgops_backups": "Backups in the repository",
    "pgops_backups_size_bytes": "Size of all backups in the repository",
    "pgops_backup_last_success_timestamp_seconds": "The moment whose data the newest good backup holds; 0 where there is none",
    "pgops_backup_last_success_size_bytes": "Size of the newest good backup",
    "pgops_backup_last_success_duration_seconds": "How long the newest good backup took",
    "pgops_backup_proof_timestamp_seconds": "When a backup was last proven by restoring it; 0 where none ever was",
    "pgops_backup_max_age_seconds": "backups.max_age of environments.yaml",
    "pgops_backup_prove_every_seconds": "backups.prove_every of environments.yaml",
    "pgops_backup_fresh": "1 where the backups are within their limits, 0 where not or nobody can tell",
    "pgops_restore_last_duration_seconds": "How long the last good restore took",
    "pgops_restore_expected_duration_seconds": "The longest of the last good restores: the time to count on",
    "pgops_scheduled_run_timestamp_seconds": "When the last scheduled run began on this machine",
    "pgops_scheduled_run_success": "1 where the last scheduled run on this machine succeeded, 0 where it failed or was killed",
}


def exposition(report: Report, memories: Mapping[str, Memory], project: str) -> bytes:
    """The textfile of the environments of a report.

    :param memories: what this machine remembers of each, by its name.
    :param project: the name of the project's directory: environments of several projects may have one name, and a
        collector that meets a series twice gives none of them.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for each in report.environments:
        for name, value in _values(each, memories.get(each.name, Memory()), report.at):
            if name not in gauges:
                gauges[name] = Gauge(name, _HELP[name], _LABELS, registry=registry)
            gauges[name].labels(project=project, environment=each.name).set(value)
    return generate_latest(registry)


def _values(found: EnvironmentReport, memory: Memory, now: dt.datetime) -> Iterator[tuple[str, float]]:
    yield "pgops_environment_reachable", float(found.row.server is not None)
    if found.size is not None:
        yield "pgops_database_size_bytes", found.size
    status = found.row.status
    if status is not None and status.reachable and not status.problem and status.pending_count is not None:
        yield "pgops_migrations_pending", status.pending_count
    if found.runs:
        run = found.runs[0]
        yield "pgops_migration_last_run_timestamp_seconds", run.started_at.timestamp()
        yield "pgops_migration_last_run_success", float(run.outcome == "succeeded")
        if run.seconds is not None:
            yield "pgops_migration_last_run_duration_seconds", run.seconds
    yield from _of_backups(found, now + SKEW)
    if memory.run is not None:
        yield "pgops_scheduled_run_timestamp_seconds", memory.run.started_at.timestamp()
        yield "pgops_scheduled_run_success", float(memory.run.outcome == "succeeded")


def _of_backups(found: EnvironmentReport, border: dt.datetime) -> Iterator[tuple[str, float]]:
    fresh = found.row.freshness
    if fresh is not None:
        yield "pgops_backup_fresh", float(fresh.state == "fresh")
        if fresh.limits.max_age is not None:
            yield "pgops_backup_max_age_seconds", fresh.limits.max_age
        if fresh.limits.prove_every is not None:
            yield "pgops_backup_prove_every_seconds", fresh.limits.prove_every
    if not found.backups_known:
        # A repository that can't be read has not lost its backups. What pgBackRest took is known by its limits alone.
        if fresh is not None and fresh.backup is not None:
            yield "pgops_backup_last_success_timestamp_seconds", fresh.backup.at.timestamp()
        if fresh is not None and fresh.restore is not None:
            yield "pgops_backup_proof_timestamp_seconds", fresh.restore.at.timestamp()
            yield "pgops_restore_last_duration_seconds", fresh.restore.seconds
        if (counted_on := expected([each for each in found.restores if each.at <= border])) is not None:
            yield "pgops_restore_expected_duration_seconds", counted_on.seconds
        return
    yield "pgops_backups", len(found.backups)
    yield "pgops_backups_size_bytes", sum(each.manifest.bytes for each in found.backups)
    # What claims to be from the future would look fresh until then.
    past = [each for each in found.backups if each.manifest.started_at <= border]
    good = next((each for each in reversed(past) if each.is_success), None)
    yield (
        "pgops_backup_last_success_timestamp_seconds",
        good.manifest.started_at.timestamp() if good else 0.0,
    )
    if good is not None:
        manifest = good.manifest
        yield "pgops_backup_last_success_size_bytes", manifest.bytes
        yield (
            "pgops_backup_last_success_duration_seconds",
            (manifest.finished_at - manifest.started_at).total_seconds(),
        )
    told = expected([each for each in found.restores if each.at <= border])
    yield "pgops_backup_proof_timestamp_seconds", told.last.at.timestamp() if told else 0.0
    if told is not None:
        yield "pgops_restore_last_duration_seconds", told.last.seconds
        yield "pgops_restore_expected_duration_seconds", told.seconds


def textfile(directory: Path, project: Path, environment: str) -> Path:
    """Where an environment's textfile lies; one for each, so that two machines or runs never write into one.

    :param project: the project's directory.
    """
    name = re.sub(r"[^a-z0-9]+", "-", project.name.lower()).strip("-")
    return directory / f"pgops-{name}-{environment}.prom"


def write_textfile(file: Path, content: bytes, *, project: Path, environment: str) -> None:
    """Put a textfile in place: whole, or as it was before; readable for whoever collects it.

    :param project: the project's directory; two directories may have one name, so its first line says whose it is.
    :raises RefusedError: the file is of another project, which is there still.
    :raises PgopsError: it can't be written.
    """
    mark = f"# pgops metrics of {environment} of "
    try:
        _refuse_foreign(file, mark, project)
        # The collector reads what ends in .prom, so it never sees the one beside.
        put_in_place(file, f"{mark}{_told(project)}\n".encode() + content, mode=0o644)
    except OSError as error:
        raise PgopsError(
            f"metrics can't be written to {file}: {error.strerror}",
            untouched="what stood there stays as it was",
            hint=f"ls -ld {file.parent}",
        ) from error


def _refuse_foreign(file: Path, mark: str, project: Path) -> None:
    try:
        first = read_regular(file, _MARK_LIMIT).decode("utf-8", errors="replace").partition("\n")[0]
    except FileNotFoundError:
        return
    if first == f"{mark}{_told(project)}" or _is_gone(first.removeprefix(mark)):
        return
    raise RefusedError(
        f"metrics can't be written to {file}: it is there already, and not of this project ({first[:200]!r})",
        untouched="what stood there stays as it was",
        hint=f"give one of the two another directory or name; if nobody needs the file: rm {file}",
    )


def _is_gone(told: str) -> bool:
    """Whether the project of a first line was moved or removed: it writes no more."""
    try:
        project = json.loads(told)
    except ValueError:
        return False
    return isinstance(project, str) and not Path(project).exists()


def _told(project: Path) -> str:
    """A directory on one line, whatever is in its name."""
    return json.dumps(str(project))
