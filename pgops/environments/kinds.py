"""The kinds of values that environments.yaml may hold: what :mod:`pgops.environments.spec` is written in."""

from __future__ import annotations

from typing import NamedTuple

BYTES = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


class Text(NamedTuple):
    """A text; ``pattern`` has to match the whole of it, ``what`` says so in words.

    ``fills`` are the names that are filled in where they stand in braces; only a near miss of one is a
    mistake, for braces may mean something to whoever gets the text.
    """

    what: str = "a text"
    pattern: str = ""
    fills: tuple[str, ...] = ()


class File(NamedTuple):
    """A path, relative to environments.yaml unless ``of_project``; ``words`` are values that are no path."""

    what: str = "a path"
    of_project: bool = False
    words: tuple[str, ...] = ()


class Choice(NamedTuple):
    """One of a few words."""

    words: tuple[str, ...]


class Integer(NamedTuple):
    """A whole number."""

    minimum: int
    maximum: int = 2**53


class Boolean(NamedTuple):
    """``true`` or ``false``, nothing else."""


class Duration(NamedTuple):
    """A whole number and a unit of :data:`pgops.units.SECONDS`; limits in seconds."""

    maximum: float
    zero: bool = False


class Size(NamedTuple):
    """A whole number and a unit of :data:`BYTES`."""


class Items(NamedTuple):
    """A list without repetitions of ``item``."""

    item: Text | Choice
    at_least: int = 0
    unique: bool = True


class Table(NamedTuple):
    """A mapping of free keys to values of one kind; ``layered``: null unsets, as in a :class:`Record`."""

    key: Text
    value: Kind
    at_least: int = 0
    layered: bool = False


class SecretKind(NamedTuple):
    """A secret reference: exactly one of the sources named, each with its options."""

    sources: tuple[str, ...]


class Record(NamedTuple):
    """A mapping of known keys. ``free`` allows keys that begin with ``x-``, which are not looked at.

    ``layered``: null unsets what an earlier layer gave, and nothing is required before layers are merged.
    """

    name: str
    fields: tuple[Field, ...]
    layered: bool = True
    free: bool = False

    def get(self, name: str) -> Field | None:
        """The field of that name."""
        return next((each for each in self.fields if each.name == name), None)


class Field(NamedTuple):
    """One key: its kind, what it means, and what holds when it is not given.

    ``own``: only in an environment itself, neither in ``defaults`` nor inherited.
    """

    name: str
    kind: Kind
    help: str
    default: str = ""
    required: bool = False
    own: bool = False


Kind = Text | File | Choice | Integer | Boolean | Duration | Size | Items | Table | SecretKind | Record
