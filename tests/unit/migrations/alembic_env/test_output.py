"""Nothing that env.py says reaches our stdout, whichever way it says it. In a process of its own, with its own descriptors."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SPEAK = """
import os, subprocess, sys
from pgops.migrations.alembic_env.output import OutputGuard

def speak(word):
    print("printed", word)
    os.write(1, f"raw {word}\\n".encode())
    subprocess.run([sys.executable, "-c", f"print('child {word}')"], check=True)
"""


def run(script: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", SPEAK + textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_while_looking_all_is_captured() -> None:
    out, err = run(
        """
        guard = OutputGuard(keep_stderr=False)
        with guard:
            speak("inside")
            print("to stderr", file=sys.stderr)
            with guard.outside():
                print("ours")
            speak("again")
        said = guard.captured()
        guard.close()
        print(said.count("inside"), said.count("again"), "to stderr" in said)
        """
    )
    assert (out, err) == ("ours\n3 3 True\n", "")


def test_while_applying_it_goes_to_stderr() -> None:
    out, err = run(
        """
        guard = OutputGuard(keep_stderr=True)
        with guard:
            kept = sys.stdout
            speak("inside")
        print("late", file=kept)
        assert guard.captured() == ""
        print("ours")
        """
    )
    assert out == "ours\n"
    assert all(word in err for word in ("printed inside", "raw inside", "child inside", "late"))


def test_descriptors_are_back_after_a_failure() -> None:
    out, err = run(
        """
        before = (sys.stdout, sys.stderr)
        try:
            with OutputGuard(keep_stderr=False):
                raise ValueError
        except ValueError:
            pass
        assert (sys.stdout, sys.stderr) == before
        os.write(1, b"out\\n")
        os.write(2, b"err\\n")
        """
    )
    assert (out, err) == ("out\n", "err\n")


def test_nobody_is_asked_while_looking() -> None:
    program = (
        "from pgops.migrations.alembic_env.output import OutputGuard\n"
        "guard = OutputGuard(keep_stderr=False)\n"
        "with guard:\n"
        "    try:\n        input('Really? ')\n"
        "    except EOFError:\n        said = guard.captured()\n"
        "print(said, input())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input="an answer\n", capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "Really? an answer\n", done.stderr


@pytest.mark.parametrize("keep_stderr", [True, False])
@pytest.mark.parametrize(
    "act",
    [
        "sys.stdout.close()",
        "sys.stderr.close(); sys.__stderr__.close()",
        "sys.stdout = sys.stderr = None",
        "sys.stdout.detach()",
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='latin-1')",
        "sys.stdout.reconfigure(encoding='latin-1'); sys.stderr.reconfigure(encoding='latin-1')",
        "sys.stdout = object()",
        "os.close(1); os.close(2)",
        "sys.stdout.fileno(); sys.stdout.isatty(); sys.__stdout__.write('x')",
    ],
)
def test_what_it_does_to_its_streams_leaves_ours_alone(
    act: str, *, keep_stderr: bool, tmp_path: Path
) -> None:
    # Into a file: it can be sought in, and a pipe, which the guard puts in its place, can not.
    program = SPEAK + textwrap.dedent(f"""
        import io
        guard = OutputGuard(keep_stderr={keep_stderr})
        with guard:
            {act}
            with guard.outside():
                print("ours between")
                print("ours between", file=sys.stderr)
        guard.close()
        print("ours after")
        print("ours after", file=sys.stderr)
    """)
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        subprocess.run([sys.executable, "-c", program], stdout=out, stderr=err, check=True)
    told = [(tmp_path / name).read_text(encoding="utf-8").replace("x", "") for name in ("out", "err")]
    assert told == ["ours between\nours after\n", "ours between\nours after\n"]


def test_what_it_put_in_the_place_of_its_streams_is_there_again() -> None:
    out, err = run(
        """
        import io
        guard = OutputGuard(keep_stderr=False)
        with guard:
            sys.stdout = mine = io.StringIO()
            with guard.outside():
                print("ours")
            print("theirs")
            assert mine.getvalue() == "theirs\\n"
        guard.close()
        """
    )
    assert (out, err) == ("ours\n", "")
