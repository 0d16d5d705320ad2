"""A backup that is kept: ``pin.json`` beside the manifest."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass

from pgops.backups.manifest.json_reader import MalformedError
from pgops.backups.manifest.json_writer import plain
from pgops.backups.manifest.seal import open_sealed, seal
from pgops.errors import VerificationError


@dataclass(frozen=True, slots=True)
class Pin:
    """A backup that retention never removes, and why. ``backup`` is its id; empty in a pin of before it was noted."""

    at: dt.datetime
    reason: str
    backup: str = ""

    def to_json(self) -> str:
        """The text of ``pin.json``."""
        return seal(plain(self))


def read_pin(text: str | bytes, *, where: str) -> Pin:
    """Read a pin.

    :raises VerificationError: it is not one.
    """
    try:
        read = open_sealed(text, {each.name for each in dataclasses.fields(Pin)}).reader
        return Pin(read.moment("at"), read.text("reason"), read.text_if_given("backup"))
    except MalformedError as error:
        raise VerificationError(f"the pin of {where} is damaged: {error}") from error
