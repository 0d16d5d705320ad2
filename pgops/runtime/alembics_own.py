"""``import alembic`` finds Alembic, also where the project keeps its revisions in a package of that name.

``alembic init alembic`` and an ``__init__.py`` beside env.py are all it takes: with the project's directory at the
head of sys.path, as Invoke and ``python -m`` put it there, that package hides Alembic. ``alembic`` itself starts
without that directory, so the project never noticed.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False  # every start pays for what is imported here
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_NAME = "alembic"
_TELLING = "runtime/migration.py"


class _AlembicsOwn:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _NAME:
            return None
        for entry in sys.path:
            spec = PathFinder.find_spec(_NAME, [entry])
            if spec is not None and _is_alembic(spec):
                return spec
        # Not installed, or by a finder of its own: whoever comes next says so.
        return None


def _is_alembic(spec: ModuleSpec) -> bool:
    from pathlib import Path  # not for every start: this runs once, where Alembic is imported

    return any(Path(each, _TELLING).is_file() for each in spec.submodule_search_locations or ())


def found_first() -> None:
    """From here on in this process; what was imported before under the name is forgotten if it is another."""
    if not any(isinstance(each, _AlembicsOwn) for each in sys.meta_path):
        sys.meta_path.insert(0, _AlembicsOwn())
    loaded = sys.modules.get(_NAME)
    if loaded is not None and loaded.__spec__ is not None and not _is_alembic(loaded.__spec__):
        for name in [each for each in sys.modules if each == _NAME or each.startswith(f"{_NAME}.")]:
            del sys.modules[name]
