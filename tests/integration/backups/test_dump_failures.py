"""A dump whose tools fail or lie, that is interrupted, or that would tell secrets: nothing is left of it."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pgops.backups.dump.create import create
from pgops.backups.verify.reading import ProblemsError
from pgops.errors import InterruptedRunError, PgopsError
from pgops.pgtools import Child, HostRunner, Runner, ToolError, Toolset, embedded_tools
from pgops.postgres import (
    Target,
)
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.backups import environment_for
from tests.support.dumps import Steps, nothing_left
from tests.support.restores import small_data
from tests.support.sql import run_sql


class _Tampering:
    """The wheel's tools, except that one program does something else."""

    def __init__(self, program: str, script: str, directory: Path) -> None:
        (self._tools,) = embedded_tools(18)
        self._program = program
        (directory / program).write_text(f"#!/bin/sh\n{script}\n")
        (directory / program).chmod(0o755)
        self._own = HostRunner(directory)
        self.argv: list[list[str]] = []

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        self.argv.append(list(argv))
        runner = self._own if argv[0] == self._program else self._tools.runner
        return runner.start(
            argv, environ={**environ, "REAL": str(getattr(self._tools.runner, "directory", ""))}, paths=paths
        )

    def source(self, _wanted: int) -> list[Toolset]:
        return [dataclasses.replace(self._tools, runner=self)]


@pytest.mark.parametrize(
    ("program", "script", "message"),
    [
        ("pg_dump", "echo half > /dev/null; echo 'pg_dump: error: No space left on device' >&2; exit 1", "No space left on device"),
        ("pg_dump", "kill -9 $$", "pg_dump was killed by signal 9"),
        ("pg_dump", '"$REAL/pg_dump" "$@" && exit 1', "pg_dump failed with exit code 1"),
        (
            "pg_dump",
            'for a in "$@"; do case $a in --file=*) dir=${a#--file=};; esac; done\n'
            '"$REAL/pg_dump" "$@" && for f in "$dir"/*.dat.gz; do head -c 20 "$f" > "$f.cut"; mv "$f.cut" "$f"; done',
            "pg_restore can't read the archive to its end",
        ),
        ("pg_restore", "echo 'pg_restore: error: broken' >&2; exit 1", "pg_restore: error: broken"),
    ],
)  # fmt: skip
def test_a_tool_that_fails_leaves_nothing(
    database: Target, tmp_path: Path, program: str, script: str, message: str
) -> None:
    small_data(database)
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    tampering = _Tampering(program, script, bin_directory)
    with pytest.raises(PgopsError) as caught:
        create(environment_for(database, tmp_path), database, sources=[tampering.source])
    assert message in caught.value.message
    assert isinstance(caught.value, ToolError) or caught.value.code == "verification"
    nothing_left(database, tmp_path)


def test_roles_that_cannot_be_saved_are_a_warning(database: Target, tmp_path: Path) -> None:
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    tampering = _Tampering(
        "pg_dumpall", "echo 'pg_dumpall: error: permission denied' >&2; exit 1", bin_directory
    )
    backup = create(environment_for(database, tmp_path), database, sources=[tampering.source])
    assert (
        "roles and tablespaces were not saved: pg_dumpall ended with 1: pg_dumpall: error: permission denied"
        in backup.manifest.warnings
    )
    assert not any(each.path == "globals.sql" for each in backup.manifest.files)


def test_no_password_is_in_argv_or_in_anything_written(database: Target, tmp_path: Path) -> None:
    role, password = f"secretive_{secrets.token_hex(4)}", f"Pa55-{secrets.token_hex(8)}"
    run_sql(database, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'")
    try:
        bin_directory = tmp_path / "bin"
        bin_directory.mkdir()
        watched = _Tampering("none", "", bin_directory)
        target = dataclasses.replace(database, user=role, password=LiteralSecret(Secret(password)))
        backup = create(environment_for(target, tmp_path), target, sources=[watched.source])
    finally:
        run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert {argv[0] for argv in watched.argv} == {"pg_dump", "pg_dumpall", "pg_restore"}
    assert password not in json.dumps(watched.argv)
    for path in Path(backup.path).rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes()


def test_ctrl_c_in_the_middle_leaves_nothing(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgops.backups.database.progress._LOOK_EVERY", 0.0)
    run_sql(
        database, "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 60000) g"
    )

    class Impatient(Steps):
        def progress(self, done: float, total: float, text: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError) as caught:
        create(environment_for(database, tmp_path), database, observer=Impatient())
    assert caught.value.untouched == "the database was only read; no backup was written"
    nothing_left(database, tmp_path)


class Elsewhere:
    """Programs that see another disk than we do, as those of an engine on another machine would."""

    def __init__(self, runner: Runner, ours: Path, theirs: Path) -> None:
        self._runner = runner
        self._ours = str(ours)
        self._theirs = str(theirs)

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        there = [each.replace(self._ours, self._theirs) for each in argv]
        for argument in there:
            if argument.startswith("--file=/") and self._theirs in argument:
                Path(argument.removeprefix("--file=")).parent.mkdir(parents=True, exist_ok=True)
        return self._runner.start(there, environ=environ, paths=paths)


def test_a_dump_that_was_written_to_another_disk_is_no_backup(database: Target, tmp_path: Path) -> None:
    small_data(database)
    (tools,) = embedded_tools(18)
    elsewhere = Elsewhere(tools.runner, tmp_path / "staging", tmp_path / "elsewhere")
    strange = dataclasses.replace(tools, runner=elsewhere)
    with pytest.raises(ProblemsError, match=r"dump/toc\.dat is not on this machine's disk"):
        create(environment_for(database, tmp_path), database, sources=[lambda _wanted: [strange]])
    nothing_left(database, tmp_path)
    assert list((tmp_path / "elsewhere").rglob("toc.dat"))
