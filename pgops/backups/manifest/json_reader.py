"""Reading JSON that may be damaged or hostile: every value is checked for its type, errors name its path."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

_LARGEST = 2**63 - 1


class MalformedError(Exception):
    """The document is not what it should be; the text says where and why."""


def load_object(text: str | bytes) -> Reader:
    """Parse a JSON object.

    :raises MalformedError: not UTF-8, not JSON, a key twice, too deep, or not an object.
    """
    try:
        value = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as error:
        raise MalformedError("it is not UTF-8") from error
    except RecursionError as error:
        raise MalformedError("it is nested too deeply") from error
    except ValueError as error:
        raise MalformedError(f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise MalformedError("it is not a JSON object")
    return Reader(value, "")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise MalformedError(f"{name} is not a number of JSON")


class Reader:
    """Typed access to one JSON object. Each method names a key and raises :class:`MalformedError`."""

    def __init__(self, value: dict[str, Any], path: str) -> None:
        self._value = value
        self._path = path

    def keys(self) -> set[str]:
        """The keys that stand in it."""
        return set(self._value)

    def _get(self, key: str) -> Any:
        if key not in self._value:
            raise MalformedError(f"{self._path}{key} is missing")
        return self._value[key]

    def _wrong(self, key: str, wanted: str) -> MalformedError:
        return MalformedError(f"{self._path}{key} is not {wanted}")

    def text(self, key: str) -> str:
        """A string that can be written out again."""
        return self._text(key, self._get(key))

    def _text(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self._wrong(key, "valid Unicode") from error
        return value

    def text_or_none(self, key: str) -> str | None:
        """A string or null."""
        return None if self._get(key) is None else self.text(key)

    def text_if_given(self, key: str) -> str:
        """A string; empty where the key is missing: one that older documents lack."""
        return self.text(key) if key in self._value else ""

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(self._text(f"{key}[{at}]", each) for at, each in enumerate(self._list(key)))

    def texts_if_given(self, key: str) -> tuple[str, ...]:
        """The same; none where the key is missing: one that older documents lack."""
        return self.texts(key) if key in self._value else ()

    def texts_or_none(self, key: str) -> tuple[str, ...] | None:
        """A list of strings or null."""
        return None if self._get(key) is None else self.texts(key)

    def integer(self, key: str) -> int:
        """A whole number from 0 to 2**63 - 1."""
        number = self.signed(key)
        if number < 0:
            raise self._wrong(key, "a number of 0 or more")
        return number

    def integer_or_none(self, key: str) -> int | None:
        """The same or null."""
        return None if self._get(key) is None else self.integer(key)

    def signed(self, key: str) -> int:
        """A whole number that fits PostgreSQL's bigint."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not -_LARGEST - 1 <= value <= _LARGEST:
            raise self._wrong(key, "a whole number of 64 bits")
        return value

    def number(self, key: str) -> float:
        """A finite number of 0 or more."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
            raise self._wrong(key, "a number of 0 or more")
        if not math.isfinite(value):
            raise self._wrong(key, "a finite number")
        return float(value)

    def flag(self, key: str) -> bool:
        """true or false."""
        value = self._get(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def moment(self, key: str) -> dt.datetime:
        """A point in time with its zone, given in UTC."""
        try:
            value = dt.datetime.fromisoformat(self.text(key))
            if value.tzinfo is None:
                raise self._wrong(key, "a time with its zone")
            return value.astimezone(dt.UTC)
        except (ValueError, OverflowError) as error:
            raise self._wrong(key, "a time in ISO 8601") from error

    def object(self, key: str) -> Reader:
        """A nested object."""
        return self._object(key, self._get(key))

    def _object(self, key: str, value: Any) -> Reader:
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Reader(value, f"{self._path}{key}.")

    def objects(self, key: str) -> list[Reader]:
        """A list of objects."""
        return [self._object(f"{key}[{at}]", each) for at, each in enumerate(self._list(key))]

    def objects_if_given(self, key: str) -> list[Reader] | None:
        """The same; ``None`` where the key is missing or null: one that older documents lack."""
        return None if self._value.get(key) is None else self.objects(key)

    def _list(self, key: str) -> list[Any]:
        value = self._get(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value
