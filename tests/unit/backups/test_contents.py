"""Reading what pg_restore writes: COPY blocks and large objects, cut anywhere."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.backups import contents
from pgops.backups.contents import ArchiveContents, Ordered, Unordered, read_script

SCRIPT = (
    b"SET client_encoding = 'LATIN1';\n--\n"
    b"COPY public.empty (id) FROM stdin;\n\\.\n\n\n"
    b'COPY public."odd\nname" (id, "a b") FROM stdin;\n1\tx\n2\t\\\\.\n\\.\n'
    b"SELECT pg_catalog.lo_open('42', 131072);\n"
    b"SELECT pg_catalog.lowrite(0, '\\x6162');\n"
    b"SELECT pg_catalog.lowrite(0, '\\x63');\n"
    b"SELECT pg_catalog.lo_close(0);\n"
)


class _Cut(io.RawIOBase):
    """A stream that gives as little as it likes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes = sizes

    def read(self, size: int = -1) -> bytes:
        return self._data.read(self._sizes.pop() if self._sizes else size)


@given(st.lists(st.integers(1, 40), max_size=60))
def test_blocks_and_objects_are_found_however_the_stream_is_cut(sizes: list[int]) -> None:
    found = ArchiveContents()
    read_script(_Cut(SCRIPT, sizes), Ordered, found)
    assert found == ArchiveContents(
        tables={
            "public.empty (id)": [hashlib.sha256(b"").hexdigest()],
            'public."odd\nname" (id, "a b")': [hashlib.sha256(b"1\tx\n2\t\\\\.\n").hexdigest()],
        },
        objects={42: hashlib.sha256(b"abc").hexdigest()},
        encoding="LATIN1",
    )


def test_only_some_tables_can_be_asked_for() -> None:
    found = ArchiveContents()
    read_script(io.BytesIO(SCRIPT), Ordered, found, frozenset(["public.empty (id)"]))
    assert list(found.tables) == ["public.empty (id)"]


def test_a_stream_that_ends_in_a_table_is_an_error() -> None:
    with pytest.raises(EOFError):
        read_script(io.BytesIO(b"COPY a (b) FROM stdin;\n1\n2\n"), Ordered, ArchiveContents())


@given(st.permutations([b"1\n", b"2\n", b"2\n", b"\n", b"long line\n"]), st.integers(1, 9))
def test_the_unordered_hash_knows_lines_and_not_their_order(lines: list[bytes], cut: int) -> None:
    text = b"".join(lines)
    one, other, fewer = Unordered(), Unordered(), Unordered()
    for at in range(0, len(text), cut):
        one.write(text[at : at + cut])
    other.write(b"2\nlong line\n1\n\n2\n")
    fewer.write(b"2\nlong line\n1\n\n")
    assert one.result() == other.result() != fewer.result()


def test_partitions_in_several_blocks_add_up() -> None:
    parts, whole = [Unordered(), Unordered()], Unordered()
    for part, text in zip(parts, (b"1\n2\n", b"3\n"), strict=True):
        part.write(text)
        whole.write(text)
    assert contents._sum([each.result() for each in parts]) == whole.result()
