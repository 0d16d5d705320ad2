"""What is printed where; questions are tried on a real pseudo-terminal."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import sys
from pathlib import Path

import pexpect
import pytest

from pgops.errors import ConfigurationError, RefusedError, UnreachableError
from pgops.secrets.references import Secret
from pgops.terminal.confirmation import Answer, next_step
from pgops.terminal.console import Console
from pgops.units import human_age, human_bytes, human_seconds, timestamp

from .test_confirmation import PRODUCTION, STAGING

TESTS = Path(__file__).parent


def console(*, json_output: bool = False) -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Console(json_output=json_output, out=out, err=err, stdin=io.StringIO()), out, err


def test_json_is_the_only_thing_on_stdout() -> None:
    shown, out, err = console(json_output=True)
    shown.say("for people")
    shown.result({"backup": {"at": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)}})
    assert json.loads(out.getvalue()) == {"ok": True, "backup": {"at": "2026-01-02T03:04:05Z"}}
    assert err.getvalue() == ""


def test_warnings_reach_people_under_json() -> None:
    shown, out, err = console(json_output=True)
    shown.warn("look at this")
    assert (out.getvalue(), err.getvalue()) == ("", "warning: look at this\n")


def test_result_is_silent_for_people() -> None:
    shown, out, _err = console()
    shown.result({"x": 1})
    assert out.getvalue() == ""


def test_failure_says_what_happened_what_is_untouched_and_what_next() -> None:
    shown, out, err = console()
    shown.fail(UnreachableError("dev: nothing answers", untouched="nothing was touched", hint="invoke db.up"))
    assert out.getvalue() == ""
    assert err.getvalue() == (
        "error: dev: nothing answers\n  untouched: nothing was touched\n  next: invoke db.up\n"
    )


def test_failure_lists_every_problem() -> None:
    shown, _out, err = console()
    shown.fail(ConfigurationError("environments.yaml has 2 mistakes", problems=["a:1:1: x", "a:2:1: y"]))
    assert err.getvalue() == "error: environments.yaml has 2 mistakes\n  a:1:1: x\n  a:2:1: y\n"


def test_failure_as_json() -> None:
    shown, out, _err = console(json_output=True)
    shown.fail(UnreachableError("no", kind="refused", hint="invoke db.up"))
    assert json.loads(out.getvalue()) == {
        "ok": False,
        "error": {
            "code": "unreachable",
            "exit_code": 3,
            "message": "no",
            "hint": "invoke db.up",
            "kind": "refused",
        },
    }


def test_secrets_are_masked_in_words_and_in_json() -> None:
    secret = 'Tr0ub4dor"&3'
    Secret(secret)
    shown, out, _err = console()
    shown.say(f"password is {secret}")
    assert secret not in out.getvalue()
    shown, out, _err = console(json_output=True)
    shown.result({"text": f"got {secret}", "nested": [{"url": "postgresql://a:b1c2d3@h/d"}]})
    found = json.loads(out.getvalue())
    assert found == {"ok": True, "text": "got ***", "nested": [{"url": "postgresql://a:***@h/d"}]}


def test_table_aligns_and_shows_what_is_missing() -> None:
    shown, out, _err = console()
    shown.table(["name", "heads"], [["dev", ["a", "b"]], ["production", None]])
    assert out.getvalue() == "name        heads\ndev         a, b\nproduction  -\n"


def test_a_name_with_the_end_of_a_line_in_it_is_no_line_of_ours() -> None:
    shown, out, _err = console()
    shown.table(["table", "rows"], [["a\nproduction: everything is well", 1]])
    assert out.getvalue().splitlines()[1:] == [r"a\nproduction: everything is well  1"]


HOSTILE = "orders\nerror: prod: the backup is lost"


def test_no_words_of_ours_are_broken_by_a_name() -> None:
    shown, out, err = console()
    shown.say(f"built {HOSTILE}")
    shown.warn(f"{HOSTILE} is left out")
    shown.fail(ConfigurationError(HOSTILE, problems=[HOSTILE], untouched=HOSTILE, hint=HOSTILE))
    with shown.progress(HOSTILE):
        pass
    written = r"orders\nerror: prod: the backup is lost"
    assert out.getvalue().splitlines() == [f"built {written}", f"{written} …"]
    assert err.getvalue().splitlines() == [
        f"warning: {written} is left out",
        f"error: {written}",
        *(f"  {what}{written}" for what in ("", "untouched: ", "next: ")),
    ]


def test_no_question_is_broken_by_a_name() -> None:
    shown, out, _err = console()
    shown._in = io.StringIO("n\n")
    shown.interactive = lambda: True  # type: ignore[method-assign]
    with pytest.raises(RefusedError):
        shown.agree(f"Remove {HOSTILE}", yes=False, untouched="nothing was touched")
    assert out.getvalue() == "Remove orders\\nerror: prod: the backup is lost? [y/N] "


def test_a_secret_that_is_broken_over_lines_is_masked_before_they_are_written_out() -> None:
    Secret("a-value-that-is-long")
    shown, out, _err = console()
    shown.say("a-value-that-\nis-long")
    assert out.getvalue() == "***\n"


def test_lines_to_copy_stay_lines_under_json_too() -> None:
    shown, _out, err = console(json_output=True)
    shown.verbatim("SELECT 1\nFROM t")
    shown._in = io.StringIO("")
    shown.interactive = lambda: True  # type: ignore[method-assign]
    with pytest.raises(RefusedError):
        shown.agree("Run it", yes=False, untouched="nothing was touched")
    assert err.getvalue().startswith("SELECT 1\nFROM t\nRun it? [y/N] ")


@pytest.mark.parametrize(("environment", "answer"), [(STAGING, Answer.YES), (PRODUCTION, Answer.NAME)])
def test_without_a_terminal_it_refuses_and_says_what_is_left(environment, answer) -> None:  # type: ignore[no-untyped-def]
    shown, _out, _err = console()
    with pytest.raises(RefusedError) as refused:
        shown.ask(environment, answer, "Migrate it?")
    assert refused.value.hint == next_step(environment, answer)
    assert refused.value.untouched == f"{environment.name} was not touched"


ASK = """
import sys
sys.path.insert(0, {path!r})
from test_confirmation import STAGING, PRODUCTION
from pgops.terminal.confirmation import Answer
from pgops.terminal.console import Console
from pgops.errors import InterruptedRunError, RefusedError
{before}
try:
    Console().ask({environment}, Answer.{answer}, "Go on?")
    print("CONFIRMED")
