"""YAML text -> a tree that remembers where each value stands and how it was written.

Values stay text. What ``on`` or ``22:22`` means is decided by the key it stands under, never by a YAML
resolver: under ``environment`` both are text, as they are for compose. Duplicate keys, unknown tags,
endless aliases and deep nesting are errors with a position; nothing but
:class:`~pgops.errors.ConfigurationError` leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pgops.errors import ConfigurationError

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 50_000  # after aliases are followed: a bomb of ten nested anchors is far above this

_CORE = "tag:yaml.org,2002:"
_CORE_SCALARS = {_CORE + name for name in ("int", "float", "bool", "null")}
_MERGE_TAGS = {"!reset", "!override"}
_NULLS = {"", "~", "null", "Null", "NULL"}
# libyaml where PyYAML was built with it: five times as fast, same events
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as written. ``plain`` is true where nothing (quotes, a block, a tag) made it text."""

    text: str
    mark: Mark
    plain: bool = True
    tag: str = ""

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Items:
    """A YAML sequence."""

    items: tuple[Node, ...]
    mark: Mark
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Fields:
    """A YAML mapping; keys are unique."""

    pairs: tuple[tuple[Scalar, Node], ...]
    mark: Mark
    tag: str = ""

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.pairs if name.text == key), None)

    def key(self, key: str) -> Scalar | None:
        return next((name for name, _ in self.pairs if name.text == key), None)

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.pairs)


Node = Scalar | Items | Fields


@dataclass(slots=True)
class Problems:
    """Every mistake found in one pass, in the words ``file:line:column: path: what``."""

    found: list[str] = field(default_factory=list)

    def add(self, node: Node | Mark, path: str, what: str) -> None:
        mark = node if isinstance(node, Mark) else node.mark
        line = f"{mark}: {path}: {what}" if path else f"{mark}: {what}"
        if line not in self.found:
            self.found.append(line)

    def raise_if_any(self, source: str) -> None:
        """:raises ConfigurationError: with every problem, when there is one."""
        if self.found:
            raise configuration_error(source, self.found)


def configuration_error(source: str, problems: Sequence[str]) -> ConfigurationError:
    """The one error for a compose project that can't be used; ``source`` names its main file."""
    count = len(problems)
    return ConfigurationError(
        f"{source} can't be used: {count} problem{'s' if count != 1 else ''}",
        problems=problems,
        untouched="no container, volume or network was touched",
    )


