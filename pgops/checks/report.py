"""What a look at an environment found, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pgops.errors import ExitCode, PgopsError
from pgops.secrets.redaction import redact

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do where it is not well."""

    level: Level
    topic: str
    text: str
    todo: str = ""
    exit_code: ExitCode = ExitCode.OK

    def as_dict(self) -> dict[str, str]:
        """The row in ``env.check --json``."""
        return {"level": self.level, "topic": self.topic, "text": self.text, "todo": self.todo}


@dataclass(frozen=True, slots=True)
class Check:
    """All that was found about one environment."""

    environment: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether anything has to be mended before the environment can be worked with."""
        return any(each.level == "fail" for each in self.findings)

    @property
    def exit_codes(self) -> tuple[ExitCode, ...]:
        """The code of each failure, in the order they were found."""
        return tuple(each.exit_code for each in self.findings if each.level == "fail")

    def as_dict(self) -> dict[str, object]:
        """The object in ``env.check --json``."""
        return {
            "environment": self.environment,
            "ok": not self.failed,
            "checks": [each.as_dict() for each in self.findings],
        }


class FailedChecksError(PgopsError):
    """Something has to be mended first. Ends with 3 where a server is unreachable, else as the first failure."""

    code = "check"

    def __init__(self, message: str, checks: Sequence[Check], exit_code: ExitCode, *, hint: str) -> None:
        super().__init__(message, untouched="nothing was changed", hint=hint)
        self.checks = tuple(checks)
        self.exit_code = exit_code  # type: ignore[misc] # of the failures, not of the class

    @classmethod
    def of(cls, checks: Sequence[Check]) -> FailedChecksError:
        """The error for these checks, of which at least one failed."""
        failed = [each for each in checks if each.failed]
        codes = [code for each in failed for code in each.exit_codes]
        worst = ExitCode.UNREACHABLE if ExitCode.UNREACHABLE in codes else codes[0]
        names = ", ".join(each.environment for each in failed)
        what = "is unreachable" if codes == [ExitCode.UNREACHABLE] else "failed a check"
        if len(failed) > 1:
            what = "failed checks"
        return cls(f"{names} {what}", checks, worst, hint="the line under each failure above says what to do")

    def beside(self) -> dict[str, object]:
        return {"environments": [each.as_dict() for each in self.checks]}


def ok(topic: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding("ok", topic, text)


def warn(topic: str, text: str, todo: str) -> Finding:
    """It works, and could be better."""
    return Finding("warn", topic, text, todo)


def fail(topic: str, text: str, todo: str, code: ExitCode = ExitCode.FAILURE) -> Finding:
    """It does not work."""
    return Finding("fail", topic, redact(text), redact(todo), code)


def failed(topic: str, error: PgopsError) -> Finding:
    """It does not work, and the error says why."""
    return fail(topic, error.message, error.hint, error.exit_code)
