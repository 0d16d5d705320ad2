"""Colours by the variables people set; a reader that has gone; progress in a log."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from pgops.terminal.steps import Logged, progress_line
from pgops.terminal.streams import can_move, is_coloured, width_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "on_a_terminal", "in_a_pipe"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"CLICOLOR": "0"}, False, False),
        ({"CLICOLOR": "1"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True, True),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colours(environ: dict[str, str], on_a_terminal: bool, in_a_pipe: bool) -> None:
    assert is_coloured(Terminal(), environ) is on_a_terminal
    assert is_coloured(io.StringIO(), environ) is in_a_pipe


def test_nothing_moves_on_a_dumb_terminal() -> None:
    assert can_move(Terminal(), {"TERM": "xterm"})
    assert not can_move(Terminal(), {"TERM": "dumb"})
    assert width_of(io.StringIO()) is None


PRINTS = """
import sys
from pgops.terminal.console import Console
console = Console()
for number in range(100_000):
    console.say(f"line {number}")
print("worked to the end", file=sys.stderr)
"""


def test_a_reader_that_goes_ends_nothing_and_is_not_complained_about() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        assert process.stderr.read() == b"worked to the end\n"
    assert process.returncode == 0


def test_a_log_gets_a_line_now_and_then() -> None:
    said: list[str] = []
    now = [100.0]
    ticker = Logged(said.append, 1000.0, clock=lambda: now[0])
    for at, done in ((101, 10), (109, 100), (111, 250), (115, 400), (122, 500), (140, 1000)):
        now[0] = float(at)
        ticker.update(float(done), f"{done} of 1000")
    assert said == [
        "    250 of 1000, 25 %, 11.0 s so far, about 33.0 s left",
        "    500 of 1000, 50 %, 22.0 s so far, about 22.0 s left",
        "    1000 of 1000, 40.0 s so far",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_moving_line_keeps_to_its_width_and_keeps_its_times(width: int) -> None:
    line = progress_line(
        "dumping db.example.com:5432/app", "588.6 MB of 1.4 GB events 1,327,431 rows", 0.42, 63.0, width
    )
    assert len(line) <= width
    assert line.startswith("dumping") and line.endswith("42 %  1:03, about 1:27 left")
    assert ("…" in line) == (width < 200)


def test_a_moving_line_does_not_guess_and_goes_on_when_all_is_counted() -> None:
    assert progress_line("dumping", "", 0.001, 63.0, 80) == "dumping  0 %  1:03"
    assert progress_line("dumping", "", 0.5, 1.0, 80) == "dumping  50 %  0:01"
    assert progress_line("reading it back", "1 GB of 1 GB", 1.0, 3663.0, 80) == (
        "reading it back  1 GB of 1 GB  1:01:03"
    )
    assert progress_line("starting dev", "pulling", None, 7.9, 80) == "starting dev  pulling  0:07"
