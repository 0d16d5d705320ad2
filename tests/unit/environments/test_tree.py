"""The YAML dialect: what is refused, and where it stands."""

from __future__ import annotations

import re

import pytest
import yaml

from pgops.environments import tree
from pgops.environments.tree import MAX_BYTES, MAX_DEPTH, Mapping, Node, Place, Scalar, Sequence, parse


def read(raw: bytes | str) -> tuple[Node | None, list[tuple[int, int, str]]]:
    found: list[tuple[int, int, str]] = []

    def report(place: Place, text: str) -> None:
        found.append((place.line, place.column, text))

    return parse(raw if isinstance(raw, bytes) else raw.encode(), report), found


def test_nodes_know_where_they_stand() -> None:
    root, found = read("é: [x,\n 'y']\nb: &n {k: v}\nc: *n\n")
    assert found == []
    assert isinstance(root, Mapping)
    (_, first), (_, second), (key, third) = root.entries
    assert isinstance(first, Sequence) and isinstance(second, Mapping) and isinstance(third, Mapping)
    x, y = first.items
    assert isinstance(x, Scalar) and isinstance(y, Scalar)
    assert (x.text, x.plain, x.place) == ("x", True, Place(1, 5))
    assert (y.text, y.plain, y.place) == ("y", False, Place(2, 2))
    assert key.place == Place(4, 1)
    assert third is second


def test_an_alias_of_a_word_stands_where_it_is_used() -> None:
    root, _ = read("a: &x word\nb: *x\n")
    assert isinstance(root, Mapping)
    used = root.get("b")
    assert isinstance(used, Scalar) and (used.text, used.place) == ("word", Place(2, 4))


def test_words_stay_words() -> None:
    root, _ = read("[yes, on, 22:22, 2024-01-01, 010, 1_000, =, ~]")
    assert isinstance(root, Sequence)
    assert [each.text for each in root.items if isinstance(each, Scalar)] == [
        "yes", "on", "22:22", "2024-01-01", "010", "1_000", "=", "~",
    ]  # fmt: skip


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("a: 1\na: 2\n", [(2, 1, "key 'a' stands twice; first in line 1")]),
        ("a: {b: 1, b: 2}\n", [(1, 11, "key 'b' stands twice; first in line 1")]),
        ("a: !!python/object:os.system x\n", [(1, 4, "a tag (!…) is not read here; quote a text that begins with '!'")]),
        ("a: ! x\n", [(1, 4, "a tag (!…) is not read here; quote a text that begins with '!'")]),
        ("a: 1\n---\nb: 2\n", [(2, 1, "a second document begins; one file holds one")]),
        ("a: *x\n", [(1, 4, "an alias (*…) whose anchor does not stand above; quote a text that begins with '*'")]),
        ("a: &x [*x]\n", [(1, 8, "a value contains itself; quote a text that begins with '*'")]),
        ("a: &x {b: *x}\n", [(1, 11, "a value contains itself; quote a text that begins with '*'")]),
        ("a: 1\n<<: {b: 1}\n", [(2, 1, "merge keys (<<) are not read here; use defaults: or extends:")]),
        ("{[a]: 1}\n", [(1, 2, "a key is a word, not a list or a mapping")]),
        ("a:\n\tb: 1\n", [(2, 1, "a tab cannot indent YAML; use spaces")]),
        ("\ta: 1\n", [(1, 1, "a tab cannot indent YAML; use spaces")]),
        (b"ok: 1\na: \xff\n", [(2, 4, "byte 0xff is not UTF-8; save the file as UTF-8")]),
        (b"\xef\xbb\xbfa: 1\n", [(1, 1, "begins with a byte order mark; save it as UTF-8 without one")]),
        ("a: 1\n".encode("utf-16"), [(1, 1, "begins with a byte order mark; save it as UTF-8 without one")]),
        (b"a: 1\nb: \x00\n", [(2, 4, "control character U+0000 has no place in a text")]),
        (b"a: \x1b[31m\n", [(1, 4, "control character U+001B has no place in a text")]),
        (b"a" * (MAX_BYTES + 1), [(1, 1, "is larger than 1024 KiB; this is not a file of environments")]),
        ("[" * 500, [(1, MAX_DEPTH + 1, f"is nested more than {MAX_DEPTH} levels deep")]),
        ("- " * 100_000, [(1, 2 * MAX_DEPTH + 1, f"is nested more than {MAX_DEPTH} levels deep")]),
    ],
)  # fmt: skip
def test_refused(
    monkeypatch: pytest.MonkeyPatch, loader: type, raw: bytes | str, found: list[tuple[int, int, str]]
) -> None:
    monkeypatch.setattr(tree, "_LOADER", loader)
    assert read(raw)[1] == found


def test_broken_syntax_has_a_place() -> None:
    _, found = read("version: 1\nenvironments: {a: [}\n")
    ((line, column, text),) = found
    assert (line, column) == (2, 20)
    assert text.startswith("is not YAML: ")


def test_a_hundred_thousand_brackets_are_refused() -> None:
    # libyaml reads about a thousand characters ahead, and newer ones count the brackets themselves.
    ((line, _, text),) = read("[" * 100_000)[1]
    assert line == 1
    assert re.search("nested more than|nesting depth", text)


def test_a_bomb_of_aliases_is_not_lit() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    _, found = read("\n".join(lines))
    assert [text for *_, text in found] == ["stands for more than 50000 values once its aliases are followed"]


def test_what_stands_before_a_mistake_is_there() -> None:
    root, found = read("environments:\n  a: {aliases: [b]}\n  c: [\n")
    assert len(found) == 1
    assert isinstance(root, Mapping)
    environments = root.get("environments")
    assert isinstance(environments, Mapping)
    assert [key.text for key, _ in environments.entries] == ["a", "c"]
