"""Words for tests of backups: an environment around a target, a manifest made up, a database full of odd things."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path

from pgops.backups.manifest import (
    DUMP_DIRECTORY,
    Extension,
    File,
    Locale,
    Manifest,
    Proof,
    SequenceValue,
    Setting,
    Table,
    Tools,
    new_id,
)
from pgops.environments import (
    AlembicSettings,
    BackupPolicy,
    Environment,
    HazardSettings,
    HostConnection,
    Keep,
    Position,
    Store,
    Timeouts,
)
from pgops.postgres import Target, connected, execute

MOMENT = dt.datetime(2026, 3, 14, 12, 30, tzinfo=dt.UTC)


def environment_for(
    target: Target, root: Path, *, keep: Keep | None = None, jobs: int = 2, name: str = "staging"
) -> Environment:
    """An unprotected environment whose backups go below ``root``."""
    return Environment(
        name=name,
        aliases=(),
        protected=False,
        connection=HostConnection(target.host, target.dbname, target.user, target.port),
        timeouts=Timeouts(),
        backups=BackupPolicy(Store("local", f"file:{root}"), keep or Keep(), jobs=jobs),
        alembic=AlembicSettings(root / "alembic.ini"),
        hazards=HazardSettings(),
        project=root,
        position=Position(root / "environments.yaml", 1, 1),
    )


def manifest_for(
    files: Sequence[File], *, moment: dt.datetime = MOMENT, environment: str = "staging"
) -> Manifest:
    """A whole manifest that nobody dumped."""
    return Manifest(
        id=new_id(moment),
        environment=environment,
        database="app",
        system_identifier="7711051888829614704",
        server_version="17.2",
        server_version_num=170002,
        tools=Tools("17.2", "/usr/lib/postgresql/17/bin", "same major as the server (17)"),
        snapshot="00000003-00000008-1",
        started_at=moment,
        finished_at=moment + dt.timedelta(seconds=3.25),
        heads=("abc123",),
        git_commit=None,
        files=tuple(files),
        tables=(Table("public", 'odd "name"\n', 12, 8192), Table("public", "view", None, 0)),
        sequences=(SequenceValue("public", "down", -5, False),),
        large_objects=2,
        extensions=(Extension("plpgsql", "1.0", "pg_catalog"),),
        roles=("owner",),
        encoding="UTF8",
        locale=Locale("icu", "C", "C", "de-DE"),
        owner="owner",
        settings=(Setting(None, "work_mem", "5MB"), Setting("owner", "search_path", '"$user", public')),
        acl=("=Tc/owner",),
        warnings=("a warning",),
        compression="zstd:3",
        jobs=2,
        pgops_version="0.1.0",
    )


def write_files(root: Path, contents: dict[str, bytes]) -> list[File]:
    """Put files below ``root`` and describe them as a manifest does."""
    found = []
    for name, content in sorted(contents.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        found.append(File(name, len(content), hashlib.sha256(content).hexdigest()))
    return found


def made_up_contents() -> dict[str, bytes]:
    """What a dump's files look like from afar."""
    return {
        f"{DUMP_DIRECTORY}/toc.dat": b"PGDMP" * 100,
        f"{DUMP_DIRECTORY}/3456.dat.gz": bytes(range(256)) * 9000,
        "globals.sql": b"-- roles\n",
    }


def good_proof(moment: dt.datetime = MOMENT) -> Proof:
    """A verification that found nothing."""
    return Proof("read", moment, 1.5, (), "pg_restore 17.2")


def run_sql(target: Target, *statements: str) -> None:
    """Run statements one by one."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(connected(target))
        for statement in statements:
            execute(connection, statement)


def with_moment(manifest: Manifest, moment: dt.datetime) -> Manifest:
    """The same backup at another time."""
    return dataclasses.replace(manifest, id=new_id(moment), started_at=moment, finished_at=moment)
