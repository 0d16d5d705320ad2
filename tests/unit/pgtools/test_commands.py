"""Argument lists, compared whole; no host, user or password is in any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.pgtools import (
    conninfo_database,
    dump_command,
    globals_command,
    list_command,
    psql_command,
    read_command,
    restore_command,
)


def test_dump_of_a_snapshot() -> None:
    assert dump_command(
        Path("/b/dump"), jobs=4, snapshot="00000003-1", compression="zstd:3", lock_wait=2.5
    ) == [
        "pg_dump",
        "--format=directory",
        "--file=/b/dump",
        "--jobs=4",
        "--snapshot=00000003-1",
        "--compress=zstd:3",
        "--lock-wait-timeout=2500",
        "--no-sync",
        "--no-password",
    ]


def test_no_timeout_is_not_endless_waiting() -> None:
    command = dump_command(Path("/d"), jobs=1, snapshot="s", compression="lz4", lock_wait=0)
    assert "--lock-wait-timeout=1" in command


def test_globals_hold_no_password() -> None:
    assert globals_command(Path("/b/globals.sql"), "app") == [
        "pg_dumpall",
        "--globals-only",
        "--no-role-passwords",
        "--file=/b/globals.sql",
        "--database=app",
        "--no-password",
    ]


def test_restore_stops_at_the_first_error() -> None:
    assert restore_command(Path("/b/dump"), database="app", jobs=2, extra=["--no-owner"]) == [
        "pg_restore",
        "--dbname=app",
        "--jobs=2",
        "--exit-on-error",
        "--no-password",
        "--no-owner",
        "/b/dump",
    ]


def test_reading_and_listing() -> None:
    assert read_command(Path("/b/dump"), Path("/t/pipe")) == [
        "pg_restore",
        "--section=data",
        "--verbose",
        "--file=/t/pipe",
        "/b/dump",
    ]
    assert list_command(Path("/b/dump")) == ["pg_restore", "--list", "/b/dump"]


def test_psql_reads_nobodys_settings() -> None:
    assert psql_command("app", arguments=["--command=SELECT 1"]) == [
        "psql",
        "--no-psqlrc",
        "--set=ON_ERROR_STOP=1",
        "--no-password",
        "--dbname=app",
        "--command=SELECT 1",
    ]


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("app", "app"),
        ("app_1.x-y", "app_1.x-y"),
        ("postgres://evil/x", "dbname='postgres://evil/x'"),
        ("host=evil", "dbname='host=evil'"),
        ("it's", r"dbname='it\'s'"),
        ("back\\slash", r"dbname='back\\slash'"),
        ("two\nlines", "dbname='two\nlines'"),
        ("schön", "dbname='schön'"),
        ("--help", "dbname='--help'"),
    ],
)
def test_a_database_name_is_never_read_as_a_connection_string(name: str, argument: str) -> None:
    assert conninfo_database(name) == argument
