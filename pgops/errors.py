"""Every expected failure: what happened, what is untouched, what to type next, and the exit code.

Anything raised on purpose by pgops is a :class:`PgopsError`. The task layer turns it into an exit
code and one short message (or one JSON object) in one place; everything else is a defect and keeps
its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar

UNTOUCHED = "nothing was touched"
"""What a failure says of itself that has no part in anything greater; who was in the middle knows better."""


class ExitCode(IntEnum):
    """Exit codes of every task; documented in docs/exit-codes.md."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    UNREACHABLE = 3
    PENDING = 4
    DRIFT = 5
    LOCKED = 6
    BLOCKED = 7
    REFUSED = 8
    VERIFICATION = 9
    INTERRUPTED = 130


class PgopsError(Exception):
    """Base of every expected failure.

    :param message: what happened, one sentence, naming the thing it happened to.
    :param untouched: what was left as it was (``"the database was not touched"``), or ``""``.
    :param hint: what to type next, ready to paste where possible, or ``""``.

    ``code`` is the stable word for scripts (``error.code`` in ``--json``); ``exit_code`` is what
    the process ends with.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE
    code: ClassVar[str] = "failure"

    def __init__(self, message: str, *, untouched: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.untouched = untouched
        self.hint = hint

    def as_dict(self) -> dict[str, object]:
        """The ``error`` object of ``--json``."""
        found: dict[str, object] = {
            "code": self.code,
            "exit_code": int(self.exit_code),
            "message": self.message,
            "hint": self.hint,
        }
        if self.untouched:
            found["untouched"] = self.untouched
        return found

    def beside(self) -> dict[str, object]:
        """Keys of ``--json`` that stand beside ``error``, where the answer is documented to have them either way."""
        return {}


class UsageError(PgopsError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = ExitCode.USAGE
    code = "usage"


class ConfigurationError(PgopsError):
    """A file the team wrote is wrong: environments.yaml, docker-compose.yml, alembic.ini.

    :param problems: every mistake found, each as ``file:line:column: path: what; did you mean``.
    """

    exit_code = ExitCode.USAGE
    code = "configuration"

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[str] = (),
        untouched: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, untouched=untouched, hint=hint)
        self.problems = tuple(problems)

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "problems": list(self.problems)}


class SecretError(PgopsError):
    """A secret reference gave no value: variable unset, file absent or readable by others, command failed."""

    exit_code = ExitCode.USAGE
    code = "secret"


class UnreachableError(PgopsError):
    """The server (or the Docker engine, or the bucket) did not answer, or did not let us in.

    :param kind: why, as one stable word for code that decides by it: for PostgreSQL one of
        ``refused, closed, starting, timeout, dns, password, database, role, hba, tls, full, other``.
    """

    exit_code = ExitCode.UNREACHABLE
    code = "unreachable"

    def __init__(self, message: str, *, kind: str = "other", untouched: str = "", hint: str = "") -> None:
        super().__init__(message, untouched=untouched, hint=hint)
        self.kind = kind

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "kind": self.kind}


class PendingError(PgopsError):
    """Revisions are pending and the caller asked to be told by exit code."""

    exit_code = ExitCode.PENDING
    code = "pending"


class DriftError(PgopsError):
    """The database is not what the models or the migrations say."""

    exit_code = ExitCode.DRIFT
    code = "drift"


class LockedError(PgopsError):
    """Another run holds the lock, or a database lock was not given in time."""

    exit_code = ExitCode.LOCKED
    code = "locked"


class BlockedError(PgopsError):
    """A hazard or a gate stands in the way."""

    exit_code = ExitCode.BLOCKED
    code = "blocked"


class RefusedError(PgopsError):
    """Not confirmed, or something pgops does not do."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class VerificationError(PgopsError):
    """A backup, a restore or a run is not what it should be."""

    exit_code = ExitCode.VERIFICATION
    code = "verification"


class InterruptedRunError(PgopsError):
    """Ctrl-C or SIGTERM; what was under way has been put in order."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"


class DefectError(PgopsError):
    """Something that was not expected: a defect of pgops. Only ``--json`` tells it so; people see the traceback."""

    code = "defect"
