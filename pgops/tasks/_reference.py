"""``pgops --help --json``: tasks, flags and exit codes for programs and agents."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from invoke.collection import Collection
from invoke.parser.argument import Argument

from pgops import __version__
from pgops.errors import ExitCode
from pgops.tasks._examples import EXAMPLES
from pgops.tasks._task import OpsTask

OUTPUT_VERSION = 1
"""Of what ``--json`` prints (docs/output.v1.schema.json). It changes where a key goes or means something else; a new key
changes nothing."""

EXIT_CODES: Mapping[ExitCode, tuple[str, str]] = {
    ExitCode.OK: ("ok", "done, and proven: heads were read back, hashes checked"),
    ExitCode.FAILURE: ("failure", "it failed for a reason that has no code of its own"),
    ExitCode.USAGE: ("usage", "the command line, a file or a secret reference is wrong; nothing was touched"),
    ExitCode.UNREACHABLE: ("unreachable", "a server, the Docker engine or a bucket did not answer"),
    ExitCode.PENDING: ("pending", "revisions are pending, and --exit-code asked to be told"),
    ExitCode.DRIFT: ("drift", "the database is not what the models or the migrations say"),
    ExitCode.LOCKED: ("locked", "another run holds the lock, or a table's lock was not given in time"),
    ExitCode.BLOCKED: ("blocked", "a hazard or a gate stands in the way"),
    ExitCode.REFUSED: ("refused", "not confirmed, or something that pgops does not do"),
    ExitCode.VERIFICATION: ("verification", "a backup, a restore or a run is not what it should be"),
    ExitCode.INTERRUPTED: ("interrupted", "Ctrl-C, SIGTERM or SIGHUP"),
}
"""Code -> the word that stands for it in ``error.code``, unless a more exact one does, and what it means."""


def reference(collection: Collection) -> dict[str, object]:
    """All of it as one value.

    :param collection: the namespace as it is loaded; a project's own tasks are left out.
    """
    return {
        "ok": True,
        "pgops": __version__,
        "output_version": OUTPUT_VERSION,
        "exit_codes": [
            {"exit_code": int(code), "code": word, "meaning": meaning}
            for code, (word, meaning) in EXIT_CODES.items()
        ],
        "tasks": [
            _task(name, sorted(aliases), collection[name])
            for name, aliases in collection.task_names.items()
            if isinstance(collection[name], OpsTask)
        ],
    }


def _task(name: str, aliases: list[str], task: OpsTask) -> dict[str, object]:
    parameters = inspect.signature(task.body).parameters
    return {
        "task": name,
        "aliases": aliases,
        "does": inspect.cleandoc(task.__doc__ or "").split("\n\n", 1)[0].replace("\n", " "),
        "flags": [_flag(each, parameters[_attribute(each)]) for each in task.get_arguments()],
        "examples": [{"command": command, "does": does} for command, does in EXAMPLES.get(name, ())],
    }


def _attribute(argument: Argument) -> str:
    return str(argument.attr_name or argument.name)


def _flag(argument: Argument, parameter: inspect.Parameter) -> dict[str, object]:
    long, *short = argument.names
    required = parameter.default is inspect.Parameter.empty
    return {
        "flag": f"--{long.replace('_', '-')}",
        "short": f"-{short[0]}" if short else None,
        "takes": _KINDS[argument.kind],
        "value_optional": bool(argument.optional),
        "required": required,
        "default": None if required else parameter.default,
        "help": argument.help,
    }


_KINDS: Mapping[Any, str | None] = {bool: None, str: "text", int: "number", float: "duration", list: "texts"}
