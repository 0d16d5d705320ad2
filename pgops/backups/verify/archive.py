"""Reading an archive to its end with pg_restore: what is complained of, and how many rows every table has.

``pg_restore --list`` is content with a truncated archive; only reading every entry finds that out. A large archive
is read by several processes at once, each its share of the entries.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops.backups.manifest.manifest import DUMP_DIRECTORY
from pgops.backups.verify.script import Script, reading
from pgops.errors import VerificationError
from pgops.pgtools import Finished, Toolset, check, list_command, read_command, run, running, wait

# Below this, starting another process takes longer than it saves.
_SPLIT_FROM = 16 * 1024 * 1024
_LISTED = re.compile(r"^(\d+);", re.MULTILINE)
# Files are named after their entry, or belong to a large object, whose entry has the third kind.
_DATA = re.compile(r"(\d+)\.dat(?:\.\w+)?")
_OBJECT = re.compile(r"blob_\d+\.dat(?:\.\w+)?|toc\.dat")
_OBJECTS = re.compile(r"blobs_(\d+)\.toc")
_ENTRY = re.compile(rb"-- TOC entry \d+ \(class \d+ OID (\d+)\)\n")
# By --verbose it tells as well what it does, and names there may have several lines.
_COMPLAINT = re.compile(r"pg_restore: (?:error|warning|detail|hint): ")


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of reading an archive: complaints, none of a sound one; and rows by the OID of their table."""

    problems: list[str]
    rows: Mapping[int, int]


def read_archive(
    toolset: Toolset, root: Path, *, jobs: int = 1, taken: Callable[[int], None] = lambda _size: None
) -> list[str]:
    """What pg_restore complains about when it reads the whole archive of the backup below ``root``.

    :param taken: told of every piece of text that was read, in bytes, by several threads.
    """
    with tempfile.TemporaryDirectory(prefix="pgops-") as place:
        shares = _shares_of(toolset, root, Path(place), jobs)
        with reading(Path(place), [Script.pass_over] * len(shares), taken) as pipes:
            return _complaints(toolset, root, Path(place), shares, [each.path for each in pipes])


def count_rows(
    toolset: Toolset, root: Path, *, jobs: int = 1, taken: Callable[[int], None] = lambda _size: None
) -> Counted:
    """The same, and the rows of each table's data entry on the way: lines of text, no other read is needed.

    :param taken: told of every piece of text that was read, in bytes, by several threads.
    """
    rows: Counter[int] = Counter()
    with tempfile.TemporaryDirectory(prefix="pgops-") as place:
        shares = _shares_of(toolset, root, Path(place), jobs)
        counts: list[dict[int, int]] = [{} for _ in shares]
        counting = [functools.partial(count_script, found=each) for each in counts]
        with reading(Path(place), counting, taken) as pipes:
            outputs = [each.path for each in pipes]
            problems = _complaints(toolset, root, Path(place), shares, outputs)
    if not problems:
        # What pg_restore complains of explains why its text ends early; only without that there is more to say.
        problems = [
            f"{DUMP_DIRECTORY}: what pg_restore wrote can't be read: {each.error}"
            for each in pipes
            if each.error is not None
        ]
    for each in counts:
        rows.update(each)
    return Counted(problems, dict(rows))


def count_script(script: Script, *, found: dict[int, int]) -> None:
    """Count the rows of every COPY block of what ``pg_restore --verbose --section=data`` writes, by table OID.

    By OID, since names are shown on one line there, and a partition's rows may be loaded through its root.

    :raises EOFError: the script ends within a statement or a table.
    :raises VerificationError: a COPY statement is not as pg_dump writes it, or has no entry's heading above it.
    """
    table: int | None = None
    while line := script.line():
        if heading := _ENTRY.fullmatch(line):
            table = int(heading.group(1))
        elif (statement := script.statement(line)).startswith(b"COPY "):
            if table is None or not statement.endswith(b" FROM stdin;\n"):
                shown = statement.decode("utf-8", "backslashreplace").strip()
                raise VerificationError(f"whose rows these are is not said: {shown}")
            found[table] = found.get(table, 0) + script.count_block()
            table = None


def _shares_of(toolset: Toolset, root: Path, place: Path, jobs: int) -> list[list[str]]:
    """For each process what to tell it to read; lists of entries are written to ``place``.

    :raises ToolError: pg_restore can't list the archive.
    """
    archive = root / DUMP_DIRECTORY
    sizes, known = _entries(archive)
    if jobs == 1 or sum(sizes.values()) < _SPLIT_FROM:
        return [[]]
    if not known:
        listed = check(run(toolset.runner, list_command(archive), paths=[root]))
        sizes = {int(found.group(1)): 0 for found in _LISTED.finditer(listed.stdout)} | sizes
    shares = []
    for number, share in enumerate(shared(sizes, jobs)):
        chosen = place / f"{number}.list"
        chosen.write_text("".join(f"{entry};\n" for entry in share), encoding="ascii")
        shares.append([f"--use-list={chosen}"])
    return shares


def _entries(archive: Path) -> tuple[dict[int, int], bool]:
    """Size of the data of each entry that has any, and whether those are all: each file tells its entry."""
    if not archive.is_dir():
        return {}, False
    sizes: dict[int, int] = {}
    known = True
    with os.scandir(archive) as files:
        for file in files:
            if found := _DATA.fullmatch(file.name) or _OBJECTS.fullmatch(file.name):
                sizes[int(found.group(1))] = file.stat(follow_symlinks=False).st_size
            elif not _OBJECT.fullmatch(file.name):
                # Before 17 all large objects are of one entry, whose file does not say which: blobs.toc.
                known = False
    return sizes, known


def shared(sizes: Mapping[int, int], jobs: int) -> list[list[int]]:
    """Every entry once, in shares of about the same size.

    :param sizes: bytes by entry.
    """
    shares: list[list[int]] = [[] for _ in range(jobs)]
    weights = [0] * jobs
    for entry in sorted(sizes, key=lambda each: (-sizes[each], each)):
        lightest = weights.index(min(weights))
        shares[lightest].append(entry)
        weights[lightest] += sizes[entry]
    return [sorted(share) for share in shares if share]


def _complaints(
    toolset: Toolset, root: Path, place: Path, shares: Sequence[Sequence[str]], outputs: Sequence[Path]
) -> list[str]:
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(
                running(
                    toolset.runner,
                    [*read_command(root / DUMP_DIRECTORY, output), *share],
                    paths=[root, place],
                )
            )
            for share, output in zip(shares, outputs, strict=True)
        ]
        return [problem for child in children for problem in _complaint(wait(child))]


def _complaint(finished: Finished) -> Iterator[str]:
    if finished.exit_code != 0:
        lines = [line.strip() for line in finished.stderr.splitlines() if line.strip()]
        said = "; ".join(([line for line in lines if _COMPLAINT.match(line)] or lines)[-3:])
        yield f"{DUMP_DIRECTORY}: pg_restore can't read the archive to its end: {said or finished.exit_code}"
