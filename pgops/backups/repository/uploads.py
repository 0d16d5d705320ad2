"""What is sent to a bucket is hashed on the way, part by part, so that it can be told what arrived."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file as it was sent. ``tag`` is the ETag that S3 gives to such an upload where it is not encrypted."""

    size: int
    sha256: str
    tag: str


class UnwantedError(Exception):
    """An upload was broken off because nobody wants it any more."""


class Hashing:
    """SHA-256 of a file and the ETag of an upload in parts, computed on the way."""

    def __init__(self, part: int) -> None:
        self._part = part
        self._size = 0
        self._sha = hashlib.sha256()
        # S3's ETag is an MD5 by definition; it guards against damage on the way, not against people.
        self._parts: list[bytes] = []

    def take(self, piece: bytes) -> None:
        """One part."""
        self._size += len(piece)
        self._sha.update(piece)
        self._parts.append(hashlib.md5(piece, usedforsecurity=False).digest())

    def pieces(self, path: Path, sent: Callable[[int], None], unwanted: threading.Event) -> Iterator[bytes]:
        """The file part by part."""
        with path.open("rb") as stream:
            while piece := stream.read(self._part):
                if unwanted.is_set():
                    # Out of here obstore aborts the upload in parts; a process that ends would leave them behind.
                    raise UnwantedError
                self.take(piece)
                yield piece
                sent(len(piece))

    def result(self) -> Uploaded:
        """What was sent."""
        if len(self._parts) == 1:
            tag = self._parts[0].hex()
        else:
            joined = hashlib.md5(b"".join(self._parts), usedforsecurity=False).hexdigest()
            tag = f"{joined}-{len(self._parts)}"
        return Uploaded(self._size, self._sha.hexdigest(), tag)
