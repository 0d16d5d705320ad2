"""YAML -> tree: positions, plain text, and everything hostile refused in our own words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgops.errors import ConfigurationError
from pgops.local.compose.document import Fields, Items, Mark, Scalar, parse_documents


def parsed(text: str) -> Fields:
    (root,) = parse_documents(text.encode(), shown="c.yml")
    return root


def refused(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigurationError) as caught:
        parse_documents(data, shown="c.yml")
    assert caught.value.untouched == "no container, volume or network was touched"
    (problem,) = caught.value.problems
    return problem


def test_values_stay_text_and_know_their_place() -> None:
    root = parsed("a: on\nb:\n  - 22:22\n  - '5'\n")
    assert root.get("a") == Scalar("on", Mark("c.yml", 1, 4), plain=True)
    items = root.get("b")
    assert isinstance(items, Items)
    assert [item.text for item in items.items if isinstance(item, Scalar)] == ["22:22", "5"]
    assert [item.plain for item in items.items if isinstance(item, Scalar)] == [True, False]
    assert str(items.items[1].mark) == "c.yml:4:5"


def test_core_tags_decide_whether_a_value_is_plain() -> None:
    root = parsed("a: !!str 5\nb: !!int '5'\nc: ! x\n")
    assert [node.plain for _, node in root if isinstance(node, Scalar)] == [False, True, False]


def test_anchors_aliases_and_merge_keys() -> None:
    root = parsed("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: [*x, *y], a: 9}\n")
    merged = root.get("z")
    assert isinstance(merged, Fields)
    assert {key.text: value.text for key, value in merged if isinstance(value, Scalar)} == {
        "a": "9",
        "b": "2",
        "c": "4",
    }


def test_two_documents_are_two_trees_and_empty_ones_none() -> None:
    assert len(parse_documents(b"a: 1\n---\nb: 2\n---\n", shown="c.yml")) == 2
    assert parse_documents(b"# nothing\n", shown="c.yml") == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "c.yml:3:1: key 'a' was given on line 1 already"),
        ("a: [1\n", "c.yml:2:1: is not YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("- 1\n", "c.yml:1:1: a compose file is a mapping of keys to values"),
        ("a: *b\n", "c.yml:1:4: alias *b has no anchor &b before it"),
        ("a: &a [*a]\n", "c.yml:1:8: alias *a stands inside its own anchor"),
        ("a: !!binary aGk=\n", "c.yml:1:4: tag !!binary means nothing in a compose file"),
        (
            "a: !python/name:os.system ''\n",
            "c.yml:1:4: tag !python/name:os.system means nothing in a compose file",
        ),
        ("? [1]\n: 2\n", "c.yml:1:3: a key must be plain text"),
        ("a: {<<: 5}\n", "c.yml:1:9: '<<' takes a mapping or a list of mappings"),
        (b"a: 1\nb: \xff\n", "c.yml:2:1: is not UTF-8 text"),
        ("a: " + "[" * 70 + "]" * 70, "c.yml:1:68: is nested deeper than 64 levels"),
        (b"#" * (1 << 20) + b"#", "c.yml: is larger than 1048576 bytes"),
    ],
)
def test_refusals(text: str | bytes, problem: str) -> None:
    assert refused(text) == problem


def test_control_characters_are_refused() -> None:
    assert refused("a: \x00\n").startswith("c.yml")


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 50000 values once aliases are followed" in refused("\n".join(lines))


def test_a_long_chain_of_deep_flow_brackets_is_refused_quickly() -> None:
    # libyaml reads about a thousand characters ahead, and newer ones count the brackets themselves.
    assert re.search("nested deeper|nesting depth", refused("a: " + "[" * 900_000))
    assert "nested deeper" in refused("- " * 400_000)


yaml_ish = st.lists(
    st.sampled_from(
        [
            "a",
            "b:",
            ": ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "&x ",
            "*x",
            "<<: ",
            "!!str ",
            "!x ",
            "'",
            '"',
            "\n",
            "  ",
            "|",
            ">",
            "?",
            "#",
            "%",
            "---\n",
            "\t",
            "$",
            "é",
            "\u2028",
        ]
    ),
    max_size=40,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(yaml_ish, st.text(max_size=60)).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=60)
)
def test_nothing_but_our_error_comes_out(data: bytes) -> None:
    try:
        for root in parse_documents(data, shown="c.yml"):
            assert isinstance(root, Fields)
    except ConfigurationError as error:
        assert error.problems
