"""Names of others in Markdown: they write to nobody, link nowhere and are no marks."""

from __future__ import annotations

import html
import re

import pytest

from pgops.pages import markdown

NAMES = (
    "@alice",
    "@acme/dba",
    "a@example.com",
    "see #12",
    "acme/shop#3",
    "!5",
    "~bug",
    "%v1",
    "$7",
    "https://evil.example/x",
    "www.evil.example",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:x)",
    "![a](//evil)",
    "&#64;alice",
    "&commat;alice",
    "\\@alice",
    "a | b `c` *d* _e_ ~~f~~",
    "@\u200balice",
    "@\u202ealice\x1b]0;x\x07\r\n# title",
)


def rendered(text: str) -> str:
    """What a text node of it is, as far as that matters here: without the backslashes, with entities resolved."""
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text(name: str) -> None:
    written = markdown.text(f"table {name}")
    assert "\n" not in written and "<" not in written and ">" not in written
    found = rendered(written)
    # What the forges look for once it is rendered: https://docs.gitlab.com/user/markdown/#gitlab-specific-references
    assert not re.search(r"[@#!~%$]\w", found)
    assert not re.search(r"(?<!\\)[|`*_\[\]]", written)
    assert "://" not in written and "www." not in written


def test_nothing_is_lost_for_a_reader() -> None:
    found = rendered(markdown.text("a@example.com owes $7 for #12 & <b>"))
    assert found.replace("\u200b", "") == "a@example.com owes $7 for #12 & <b>"


@pytest.mark.parametrize("name", NAMES)
def test_a_code_span_ends_where_it_should(name: str) -> None:
    written = markdown.code(name)
    ticks = re.match("`+", written)
    assert ticks is not None
    assert written.endswith(ticks[0]) and ticks[0] not in written[len(ticks[0]) : -len(ticks[0])]
    assert "|" not in written and "\n" not in written
