"""The page of a rehearsal and its Markdown: complete, and text of others stays text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgops.migrations.rehearsal.measured import HeldLock
from pgops.pages import markdown
from pgops.pages.rehearsal import as_html, as_markdown
from tests.support import rehearsal_page
from tests.support.html import Elements
from tests.support.rehearsals import NASTY, nasty, ran, rehearsal, statement


def test_text_of_others_is_text(tmp_path: Path) -> None:
    page = as_html(nasty(tmp_path))
    found = Elements(page)
    tags = [tag for tag, _ in found.tags]
    assert "script" not in tags
    assert "img" not in tags
    assert tags.count("style") == 1
    assert not [
        attributes for _, attributes in found.tags if any(name.startswith("on") for name in attributes)
    ]
    assert not [attributes for _, attributes in found.tags if {"href", "src"} & attributes.keys()]
    shown = "".join(found.text)
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7 * 7 }}" in shown
    assert "\u202e" not in page and "\x1b" not in page
    assert "\\u202egnirts" in shown


def test_a_style_holds_numbers_only(tmp_path: Path) -> None:
    page = as_html(nasty(tmp_path))
    for _, attributes in Elements(page).tags:
        style = attributes.get("style")
        assert style is None or re.fullmatch(
            r"left:\d+\.\d+%;width:\d+\.\d+%|background:var\(--\w+\)", style
        ), style


def test_the_page_needs_nothing_from_anywhere(tmp_path: Path) -> None:
    page = as_html(rehearsal(tmp_path, ran("aa02", statement())))
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|@import|url\(", page)


def test_the_page_tells_all_of_it(tmp_path: Path) -> None:
    lock = HeldLock("people", "ACCESS EXCLUSIVE", 0.5, 2.25)
    page = as_html(
        rehearsal(
            tmp_path,
            ran(
                "aa02", statement("ALTER TABLE people …", locks=(lock,)), statement("SELECT\n" * 9, times=40)
            ),
            ran("aa03", done=False),
            failure="it broke",
        )
    )
    shown = " ".join("".join(Elements(page).text).split())
    for wanted in (
        "failed",
        "it broke",
        "ALTER TABLE people …",
        "ACCESS EXCLUSIVE on people, held 2.2 s: reads and writes wait",
        "in 40 executions",
        "not to its end",
        "at people",
        "waits shorter than 20 ms",
        "Times are those of the machine it ran on",
    ):
        assert wanted in shown, wanted
    # What is long is folded, without a script.
    assert page.count("<details>") == 1


def test_markdown_calls_nobody_and_breaks_out_of_nothing(tmp_path: Path) -> None:
    text = as_markdown(nasty(tmp_path))
    outside = re.sub(r"^(`{3,})sql\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"(`+).*?(?<!`)\1(?!`)", "", outside)
    assert "@someone" not in prose
    assert not re.search(r"<(?!br>)\w", prose)
    assert "http://" not in prose
    assert "](http" not in prose.replace("\\](", "")
    for line in outside.splitlines():
        if line.startswith(("| confirmed", "| refuted", "| not")):
            assert len(re.findall(r"(?<!\\)\|", line)) == 6, line


@pytest.mark.parametrize("value", ["a", "`", "``a", "a`b``c", NASTY])
def test_a_code_span_holds_any_ticks(value: str) -> None:
    span = markdown.code(value)
    ticks = re.match("`+", span)
    assert ticks is not None
    inner = span[len(ticks[0]) : -len(ticks[0])]
    assert ticks[0] not in re.findall("`+", inner)


def test_the_example_in_the_docs_is_what_a_page_looks_like() -> None:
    assert rehearsal_page.PAGE.read_text(encoding="utf-8") == rehearsal_page.page(), (
        "python -m tests.support.rehearsal_page makes it and its picture anew"
    )