def read_documents(path: Path, *, shown: str) -> tuple[Fields, ...]:
    """The YAML documents of a file, each of which must be a mapping; empty documents are left out.

    :param path: the file.
    :param shown: the file's name in messages.
    :raises ConfigurationError: unreadable, not UTF-8, not YAML, or not a mapping.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise configuration_error(shown, [f"{shown}: can't be read: {error.strerror}"]) from error
    return parse_documents(data, shown=shown)


def parse_documents(data: bytes, *, shown: str) -> tuple[Fields, ...]:
    """The same from bytes already read; see :func:`read_documents`."""
    if len(data) > MAX_BYTES:
        raise configuration_error(shown, [f"{shown}: is larger than {MAX_BYTES} bytes"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise configuration_error(shown, [f"{shown}:{line}:1: is not UTF-8 text"]) from error
    try:
        return _Builder(text, shown).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise configuration_error(shown, [f"{where}: is not YAML: {what}"]) from error
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        raise configuration_error(shown, [f"{shown}: is not YAML: {what}"]) from error


class _Builder:
    """Builds the tree from parser events, so that depth and size are known before they hurt."""

    def __init__(self, text: str, shown: str) -> None:
        self._events = yaml.parse(text, Loader=_LOADER)
        self._shown = shown
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._size = 0

    def documents(self) -> tuple[Fields, ...]:
        found: list[Fields] = []
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            self._anchors.clear()
            root = self._node(next(self._events), 0)
            if isinstance(root, Fields):
                found.append(root)
            elif not (isinstance(root, Scalar) and root.is_null):
                self._fail(root.mark, "a compose file is a mapping of keys to values")
        return tuple(found)

    def _node(self, event: Any, depth: int) -> Node:
        mark = Mark(self._shown, event.start_mark.line + 1, event.start_mark.column + 1)
        if depth > MAX_DEPTH:
            self._fail(mark, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), mark)
        before = self._size
        self._grow(1, mark)
        if event.anchor:
            self._anchors[event.anchor] = None  # open: an alias to it from inside has no end
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, mark)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._items(event, mark, depth)
        else:
            node = self._fields(event, mark, depth)
        if event.anchor:
            self._anchors[event.anchor] = (node, self._size - before)
        return node

    def _alias(self, anchor: str, mark: Mark) -> Node:
        if anchor not in self._anchors:
            self._fail(mark, f"alias *{anchor} has no anchor &{anchor} before it")
        known = self._anchors[anchor]
        if known is None:
            self._fail(mark, f"alias *{anchor} stands inside its own anchor")
        node, size = known
        self._grow(size, mark)
        return node

    def _grow(self, by: int, mark: Mark) -> None:
        self._size += by
        if self._size > MAX_NODES:
            self._fail(mark, f"has more than {MAX_NODES} values once aliases are followed")

    def _scalar(self, event: Any, mark: Mark) -> Scalar:
        tag = event.tag or ""
        if tag in _CORE_SCALARS:
            return Scalar(event.value, mark)
        if tag in ("!", _CORE + "str"):
            return Scalar(event.value, mark, plain=False)
        self._check_tag(tag, mark)
        return Scalar(event.value, mark, plain=event.implicit[0] or bool(tag), tag=tag)

    def _items(self, event: Any, mark: Mark, depth: int) -> Items:
        tag = self._check_tag(event.tag, mark, core="seq")
        items: list[Node] = []
        while not isinstance(step := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(step, depth + 1))
        return Items(tuple(items), mark, tag)

    def _fields(self, event: Any, mark: Mark, depth: int) -> Fields:
        tag = self._check_tag(event.tag, mark, core="map")
        own: dict[str, tuple[Scalar, Node]] = {}
        inherited: list[Fields] = []
        while not isinstance(step := next(self._events), yaml.MappingEndEvent):
            key = self._node(step, depth + 1)
            if not isinstance(key, Scalar):
                self._fail(key.mark, "a key must be plain text")
            value = self._node(next(self._events), depth + 1)
            if key.plain and key.text == "<<":
                inherited += self._merged(value)
            elif key.text in own:
                first = own[key.text][0].mark
                self._fail(key.mark, f"key {key.text!r} was given on line {first.line} already")
            else:
                own[key.text] = (key, value)
        for source in inherited:  # YAML's merge key: own keys win, then the earlier source
            for key, value in source:
                own.setdefault(key.text, (key, value))
        return Fields(tuple(own.values()), mark, tag)

    def _merged(self, value: Node) -> list[Fields]:
        sources = value.items if isinstance(value, Items) else (value,)
        found: list[Fields] = []
        for source in sources:
            if not isinstance(source, Fields):
                self._fail(source.mark, "'<<' takes a mapping or a list of mappings")
            found.append(source)
        return found

    def _check_tag(self, tag: str | None, mark: Mark, *, core: str = "") -> str:
        if not tag or tag == "!" or (core and tag == _CORE + core):
            return ""
        if tag not in _MERGE_TAGS:
            self._fail(mark, f"tag {tag.replace(_CORE, '!!')} means nothing in a compose file")
        return tag

    def _fail(self, mark: Mark, what: str) -> NoReturn:
        raise configuration_error(self._shown, [f"{mark}: {what}"])


def as_text(scalar: Scalar, text: str) -> Scalar:
    """``scalar`` with another text that counts as text, whatever it looks like."""
    return replace(scalar, text=text, plain=False)
