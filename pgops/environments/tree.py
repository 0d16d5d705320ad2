"""YAML text -> a tree of nodes with positions, in a dialect without surprises.

Read from parser events, not from PyYAML's composer: the composer recurses in C and a deeply nested
text ends the process there; events also know where an alias stands. Of YAML's conveniences only those
stay that mean the same to every reader: no tags, no merge keys, no second document, no duplicate keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

# libyaml where PyYAML was built with it: the same events, ten times faster.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
# Nodes after aliases are followed; a few lines of nested aliases can stand for billions.
MAX_NODES = 50_000

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


class Place(NamedTuple):
    """Line and column, counted from 1."""

    line: int
    column: int


START = Place(1, 1)


# Plain classes here and named tuples in the modules above: every command imports this, and a frozen
# dataclass takes a millisecond to make.
class Scalar:
    """One value as written; ``plain`` when it stood without quotes."""

    __slots__ = ("place", "plain", "size", "text")

    def __init__(self, text: str, plain: bool, place: Place) -> None:
        self.text = text
        self.plain = plain
        self.place = place
        self.size = 1


class Sequence:
    """``items`` in order."""

    __slots__ = ("items", "place", "size")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.items: list[Node] = []
        self.size = 1


class Mapping:
    """``entries`` in order, each with the scalar that is its key; keys are unique."""

    __slots__ = ("entries", "place", "size")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.entries: list[tuple[Scalar, Node]] = []
        self.size = 1

    def get(self, key: str) -> Node | None:
        """The value under ``key``."""
        return next((value for each, value in self.entries if each.text == key), None)


Node = Scalar | Sequence | Mapping
Report = Callable[[Place, str], None]


class _Open:
    """A collection whose end has not come; ``key`` waits for its value, ``lines`` says where each key stood."""

    __slots__ = ("anchor", "key", "lines", "node", "skip")

    def __init__(self, node: Sequence | Mapping, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Scalar | None = None
        self.skip = False
        self.lines: dict[str, int] = {}


class _Stop(Exception):  # noqa: N818 - not an error of its own: the problem was reported before
    """Nothing sensible can be read after this point."""


def parse(raw: bytes, report: Report) -> Node | None:
    """Read one YAML document.

    :param raw: the file's bytes, UTF-8.
    :param report: called with place and text of every mistake, in order of discovery.
    :return: what could be read, ``None`` where nothing could; complete only when nothing was reported.
    """
    text = _decode(raw, report)
    if text is None:
        return None
    builder = _Builder(report)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _Stop:
        pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else START
        report(place, _explain(text, place, error))
    except yaml.YAMLError as error:
        report(START, f"is not YAML: {' '.join(str(error).split())}")
    return builder.root


def _decode(raw: bytes, report: Report) -> str | None:
    if len(raw) > MAX_BYTES:
        report(START, f"is larger than {MAX_BYTES // 1024} KiB; this is not a file of environments")
        return None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        report(START, "begins with a byte order mark; save it as UTF-8 without one")
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        report(_place_after(before), f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8")
        return None
    if found := _FORBIDDEN.search(text):
        place = _place_after(text[: found.start()])
        report(place, f"control character U+{ord(found.group()):04X} has no place in a text")
        return None
    return text


def _place_after(before: str) -> Place:
    lines = re.split("\r\n|\r|\n", before)
    return Place(len(lines), len(lines[-1]) + 1)


def _explain(text: str, place: Place, error: yaml.MarkedYAMLError) -> str:
    lines = re.split("\r\n|\r|\n", text)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\t" in line[: place.column] and not line[: place.column].strip():
        return "a tab cannot indent YAML; use spaces"
    # PyYAML's own words carry no piece of the text, so no secret either.
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return f"is not YAML: {said}"


class _Builder:
    """Takes parser events, gives a tree; nodes join their parent as they begin, so a torn text gives a torn tree."""

    def __init__(self, report: Report) -> None:
        self.root: Node | None = None
        self._report = report
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def take(self, event: Any) -> None:
        place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, place)
            case yaml.AliasEvent():
                self._alias(event.anchor, place)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event, place)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._report(place, "a second document begins; one file holds one")
                    raise _Stop
            case _:
                pass  # stream start and end, document end

    def _scalar(self, event: Any, place: Place) -> None:
        self._refuse_tag(event.tag, place)
        node = Scalar(event.value, event.implicit[0], place)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._add(node, place)

    def _alias(self, anchor: str | None, place: Place) -> None:
        assert anchor is not None, "the parser gives every alias its anchor"
        if anchor not in self._anchors:
            unfinished = any(each.anchor == anchor for each in self._open)
            what = (
                "a value contains itself" if unfinished else "an alias (*…) whose anchor does not stand above"
            )
            self._report(place, f"{what}; quote a text that begins with '*'")
            self._add(Scalar("", plain=False, place=place), place, usable=False)
            return
        target = self._anchors[anchor]
        if isinstance(target, Scalar):
            target = Scalar(target.text, target.plain, place)
        self._add(target, place)

    def _begin(self, event: Any, place: Place) -> None:
        self._refuse_tag(event.tag, place)
        if len(self._open) >= MAX_DEPTH:
            self._report(place, f"is nested more than {MAX_DEPTH} levels deep")
            raise _Stop
        node: Sequence | Mapping = (
            Mapping(place) if isinstance(event, yaml.MappingStartEvent) else Sequence(place)
        )
        self._add(node, place)
        self._open.append(_Open(node, event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        node = done.node
        if done.anchor:
            self._anchors[done.anchor] = node
        if self._open:
            self._grow(node.size - 1, node.place)

    def _refuse_tag(self, tag: str | None, place: Place) -> None:
        if tag is not None:
            # Its name stays out of the message: it may be a password that begins with '!'.
            self._report(place, "a tag (!…) is not read here; quote a text that begins with '!'")

    def _grow(self, more: int, place: Place) -> None:
        parent = self._open[-1].node
        parent.size += more
        if parent.size > MAX_NODES:
            self._report(place, f"stands for more than {MAX_NODES} values once its aliases are followed")
            raise _Stop

    def _add(self, node: Node, place: Place, *, usable: bool = True) -> None:
        if not self._open:
            self.root = node
            return
        self._grow(node.size, place)
        parent = self._open[-1]
        if isinstance(parent.node, Sequence):
            if usable:
                parent.node.items.append(node)
        elif parent.key is None:
            self._key(parent, node, place, usable)
        else:
            if usable and not parent.skip:
                parent.node.entries.append((parent.key, node))
            parent.key = None
            parent.skip = False

    def _key(self, parent: _Open, node: Node, place: Place, usable: bool) -> None:
        assert isinstance(parent.node, Mapping)
        if not isinstance(node, Scalar):
            self._report(place, "a key is a word, not a list or a mapping")
            parent.key, parent.skip = Scalar("", plain=False, place=place), True
            return
        parent.key = node
        parent.skip = not usable
        if not usable:
            return
        if node.plain and node.text == "<<":
            self._report(place, "merge keys (<<) are not read here; use defaults: or extends:")
            parent.skip = True
            return
        if node.text in parent.lines:
            first = parent.lines[node.text]
            self._report(place, f"key {_short(node.text)} stands twice; first in line {first}")
            parent.skip = True
            return
        parent.lines[node.text] = place.line


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")
