"""What pg_restore writes, made up and cut anywhere."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pgops.backups.verify.script import Script


class _Cut(io.RawIOBase):
    """A stream that gives as little at a time as it was told, then whatever there is."""

    def __init__(self, data: bytes, sizes: Sequence[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes = list(sizes)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._data.readinto(buffer[: self._sizes.pop()] if self._sizes else buffer)


def cut(data: bytes, sizes: Sequence[int] = ()) -> Script:
    """A script of this text, of which each read gives as many bytes as the last of ``sizes`` says."""
    return Script(_Cut(data, sizes))
