"""The recorded terminal runs of README and docs: made by real runs, compared with such by tests.

``python -m tests.support.recorded`` records them anew.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.preloaded import preloaded

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = (REPOSITORY / "README.md", REPOSITORY / "docs" / "rehearsal.md")
TASKS = REPOSITORY / "docs" / "tasks.md"
_FILES = ("tasks.py", "environments.yaml", "docker-compose.yml", "alembic.ini", "models.py", "migrations")
_BLOCK = re.compile(
    r"(<!-- recorded: (?P<tasks>[^>]+) -->\n```console\n)(?P<text>.*?)(```\n<!-- end -->)", re.DOTALL
)
# What differs from run to run, as patterns of what stands in its place.
_VARYING = (
    (re.compile(r"^ +[^\n]* so far[^\n]*\n", re.MULTILINE), ""),
    # What a rehearsal sees of waits depends on the machine.
    (
        re.compile(
            r"^ +(wait at|not predicted:|not seen|refuted:|[A-Z ]+ on \w+ for )[^\n]*\n", re.MULTILINE
        ),
        "",
    ),
    (re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\n]*$", re.MULTILINE), "<line of the server's log>"),
    # Which client programs a host has.
    (re.compile(r"(tools:? +|with +)(\d|pg_dump|pg_restore)[^\n]*"), r"\1<tools>"),
    (re.compile(r"\d{8}_\d{4}_[0-9a-f]{12}"), "<revision>"),
    (re.compile(r"\b(?!3f1c8a52b7d4|9b60d2e4f118|c47e05a1936f)[0-9a-f]{12}\b"), "<revision>"),
    (re.compile(r"__new_\d{8}t\d{6}_[0-9a-f]{6}"), "__new_<time>"),
    (re.compile(r"__old_\d{8}t\d{6}_[0-9a-f]{6}"), "__old_<time>"),
    (re.compile(r"pgops_scratch_[0-9a-f]+"), "pgops_scratch_<random>"),
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d UTC)?"), "<time>"),
    (re.compile(r"\bcluster \d+"), "cluster <number>"),
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


# A day with every task, in an order in which each has something to show: the task, and what is typed.
SESSION: Sequence[tuple[str, str]] = (
    ("env.list", "env.list"),
    ("env.show", "env.show --env=prod"),
    ("db.up", "db.up"),
    ("env.check", "env.check --env=dev"),
    ("db.status", "db.status"),
    ("db.url", "db.url"),
    ("migrate.plan", "migrate.plan --to=3f1c8a52b7d4"),
    ("migrate.lint", "migrate.lint"),
    ("migrate.upgrade", "migrate"),
    ("migrate.status", "migrate.status --env=dev"),
    ("migrate.history", "migrate.history"),
    ("migrate.check", "migrate.check"),
    ("migrate.log", "migrate.log"),
    ("migrate.undo", "migrate.undo --dry-run"),
    ("db.psql", 'db.psql -c "select count(*) from knowledge"'),
    ("backup.create", "backup"),
    ("backup.list", "backup.list"),
    ("backup.show", "backup.show"),
    ("backup.verify", "backup.verify"),
    ("backup.check", "backup.check --env=dev"),
    ("backup.unattended", "backup.unattended"),
    ("backup.drill", "backup.drill --env=dev"),
    ("backup.schedule", "backup.schedule --kind=github"),
    ("backup.pin", 'backup.pin --reason="before the release"'),
    ("backup.prune", "backup.prune --dry-run"),
    ("restore.run", "restore --yes"),
    ("restore.status", "restore.status"),
    ("restore.undo", "restore.undo --yes"),
    ("restore.discard", "restore.discard --database={kept} --yes"),
    ("migrate.down", "migrate.down --yes"),
    ("migrate.rehearse", "migrate.rehearse --backup=fresh"),
    ("migrate.stamp", "migrate.stamp --to=9b60d2e4f118 --yes"),
    ("status", "status --env=dev"),
    ("report", "report --html=environments.html --env=dev"),
    ("metrics", "metrics --to=. --env=dev"),
    ("migrate.revision", 'migrate.revision -m "backfill slugs" --empty'),
    ("migrate.test", "migrate.test"),
    ("db.logs", "db.logs --tail=2"),
    ("db.reset", "db.reset --yes"),
    ("db.down", "db.down"),
    ("completion", "completion --install"),
)

BY_A_PERSON = frozenset(["migrate.approve"])
"""Tasks that only a person at a terminal can go through, so that there is nothing to record; docs/approval.md shows it."""

OVER_PGBACKREST = frozenset(["restore.hand-over"])
"""Tasks over whole clusters, which this session has none of; docs/physical-backups.md shows them."""


class Session:
    """A copy of the project without a Docker engine, in which commands are typed; ends what it started.

    The port is a free one and the directory a temporary one; the text shows 5432 and ``~/pgops``.
    """

    def __init__(self, directory: Path) -> None:
        self._project = directory / "pgops"
        self._project.mkdir()
        for name in _FILES:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, self._project / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, self._project / name)
        self._port = _free_port()
        compose = self._project / "docker-compose.yml"
        text = compose.read_text(encoding="utf-8")
        compose.write_text(text.replace("127.0.0.1:5432:", f"127.0.0.1:{self._port}:"), encoding="utf-8")
        self._home = directory / "home"
        self._home.mkdir()
        self._environ = {
            **os.environ,
            "DOCKER_HOST": "unix:///var/run/no-docker.sock",
            "NO_COLOR": "1",
            "SHELL": "/bin/bash",
            "HOME": str(self._home),
        }

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            [str(preloaded.programs() / "invoke"), "db.down", "--volumes", "--yes"],
            cwd=self._project,
            env=self._environ,
            capture_output=True,
            timeout=120,
        )

    def type(self, tasks: str) -> str:
        """Run ``tasks``; returns what a person sees.

        :raises RuntimeError: it did not end with 0.
        """
        done = subprocess.run(
            [str(preloaded.programs() / "invoke"), *shlex.split(tasks)],
            cwd=self._project,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{tasks} ended with {done.returncode}:\n{done.stdout}")
        text = done.stdout.replace(self._port, "5432")
        # As root the data cannot lie below a private home directory; a person sees the ordinary place.
        text = re.sub(r"data in \S+", "data in ~/pgops/.pgops/embedded", text)
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        text = text.replace(who, "you@laptop")
        text = _shortened(_shortened(text, str(self._project), "~/pgops"), str(self._home), "~")
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _shortened(text: str, path: str, short: str) -> str:
    """``text`` with ``short`` for ``path``; a cell of a table stays as wide as it was."""
    more = " " * (len(path) - len(short))
    return re.sub(
        re.escape(path) + r"(\S*)(  +)?",
        lambda found: f"{short}{found[1]}{found[2] + more if found[2] else ''}",
        text,
    )


def _free_port() -> str:
    """A port of four digits, as wide in a table as the one that is shown."""
    for port in random.sample(range(5433, 9999), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return str(port)
    raise RuntimeError("no port is free")


def run(tasks: str, directory: Path) -> str:
    """What a person sees of ``tasks`` in a project that is new."""
    with Session(directory) as session:
        return session.type(tasks)


def run_session(directory: Path) -> dict[str, tuple[str, str]]:
    """Every task once: its name -> what was typed and what a person saw."""
    found: dict[str, tuple[str, str]] = {}
    kept = ""
    with Session(directory) as session:
        for name, written in SESSION:
            typed = written.replace("{kept}", kept)
            shown = session.type(typed)
            found[name] = (typed, shown)
            kept_now = re.search(r"is kept as (\S+);", shown)
            kept = kept_now[1] if kept_now else kept
    return found


def session_block(typed: str, shown: str) -> str:
    """The text of one task's example in docs/tasks.md."""
    return f"<!-- recorded: {typed} -->\n```console\n$ invoke {typed}\n{shown}```\n<!-- end -->\n"


def recorded_session() -> dict[str, tuple[str, str]]:
    """What docs/tasks.md shows: a task's name -> what was typed and what a person saw."""
    sections = re.split(r"^### ", TASKS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        if block := _BLOCK.search(section):
            found[section.split()[0]] = (block["tasks"], block["text"].split("\n", 1)[1])
    return found


def same(text: str) -> str:
    """``text`` without what differs from run to run."""
    for pattern, stand_in in _VARYING:
        text = pattern.sub(stand_in, text)
    # Columns are as wide as their widest cell was.
    return re.sub(r"(?<=\S) {2,}", "  ", text)


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

    from tests.support.task_reference import reference

    with tempfile.TemporaryDirectory() as directory:
        TASKS.write_text(reference(run_session(Path(directory))), encoding="utf-8")
    for page in PAGES:
        page.write_text(_BLOCK.sub(anew, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    record()
