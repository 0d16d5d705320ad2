"""Text of others on a terminal: as it reads, never as it works.

Names, messages, query texts and application names come from servers, files and env.py. A terminal obeys what is in
them: sequences that write its title or clipboard, move the cursor, or turn the order of letters round.
"""

from __future__ import annotations

import re

# C0 without tab and line feed, DEL, C1; then what is not seen and changes what is: directions, separators of lines and
# paragraphs, invisible signs and tags, lone surrogates.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_COLOUR = re.compile("\x1b\\[[0-9;:]*m")


def clear(text: str) -> str:
    """``text`` with each control character written out (``\\x1b``, ``\\u202e``); tabs and line ends stay."""
    return _CONTROLS.sub(_escape, text)


def in_one_line(text: str) -> str:
    """``text`` with its line ends written out: a name that holds one would begin a line that reads as ours."""
    return text.replace("\n", "\\n")


def clear_output(text: str) -> str:
    """What a program printed, as lines: without colours, a line that it wrote over begins a new one, the rest :func:`clear`."""
    return clear(_COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


def clear_json(text: str) -> str:
    """A JSON text that means the same, with no control character in it."""
    return _CONTROLS.sub(_escape_json, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escape_json(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


class Styles:
    """The pieces of text that we coloured ourselves: they alone keep their escape sequences."""

    def __init__(self) -> None:
        self._pieces: set[str] = set()

    def styled(self, text: str, code: str) -> str:
        """``text``, cleared, between the sequences for ``code``."""
        piece = f"\x1b[{code}m{clear(text)}\x1b[0m"
        self._pieces.add(piece)
        return piece

    def clear(self, text: str) -> str:
        """:func:`clear`, but for pieces that :meth:`styled` made."""
        if "\x1b" not in text or not self._pieces:
            return clear(text)
        ours = re.compile("(" + "|".join(map(re.escape, sorted(self._pieces, key=len, reverse=True))) + ")")
        return "".join(part if place % 2 else clear(part) for place, part in enumerate(ours.split(text)))
