"""Names of environments, quickly and from a file that is half written: for a shell that completes them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pgops.environments.spec_values import NAME
from pgops.environments.tree import Mapping as MappingNode
from pgops.environments.tree import Node, Place, Scalar, Sequence, parse

_KEY = re.compile(rf"( +)(?:'({NAME})'|\"({NAME})\"|({NAME})) *:(?: |$)")


def names(raw: bytes, *, aliases: bool = True) -> list[str]:
    """Every environment's name, and its aliases, in a file that may have mistakes.

    Only texts that can be a name are given: what is printed here ends in a shell.
    """
    problems: list[Place] = []
    root = parse(raw, lambda place, _: problems.append(place))
    environments = root.get("environments") if isinstance(root, MappingNode) else None
    found = list(_from_tree(environments, aliases=aliases))
    if problems:
        # The tree ends where the text stops being YAML; the lines below may still have names.
        found += _from_lines(raw.decode("utf-8", "replace"))
    return [name for name in dict.fromkeys(found) if re.fullmatch(NAME, name)]


def _from_tree(environments: Node | None, *, aliases: bool) -> Iterator[str]:
    if not isinstance(environments, MappingNode):
        return
    for key, value in environments.entries:
        yield key.text
        also = value.get("aliases") if aliases and isinstance(value, MappingNode) else None
        for item in also.items if isinstance(also, Sequence) else ():
            if isinstance(item, Scalar):
                yield item.text


def _from_lines(text: str) -> Iterator[str]:
    """Keys one level below ``environments:``."""
    inside = False
    indent = ""
    for line in text.splitlines():
        if re.match(r"environments *:", line):
            inside, indent = True, ""
        elif line[:1] not in ("", " ", "#", "\t"):
            inside = False
        elif inside and (found := _KEY.match(line)):
            indent = indent or found[1]
            if found[1] == indent:
                yield next(name for name in found.groups()[1:] if name)
