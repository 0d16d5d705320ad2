"""Data directories of scratch servers, copied from one that initdb made: that takes a fifth of initdb's time.

PostgreSQL's own tests do the same. Each copy gets a system identifier of its own, as if initdb had made it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import subprocess
import types
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pgops.local.embedded import process, scratch
from pgops.local.embedded.installation import Cluster, version

NAMED_BY = "PGOPS_TEST_CLUSTERS"
"""The variable that names the directory to every process of a test session."""
_initdb = process.initialise


def initdb_makes_them() -> None:
    """For tests of scratch servers themselves."""
    process.initialise = _initdb
    scratch.secrets = secrets  # type: ignore[attr-defined]


class Copied:
    """One data directory for all servers of a test session, which have one password then."""

    def __init__(self, directory: Path) -> None:
        """:param directory: an empty one that the server's user may enter; filled by the first who needs it."""
        self._directory = directory
        self._password = directory / "password"

    def use(self) -> None:
        """From now on in this process, and in its forks."""
        with (self._directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._password.exists():
                self._password.write_text(secrets.token_hex(16), encoding="ascii")
        password = self._password.read_text(encoding="ascii")
        process.initialise = self._initialise
        scratch.secrets = types.SimpleNamespace(token_hex=lambda _size: password)  # type: ignore[attr-defined, assignment]

    def _initialise(
        self,
        cluster: Cluster,
        *,
        superuser: str,
        password: str | None,
        settings: Mapping[str, str],
        durable: bool,
    ) -> None:
        hidden = cluster.user is not None and not cluster.user.can("-x", self._directory)
        asked = (superuser, password, dict(settings), durable, cluster.installed)
        if asked != ("postgres", self._password.read_text(encoding="ascii"), {}, False, None) or hidden:
            _initdb(cluster, superuser=superuser, password=password, settings=settings, durable=durable)
            return
        made = replace(cluster, home=self._directory / version())
        with (self._directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.data.exists():
                made.home.mkdir(exist_ok=True)
                made.home.chmod(0o755)
                _initdb(made, superuser=superuser, password=password, settings={}, durable=False)
                # The WAL is zeros for the most part: a hole is copied for nothing.
                (segment,) = (each for each in (made.data / "pg_wal").iterdir() if each.is_file())
                subprocess.run(["fallocate", "--dig-holes", str(segment)], check=True)
        subprocess.run(["cp", "-a", "--", str(made.data), str(cluster.data)], check=True)
        _identify(cluster.data, int.from_bytes(os.urandom(8)) >> 1)


def _identify(data: Path, identifier: int) -> None:
    """Give a data directory that was never started another system identifier.

    It stands at the beginning of pg_control, whose checksum comes last, and in the header of the WAL segment.
    https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_control.h
    """
    new = struct.pack("=Q", identifier)
    control = data / "global" / "pg_control"
    content = bytearray(control.read_bytes())
    old = bytes(content[:8])
    end = next(at for at, crc in _checksums(content) if struct.pack("=I", crc) == content[at : at + 4])
    content[:8] = new
    crc = next(crc for at, crc in _checksums(content) if at == end)
    content[end : end + 4] = struct.pack("=I", crc)
    control.write_bytes(content)
    (segment,) = (each for each in (data / "pg_wal").iterdir() if each.is_file())
    with segment.open("r+b") as stream:
        stream.seek(24)  # XLogLongPageHeaderData.xlp_sysid
        assert stream.read(8) == old
        stream.seek(24)
        stream.write(new)


def _checksums(content: bytearray) -> list[tuple[int, int]]:
    """CRC-32C of the first 4, 8, 12 … bytes of pg_control, with their number."""
    found, crc = [], 0xFFFFFFFF
    for at, byte in enumerate(content[:512], 1):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        if at % 4 == 0:
            found.append((at, crc ^ 0xFFFFFFFF))
    return found
