"""The recorded terminal runs of README and docs: made by a real run, compared with one by a test.

``python -m tests.support.recorded`` records it anew.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = (REPOSITORY / "README.md", REPOSITORY / "docs" / "rehearsal.md")
_FILES = ("tasks.py", "environments.yaml", "docker-compose.yml", "alembic.ini", "models.py", "migrations")
_BLOCK = re.compile(
    r"(<!-- recorded: (?P<tasks>[^>]+) -->\n```console\n)(?P<text>.*?)(```\n<!-- end -->)", re.DOTALL
)
# What differs from run to run, as patterns of what stands in its place.
_VARYING = (
    # A host with client programs of its own has nothing to warn about.
    (re.compile(r"^warning: pg_dump [^\n]*\n", re.MULTILINE), ""),
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}"), "<backup>"),
    (re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}"), "<run>"),
    (re.compile(r"\bplan [0-9a-f]{16}"), "plan <hash>"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "<scratch server>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "<date>"),
    (re.compile(r"\b\d+(\.\d+)? s\b"), "<seconds>"),
    # Whether a lock on an empty table is held long enough to be told depends on the machine.
    (re.compile(r"^  not predicted: blocking-lock on [^\n]*\n", re.MULTILINE), ""),
    (re.compile(r"\b\d+(\.\d+)? (B|kB|MB)\b"), "<size>"),
    (re.compile(r"\b(PostgreSQL|pg_dump|one is) \d+(\.\d+)?"), r"\1 <version>"),
)


def run(tasks: str, directory: Path) -> str:
    """Run ``tasks`` in a copy of the project without a Docker engine; returns what a person sees.

    The port is a free one and the directory a temporary one; the text shows 5432 and ``~/pgops``.
    """
    project = directory / "pgops"
    project.mkdir()
    for name in _FILES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, project / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    compose = project / "docker-compose.yml"
    compose.write_text(
        compose.read_text(encoding="utf-8").replace("127.0.0.1:5432:", f"127.0.0.1:{port}:"), encoding="utf-8"
    )
    environ = {**os.environ, "DOCKER_HOST": "unix:///var/run/no-docker.sock", "NO_COLOR": "1"}
    invoke = str(Path(sys.executable).with_name("invoke"))
    try:
        done = subprocess.run(
            [invoke, *tasks.split()],
            cwd=project,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
    finally:
        subprocess.run(
            [invoke, "db.down", "--volumes", "--yes"],
            cwd=project,
            env=environ,
            capture_output=True,
            timeout=120,
        )
    if done.returncode != 0:
        raise RuntimeError(f"{tasks} ended with {done.returncode}:\n{done.stdout}")
    text = done.stdout.replace(port, "5432")
    # As root the data cannot lie below a private home directory; a person sees the ordinary place.
    text = re.sub(r"data in \S+", "data in ~/pgops/.pgops/embedded", text)
    return text.replace(str(project), "~/pgops")


def same(text: str) -> str:
    """``text`` without what differs from run to run."""
    for pattern, stand_in in _VARYING:
        text = pattern.sub(stand_in, text)
    return text


def recorded() -> dict[str, str]:
    """The recordings: tasks -> text."""
    return {
        found["tasks"]: found["text"]
        for page in PAGES
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    }


def record() -> None:
    """Write the recordings anew."""

    def anew(found: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory() as directory:
            shown = run(found["tasks"], Path(directory))
        return f"{found.group(1)}$ ./inv {found['tasks']}\n{shown}{found.group(4)}"

    for page in PAGES:
        page.write_text(_BLOCK.sub(anew, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    record()
