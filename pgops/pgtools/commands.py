"""Argument lists for PostgreSQL's client programs: pure functions, nothing is run here.

The first element is the program's bare name; a :class:`~pgops.pgtools.runner.Runner` knows where it
lies. Host, port, user and database travel in the child's environment (``PGHOST`` …), the password in a
passfile: no list holds any of them, except the database where a program takes it from nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def conninfo_database(name: str) -> str:
    """A database name as a program's ``--dbname`` takes it literally.

    libpq reads a value with ``=`` or ``://`` in it as a connection string; such a name goes in as one.
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
    """
    if re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        return name
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def dump_command(
    directory: Path,
    *,
    jobs: int,
    snapshot: str,
    compression: str,
    lock_wait: float,
    extra: Sequence[str] = (),
) -> list[str]:
    """``pg_dump`` of the whole database of ``PGDATABASE`` into ``directory`` (directory format).

    :param compression: ``zstd:3``, ``lz4`` or ``gzip:6`` for a pg_dump that knows methods (16 and
        later), a plain level such as ``6`` for one that does not.
    :param lock_wait: seconds it may wait for a table's lock.
    :param extra: more arguments, e.g. ``--statistics``.
    """
    return [
        "pg_dump",
        "--format=directory",
        f"--file={directory}",
        f"--jobs={jobs}",
        f"--snapshot={snapshot}",
        f"--compress={compression}",
        # 0 would mean to wait for ever.
        f"--lock-wait-timeout={max(1, round(lock_wait * 1000))}",
        # Flushed once, with everything else of the backup, when it is published.
        "--no-sync",
        "--no-password",
        *extra,
    ]


def globals_command(file: Path, database: str) -> list[str]:
    """``pg_dumpall`` of roles and tablespaces into ``file``, without passwords: no superuser is needed."""
    return [
        "pg_dumpall",
        "--globals-only",
        "--no-role-passwords",
        f"--file={file}",
        f"--database={conninfo_database(database)}",
        "--no-password",
    ]


def restore_command(
    archive: Path,
    *,
    database: str,
    jobs: int,
    extra: Sequence[str] = (),
) -> list[str]:
    """``pg_restore`` of ``archive`` into ``database``, any error fatal.

    :param extra: more arguments, e.g. ``--no-owner`` or ``--use-list=…``.
    """
    return [
        "pg_restore",
        f"--dbname={conninfo_database(database)}",
        f"--jobs={jobs}",
        "--exit-on-error",
        "--no-password",
        *extra,
        str(archive),
    ]


def salvage_command(
    archive: Path,
    *,
    database: str,
    jobs: int,
    extra: Sequence[str] = (),
) -> list[str]:
    """The same, but no error ends it: ``pg_restore`` says each, goes on, and ends with 1."""
    return [
        each
        for each in restore_command(archive, database=database, jobs=jobs, extra=extra)
        if each != "--exit-on-error"
    ]


def read_command(archive: Path, output: Path) -> list[str]:
    """``pg_restore`` that reads the data of the whole archive and writes it as SQL to ``output``.

    Above the data of each entry it writes what that is of: by ``--verbose`` the OID too.
    """
    return ["pg_restore", "--section=data", "--verbose", f"--file={output}", str(archive)]


def schema_command(archive: Path, file: Path) -> list[str]:
    """``pg_restore`` that writes the archive's schema into ``file`` as SQL."""
    return [
        "pg_restore",
        "--schema-only",
        "--no-comments",
        "--no-security-labels",
        "--no-tablespaces",
        "--exclude-schema=pgops",
        f"--file={file}",
        str(archive),
    ]


def list_command(archive: Path) -> list[str]:
    """The archive's table of contents on stdout. Proves nothing about the data."""
    return ["pg_restore", "--list", str(archive)]


def psql_command(database: str, *, arguments: Sequence[str] = ()) -> list[str]:
    """``psql`` on ``database`` without anybody's ``.psqlrc``, stopping at the first error."""
    return [
        "psql",
        "--no-psqlrc",
        "--set=ON_ERROR_STOP=1",
        "--no-password",
        f"--dbname={conninfo_database(database)}",
        *arguments,
    ]
