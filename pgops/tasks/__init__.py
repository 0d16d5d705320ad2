"""The Invoke namespace of pgops. A project's tasks.py needs one line: ``from pgops.tasks import namespace``."""

from __future__ import annotations

import importlib
import sys

from invoke.collection import Collection

# Invoke switches bytecode off (its --write-pyc turns it on), and every start would compile all of our modules
# and a project's revisions anew. What Python itself was told, by -B or PYTHONDONTWRITEBYTECODE, still holds.
# Before the first import of ours, for what is imported before would be compiled at every start for ever.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

importlib.import_module("pgops.tasks._program").install()

# Order is the order of `--list`. Modules, not task objects: Collection.from_module would also collect
# every Task a module imports.
_COLLECTIONS = ("db", "env", "migrate", "backup", "restore")
_TOP_LEVEL = ("status", "report", "metrics", "completion")

namespace = Collection()
for _name in _COLLECTIONS:
    namespace.add_collection(
        Collection.from_module(importlib.import_module(f"pgops.tasks.{_name}"), name=_name)
    )
for _name in _TOP_LEVEL:
    namespace.add_task(getattr(importlib.import_module(f"pgops.tasks.{_name}"), _name))

__all__ = ["namespace"]
