"""Running migrate.lint or migrate.plan in a pipeline: its files, its log, its outputs. No token is needed, and none is used."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgops.pipeline.comment import HASH

_NOT_FOR_CODE = frozenset(
    [
        *("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"),
        *("PGOPS_GITHUB_TOKEN", "PGOPS_GITLAB_TOKEN", "PGOPS_SECRET", "PGOPS_SECRET_NAME"),
    ]
)
"""Variables that are this module's own business: env.py and revision files have none with them."""

_SUMMARY = 1_000_000
"""Bytes; GitHub takes 1 MiB for a step."""


def pgops(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[int, Any]:
    """Run pgops; its exit code and what it says with ``--json``. Its words for people go to the log, as words.

    :param environ: variables besides those that are there.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pgops", *arguments, "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={
            **{name: value for name, value in os.environ.items() if name not in _NOT_FOR_CODE},
            **environ,
        },
        check=False,
    )
    errors = done.stderr.decode(errors="replace")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
        errors += done.stdout.decode(errors="replace")
    log(errors)
    if isinstance(answer, dict) and not answer.get("ok"):
        error = answer.get("error") or {}
        log(
            f"{error.get('message')}\nnext: {error.get('hint')}"
            if error.get("hint")
            else error.get("message")
        )
    return done.returncode, answer


def look(kind: str, arguments: Sequence[str], directory: Path, environ: Mapping[str, str]) -> int:
    """``migrate.lint`` or ``migrate.plan`` with every form written to ``directory``.

    :param kind: ``lint`` or ``plan``, also the files' name.
    :returns: pgops' exit code.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "markdown": directory / f"{kind}.md",
        "sarif": directory / f"{kind}.sarif",
        "annotations": directory / f"{kind}.txt",
        "code-quality": directory / f"{kind}.json",
    }
    for each in files.values():
        each.unlink(missing_ok=True)
    wanted = [f"--{form}={file.absolute()}" for form, file in files.items()]
    code, answer = pgops([f"migrate.{kind}", *arguments, *wanted], environ)
    told = answer if isinstance(answer, dict) else {}
    plan_hash = str(told.get("hash") or "")
    plan_hash = plan_hash if HASH.fullmatch(plan_hash) else ""
    if kind == "plan":
        # GitLab hands it to the jobs after this one.
        (directory / "plan.env").write_text(f"PGOPS_PLAN_HASH={plan_hash}\n", encoding="utf-8")
    write_outputs(
        {
            "exit-code": str(code),
            "hash": plan_hash,
            "pending": str(len(told.get("pending") or ())) if kind == "plan" else "",
        }
    )
    markdown = files["markdown"]
    if not markdown.is_file():
        message = (told.get("error") or {}).get("message") or "no answer; see the job's log"
        markdown.write_text(
            f"## migrate.{kind} failed (exit code {code})\n\n```text\n{_fenced(message)}\n```\n"
        )
    _show(markdown.read_text(encoding="utf-8"))
    if os.environ.get("GITHUB_ACTIONS") == "true" and files["annotations"].is_file():
        print(files["annotations"].read_text(encoding="utf-8"), end="", flush=True)
    return code


def _fenced(message: str) -> str:
    return " ".join(str(message).split()).replace("```", "'''")


def log(text: str | None) -> None:
    """Print words of others: in them no runner reads a command."""
    if text and text.strip():
        with _no_commands():
            print(text.rstrip("\n"), flush=True)


@contextmanager
def _no_commands() -> Iterator[None]:
    """GitHub's runner reads ``::command::`` at the beginning of each line, and ``##[command]`` anywhere in it."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", flush=True)
    try:
        yield
    finally:
        print(f"\n::{token}::", flush=True)


def write_outputs(values: Mapping[str, str]) -> None:
    """The step's outputs, each one line.

    :raises ValueError: a value has several lines.
    """
    file = os.environ.get("GITHUB_OUTPUT")
    if any("\n" in value or "\r" in value for value in values.values()):
        raise ValueError("an output is one line")
    if file:
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{name}={value}\n" for name, value in values.items())


def _show(text: str) -> None:
    """In the job's summary, or in its log where there is none."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file or len(text.encode()) > _SUMMARY:
        log(text)
        return
    with Path(file).open("a", encoding="utf-8") as stream:
        stream.write(text + "\n")
