"""What a verification proved: ``proof-….json`` beside the manifest."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import Literal

from pgops.backups.manifest.json_reader import MalformedError, Reader
from pgops.backups.manifest.json_writer import plain
from pgops.backups.manifest.seal import NO_KEYS, Keys, Origin, open_sealed, seal
from pgops.errors import VerificationError


@dataclass(frozen=True, slots=True)
class Proof:
    """One verification: stored beside the manifest, never in it. ``seconds`` is how long it took.

    ``method`` ``read`` means every hash and a full read of the archive, ``restore`` a real restore into
    a scratch database that was compared with the manifest. ``backup`` is the id and ``manifest`` the digest of
    what was verified; both are empty in a proof of before they were noted down.
    """

    method: Literal["read", "restore"]
    at: dt.datetime
    seconds: float
    problems: tuple[str, ...] = ()
    tools: str = ""
    backup: str = ""
    manifest: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

    def to_json(self) -> str:
        """The text of ``proof-….json``."""
        return seal(plain(self))


def parse_proof(text: str | bytes, *, where: str) -> Proof:
    """Read a proof, whoever wrote it. See :func:`read_proof`."""
    return read_proof(text, where=where)[0]


def read_proof(text: str | bytes, *, where: str, keys: Keys = NO_KEYS) -> tuple[Proof, Origin]:
    """Read a proof, and say who wrote it.

    :raises VerificationError: it is not one.
    """
    try:
        opened = open_sealed(text, {each.name for each in dataclasses.fields(Proof)})
        return _proof(opened.reader), keys.origin(opened)
    except MalformedError as error:
        raise VerificationError(f"a proof of {where} is damaged: {error}") from error


def _proof(read: Reader) -> Proof:
    method = read.text("method")
    if method not in ("read", "restore"):
        raise MalformedError(f"method {method!r} is not known")
    return Proof(
        method="read" if method == "read" else "restore",
        at=read.moment("at"),
        seconds=read.number("seconds"),
        problems=read.texts("problems"),
        tools=read.text("tools"),
        backup=read.text_if_given("backup"),
        manifest=read.text_if_given("manifest"),
    )