except InterruptedRunError as error:
    print("INTERRUPTED", error.message, "|", error.untouched)
except RefusedError as error:
    print("REFUSED", error.message)
"""


def ask(environment: str, answer: str, *, before: str = "", **environ: str) -> pexpect.spawn[str]:
    script = ASK.format(path=str(TESTS), environment=environment, answer=answer, before=before)
    return pexpect.spawn(
        sys.executable,
        ["-c", script],
        encoding="utf-8",
        timeout=20,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "", "CLICOLOR": "1", **environ},
    )


@pytest.mark.parametrize(
    ("said", "confirmed"),
    [("y", True), ("YES", True), ("", False), ("n", False), ("sure", False), ("yy", False)],
)
def test_yes_no_defaults_to_no(said: str, confirmed: bool) -> None:
    child = ask("STAGING", "YES")
    child.expect_exact("Go on? [y/N] ")
    child.sendline(said)
    child.expect_exact("CONFIRMED" if confirmed else "REFUSED not confirmed")
    child.expect(pexpect.EOF)


@pytest.mark.parametrize(
    ("said", "confirmed"), [("production", True), ("prod", False), ("y", False), ("", False)]
)
def test_a_protected_environment_wants_its_name(said: str, confirmed: bool) -> None:
    child = ask("PRODUCTION", "NAME")
    child.expect_exact("to go on: ")
    child.sendline(said)
    child.expect_exact("CONFIRMED" if confirmed else "REFUSED not confirmed")
    child.expect(pexpect.EOF)


def test_an_alias_is_told_as_one_and_the_name_is_asked_for_again() -> None:
    child = ask("PRODUCTION", "NAME")
    child.expect_exact("to go on: ")
    child.sendline("live")
    child.expect_exact("live is an alias of production; its name is wanted")
    child.expect_exact("to go on: ")
    child.sendline("production")
    child.expect_exact("CONFIRMED")


@pytest.mark.parametrize(("environment", "answer"), [("STAGING", "YES"), ("PRODUCTION", "NAME")])
def test_ctrl_c_at_the_question_says_that_nothing_was_touched(environment: str, answer: str) -> None:
    child = ask(environment, answer)
    child.expect_exact("to go on: " if answer == "NAME" else "[y/N] ")
    child.sendintr()
    child.expect_exact(f"INTERRUPTED interrupted at the question | {environment.lower()} was not touched")


@pytest.mark.parametrize(
    ("environment", "answer", "typed"), [("STAGING", "YES", "y"), ("PRODUCTION", "NAME", "production")]
)
def test_what_was_typed_before_the_question_is_no_answer(environment: str, answer: str, typed: str) -> None:
    child = ask(
        environment,
        answer,
        before="print('READY', flush=True); import time; time.sleep(2)",
    )
    child.expect_exact("READY")
    child.sendline(typed)
    child.expect_exact("to go on: " if answer == "NAME" else "[y/N] ")
    child.sendline("no")
    child.expect_exact("REFUSED not confirmed")


def test_production_looks_like_production() -> None:
    child = ask("PRODUCTION", "NAME")
    child.expect_exact("\x1b[1;97;41mproduction\x1b[0m is PROTECTED")
    child.expect_exact("Type \x1b[1;97;41mproduction\x1b[0m to go on: ")
    child.sendline("")
    child.expect(pexpect.EOF)
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CLICOLOR": "0"}):
        child = ask("PRODUCTION", "NAME", **plain)
        child.expect_exact("production is PROTECTED")
        child.expect_exact("Type production to go on: ")
        child.sendline("")
        child.expect(pexpect.EOF)


def test_under_json_what_the_question_needs_is_on_stderr() -> None:
    shown, out, err = console(json_output=True)
    shown.say("what would happen")
    assert (out.getvalue(), err.getvalue()) == ("", "")


def test_closed_stdin_is_a_refusal() -> None:
    child = ask("STAGING", "YES")
    child.expect_exact("[y/N] ")
    child.sendeof()
    child.expect_exact("REFUSED stdin was closed before an answer came")
    child.expect(pexpect.EOF)


def test_units() -> None:
    assert [human_bytes(size) for size in (0, 999, 1000, 1_234_567, 5e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "5.0 TB",
    ]
    assert [human_seconds(s) for s in (0.42, 59.9, 75, 3_660, 90_000)] == [
        "0.4 s",
        "59.9 s",
        "1 min 15 s",
        "1 h 1 min",
        "1 d 1 h",
    ]
    assert [human_age(s) for s in (75, 0, -1)] == ["1 min 15 s ago", "0.0 s ago", "in the future"]
    assert (
        timestamp(dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))))
        == "2025-12-31T22:00:00Z"
    )
