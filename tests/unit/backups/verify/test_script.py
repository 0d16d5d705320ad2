"""Lines and COPY blocks of a script, whatever is in them and wherever the stream is cut."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgops.backups.verify import script as module
from pgops.backups.verify.script import Script, reading
from tests.support.scripts import cut

# No line is the mark; COPY writes a backslash of a value twice.
ROWS = st.lists(
    st.text(st.sampled_from("\\.ab"), max_size=12).filter(lambda text: text != "\\.").map(str.encode),
    max_size=30,
)
SIZES = st.lists(st.integers(1, 9), max_size=200)


@pytest.mark.parametrize("long", [0, 1 << 30], ids=["from end to end", "in a sweep"])
@example(rows=[b""], sizes=[1] * 20)
@example(rows=[b"\\", b".", b"\\.\\."], sizes=[1] * 20)
@given(rows=ROWS, sizes=SIZES)
def test_lines_are_counted_to_the_mark_and_not_beyond(long: int, rows: list[bytes], sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LONG", long)
        script = cut(b"".join(row + b"\n" for row in rows) + b"\\.\n\n\nafter\n", sizes)
        assert script.count_block() == len(rows)
        assert [script.line() for _ in range(4)] == [b"\n", b"\n", b"after\n", b""]


@given(rows=ROWS, sizes=SIZES)
def test_a_block_is_given_whole_without_its_mark(rows: list[bytes], sizes: list[int]) -> None:
    text = b"".join(row + b"\n" for row in rows)
    given_: list[bytes] = []
    script = cut(text + b"\\.\nafter\n", sizes)
    script.copy_block(given_.append)
    assert b"".join(given_) == text
    assert script.line() == b"after\n"


def test_a_line_longer_than_the_buffer_is_one_line_and_a_long_row_takes_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 8)
    assert cut(b"x" * 1000 + b"\nnext\n").line() == b"x" * 1000 + b"\n"
    script = cut((b"y" * 1000 + b"\n") * 3 + b"\\.\n")
    assert script.count_block() == 3
    assert len(script._buffer) == 8


@pytest.mark.parametrize("text", [b"", b"1\n2\n", b"1\n\\.", b"\\."])
def test_a_block_without_an_end_is_an_error(text: bytes) -> None:
    with pytest.raises(EOFError, match="in the middle of a table"):
        cut(text).count_block()
    with pytest.raises(EOFError, match="in the middle of a table"):
        cut(text).copy_block(lambda _: None)


@pytest.mark.parametrize(
    "statement",
    [
        b'COPY public."a\n""b\nCOPY c" (d) FROM stdin;\n',
        b"SELECT pg_catalog.setval('public.\"a\nCOPY it''s (b) FROM stdin;\n\"', 1, true);\n",
        b"SELECT * FROM pg_catalog.pg_restore_attribute_stats(\n",
    ],
)
def test_a_statement_ends_where_its_quotes_are_closed(statement: bytes) -> None:
    script = cut(statement + b"after\n")
    assert script.statement(script.line()) == statement
    assert script.line() == b"after\n"


def test_a_writer_never_waits_for_a_reader_that_has_failed(tmp_path: Path) -> None:
    def fail(_script: Script) -> None:
        raise ValueError("no")

    with reading(tmp_path, [fail]) as (pipe,):
        pipe.path.write_bytes(b"x" * 3_000_000)
    assert str(pipe.error) == "no"


def test_a_writer_that_never_came_is_the_end_of_the_script(tmp_path: Path) -> None:
    found: list[bytes] = []
    before = threading.active_count()
    with reading(tmp_path, [lambda script: found.append(script.line())]):
        pass
    assert found == [b""]
    assert threading.active_count() == before
