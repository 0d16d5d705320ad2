"""./inv on a small project of its own, offline: its packages come from wheels that are made here.

What it installs is made up; the shell, Python, venv and pip are real. That it installs the real pins in a
clean clone is shown by .ci/run.
"""

from __future__ import annotations

import ensurepip
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.inv_checkout import (
    BASE_PYTHON,
    SCRIPT,
    Checkout,
    installed_version,
    make_checkout,
    make_wheel,
    only_programs,
    said,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose environment is made already; a test that changes it puts it back."""
    checkout = make_checkout(tmp_path_factory.mktemp("made"))
    first = checkout.run("--list")
    assert first.returncode == 0, first.stderr
    assert first.stderr == "inv: making .venv (first use) …\n"
    return checkout


@pytest.fixture
def fresh(tmp_path: Path) -> Checkout:
    return make_checkout(tmp_path)


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


ODD = ["a b", "", "'q'", '"d"', "$HOME", "*", "--", "-x", "new\nline", "\\", "ü"]


@pytest.mark.parametrize("shell", ["", "sh", "dash"])
def test_every_argument_arrives_as_it_is(made: Checkout, shell: str) -> None:
    if shell and not (made.programs / shell).exists():
        pytest.skip(f"there is no {shell} here")
    done = made.run(*ODD, shell=str(made.programs / shell) if shell else "")

    where = said(done)
    assert where["argv"] == ["--search-root", str(made.path), *ODD]
    assert done.stderr == ""


def test_the_environment_is_active_for_what_the_tasks_start(made: Checkout) -> None:
    where = said(replace(made, environ={"PYTHONHOME": ""}).run())

    assert where["prefix"] == str(made.venv)
    assert where["env"] == {"VIRTUAL_ENV": str(made.venv), "PYTHONHOME": None}
    assert where["path"] == str(made.venv / "bin")


def test_the_exit_code_is_invokes(made: Checkout) -> None:
    assert replace(made, environ={"EXIT": "7"}).run().returncode == 7


def test_from_elsewhere_and_through_links(made: Checkout, tmp_path: Path) -> None:
    absolute, relative = tmp_path / "absolute", tmp_path / "relative"
    absolute.symlink_to(made.path / "inv")
    relative.symlink_to("absolute")

    for script in (made.path / "inv", absolute, relative, Path("relative")):
        done = subprocess.run(
            [script if script.is_absolute() else "./relative"],
            cwd=tmp_path,
            env=made.surroundings(),
            capture_output=True,
            text=True,
        )
        where = said(done)
        assert where["argv"] == ["--search-root", str(made.path)]
        assert where["cwd"] == str(tmp_path)
        assert done.stderr == ""


def test_other_pins_bring_it_up_to_date_and_a_newer_date_alone_does_not(made: Checkout) -> None:
    pins = made.path / "constraints.txt"
    before = pins.read_text()
    os.utime(pins)
    assert made.run().stderr == ""

    pins.write_text(before.replace("echo==1.0", "echo==2.0"))
    done = made.run()
    assert (done.returncode, done.stderr) == (0, "inv: updating .venv …\n")
    assert installed_version(made) == "echo-2.0.dist-info"
    assert made.run().stderr == ""

    pins.write_text(before)
    assert made.run().stderr == "inv: updating .venv …\n"
    assert installed_version(made) == "echo-1.0.dist-info"


def test_a_moved_checkout_is_installed_from_its_new_place(made: Checkout) -> None:
    moved = replace(made, path=made.path.with_name("moved"))
    made.path.rename(moved.path)
    try:
        done = moved.run()
        assert said(done)["prefix"] == str(moved.venv)
        assert done.stderr == "inv: updating .venv …\n"
        (pointer,) = moved.venv.glob("lib/python*/site-packages/demo.pth")
        assert pointer.read_text().strip() == str(moved.path)
    finally:
        moved.path.rename(made.path)
    assert made.run().returncode == 0


def test_a_failed_installation_shows_why_and_the_next_use_tries_again(made: Checkout) -> None:
    pins = made.path / "constraints.txt"
    before = pins.read_text()
    (made.path / "broken").touch()
    pins.write_text(before + "# changed\n")
    try:
        done = made.run()
        assert done.returncode == 1
        assert done.stdout == ""
        assert "the disk of the build has melted" in done.stderr
        assert done.stderr.endswith(
            "inv: the packages cannot be installed (see above); nothing else was touched\n"
        )
    finally:
        (made.path / "broken").unlink()
        pins.write_text(before)

    done = made.run()
    assert (done.returncode, done.stderr) == (0, "inv: updating .venv …\n")


def test_an_environment_whose_python_is_gone_is_made_anew(made: Checkout) -> None:
    (made.venv / "bin" / "python").unlink()
    (made.venv / "bin" / "python").symlink_to("/nowhere/python3.11")

    done = made.run()

    assert (done.returncode, done.stderr) == (0, "inv: making .venv anew …\n")
    assert made.run().stderr == ""


@pytest.mark.parametrize("without", [(), ("flock",)], ids=["flock", "no flock"])
def test_one_makes_it_and_the_other_waits_and_a_killed_one_is_done_again(
    tmp_path: Path, without: tuple[str, ...]
) -> None:
    checkout = make_checkout(tmp_path)
    checkout = replace(checkout, programs=only_programs(tmp_path / "bare", without=without))
    (checkout.path / "slow").touch()
    killed = checkout.start()
    eventually((checkout.path / "building").exists, "the first one is at work")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    (checkout.path / "building").unlink()
    (checkout.venv / "left-behind").touch()

    first = checkout.start("one")
    eventually((checkout.path / "building").exists, "the second one is at work")
    second = checkout.start("two")
    assert second.stderr is not None
    waiting = second.stderr.readline()
    (checkout.path / "slow").unlink()
    first_out, first_err = first.communicate(timeout=120)
    second_out, second_err = second.communicate(timeout=120)

    assert (first.returncode, second.returncode) == (0, 0), first_err + second_err
    # The killed one may take a moment to let go of the lock.
    assert first_err.endswith("inv: making .venv anew …\n")
    assert waiting.startswith("inv: waiting for another inv")
    assert second_err == ""
    assert '"one"' in first_out
    assert '"two"' in second_out
    assert not (checkout.venv / "left-behind").exists()


def test_an_environment_made_by_hand_is_filled_and_nothing_of_it_lost(fresh: Checkout) -> None:
    subprocess.run([BASE_PYTHON, "-m", "venv", fresh.venv], check=True)
    (fresh.venv / "mine").touch()

    done = fresh.run()

    assert (done.returncode, done.stderr) == (0, "inv: updating .venv …\n")
    assert (fresh.venv / "mine").exists()


def test_the_environment_may_be_elsewhere_and_uv_that_fails_is_not_the_end(
    fresh: Checkout, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "envs" / "mine"
    uv = fresh.programs / "uv"
    uv.write_text("#!/bin/sh\necho uv has no index >&2\nexit 2\n")
    uv.chmod(0o755)

    done = replace(fresh, environ={"PGOPS_VENV": str(elsewhere)}).run()

    assert said(done)["prefix"] == str(elsewhere)
    assert done.stderr == "inv: making mine (first use) …\ninv: uv cannot do it here, trying pip …\n"
    assert not fresh.venv.exists()


def test_uv_is_preferred_where_it_is(fresh: Checkout) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    (fresh.programs / "uv").symlink_to(uv)
    environ = {
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(fresh.wheels),
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    add_pip_wheel(fresh.wheels)  # what uv's --seed asks for, beside setuptools
    make_wheel(fresh.wheels, "wheel", "99.0", {"wheel_of_the_test.py": ""})

    done = replace(fresh, environ=environ).run()

    assert said(done)["prefix"] == str(fresh.venv)
    assert done.stderr == "inv: making .venv (first use) …\n"
    assert "uv =" in (fresh.venv / "pyvenv.cfg").read_text()


def add_pip_wheel(wheels: Path) -> None:
    (bundled,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(bundled, wheels)


def stub_python(checkout: Checkout, body: str) -> None:
    (checkout.programs / "python3").unlink()
    (checkout.programs / "python3").write_text(f"#!/bin/sh\n{body}\n")
    (checkout.programs / "python3").chmod(0o755)


def test_without_a_python_that_is_new_enough_it_says_so(fresh: Checkout) -> None:
    stub_python(fresh, '[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1')

    done = fresh.run()

    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "inv: pgops needs Python 3.11 or newer, and there is none on the PATH (Python 3.9.2); install one, or uv"
    ]
    assert not fresh.venv.exists()


def test_a_python_without_its_venv_module_gets_a_hint(fresh: Checkout) -> None:
    stub_python(fresh, f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec {BASE_PYTHON} "$@"')
    # The path that is asked is the real one behind the name, so the name has to stay in front of it.
    script = (fresh.path / "inv").read_text()
    (fresh.path / "inv").write_text(
        script.replace("print(os.path.realpath(", f'print("{fresh.programs}/python3" or (')
    )

    done = fresh.run()

    assert done.returncode == 1
    assert done.stderr.splitlines()[1].endswith(
        "comes without its venv module; on Debian and Ubuntu: apt install python3-venv; or install uv"
    )


def test_the_script_is_clean() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, "--shell=sh", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
