"""Running squawk, a linter for PostgreSQL migrations that ships as a program in a wheel."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pgops.errors import PgopsError
from pgops.migrations.hazards.sql import Statement
from pgops.runtime.temporary import directory_below, own_directory, private
from pgops.runtime.variables import plain

UNREADABLE = "syntax-error"
"""What squawk reports, as a rule, about a statement that it can't read."""

_TIMEOUT = 120.0
# A file for each statement, for a moment: on a disk, making hundreds takes ten times as long as reading them.
_IN_MEMORY = Path("/dev/shm")


@cache
def program() -> Path:
    """The squawk program: beside the interpreter, where the wheel's record says, or on PATH.

    :raises PgopsError: not installed.
    """
    beside = Path(sys.executable).with_name("squawk")
    if beside.is_file():
        return beside
    try:
        files = importlib.metadata.files("squawk-cli") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in {"squawk", "squawk.exe"} and (found := Path(str(file.locate()))).is_file():
            return found.resolve()
    if on_path := shutil.which("squawk"):
        return Path(on_path)
    raise PgopsError(
        "squawk, which reads migrations for hazards, is not installed",
        untouched="nothing was touched",
        hint="pip install squawk-cli",
    )


def command(squawk: Path, files: Sequence[Path], version: str) -> list[str]:
    """The command line for these files and a server of this version (``17.2``)."""
    # No configuration file of the project's: what is reported is decided here, once, with reasons.
    return [
        str(squawk),
        "--config=/dev/null",
        "--reporter=json",
        f"--pg-version={version}",
        *map(str, files),
    ]


def _home() -> Path:
    """This user's private directory for what squawk reads: in memory where that is a directory, else below TMPDIR."""
    # Somebody else may have taken the name there: TMPDIR can be set to where nobody else writes.
    with contextlib.suppress(PgopsError, OSError):
        return private(_IN_MEMORY / f"pgops-squawk-{os.geteuid()}")
    return own_directory("squawk")


def lint(statements: Sequence[Statement], version: str) -> Mapping[int, frozenset[str]]:
    """The rules that each statement trips, by its place in ``statements``; one process for all of them.

    Each statement is a file of its own: what squawk can't read in one hides nothing in the others.
    What surrounds a statement (its transaction, tables made earlier in the plan) is for the caller,
    except that squawk sees whether it runs inside a transaction.

    :raises PgopsError: squawk is not installed, or did not give its findings.
    """
    if not statements:
        return {}
    # A migration may hold secrets: what a killed process left is removed by the next one.
    with directory_below(_home()) as directory:
        files: list[Path] = []
        for place, statement in enumerate(statements):
            file = directory / f"{place}.sql"
            text = statement.text + ";\n"
            if statement.transaction is not None:
                text = f"BEGIN;\n{text}COMMIT;\n"
            file.write_text(text, encoding="utf-8")
            files.append(file)
        done = subprocess.run(
            command(program(), files, version),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_TIMEOUT,
            check=False,
            env=plain(),
        )
    try:
        findings = json.loads(done.stdout)
        rules: dict[int, set[str]] = {}
        for finding in findings:
            rules.setdefault(int(Path(finding["file"]).stem), set()).add(finding["rule_name"])
    except (ValueError, KeyError, TypeError) as error:
        said = " ".join((done.stderr or done.stdout).split())[:300]
        raise PgopsError(
            f"squawk gave no findings (exit code {done.returncode}): {said}",
            untouched="nothing was touched",
            hint="pip install --upgrade squawk-cli",
        ) from error
    return {place: frozenset(found) for place, found in rules.items()}
