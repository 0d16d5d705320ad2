"""What measures share in one run: a directory, the server, and the databases that are dear to make."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import data
from benchmarks.project import Project, knowledge_base
from benchmarks.servers import Server, any_server, embedded_server
from pgops.postgres import Target


class Workbench:
    """Made once for a run. Everything it makes is gone when the run ends.

    :param quick: small data and few rounds: to see that the harness works, not to compare.
    """

    def __init__(
        self, stack: contextlib.ExitStack, directory: Path, *, quick: bool, told: Callable[[str], None]
    ) -> None:
        self._stack = stack
        self.directory = directory
        self.quick = quick
        self.told = told
        self.versions: dict[str, str] = {}
        self._server: Server | None = None
        self._scratch: Server | None = None
        self._knowledge: dict[int, Target] = {}

    @property
    def server(self) -> Server:
        """Where big things live: Docker's, or the embedded one."""
        if self._server is None:
            self.told("starting a server")
            self._server = self._stack.enter_context(any_server())
            self.versions["server"] = self._server.kind
        return self._server

    @property
    def scratch(self) -> Server:
        """The embedded server, for what is about round trips and start-up."""
        if self._scratch is None:
            self.told("starting the embedded server")
            self._scratch = self._stack.enter_context(embedded_server())
            self.versions["embedded server"] = self._scratch.kind
        return self._scratch

    def place(self, name: str) -> Path:
        """A directory of that name, empty."""
        found = self.directory / name
        if found.exists():
            shutil.rmtree(found)
        found.mkdir()
        return found

    def knowledge(self, megabytes: int) -> Target:
        """A database with the knowledge base filled to about that size; made once."""
        if megabytes not in self._knowledge:
            self.told(f"filling a knowledge base of {megabytes} MB")
            target = self.server.create(f"knowledge_{megabytes}")
            project = knowledge_base(self.place(f"fill-{megabytes}"), target)
            migrate_plainly(project, target)
            data.fill_knowledge_base(target, megabytes * 1_000_000)
            self._knowledge[megabytes] = target
        return self._knowledge[megabytes]


def migrate_plainly(project: Project, target: Target) -> None:
    """``alembic upgrade head`` in the knowledge base's project."""
    project.run("alembic", "-x", "env=bench", "upgrade", "head")


@contextlib.contextmanager
def workbench(*, quick: bool, told: Callable[[str], None]) -> Iterator[Workbench]:
    """The workbench of one run."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgops-bench-")))
        yield Workbench(stack, directory, quick=quick, told=told)
