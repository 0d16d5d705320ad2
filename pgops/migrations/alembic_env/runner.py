"""``alembic: {runner: "module:function"}`` and ``app:``: what the project itself puts around its env.py.

``run(config, call)`` prepares what env.py needs and returns ``call()``. Whatever it does with errors, threads and
event loops, what happened inside ``call()`` is what counts.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from alembic.config import Config

from pgops.environments import Environment
from pgops.errors import ConfigurationError, PgopsError
from pgops.migrations.alembic_env.failures import explain
from pgops.migrations.revisions.location import ScriptLocation

T = TypeVar("T")
# The interpreter's own modules and installed ones are the same for every history.
_INSTALLED = re.compile(rf"[/\\](?:site|dist)-packages[/\\]|^{re.escape(str(Path(os.__file__).parent))}")
Runner = Callable[[Config, Callable[[], Any]], Any]
"""Takes Alembic's Config and the call that runs env.py."""


def load_runner(environment: Environment) -> Runner | None:
    """The function that ``runner:`` names, or ``None`` where there is none.

    :raises ConfigurationError: no such module or function.
    :raises PgopsError: importing it failed.
    """
    name = environment.alembic.runner
    if name is None:
        return None
    what = f"alembic.runner {name}"
    module_name, _, function = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ConfigurationError(
                f"{what}: there is no module {error.name} (looked from {environment.project})",
                untouched="no database was touched",
                hint=f"write {module_name.replace('.', '/')}.py there, or install the package that has it",
            ) from error
        raise explained(error, environment, what) from error
    except (Exception, SystemExit) as error:
        raise explained(error, environment, what) from error
    found = getattr(module, function, None)
    if not callable(found):
        raise ConfigurationError(
            f"{what}: {module_name} has no function {function}",
            untouched="no database was touched",
            hint=f"def {function}(config, call): …; return call()",
        )
    runner: Runner = found
    return runner


def explained(error: BaseException, environment: Environment, what: str) -> PgopsError:
    """An error of the project's code around env.py, with the line of its own that it came from."""
    found = explain(error, (environment.project,), what=what)
    found.untouched = found.untouched or "nothing was applied"
    return found


@contextlib.contextmanager
def import_path(environment: Environment, location: ScriptLocation) -> Iterator[None]:
    """The project's modules can be imported in the block, as from a shell in its directory."""
    before = list(sys.path)
    wanted = (environment.project, location.working_directory, *location.import_path)
    sys.path[:0] = list(dict.fromkeys(str(Path(each).absolute()) for each in wanted))
    try:
        with own_modules() if environment.alembic.history is not None else contextlib.nullcontext():
            yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def own_modules() -> Iterator[None]:
    """Modules that this import path would find in other files than those loaded stand aside for the block.

    Two histories of one database may each have a ``models``; Python keeps the first under that name.
    """
    aside: dict[str, ModuleType] = {}
    for name in [each for each in sys.modules if "." not in each]:
        origin = getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)
        if origin is None or not origin.endswith(".py") or _INSTALLED.search(origin):
            continue
        found = importlib.machinery.PathFinder.find_spec(name)
        if found is not None and found.origin not in {None, origin}:
            for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
                aside[each] = sys.modules.pop(each)
    try:
        yield
    finally:
        for name in aside:
            sys.modules.pop(name, None)
        sys.modules.update(aside)


class Call(Generic[T]):
    """``call()`` as a runner gets it: runs once, in whatever thread; keeps what came of it."""

    def __init__(self, act: Callable[[], T], runner: str) -> None:
        self._act = act
        self._runner = runner
        self._began = False
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._values: list[T] = []

    def __call__(self) -> T:
        if self._began:
            raise ConfigurationError(
                f"{self._runner} calls call() twice",
                untouched="nothing was applied by the second call",
                hint="def run(config, call): …; return call()",
            )
        self._began = True
        try:
            value = self._act()
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ended.set()
        self._values.append(value)
        return value

    @property
    def failed(self) -> bool:
        """Whether it was what it ran that raised, and not the runner around it."""
        return self._error is not None

    def through(self, runner: Runner, config: Config) -> T:
        """Give it to the runner and return what env.py's own run returned, or raise what it raised.

        :raises ConfigurationError: the runner did not call it.
        """
        try:
            runner(config, self)
        except BaseException as error:
            # A task group wraps what came out of call(); what came out is what is explained.
            if (
                self._error is not None
                and error is not self._error
                and not isinstance(error, KeyboardInterrupt)
            ):
                raise self._error from error
            raise
        finally:
            if self._began:
                # A runner that does not wait for its thread: nothing here goes on while env.py runs.
                self._ended.wait()
        if self._error is not None:
            raise self._error
        if not self._began:
            raise ConfigurationError(
                f"{self._runner} returned without calling call()",
                untouched="nothing was applied",
                hint="def run(config, call): …; return call()",
            )
        return self._values[0]
