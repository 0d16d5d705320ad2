"""What others wrote is shown, not obeyed."""

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.errors import ConfigurationError
from pgops.runtime.clear_text import Styles, clear, clear_json
from pgops.terminal.console import Console

CLIPBOARD = "\x1b]52;c;cm0gLXJmIC8=\x07"
TITLE = "\x1b]0;harmless\x07"
C1 = "\x9b2J"
BIDI = "invoice\u202efdp.exe"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_sequences_are_written_out() -> None:
    assert clear(CLIPBOARD) == r"\x1b]52;c;cm0gLXJmIC8=\x07"
    assert clear(C1) == r"\x9b2J"
    assert clear(BIDI) == r"invoice\u202efdp.exe"
    assert clear("a\rb\x08c\x7f\u2028\ufeff\U000e0041") == r"a\x0db\x08c\x7f\u2028\ufeff\U000e0041"


def test_what_people_write_stays() -> None:
    text = "Größe\t☃ 東京 עברית e\u0301\nnext line"
    assert clear(text) == text


_WORKING = {
    chr(code)
    for code in range(0x110000)
    if (unicodedata.category(chr(code)) in {"Cc", "Zl", "Zp"} and chr(code) not in "\t\n")
    or unicodedata.bidirectional(chr(code)) in {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
}


@given(st.text())
def test_no_text_leaves_a_control_character(text: str) -> None:
    assert not _WORKING & set(clear(text))
    assert clear(clear(text)) == clear(text)


@given(st.text())
def test_json_means_the_same(text: str) -> None:
    written = clear_json(json.dumps({"x": text}, ensure_ascii=False))
    assert json.loads(written) == {"x": text}
    assert not _WORKING & set(written)


def test_our_own_colours_stay_and_nobody_elses() -> None:
    styles = Styles()
    ours = styles.styled(f"name {TITLE}", "1")
    assert styles.clear(f"{ours} \x1b[8mhidden") == "\x1b[1mname \\x1b]0;harmless\\x07\x1b[0m \\x1b[8mhidden"


@pytest.mark.parametrize("hostile", [CLIPBOARD, TITLE, C1, BIDI])
@pytest.mark.parametrize("json_output", [False, True])
def test_nothing_of_it_reaches_a_terminal(
    monkeypatch: pytest.MonkeyPatch, hostile: str, json_output: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    out, err = Terminal(), Terminal()
    console = Console(json_output=json_output, out=out, err=err, stdin=io.StringIO())
    console.say(f"blocked by {hostile}")
    console.warn(hostile)
    console.table([hostile], [[hostile]])
    console.say(console.style(hostile, "red"))
    console.raw(hostile + "\n")
    console.result({"application": hostile})
    console.clear_result({"application": hostile})
    console.fail(ConfigurationError(hostile, problems=[hostile], untouched=hostile, hint=hostile))
    with console.progress(f"[/b] {hostile}", 1.0) as ticker:
        ticker.update(0.5, f"[/i] {hostile}")
    for stream in (out, err):
        written = stream.getvalue()
        # Rich and our colours are the only ones that speak to the terminal.
        assert hostile not in written
        assert not {"\x9b", "\u202e", "\x07"} & set(written)
        assert "\x1b]" not in written


def test_a_file_gets_what_was_asked_for_unchanged() -> None:
    out = io.StringIO()
    Console(out=out, err=io.StringIO(), stdin=io.StringIO()).raw(f"SELECT '{TITLE}'\n")
    assert out.getvalue() == f"SELECT '{TITLE}'\n"
