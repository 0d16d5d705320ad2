"""What pgBackRest says when something fails, as one of our errors: which command, its own words, the exit code."""

from __future__ import annotations

import re

from pgops.errors import (
    ConfigurationError,
    LockedError,
    PgopsError,
    UnreachableError,
    VerificationError,
)
from pgops.pgtools import Finished

# pgBackRest's exit codes (src/common/error/error.auto.c.inc).
_LOCKED = frozenset({50})
_SETTINGS = frozenset({27, 30, 31, 32, 33, 34, 35, 36, 37, 43, 48, 84, 90, 96})
_UNREACHABLE = frozenset({49, 56, 59, 66, 72, 101})
# A server that was restarted after a crash may start its archiver only a minute later.
_NOT_ARCHIVED = frozenset({82})
_CRYPTO = frozenset({29, 95})
_SSH_FAILED = 255
_NOT_FOUND = (126, 127)
_STARTS = re.compile(r"^(?:P\d\d +)?(ERROR|WARN): *(?:\[\d+\]: *)?(.*)$")
_HINT = re.compile(r"^\s*HINT: *(.*)$")


class PgBackRestError(VerificationError):
    """pgBackRest could not do its work, for a reason that lies in a repository, the WAL or the cluster's files."""

    code = "pgbackrest"


def warnings_of(finished: Finished) -> tuple[str, ...]:
    """What it warned of, each in one line."""
    return tuple(text for kind, text, _hints in _messages(finished.stderr) if kind == "WARN")


def failure(finished: Finished, *, stanza: str, place: str, untouched: str, hint: str = "") -> PgopsError:
    """The error for a command that failed.

    :param stanza: and ``place``: whose, and where it ran.
    :param untouched: what was left as it was.
    :param hint: what to type next, where pgBackRest itself has no better hint.
    """
    code = finished.exit_code
    command = next((each for each in finished.argv[1:] if not each.startswith("-")), "")
    ran = f"pgbackrest {command} ({stanza}, {place})"
    said = [(text, hints) for kind, text, hints in _messages(finished.stderr) if kind == "ERROR"]
    if code == _SSH_FAILED and not said:
        return UnreachableError(
            f"{place} can't be reached by ssh: {_last_line(finished.stderr)}"
            if finished.stderr.strip()
            else f"the connection to {place} by ssh broke",
            untouched=untouched,
            hint=f"ssh -o BatchMode=yes {place} true",
        )
    if code in _NOT_FOUND:
        return ConfigurationError(
            f"pgbackrest does not run on {place}: {_last_line(finished.stderr)}",
            untouched=untouched,
            hint="install pgbackrest there, or say where it is: backups.reach in environments.yaml",
        )
    if code < 0 or code in (137, 143):
        number = -code if code < 0 else code - 128
        return PgBackRestError(f"{ran} was killed by signal {number}", untouched=untouched, hint=hint)
    if not said:
        return PgBackRestError(
            f"{ran} failed with exit code {code}: {_last_line(finished.stderr)}",
            untouched=untouched,
            hint=hint,
        )
    text, hints = said[-1]
    told = "; ".join(hints) or hint
    if code in _LOCKED:
        return LockedError(
            f"{ran}: {text}", untouched=untouched, hint="another pgbackrest is at work; wait for it"
        )
    if code in _SETTINGS:
        return ConfigurationError(f"{ran}: {text}", untouched=untouched, hint=told)
    if code in _UNREACHABLE:
        return UnreachableError(f"{ran}: {text}", untouched=untouched, hint=told)
    if code in _NOT_ARCHIVED:
        told = "; ".join(
            [
                *hints,
                "invoke env.check looks at the archive; a server that was restarted after a crash archives again "
                "within a minute: then the same command once more",
            ]
        )
    if code in _CRYPTO or "CryptoError" in text:
        told = "is repo-cipher-pass the one that the repository was made with?" + (
            f"; {told}" if told else ""
        )
    return PgBackRestError(f"{ran}: {text}", untouched=untouched, hint=told)


def _messages(stderr: str) -> list[tuple[str, str, list[str]]]:
    """(ERROR or WARN, its text in one line, its hints) for each message; what follows indented belongs to it."""
    found: list[tuple[str, str, list[str]]] = []
    for line in stderr.splitlines():
        if (starts := _STARTS.match(line)) is not None:
            found.append((starts[1], starts[2].strip(), []))
        elif found and (hint := _HINT.match(line)) is not None:
            found[-1][2].append(hint[1].strip())
        elif found and line.startswith(" ") and line.strip():
            kind, text, hints = found[-1]
            if hints:
                hints[-1] += f" {line.strip()}"
            else:
                found[-1] = (kind, f"{text} {line.strip()}", hints)
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
