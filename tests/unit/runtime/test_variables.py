"""Variables that would lead a connection elsewhere: which they are, and that they are away while it counts."""

import importlib.util
import os
import re
import threading
from pathlib import Path

import pytest
from psycopg.pq import Conninfo

from pgops.runtime import variables

_WORD = re.compile(rb"(?<![A-Za-z_])PG[A-Z_]{2,}(?=\0)")


def test_the_list_is_libpqs_own() -> None:
    asked = {option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    assert asked <= variables.LIBPQ


@pytest.mark.parametrize("package", ["psycopg2", "psycopg"])
def test_no_variable_in_a_libpq_is_missed(package: str) -> None:
    """Also what it reads without an option for it: PGTZ, PGSYSCONFDIR …"""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    libraries = (Path(spec.origin).parent.parent / f"{package}_binary.libs").glob("libpq*")
    found = {word.decode() for file in libraries for word in _WORD.findall(file.read_bytes())}
    assert {"PGHOSTADDR", "PGTZ", "PGSYSCONFDIR"} <= found
    assert {word for word in found if not word.startswith("PGRES_")} <= variables.LIBPQ


def test_set_aside_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGPASSWORD", "of-the-shell")
    with variables.set_aside():
        assert not variables.LIBPQ & os.environ.keys()
        assert variables.ignored() == ["PGHOSTADDR", "PGPASSWORD"]
        assert variables.inherited()["PGPASSWORD"] == "of-the-shell"
        with variables.set_aside():
            assert "PGHOSTADDR" not in os.environ
        assert "PGHOSTADDR" not in os.environ
    assert os.environ["PGHOSTADDR"] == "192.0.2.1"
    assert os.environ["PGPASSWORD"] == "of-the-shell"


def test_who_leaves_first_puts_nothing_back_under_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    inside, leave = threading.Event(), threading.Event()

    def connect() -> None:
        with variables.connecting():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=connect)
    with variables.connecting():
        thread.start()
        assert inside.wait(10)
    assert "PGSERVICE" not in os.environ
    leave.set()
    thread.join()
    assert os.environ["PGSERVICE"] == "elsewhere"


def test_what_env_py_set_meanwhile_does_not_lead_us_and_stays_for_it() -> None:
    with variables.set_aside(), variables.replaced({"MINE": "x"}, {"PGHOST": "db"}):
        assert (os.environ["MINE"], os.environ["PGHOST"]) == ("x", "db")
        os.environ["PGHOSTADDR"] = "192.0.2.1"
        with variables.connecting():
            assert "PGHOSTADDR" not in os.environ
            assert os.environ["PGHOST"] == "db"
        assert os.environ.pop("PGHOSTADDR") == "192.0.2.1"
    assert not {"MINE", "PGHOST"} & os.environ.keys()


def test_a_program_gets_what_it_needs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("PGHOST", "elsewhere")
    found = variables.plain()
    assert found["PATH"] == os.environ["PATH"]
    assert not {"AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "GIT_DIR", "PGHOST"} & found.keys()
