"""Reading what pg_restore writes: COPY blocks and large objects, cut anywhere."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgops.backups.verify import rows
from pgops.backups.verify.rows import ArchiveContents, CopyTarget, Ordered, Unordered, read_script
from pgops.errors import VerificationError
from pgops.postgres import identifier
from tests.support.scripts import cut

SCRIPT = (
    b"SET client_encoding = 'LATIN1';\n--\n"
    b"COPY public.empty (id) FROM stdin;\n\\.\n\n\n"
    b'COPY public."odd\nname" (id, "a b") FROM stdin;\n1\tx\n2\t\\\\.\n\\.\n'
    b"SELECT pg_catalog.lo_open('42', 131072);\n"
    b"SELECT pg_catalog.lowrite(0, '\\x6162');\n"
    b"SELECT pg_catalog.lowrite(0, '\\x63');\n"
    b"SELECT pg_catalog.lo_close(0);\n"
)
EMPTY = CopyTarget(b"public.empty", b"(id)")


@given(st.lists(st.integers(1, 40), max_size=60))
def test_blocks_and_objects_are_found_however_the_stream_is_cut(sizes: list[int]) -> None:
    found = ArchiveContents()
    read_script(cut(SCRIPT, sizes), Ordered, found)
    assert found == ArchiveContents(
        tables={
            EMPTY: [hashlib.sha256(b"").hexdigest()],
            CopyTarget(b'public."odd\nname"', b'(id, "a b")'): [
                hashlib.sha256(b"1\tx\n2\t\\\\.\n").hexdigest()
            ],
        },
        objects={42: hashlib.sha256(b"abc").hexdigest()},
        encoding="LATIN1",
    )


def test_only_some_tables_can_be_asked_for() -> None:
    found = ArchiveContents()
    read_script(cut(SCRIPT), Ordered, found, frozenset([EMPTY]))
    assert list(found.tables) == [EMPTY]


@pytest.mark.parametrize("script", [b"COPY a (b) FROM stdin;\n1\n2\n", b'COPY public."a\n'])
def test_a_stream_that_ends_in_a_table_or_a_name_is_an_error(script: bytes) -> None:
    with pytest.raises(EOFError):
        read_script(cut(script), Ordered, ArchiveContents())


def test_a_large_object_of_a_database_without_standard_conforming_strings() -> None:
    found = ArchiveContents()
    script = b"SELECT pg_catalog.lo_open('7', 131072);\nSELECT pg_catalog.lowrite(0, '\\\\x00ff');\n"
    read_script(cut(script), Ordered, found)
    assert found.objects == {7: hashlib.sha256(b"\x00\xff").hexdigest()}


def test_a_copy_that_is_not_as_pg_dump_writes_it_is_refused_not_passed_over() -> None:
    with pytest.raises(VerificationError, match="a COPY that pgops can't read: COPY a FROM program 'x'"):
        read_script(cut(b"COPY a FROM program 'x';\n1\n\\.\n"), Ordered, ArchiveContents())


NAMES = st.text(
    st.sampled_from("\"() ,.;\n\\'aé表") | st.characters(exclude_characters="\0", codec="utf-8"), min_size=1
)


@example(schema="public", table="x FROM stdin;\n", columns=["price (eur)"])
@example(schema="a.b", table='"', columns=[])
@given(schema=NAMES, table=NAMES, columns=st.lists(NAMES, max_size=3))
def test_any_name_is_found_again(schema: str, table: str, columns: list[str]) -> None:
    whole = identifier(schema, table).encode()
    listed = f"({', '.join(map(identifier, columns))})".encode() if columns else b""
    setval = b"SELECT pg_catalog.setval('%b', 1, true);\n" % whole.replace(b"'", b"''")
    found = ArchiveContents()
    read_script(cut(setval + b"COPY " + whole + b" " + listed + b" FROM stdin;\n1\n\\.\n"), Ordered, found)
    assert found.tables == {CopyTarget(whole, listed): [hashlib.sha256(b"1\n").hexdigest()]}


def test_a_line_of_a_sequences_name_is_no_statement() -> None:
    found = ArchiveContents()
    script = b"SELECT pg_catalog.setval('public.\"a\nCOPY it''s (b) FROM stdin;\n\"', 1, true);\n"
    read_script(cut(script), Ordered, found)
    assert found.tables == {}


@pytest.mark.parametrize(
    ("table", "encoding", "shown"),
    [
        ("public.café", "UTF8", "public.café"),
        ("public.café", "LATIN1", "public.café"),
        ("public.café", "SQL_ASCII", "public.caf\\xc3\\xa9"),
    ],
)
def test_a_name_is_shown_in_the_archives_encoding(table: str, encoding: str, shown: str) -> None:
    raw = table.encode("latin-1" if encoding == "LATIN1" else "utf-8")
    assert CopyTarget(raw, b"").shown(encoding) == shown


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
    assert rows._sum([each.result() for each in parts]) == whole.result()
