"""One scalar and its kind -> a value, or what is wrong with it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pgops.environments.kinds import BYTES, Boolean, Choice, Duration, File, Integer, Kind, Size, Text
from pgops.environments.tree import Node, Scalar
from pgops.environments.words import did_you_mean, listed, shown
from pgops.units import SECONDS

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "false": False}
_BOOLEAN_WORDS = {
    "yes": "true",
    "on": "true",
    "true": "true",
    "no": "false",
    "off": "false",
    "false": "false",
}
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
# What readers of YAML 1.2 take for a number; a text that looks like one has to be quoted for them.
_NUMBER_LIKE = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    re.ASCII,
)
_IN_BRACES = re.compile(r"\{([A-Za-z_]{1,20})(?::[a-z0-9_]+)?\}", re.ASCII)
_QUANTITY = re.compile(r"([0-9]{1,12})([A-Za-z]+)", re.ASCII)
_UNIT_WORDS = {
    "min": ("m", "mins", "minute", "minutes"),
    "s": ("sec", "secs", "second", "seconds", "S"),
    "h": ("hr", "hour", "hours", "H"),
    "d": ("day", "days", "D"),
    "ms": ("msec", "millis", "milliseconds"),
    "kB": ("k", "K", "KB", "kb", "KiB"),
    "MB": ("M", "m", "mb", "Mb", "MiB"),
    "GB": ("G", "g", "gb", "Gb", "GiB"),
    "TB": ("T", "t", "tb", "Tb", "TiB"),
    "B": ("b", "bytes"),
}

# A value, and what is wrong: exactly one of the two says something.
Read = tuple[object, str]


def is_null(node: Node) -> bool:
    """Whether a node is YAML's null."""
    return isinstance(node, Scalar) and node.plain and node.text in NULLS


def read_scalar(node: Scalar, kind: Kind, *, directory: Path, root: Path) -> Read:
    """Read one scalar.

    :param directory: what a relative path is relative to; ``root`` where the kind says ``of_project``.
    :return: the value and ``""``, or ``None`` and what is wrong.
    """
    match kind:
        case Boolean():
            return _boolean(node)
        case Integer():
            return _integer(node, kind)
        case Choice():
            return _choice(node, kind)
        case Duration():
            return _duration(node, kind)
        case Size():
            return _quantity(node, BYTES, "a size such as 100MB")
        case File():
            return _path(node, kind, root if kind.of_project else directory)
        case Text():
            return _text(node, kind)
        case _:
            raise TypeError(f"{kind!r} is not read from one scalar")


def what_is(kind: Kind) -> str:
    """A kind in words, for '… stands where … belongs'."""
    match kind:
        case Text() | File():
            return kind.what
        case Choice():
            return f"one of {listed(kind.words)}"
        case Integer():
            return "a whole number"
        case Boolean():
            return "true or false"
        case Duration():
            return "a duration such as 5s"
        case Size():
            return "a size such as 100MB"
        case _:
            raise TypeError(f"{kind!r} is not read from one scalar")


def _text(node: Scalar, kind: Text) -> Read:
    if node.plain:
        if node.text in NULLS:
            return None, f"nothing stands where {kind.what} belongs"
        if node.text.lower() in _BOOLEANS or _NUMBER_LIKE.fullmatch(node.text):
            return (
                None,
                f'{shown(node.text)} is not a text to every reader of YAML; write it in quotes: "{node.text[:40]}"',
            )
    if kind.pattern and not re.fullmatch(kind.pattern, node.text):
        return None, f"{shown(node.text)} is not {kind.what}"
    for name in _IN_BRACES.findall(node.text) if kind.fills else ():
        if name not in kind.fills and (meant := did_you_mean(name, kind.fills)):
            return None, f"'{{{name}}}' is not filled in{meant}"
    return node.text, ""


def _path(node: Scalar, kind: File, base: Path) -> Read:
    text, wrong = _text(node, Text(kind.what, r"[^\x00]+"))
    if wrong:
        return None, wrong
    if text in kind.words:
        return Path(str(text)), ""
    try:
        return base / Path(str(text)).expanduser(), ""
    except RuntimeError:
        return None, f"{shown(str(text))}: there is no such home directory"


def _boolean(node: Scalar) -> Read:
    if node.plain and node.text in _BOOLEANS:
        return _BOOLEANS[node.text], ""
    near = _BOOLEAN_WORDS.get(node.text.lower())
    return None, f"{shown(node.text)} is not true or false" + (f"; did you mean {near}?" if near else "")


def _integer(node: Scalar, kind: Integer) -> Read:
    looks = _NUMBER.fullmatch(node.text)
    if not (node.plain and looks):
        return None, f"{shown(node.text)} is not a whole number" + ("; leave the quotes out" if looks else "")
    # No number of so many digits is in range, and Python refuses to read one of thousands.
    number = int(node.text) if len(node.text) < 20 else None
    if number is None or not kind.minimum <= number <= kind.maximum:
        one = kind.minimum == kind.maximum
        limits = f"{kind.minimum}" if one else f"between {kind.minimum} and {kind.maximum}"
        return None, f"{node.text[:40]} is not {limits}"
    return number, ""


def _choice(node: Scalar, kind: Choice) -> Read:
    if node.text in kind.words:
        return node.text, ""
    return None, f"{shown(node.text)} is not one of {listed(kind.words)}{did_you_mean(node.text, kind.words)}"


def _duration(node: Scalar, kind: Duration) -> Read:
    seconds, wrong = _quantity(node, SECONDS, "a duration such as 5s")
    if wrong:
        return None, wrong
    assert isinstance(seconds, float)
    if seconds == 0 and not kind.zero:
        return None, f"{shown(node.text)} leaves no time at all"
    if seconds > kind.maximum:
        return None, f"{shown(node.text)} is more than {_in_words(kind.maximum)}"
    return seconds, ""


def _in_words(seconds: float) -> str:
    unit, size = next(each for each in reversed(SECONDS.items()) if each[1] <= seconds)
    return f"{int(seconds / size)}{unit}"


def _quantity(node: Scalar, units: Mapping[str, float], what: str) -> Read:
    known = ", ".join(units)
    if _NUMBER.fullmatch(node.text):
        return None, f"{node.text[:40]} has no unit; it is {what}, with one of {known}"
    found = _QUANTITY.fullmatch(node.text)
    if found is None:
        return None, f"{shown(node.text)} is not {what}; units are {known}"
    number, unit = found.groups()
    if unit not in units:
        near = next((each for each in units if unit in _UNIT_WORDS.get(each, ())), None)
        meant = f"; did you mean '{number}{near}'?" if near else ""
        return None, f"{shown(node.text)} has no unit of {known}{meant}"
    return int(number) * units[unit], ""
