"""What a server notes at its columns is left out of what an older pg_dump wrote, and nothing else is changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pgops.errors import VerificationError
from pgops.pgtools import remove_column_versions, restorable_archive, without_column_versions

HEAD = b"ALTER TABLE ONLY public.a ALTER COLUMN id "


@pytest.mark.parametrize(
    ("written", "left"),
    [
        (HEAD + b"SET (pg_attver=22122392)", HEAD + b"RESET (pg_attver)"),
        (HEAD + b"SET (pg_attver=1)", HEAD + b"RESET (pg_attver)"),
        (HEAD + b"SET (pg_attver=22, n_distinct=5)", HEAD + b"SET (n_distinct=5)"),
        (HEAD + b"SET (n_distinct=5, pg_attver=22)", HEAD + b"SET (n_distinct=5)"),
        (
            HEAD + b"SET (n_distinct=-0.5, pg_attver=22, n_distinct_inherited=3)",
            HEAD + b"SET (n_distinct=-0.5, n_distinct_inherited=3)",
        ),
        (
            b'ALTER FOREIGN TABLE ONLY "x y"."a;""\nb(" ALTER COLUMN "SET (pg_attver=1)" SET (pg_attver=22)',
            b'ALTER FOREIGN TABLE ONLY "x y"."a;""\nb(" ALTER COLUMN "SET (pg_attver=1)" RESET (pg_attver)',
        ),
        (
            "ALTER TABLE ONLY public.größe ALTER COLUMN ä SET (pg_attver=7)".encode(),
            "ALTER TABLE ONLY public.größe ALTER COLUMN ä RESET (pg_attver)".encode(),
        ),
    ],
)
def test_the_version_goes_and_the_length_stays(written: bytes, left: bytes) -> None:
    before, after = b"SELECT 1;\n", b"\x00\x01ALTER TABLE x OWNER TO y;\n"
    result = without_column_versions(before + written + b";\n" + after)
    assert result == before + left.ljust(len(written)) + b";\n" + after


@pytest.mark.parametrize(
    "script",
    [
        b"",
        HEAD + b"SET (n_distinct=5);\n",
        HEAD + b"SET (my_pg_attver=5);\n",
        b"COMMENT ON TABLE a IS 'SET (pg_attver=1)';\n",
        b"SELECT 'ALTER COLUMN id SET (pg_attver=1);';\n",
        bytes(range(256)) * 3,
    ],
)
def test_whatever_else_is_as_it_was(script: bytes) -> None:
    assert without_column_versions(script) == script


def test_an_archive_is_changed_where_it_was_just_written_and_copied_where_it_lies(tmp_path: Path) -> None:
    archive = tmp_path / "dump"
    archive.mkdir()
    written = HEAD + b"SET (pg_attver=22122392);\n"
    (archive / "toc.dat").write_bytes(written)
    (archive / "1.dat").write_bytes(b"rows")
    with restorable_archive(archive) as usable:
        assert (usable / "toc.dat").read_bytes() == without_column_versions(written) != written
        assert (usable / "1.dat").read_bytes() == b"rows"
        assert not (usable / "1.dat").is_symlink()
    assert not usable.exists() and (archive / "1.dat").read_bytes() == b"rows"
    assert (archive / "toc.dat").read_bytes() == written
    remove_column_versions(archive)
    assert (archive / "toc.dat").read_bytes() == without_column_versions(written)
    with restorable_archive(archive) as usable:
        assert usable == archive
    with pytest.raises(VerificationError, match="changed since"), restorable_archive(archive, "0" * 64):
        pass
    digest = hashlib.sha256((archive / "toc.dat").read_bytes()).hexdigest()
    with restorable_archive(archive, digest) as usable:
        assert usable == archive
    remove_column_versions(tmp_path / "elsewhere")
