"""Whatever happens to a file of a backup is found and named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgops.backups.manifest.manifest import Manifest
from pgops.backups.repository.repository import Progress
from pgops.backups.verify.reading import check_files, describe_files, meanwhile
from pgops.errors import VerificationError
from tests.support.backups import good_proof, made_up_contents, manifest_for, write_files

ZIPPED = "dump/3456.dat.gz"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """The manifest of the sound files below ``tmp_path``."""
    return manifest_for(write_files(tmp_path, made_up_contents()))


def test_sound_files_have_no_problem_and_notes_are_not_strangers(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    (tmp_path / "proof-20260314T123000Z-read.json").write_text(good_proof().to_json())
    (tmp_path / "pin.json").write_text("{}")
    assert check_files(tmp_path, manifest) == []
    assert describe_files(tmp_path) == manifest.files


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("attack", "problems"),
    [
        (truncate, [f"{ZIPPED}: 2303999 bytes instead of 2304000"]),
        (flip, [f"{ZIPPED}: its content is not what was written (SHA-256 differs)"]),
        (Path.unlink, [f"{ZIPPED}: missing"]),
        (link, [f"{ZIPPED}: not a plain file", "elsewhere: not in the manifest"]),
        (lambda path: path.with_name("added").write_text(""), ["dump/added: not in the manifest"]),
        (
            lambda path: path.with_name("proof-x.json").write_text(""),
            ["dump/proof-x.json: not in the manifest"],
        ),
        (
            lambda path: path.rename(path.with_name("z")),
            ["dump/z: not in the manifest", f"{ZIPPED}: missing"],
        ),
    ],
)
def test_each_kind_of_damage_is_named(
    manifest: Manifest, tmp_path: Path, attack: Callable[[Path], object], problems: list[str]
) -> None:
    attack(tmp_path / ZIPPED)
    assert check_files(tmp_path, manifest) == problems


def test_every_problem_is_told_not_just_the_first(manifest: Manifest, tmp_path: Path) -> None:
    for name in made_up_contents():
        flip(tmp_path / name)
    assert len(check_files(tmp_path, manifest)) == 3


@settings(max_examples=25, deadline=None)
@given(file=st.sampled_from(sorted(made_up_contents())), at=st.floats(0, 0.999999), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(
    tmp_path_factory: pytest.TempPathFactory, file: str, at: float, bit: int
) -> None:
    root = tmp_path_factory.mktemp("flip")
    manifest = manifest_for(write_files(root, made_up_contents()))
    raw = bytearray((root / file).read_bytes())
    raw[int(at * len(raw))] ^= 1 << bit
    (root / file).write_bytes(raw)
    assert check_files(root, manifest) == [f"{file}: its content is not what was written (SHA-256 differs)"]


def test_progress_ends_at_the_whole(manifest: Manifest, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_files(tmp_path, manifest, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (manifest.bytes, manifest.bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_hashing_ends_when_nobody_wants_it_any_more() -> None:
    def endless(progress: Progress) -> None:
        while True:
            progress(0, 1)

    with pytest.raises(KeyboardInterrupt), meanwhile(endless):
        raise KeyboardInterrupt


def test_what_is_not_a_plain_file_cannot_become_part_of_a_backup(manifest: Manifest, tmp_path: Path) -> None:
    link(tmp_path / ZIPPED)
    with pytest.raises(VerificationError, match=ZIPPED):
        describe_files(tmp_path)


def test_an_empty_file_has_a_hash_too(tmp_path: Path) -> None:
    files = write_files(tmp_path, {"dump/blobs.toc": b""})
    assert describe_files(tmp_path) == tuple(files)
    assert check_files(tmp_path, dataclasses.replace(manifest_for(files))) == []
