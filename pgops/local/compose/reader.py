"""Reads nodes of known shape and writes down every one that has another.

A reading function never raises for a mistake in the file: it records the problem with its position and
returns a value that is harmless, so that one pass finds them all.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TypeVar

from pgops.local.compose import values
from pgops.local.compose.document import Fields, Items, Node, Problems, Scalar

T = TypeVar("T")

OptionalNode = Node | None


class Reader:
    """Reads nodes; ``problems`` fills as it goes."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def bad(self, node: Node, path: str, what: str) -> None:
        self.problems.add(node, path, what)

    def value(self, node: OptionalNode, path: str, parse: Callable[[str], T], empty: T) -> T:
        """One scalar through ``parse``; null and absent are ``empty``."""
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return empty
        if not isinstance(node, Scalar):
            self.bad(node, path, "must be a single value")
            return empty
        try:
            return parse(node.text)
        except ValueError as error:
            self.bad(node, path, str(error))
            return empty

    def text(self, node: OptionalNode, path: str) -> str:
        """Text; a plain number or boolean is refused where compose refuses it."""
        if isinstance(node, Scalar) and node.plain and not node.is_null:
            try:
                printed = values.printed(node)
            except ValueError as error:
                self.bad(node, path, str(error))
                return ""
            if printed != node.text or values.is_number(printed) or printed in ("true", "false"):
                self.bad(node, path, f"{node.text} must be text; write it in quotes")
            return printed
        return self.value(node, path, str, "")

    def printed(self, node: OptionalNode, path: str) -> str:
        """Text, where numbers and booleans are welcome and are written as compose writes them."""
        if isinstance(node, Scalar) and not node.is_null:
            try:
                return values.printed(node)
            except ValueError as error:
                self.bad(node, path, str(error))
                return ""
        return self.value(node, path, str, "")

    def flag(self, node: OptionalNode, path: str) -> bool | None:
        return self.value(node, path, values.boolean, None)

    def number(self, node: OptionalNode, path: str) -> int:
        return self.value(node, path, values.integer, 0)

    def size(self, node: OptionalNode, path: str) -> int:
        return self.value(node, path, values.size, 0)

    def duration(self, node: OptionalNode, path: str) -> int | None:
        return self.value(node, path, values.duration, None)

    def one_of(self, node: OptionalNode, path: str, allowed: Collection[str]) -> str:
        """One of ``allowed``, with a suggestion where it is another word."""
        found = self.value(node, path, str, "")
        if found and found not in allowed:
            assert node is not None
            self.bad(node, path, f"{found!r} is none of {', '.join(allowed)}{did_you_mean(found, allowed)}")
            return ""
        return found

    def items(self, node: OptionalNode, path: str) -> tuple[tuple[Node, str], ...]:
        """The entries of a list with their paths; null and absent are none."""
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return ()
        if not isinstance(node, Items):
            self.bad(node, path, "must be a list")
            return ()
        return tuple((item, f"{path}[{number}]") for number, item in enumerate(node.items))

    def fields(self, node: OptionalNode, path: str) -> Fields | None:
        """A mapping; null and absent are ``None``."""
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return None
        if not isinstance(node, Fields):
            self.bad(node, path, "must be a mapping")
            return None
        return node

    def known(self, node: Fields, path: str, allowed: Collection[str]) -> None:
        """Records keys that are neither in ``allowed`` nor extensions (``x-…``)."""
        for key, _ in node:
            if key.text not in allowed and not key.text.startswith("x-"):
                where = f"{path}.{key.text}" if path else key.text
                self.bad(key, where, f"is not a key pgops can honour{did_you_mean(key.text, allowed)}")

    def texts(self, node: OptionalNode, path: str) -> tuple[str, ...]:
        """A list of text without repetition, the first of each kept."""
        return tuple(dict.fromkeys(self.printed(item, where) for item, where in self.items(node, path)))

    def text_or_texts(self, node: OptionalNode, path: str) -> tuple[str, ...]:
        if isinstance(node, Scalar) and not node.is_null:
            return (self.printed(node, path),)
        return self.texts(node, path)

    def words(self, node: OptionalNode, path: str) -> tuple[str, ...] | None:
        """A command: ``None`` where nothing is said, split where it is one text."""
        if isinstance(node, Items):
            return tuple(self.printed(item, where) for item, where in self.items(node, path))
        return self.value(node, path, values.words, None)

    def pairs(self, node: OptionalNode, path: str, *, separator: str = "=") -> Mapping[str, str | None]:
        """``{NAME: value}`` or ``[NAME=value, NAME]``; a name without value is ``None``."""
        found: dict[str, str | None] = {}
        if isinstance(node, Items):
            for item, where in self.items(node, path):
                name, given, value = self.printed(item, where).partition(separator)
                found[name] = value if given else None
            return MappingProxyType(found)
        for key, entry in self.fields(node, path) or ():
            null = isinstance(entry, Scalar) and entry.is_null
            found[key.text] = None if null else self.printed(entry, f"{path}.{key.text}")
        return MappingProxyType(found)

    def labels(self, node: OptionalNode, path: str) -> Mapping[str, str]:
        """As :meth:`pairs`, where no value is the empty text."""
        return MappingProxyType({key: value or "" for key, value in self.pairs(node, path).items()})


def did_you_mean(word: str, allowed: Collection[str]) -> str:
    close = difflib.get_close_matches(word, allowed, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
