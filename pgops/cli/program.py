"""Invoke's program under the name ``pgops``: the project's own tasks.py where it uses pgops, else pgops' namespace."""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.exceptions import CollectionNotFound, Exit, ParseError
from invoke.loader import FilesystemLoader
from invoke.program import Program

from pgops import __version__
from pgops.environments.load import FILE_NAME
from pgops.errors import ExitCode, UsageError
from pgops.terminal import commands

_UNKNOWN = re.compile(r"No idea what '(.+)' is!")
_FLAG = re.compile(r"<\w+: ([\w-]+)[^>]*>")  # how Invoke's messages show an argument


class PgopsProgram(Program):
    """The command line of ``pgops``.

    ``pgops TASK`` is ``invoke TASK``: the same tasks.py is found from the same directories. Where there is
    none, or where it does not mention pgops (Celery's tasks.py is a common one), it is not imported: the
    tasks are pgops' own, and the project is the nearest directory with an environments.yaml.
    """

    def __init__(self) -> None:
        super().__init__(version=__version__, name="pgops", binary="pgops", binary_names=["pgops"])
        self._not_ours: Path | None = None

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:
        commands.use_program("pgops")
        super().run(argv, exit)

    def parse_core(self, argv: list[str] | None) -> None:
        with self._usage_errors():
            super().parse_core(argv)

    def parse_tasks(self) -> None:
        with self._usage_errors():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        with self._usage_errors():
            named = self.args.list.value
            if isinstance(named, str):
                self._check_collection(named)
            super().parse_cleanup()

    def load_collection(self) -> None:
        """The namespace, and the project's directory for :func:`pgops.tasks._task.project_root`."""
        named = self.args.collection.value
        start = self.args["search-root"].value or self.config.tasks.search_root or str(Path.cwd())
        if named or self._tasks_are_ours(start):
            with self._usage_errors():
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
        self._not_ours = origin
        return False

    # usage errors: one shape, exit code 2, JSON where it was asked for

    @contextlib.contextmanager
    def _usage_errors(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            self._end(error)
        except ParseError as error:
            self._end(self._explained(error))
        except Exit as error:
            # A flag's value that its own check refused.
            if error.code != ExitCode.USAGE or not error.message:
                raise
            self._end(UsageError(error.message.removeprefix("error: "), untouched="nothing was run"))

    def _end(self, error: UsageError) -> None:
        from pgops.terminal.console import Console

        Console(json_output=any(each in ("--json", "-j") for each in self.argv)).fail(error)
        raise Exit(code=int(error.exit_code)) from error

    def _explained(self, error: ParseError) -> UsageError:
        """Invoke's parse error with the names that are near."""
        text = str(error)
        unknown = _UNKNOWN.fullmatch(text)
        if unknown is None:
            said = _FLAG.sub(r"--\1", text).rstrip("!")
            return UsageError(said, untouched="nothing was run", hint=self._help_for(error))
        word = unknown[1]
        if word.startswith("-"):
            return self._unknown_flag(word.partition("=")[0], error)
        return self._unknown_task(word)

    def _unknown_task(self, word: str) -> UsageError:
        near = _nearest(word, self._task_names())
        hint = " or ".join(f"pgops {name}" for name in near) or "pgops --list"
        if self._not_ours is not None:
            hint += f"; tasks of {self._not_ours}, which does not use pgops: invoke --list"
        return UsageError(f"there is no task {word!r}", untouched="nothing was run", hint=hint)

    def _unknown_flag(self, flag: str, error: ParseError) -> UsageError:
        context = error.context
        name = context.name if context is not None else None
        flags = [*(context.flags if context is not None else ()), *self.initial_context.flags]
        where = f"pgops {name}" if name else "pgops"
        near = _nearest(flag, flags)
        return UsageError(
            f"{where} has no flag {flag}",
            untouched="nothing was run",
            hint=" or ".join(near) or self._help_for(error),
        )

    def _check_collection(self, named: str) -> None:
        try:
            self.collection.subcollection_from_path(named)
        except KeyError as error:
            near = _nearest(named, self.collection.collections)
            raise UsageError(
                f"there is no collection {named!r}",
                untouched="nothing was run",
                hint=" or ".join(f"pgops --list {name}" for name in near) or "pgops --list",
            ) from error

    def _help_for(self, error: ParseError) -> str:
        name = error.context.name if error.context is not None else None
        return f"pgops --help {name}" if name else "pgops --help"

    def _task_names(self) -> list[str]:
        names: dict[str, Any] = self.collection.task_names
        return [each for name, aliases in names.items() for each in (name, *aliases)]


def _nearest(word: str, known: Iterable[str]) -> list[str]:
    # difflib takes quadratic time: a word of a thousand letters is near nothing.
    return difflib.get_close_matches(word, list(dict.fromkeys(known)), n=3) if len(word) <= 80 else []


def _project_directory(start: Path) -> Path:
    """The nearest directory with an environments.yaml, as tasks.py is looked for; ``start`` where there is none."""
    return next((each for each in (start, *start.parents) if (each / FILE_NAME).is_file()), start)
