"""The installed console scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.preloaded import preloaded


def run(
    directory: Path, *arguments: str, program: str = "pgops", **environ: str
) -> subprocess.CompletedProcess[str]:
    """One of the installed console scripts, in a directory."""
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    return preloaded.run(command, cwd=directory, environ={**os.environ, **environ}, timeout=60)
