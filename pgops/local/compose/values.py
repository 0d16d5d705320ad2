"""Single values of a compose file: sizes, durations, numbers, ports and mounts in their short form.

Each function takes text and returns a value, or raises :class:`ValueError` with words that complete
"services.db.shm_size: …". Rules: the compose specification, and go-units, time.ParseDuration and
go-connections where it is silent.
"""

from __future__ import annotations

import ipaddress
import re
import shlex

from pgops.local.compose.document import Scalar
from pgops.local.compose.spec import BindOptions, Mount, Port, VolumeOptions

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)")
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_TRUE = {"true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON"}
_FALSE = {"false", "False", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF"}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+")
# plain scalars that YAML readers don't agree on: octal, hex, binary, underscores, exponents, dates, inf
_DOUBTFUL = re.compile(
    r"[-+]?(0[0-9_]+|0[xob][0-9A-Fa-f_]+|[0-9][0-9_]*_[0-9_]*|\.[0-9]+|[0-9]+\.)"
    r"|[-+]?[0-9.]+[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF|nan|NaN|NAN)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?"
)
_QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.", re.DOTALL)
_ODD_ESCAPE = re.compile(r"\\(?![\"'\\ $])")
_MAX_INT64 = 2**63 - 1
_LONGEST = 40  # characters of a number; no honest one is longer
_PROTOCOLS = ("tcp", "udp", "sctp")
_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")


def boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def integer(text: str) -> int:
    if len(text) > _LONGEST or not _INTEGER.fullmatch(text) or abs(int(text)) > _MAX_INT64:
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def decimal(text: str) -> float:
    if not (_INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text)) or float(text) > 1e6:
        raise ValueError(f"{text!r} is not a number such as 0.5")
    if float(text) < 0:
        raise ValueError(f"{text!r} is below zero")
    return float(text)


def size(text: str) -> int:
    """Bytes: ``67108864``, ``64m``, ``64MB``, ``1.5g``; ``-1`` where compose takes it. Powers of 1024."""
    if text == "-1":
        return -1
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 256mb")
    unit = 1024 ** _POWERS[match[2].lower()]
    found = int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if found > _MAX_INT64:
        raise ValueError(f"{text!r} is larger than Docker can count")
    return found


def duration(text: str) -> int:
    """Nanoseconds: ``90s``, ``1m30s``, ``1.5h``, ``2d``; a unit is demanded, as in compose."""
    if text == "0":
        return 0
    at = 0
    total = 0
    for match in _DURATION.finditer(text[:_LONGEST]):
        if match.start() != at:
            break
        unit = _NANOSECONDS[match[2]]
        total += int(match[1]) * unit if match[1].isdigit() else int(float(match[1]) * unit)
        at = match.end()
    if not text or at != len(text) or total > _MAX_INT64:
        raise ValueError(f"{text!r} is not a duration such as 30s or 1m30s")
    return total


def words(text: str) -> tuple[str, ...]:
    """A command line split as a shell would, without running one.

    What only a shell could carry out (``;``, ``|``, ``>``) and backslashes that Python and compose read
    differently are refused: compose would silently drop what stands behind them.
    """
    bare = _QUOTED.sub("", text)
    shell = next((char for char in bare if char in ";&|<>"), None)
    if shell is not None:
        raise ValueError(f"{text!r}: no shell reads it, so {shell!r} means nothing; write a list")
    if _ODD_ESCAPE.search(text):
        raise ValueError(
            f"{text!r}: its backslashes mean different things to different readers; write a list"
        )
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a command line: {str(error).lower()}") from error


def printed(scalar: Scalar) -> str:
    """What compose makes of a value that must be text: ``5`` is "5", ``1.50`` is "1.5", ``on`` is "on".

    :raises ValueError: a plain number or date that readers of YAML understand differently.
    """
    text = scalar.text
    if not scalar.plain:
        return text
    if text in ("true", "True", "TRUE"):
        return "true"
    if text in ("false", "False", "FALSE"):
        return "false"
    if _INTEGER.fullmatch(text) and abs(int(text)) <= _MAX_INT64 and text != "-0":
        return str(int(text))
    if _DECIMAL.fullmatch(text) and (float(text) == 0 or 1e-4 <= abs(float(text)) < 1e6):
        number = float(text)
        return str(int(number)) if number.is_integer() else repr(number)
    if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text) or _DOUBTFUL.fullmatch(text):
        raise ValueError(f"{text} is read differently by different readers of YAML; write it in quotes")
    return text


def is_number(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text))


def ports(text: str) -> tuple[Port, ...]:
    """``[[host ip:]published:]target[/protocol]``; ranges become one entry per port."""
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise ValueError(f"{text!r}: protocol {protocol!r} is none of {', '.join(_PROTOCOLS)}")
    host, published, target = _port_parts(rest)
    first, last = _range(target, text)
    if not published:
        return tuple(Port(number, "", host, protocol) for number in range(first, last + 1))
    low, high = _range(published, text)
    if first == last:
        return (Port(first, published if low != high else str(low), host, protocol),)
    if high - low != last - first:
        raise ValueError(f"{text!r}: the two ranges are not of one length")
    return tuple(Port(first + step, str(low + step), host, protocol) for step in range(last - first + 1))


def _port_parts(text: str) -> tuple[str, str, str]:
    head, _, target = text.rpartition(":")
    host, _, published = head.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host:
        host_ip(host)
    return host, published, target


def host_ip(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IP address of this machine") from error
    return text


def _range(text: str, whole: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    first = port_number(low, whole)
    last = port_number(high, whole) if dash else first
    if last < first:
        raise ValueError(f"{whole!r}: the range {text!r} runs backwards")
    return first, last


def port_number(text: str, whole: str | None = None) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535):
        raise ValueError(f"{whole or text!r}: {text!r} is not a port between 1 and 65535")
    return int(text)


def published_port(text: str) -> str:
    """The long form's ``published``: a port, a range, or nothing."""
    if text:
        _range(text, text)
    return text


def exposed(text: str) -> str:
    """An entry of ``expose``: a port or a range, with or without a protocol."""
    numbers, slash, protocol = text.partition("/")
    if slash and protocol not in _PROTOCOLS:
        raise ValueError(f"{text!r}: protocol {protocol!r} is none of {', '.join(_PROTOCOLS)}")
    _range(numbers, text)
    return text


def mount(text: str) -> Mount:
    """``[source:]target[:options]``; a source that begins with ``.``, ``/`` or ``~`` is a path."""
    parts = text.split(":")
    if not text or "" in parts or len(parts) > 3:
        raise ValueError(f"{text!r} is not source:target[:options]")
    if len(parts) == 1:
        return Mount("volume", parts[0], volume=VolumeOptions())
    source, target = parts[0], parts[1]
    options = parts[2].split(",") if len(parts) == 3 else []
    is_path = source[0] in "./~"
    known = {"ro", "rw", *(("z", "Z", *_PROPAGATIONS) if is_path else ("nocopy",))}
    strange = next((option for option in options if option not in known), None)
    if strange is not None:
        raise ValueError(f"{text!r}: mount option {strange!r} is none of {', '.join(sorted(known))}")
    read_only = "ro" in options
    if not is_path:
        return Mount("volume", target, source, read_only, volume=VolumeOptions(nocopy="nocopy" in options))
    bind = BindOptions(
        selinux=next((option for option in options if option in ("z", "Z")), ""),
        propagation=next((option for option in options if option in _PROPAGATIONS), ""),
    )
    return Mount("bind", target, source, read_only, bind=bind)
