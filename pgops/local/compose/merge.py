"""One compose file laid over another: mappings merge, lists grow, some keys are replaced whole.

The rules are those of the compose specification, section "Merge Compose files", as compose 5.6 carries
them out. Both sides come already interpolated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pgops.local.compose.document import Fields, Items, Mark, Node, Scalar

_ANY = "*"
# these are taken whole from the later file
_REPLACED = {
    ("services", _ANY, "command"),
    ("services", _ANY, "entrypoint"),
    ("services", _ANY, "healthcheck", "test"),
}
# lists of NAME=value (or mappings of the same meaning), one entry per name
_PAIRS = {
    ("services", _ANY, "environment"): "=",
    ("services", _ANY, "labels"): "=",
    ("services", _ANY, "annotations"): "=",
    ("services", _ANY, "sysctls"): "=",
    ("services", _ANY, "deploy", "labels"): "=",
    ("networks", _ANY, "labels"): "=",
    ("volumes", _ANY, "labels"): "=",
}
# a single value here is a list of one
_LISTS = {
    ("services", _ANY, "dns"),
    ("services", _ANY, "dns_search"),
    ("services", _ANY, "tmpfs"),
    ("services", _ANY, "env_file"),
    ("services", _ANY, "label_file"),
}
# a list of names here is a mapping of names to nothing
_NAMES = {("services", _ANY, "networks")}

Path = tuple[str, ...]


def merge(base: Fields, over: Fields) -> Fields:
    """``base`` with ``over`` laid on it; positions stay those of the file a value came from."""
    found = _merge_fields(base, over, ())
    assert isinstance(found, Fields)
    return found


def _pattern(path: Path) -> Path:
    """``path`` with names of services, networks and volumes made ``*``."""
    return tuple(_ANY if place == 1 else part for place, part in enumerate(path))


def _merge(base: Node, over: Node, path: Path) -> Node:
    if over.tag == "!override":
        return replace(over, tag="")
    pattern = _pattern(path)
    if isinstance(over, Scalar) and over.is_null and pattern[:-1] not in _PAIRS:
        return base
    if pattern in _REPLACED or (isinstance(base, Scalar) and base.is_null):
        return over
    if pattern in _PAIRS:
        base, over = _as_pairs(base), _as_pairs(over)
    elif pattern in _LISTS:
        base, over = _as_list(base), _as_list(over)
    elif pattern in _NAMES:
        base, over = _as_names(base), _as_names(over)
    if isinstance(base, Fields) and isinstance(over, Fields):
        if pattern == ("services", _ANY, "logging") and _driver_changes(base, over):
            return over
        return _merge_fields(base, over, path)
    if isinstance(base, Items) and isinstance(over, Items):
        return replace(over, items=base.items + over.items)
    return over


def _merge_fields(base: Fields, over: Fields, path: Path) -> Fields:
    found = {key.text: (key, value) for key, value in base}
    for key, value in over:
        if value.tag == "!reset":
            found.pop(key.text, None)
        elif key.text in found:
            found[key.text] = (key, _merge(found[key.text][1], value, (*path, key.text)))
        else:
            found[key.text] = (key, value)
    return replace(over, pairs=tuple(found.values()))


def without_merge_tags(node: Node) -> Node:
    """``node`` with what is tagged ``!reset`` left out and ``!override`` forgotten, for a file that stands alone."""
    if isinstance(node, Fields):
        kept = tuple((key, without_merge_tags(value)) for key, value in node if value.tag != "!reset")
        return replace(node, pairs=kept, tag="")
    if isinstance(node, Items):
        return replace(
            node, items=tuple(without_merge_tags(i) for i in node.items if i.tag != "!reset"), tag=""
        )
    return replace(node, tag="") if node.tag else node


def _driver_changes(base: Fields, over: Fields) -> bool:
    """Logging options belong to their driver: those of another one are dropped."""
    old, new = base.get("driver"), over.get("driver")
    return isinstance(old, Scalar) and isinstance(new, Scalar) and old.text != new.text


def _as_pairs(node: Node) -> Node:
    """``[A=1, B]`` as ``{A: "1", B: null}``; the later entry of one name wins. Other shapes stay."""
    if not isinstance(node, Items):
        return node
    found: dict[str, tuple[Scalar, Node]] = {}
    for item in node.items:
        if not isinstance(item, Scalar):
            return node
        name, equals, value = item.text.partition("=")
        key = Scalar(name, item.mark, plain=False)
        found[name] = (key, Scalar(value, item.mark, plain=not equals))
    return Fields(tuple(found.values()), node.mark)


def _as_list(node: Node) -> Node:
    return node if isinstance(node, Items) else Items((node,), node.mark)


def _as_names(node: Node) -> Node:
    if not isinstance(node, Items):
        return node
    pairs: list[tuple[Scalar, Node]] = []
    for item in node.items:
        if not isinstance(item, Scalar):
            return node
        pairs.append((item, _nothing(item.mark)))
    return Fields(tuple(pairs), node.mark)


def _nothing(mark: Mark) -> Scalar:
    return Scalar("", mark)


def map_scalars(node: Node, change: Callable[[Scalar, str], Scalar], path: str) -> Node:
    """``node`` with ``change(scalar, its dotted path)`` applied to every value, keys left alone."""
    if isinstance(node, Scalar):
        return change(node, path)
    if isinstance(node, Items):
        items = tuple(map_scalars(item, change, f"{path}[{n}]") for n, item in enumerate(node.items))
        return replace(node, items=items)
    pairs = tuple((key, map_scalars(value, change, f"{path}.{key.text}")) for key, value in node)
    return replace(node, pairs=pairs)
