"""What a scratch server may leave behind: directories and processes."""

from __future__ import annotations

import time
from pathlib import Path


def remains(temporary: Path) -> list[str]:
    """Scratch servers that are there, once whoever removes them had the time to."""
    deadline = time.monotonic() + 20
    while (
        found := [each.name for each in temporary.glob("pgops-scratch-*")]
    ) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def servers(temporary: Path) -> list[str]:
    """Processes whose command line names the directory."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(temporary) in text and "postgres" in text:
            found.append(text)
    return found
