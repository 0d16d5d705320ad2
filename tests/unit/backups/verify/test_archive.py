"""Counting the rows of an archive, and reading it in shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.backups.verify.archive import _complaint, _entries, count_script, shared
from pgops.errors import VerificationError
from pgops.pgtools import Finished
from tests.support.scripts import cut

HEAD = b"--\n-- TOC entry %d (class 0 OID %d)\n-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: o\n--\n\n"


def counted(script: bytes) -> dict[int, int]:
    found: dict[int, int] = {}
    count_script(cut(script), found=found)
    return found


def test_rows_belong_to_the_entry_above_whatever_table_they_are_loaded_through() -> None:
    script = (
        HEAD % (3001, 16400)
        + b"COPY public.root (a) FROM stdin;\n1\n2\n\\.\n\n\n"
        + HEAD % (3002, 16401)
        + b"COPY public.root (a) FROM stdin;\n\\.\n\n\n"
        + HEAD % (3003, 16402)
        + b"COPY public.none  FROM stdin;\n\n\n\n\\.\n\n\n"
    )
    assert counted(script) == {16400: 2, 16401: 0, 16402: 3}


def test_what_looks_like_a_heading_or_a_copy_within_something_else_is_neither() -> None:
    forged = b"-- TOC entry 1 (class 0 OID 1)\nCOPY a (b) FROM stdin;\n"
    script = (
        b"SELECT pg_catalog.setval('public.\"x\n" + forged + b"\"', 1, true);\n"
        b"SELECT * FROM pg_catalog.pg_restore_attribute_stats(\n"
        + HEAD % (3001, 16400)
        + b"COPY public.t (a) FROM stdin;\n"
        + forged
        + b"\\.\n"
    )
    assert counted(script) == {16400: 2}


@pytest.mark.parametrize(
    "script",
    [
        b"COPY a (b) FROM stdin;\n1\n\\.\n",
        HEAD % (1, 2) + b"COPY a FROM program 'x';\n1\n\\.\n",
        (HEAD % (1, 2) + b"COPY a (b) FROM stdin;\n1\n\\.\n") + b"COPY c (d) FROM stdin;\n1\n\\.\n",
    ],
)
def test_rows_of_nobody_are_refused_not_passed_over(script: bytes) -> None:
    with pytest.raises(VerificationError, match="whose rows these are is not said: COPY "):
        counted(script)


@given(sizes=st.dictionaries(st.integers(1, 80), st.integers(0, 10**9)), jobs=st.integers(1, 8))
def test_shares_hold_every_entry_once_and_none_is_much_larger(sizes: dict[int, int], jobs: int) -> None:
    shares = shared(sizes, jobs)
    assert sorted(entry for share in shares for entry in share) == sorted(sizes)
    weights = [sum(sizes[entry] for entry in share) for share in shares]
    if weights:
        assert max(weights) <= sum(sizes.values()) / jobs + max(sizes.values(), default=0)


@pytest.mark.parametrize(
    ("files", "entries", "known"),
    [
        (["toc.dat", "12.dat", "13.dat.zst", "14.dat.gz", "15.dat.lz4"], {12, 13, 14, 15}, True),
        (["toc.dat", "12.dat", "blobs_99.toc", "blob_16400.dat.zst"], {12, 99}, True),
        (["toc.dat", "12.dat.gz", "blobs.toc", "blob_16400.dat.gz"], {12}, False),
        (["toc.dat", "12.dat.gz", "13.dat.gz.part"], {12}, False),
    ],
)
def test_files_tell_their_entries(tmp_path: Path, files: list[str], entries: set[int], known: bool) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"x" * 7)
    sizes, all_known = _entries(tmp_path)
    assert (set(sizes), all_known) == (entries, known)


def test_a_complaint_is_not_hidden_by_what_verbose_tells() -> None:
    said = (
        "pg_restore: implied data-only restore\n"
        'pg_restore: processing data for table "public.a"\n'
        "pg_restore: error: could not uncompress data: (null)\n"
        'pg_restore: processing data for table "public.b\n'
        'on two lines"\n'
    )
    (problem,) = _complaint(Finished(("pg_restore",), 1, "", said))
    assert problem.endswith("to its end: pg_restore: error: could not uncompress data: (null)")
    assert list(_complaint(Finished(("pg_restore",), 0, "", said))) == []
    (problem,) = _complaint(Finished(("pg_restore",), 127, "", "sh: pg_restore: not found\n"))
    assert problem.endswith("to its end: sh: pg_restore: not found")
