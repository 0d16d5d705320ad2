"""Interpolation, by the table of the compose specification and what compose 5.6 was seen to do."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.local.compose.template import TemplateError, substitute

VALUES = {"A": "1", "E": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A ${A}", "1 1"),
        ("${A}b$A", "1b1"),
        ("${A:-x}${E:-x}${Z:-x}", "1xx"),
        ("${A-x}${E-x}${Z-x}", "1x"),
        ("${A:+y}${E:+y}${Z:+y}", "y"),
        ("${A+y}${E+y}${Z+y}", "yy"),
        ("${A?no}${A:?no}${E?no}", "11"),
        ("$$A $${A}", "$A ${A}"),
        ("${Z:-${E:-${A}}}", "1"),
        ("${Z:-{x}}", "{x}"),
        ("${Z:-a:-b}", "a:-b"),
        ("${Z:-x:?y}", "x:?y"),
        ("${Z:-}", ""),
        ("${Z:-a}b}", "ab}"),
        ("${Z-$$x}", "$x"),
        ("100$ $ $1", "100$ $ $1"),
        ("", ""),
    ],
)
def test_substitute(text: str, expected: str) -> None:
    assert substitute(text, VALUES, unset=pytest.fail) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${Z:?say it}", "variable Z is required: say it"),
        ("${Z:?${A} missing}", "variable Z is required: 1 missing"),
        ("${E:?}", "variable E is required and has no value"),
        ("${Z", "'${Z' opens a '${' that is never closed"),
        ("${}", "'${}' does not begin with a variable's name"),
        ("${É}", "'${É}' does not begin with a variable's name"),
        ("${A B}", "'${A B}' has no operator that compose knows after 'A'"),
        ("${A!}", "'${A!}' has no operator that compose knows after 'A'"),
    ],
)
def test_what_is_no_template(text: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        substitute(text, VALUES, unset=lambda name: None)
    assert str(caught.value) == problem


def test_an_unset_variable_is_empty_and_told() -> None:
    told: list[str] = []
    assert substitute("a${Z}b$Y", {}, unset=told.append) == "ab"
    assert told == ["Z", "Y"]


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(TemplateError, match="nested deeper"):
        substitute("${Z:-" * 100 + "}" * 100, {}, unset=lambda name: None)


@given(st.lists(st.sampled_from(["$", "{", "}", "A", ":", "-", "?", "+", "x"]), max_size=20).map("".join))
def test_nothing_but_our_error_comes_out(text: str) -> None:
    with contextlib.suppress(TemplateError):
        substitute(text, VALUES, unset=lambda name: None)
