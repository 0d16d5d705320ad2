"""Invoke's program under the name ``pgops``: the project's own tasks.py where it uses pgops, else pgops' namespace."""

from __future__ import annotations

import sys
from pathlib import Path

from invoke.collection import Collection
from invoke.exceptions import CollectionNotFound, Exit
from invoke.loader import FilesystemLoader
from invoke.program import Program

from pgops import __version__
from pgops.environments.load import FILE_NAME
from pgops.errors import UsageError
from pgops.tasks import _core
from pgops.tasks._core import UnknownTaskError
from pgops.tasks._program import end_in_silence, parse_tasks, printed, usage_errors
from pgops.terminal import commands


class PgopsProgram(Program):
    """The command line of ``pgops``.

    ``pgops TASK`` is ``invoke TASK``: the same tasks.py is found from the same directories. Where there is
    none, or where it does not mention pgops (Celery's tasks.py is a common one), it is not imported: the
    tasks are pgops' own, and the project is the nearest directory with an environments.yaml.
    """

    def __init__(self) -> None:
        super().__init__(version=__version__, name="pgops", binary="pgops", binary_names=["pgops"])
        self._passed_over: Path | None = None

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:
        if commands.program_name() == commands.INVOKE:  # ./inv has said its own name
            commands.use_program("pgops")
        super().run(argv, exit)

    def parse_core_args(self) -> None:
        with usage_errors(self):
            try:
                super().parse_core_args()
            except ValueError as error:
                # Invoke's int(value), which quotes the value at its end; no other core options take numbers.
                value = str(error).rpartition(": ")[2]
                raise UsageError(
                    f"--command-timeout (-T) and --list-depth (-D) take a whole number, and {value} is none"
                ) from error
            _core.check_values(self.args)

    def print_version(self) -> None:
        with usage_errors(self):
            _core.check_alone("version", self.args, self.core.unparsed)
        end_in_silence()
        with printed():
            super().print_version()

    def print_help(self) -> None:
        with usage_errors(self):
            _core.check_alone("help", self.args, self.core.unparsed)
        end_in_silence()
        with printed():
            super().print_help()

    def parse_tasks(self) -> None:
        with usage_errors(self):
            try:
                parse_tasks(self)
            except UnknownTaskError as error:
                if self._passed_over is not None:
                    error.hint = f"tasks of {self._passed_over}, which does not use pgops, are for Invoke's own program"
                raise

    def load_collection(self) -> None:
        """The namespace, and the project's directory for :func:`pgops.tasks._task.project_root`."""
        named = self.args.collection.value
        start = self.args["search-root"].value or self.config.tasks.search_root or str(Path.cwd())
        if named or self._tasks_are_ours(start):
            with usage_errors(self):
                self._load_named(named)
        else:
            self._load_own(_project_directory(Path(start).absolute()))
        if "init" not in self.collection.task_names:
            from pgops.cli.init import init

            self.collection.add_task(init)

    def _load_named(self, named: str | None) -> None:
        try:
            super().load_collection()
        except Exit as error:
            raise UsageError(
                error.message or f"there is no collection {named!r}", untouched="nothing was run"
            ) from error

    def _load_own(self, root: Path) -> None:
        import pgops.tasks

        # What Invoke's loader does for a tasks.py: its directory is importable, its invoke.yaml is read.
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
        self.config.set_project_location(str(root))
        self.config.load_project()
        self.collection = Collection.from_module(
            pgops.tasks, loaded_from=str(root), auto_dash_names=self.config.tasks.auto_dash_names
        )

    def _tasks_are_ours(self, start: str) -> bool:
        """Whether the tasks.py (or package) that ``invoke`` would load mentions pgops."""
        loader = FilesystemLoader(config=self.config, start=start)
        try:
            spec = loader.find(self.config.tasks.collection_name)
        except CollectionNotFound:
            return False
        if spec is None or spec.origin is None:
            return False
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
        if any(b"pgops" in file.read_bytes() for file in files if file.is_file()):
            return True
        self._passed_over = origin
        return False


def _project_directory(start: Path) -> Path:
    """The nearest directory with an environments.yaml, as tasks.py is looked for; ``start`` where there is none."""
    return next((each for each in (start, *start.parents) if (each / FILE_NAME).is_file()), start)
