"""What an image's programs answered, remembered: an image's id is the hash of what is in it, so it holds.

Whether a container sees our files is no matter of the image: that holds for one boot, one mount namespace
and one engine, known by its socket, which are part of the key. A memory that can't be read or written costs
time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

_MOST = 32
_NAME = "image-tools.json"


def key(endpoint: str, image: str, question: str) -> str:
    """Names an answer: who was asked what, and from where.

    :param endpoint: the engine's URL.
    :param image: the image's id.
    :param question: the whole text of what is asked.
    """
    place = [endpoint, image, question]
    with contextlib.suppress(OSError):
        # An engine that is started makes its socket anew.
        socket = Path(endpoint.partition("://")[2]).stat()
        place += map(str, (socket.st_dev, socket.st_ino, socket.st_ctime_ns))
    with contextlib.suppress(OSError):
        place.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        place.append(str(Path("/proc/self/ns/mnt").readlink()))
    return hashlib.sha256("\0".join(place).encode()).hexdigest()


def recall(name: str, environ: Mapping[str, str]) -> str | None:
    """The answer of that name; ``None`` when there is none."""
    return _read(_file(environ)).get(name)


def remember(name: str, answer: str, environ: Mapping[str, str]) -> None:
    """Keep an answer beside the latest others."""
    file = _file(environ)
    if file is None:
        return
    known = _read(file)
    known.pop(name, None)
    latest = dict([*known.items(), (name, answer)][-_MOST:])
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whole or not at all: another process may read it at any moment.
        descriptor, beside = tempfile.mkstemp(prefix=f".{_NAME}.", dir=file.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(latest, stream)
            Path(beside).replace(file)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise


def _file(environ: Mapping[str, str]) -> Path | None:
    cache = environ.get("XDG_CACHE_HOME", "")
    # A relative one is to be ignored: https://specifications.freedesktop.org/basedir-spec/latest/
    if not Path(cache).is_absolute():
        try:
            cache = str(Path.home() / ".cache")
        except RuntimeError:
            # A user without a home directory.
            return None
    return Path(cache) / "pgops" / _NAME


def _read(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): answer for name, answer in found.items() if isinstance(answer, str)}
