"""Env files as compose reads them; each expectation was seen with docker compose 5.6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.local.compose.dotenv import DotenvError, parse_dotenv, parse_raw


def parsed(text: str, **around: str) -> dict[str, str]:
    return parse_dotenv(text, around, unset=lambda name: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB = spaced \n", {"A": "1", "B": "spaced"}),
        ("A: yaml\n", {"A": "yaml"}),
        ("export A=1\nexportB=2\n", {"A": "1", "exportB": "2"}),
        ("# c\nA=a b # c\nB=a#b\nC= # c\nD=x\t# c\n", {"A": "a b", "B": "a#b", "C": "# c", "D": "x\t# c"}),
        ("A='$X \\n'\nB='it\\'s'\n", {"A": "$X \\n", "B": "it's"}),
        ('A="a\\n\\t\\"q\\" \\$B \\x \\\\n"\n', {"A": 'a\n\t"q" $B \\x \\n'}),
        ('A="two\nlines"\nB=1\n', {"A": "two\nlines", "B": "1"}),
        ("A=x\nB=$A-${A}-${Z:-d}\n", {"A": "x", "B": "x-x-d"}),
        ('A=1\r\nB="2"\r\n', {"A": "1", "B": "2"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("A=\nB=a==b\n", {"A": "", "B": "a==b"}),
        ("\ufeffA=1\n", {"A": "1"}),
        ("A-B=1\nA.B=2\n1A=3\nÉ=4\n", {"A-B": "1", "A.B": "2", "1A": "3", "É": "4"}),
        ("  \n\n", {}),
    ],
)
def test_parse(text: str, expected: dict[str, str]) -> None:
    assert parsed(text) == expected


def test_a_bare_name_takes_the_surrounding_value() -> None:
    assert parsed("A\nexport B\nC\n", A="1", B="2") == {"A": "1", "B": "2"}


def test_the_surrounding_value_wins_inside_values() -> None:
    assert parsed("A=x\nB=${A}\n", A="around") == {"A": "x", "B": "around"}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("A=1\nA B=1\n", 2, "'A B=1' is not NAME=value"),
        ('A="x\n', 1, 'the " is never closed'),
        ('A="a"b"\n', 1, "'\"' can't stand in a variable's name"),
        ("A=1\n=x\n", 2, "'=x' is not NAME=value"),
        ("A@=1\n", 1, "'@' can't stand in a variable's name"),
        ("A=${B?say}\n", 1, "variable B is required: say"),
    ],
)
def test_refusals(text: str, line: int, what: str) -> None:
    with pytest.raises(DotenvError) as caught:
        parsed(text)
    assert (caught.value.line, caught.value.what) == (line, what)


def test_raw_format_keeps_everything() -> None:
    assert parse_raw("A='1' # x\n# c\n\nB=$C\r\n") == {"A": "'1' # x", "B": "$C"}
    with pytest.raises(DotenvError, match="not NAME=value"):
        parse_raw("A\n")


@given(
    st.lists(
        st.sampled_from(["A", "=", ":", " ", "\n", "'", '"', "\\", "$", "{", "}", "#", "export "]),
        max_size=30,
    ).map("".join)
)
def test_nothing_but_our_error_comes_out(text: str) -> None:
    try:
        parsed(text)
    except DotenvError as error:
        assert error.line >= 1
