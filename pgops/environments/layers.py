"""Layers of settings: what was given below, what above, and what holds after both."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pgops.environments.walk import Given, Walker

Layer = Mapping[str, Given]
NOTHING: Layer = MappingProxyType({})


def merge(below: Layer, above: Layer) -> dict[str, Given]:
    """Put one layer over another: records merge key by key, everything else replaces, null takes away."""
    merged = dict(below)
    for key, given in above.items():
        if given.value is None:
            merged.pop(key, None)
        elif isinstance(given.value, dict):
            under = merged.get(key)
            inner = under.value if under is not None and isinstance(under.value, dict) else NOTHING
            merged[key] = Given(merge(inner, given.value), given.place, given.path, given.key_place)
        else:
            merged[key] = given
    return merged


def values(given: Given | None) -> Layer:
    """A record's entries; none where it was not given, unset or wrong."""
    return given.value if given is not None and isinstance(given.value, dict) else NOTHING


def plain(given: Given | None) -> dict[str, Any]:
    return {key: each.value for key, each in values(given).items()}


class Layers(NamedTuple):
    """One environment's settings: what it writes itself (``own``) and what holds (``merged``).

    ``written_in``: dotted paths of the records it is made of.
    """

    given: Given
    own: Layer
    merged: Layer
    written_in: tuple[str, ...]

    @property
    def protected(self) -> bool:
        """What it says itself; else true unless its server is a compose service."""
        said = self.merged.get("protected")
        return bool(said.value) if said is not None else "compose" not in self.merged

    def is_broken(self, setting: str, walker: Walker) -> bool:
        """Whether the setting was written somewhere but wrongly, so that its absence is no second mistake."""
        return any(f"{each}.{setting}" in walker.broken for each in self.written_in)
