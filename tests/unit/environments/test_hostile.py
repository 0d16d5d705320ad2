"""Whatever stands in the file: a project, or a ConfigurationError with places; nothing else comes out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgops.environments import load
from pgops.errors import ConfigurationError

GOOD = """\
version: 1
default: dev
promotion: [dev, prod]
defaults: &d
  timeouts: {connect: 5s, lock: 2s}
  backups: {store: local, keep: {last: 5}}
stores:
  local: {url: "file:./backups", encrypt: {recipients: [age1abc], identity: {file: k}}}
alembic: {config: alembic.ini, x: {tenant: main}, environ: {URL: "{url}"}}
environments:
  dev: {aliases: [d], compose: {service: db}, server: auto}
  prod:
    host: db.example.com
    dbname: app
    user: app
    password: {command: [aws, "{host}"], ttl: 10min}
    sslmode: verify-full
    hazards: {exclude: [ban-drop-column], large_bytes: 1GB}
  third: {extends: prod, dbname: null, timeouts: {lock: 500ms}}
"""
LINE = re.compile(r"environments\.yaml:[1-9][0-9]*:[1-9][0-9]*: [^\n\r]+")
KEYS = [*sorted(set(re.findall(r"[a-z_]+", GOOD))), "", "<<", "~", "null", "x-y", "a b", "é", "\x85", "1"]
PIECES = [*re.findall(r"[^\W\d]+|\d+|[^\w\s]|\s+", GOOD), "&a ", "*a", "!t ", "? ", "- ", "---\n", "\t", "\x00", "|\n", ">-\n", "%YAML 1.1\n", "<<", "'", '"', "\\"]  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "environments.yaml"


def survives(file: Path, raw: bytes) -> None:
    file.write_bytes(raw)
    try:
        load(file, environ={})
    except ConfigurationError as error:
        assert error.problems
        for problem in error.problems:
            assert LINE.fullmatch(problem.removeprefix(f"{file.parent}/")), problem


hostile = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@hostile
@given(raw=st.binary(max_size=300))
@example(raw=b"a: \xc3")
@example(raw=b"a:\r\tb")
@example(raw=b"version: 1\nenvironments: {a: {compose: {service: d}, port: " + b"9" * 5000 + b"}}")
def test_bytes(file: Path, raw: bytes) -> None:
    survives(file, raw)


@hostile
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=60))
def test_pieces_of_a_good_file(file: Path, pieces: list[str]) -> None:
    survives(file, "".join(pieces).encode())


@hostile
@given(data=st.data())
def test_a_good_file_with_something_changed(file: Path, data: st.DataObject) -> None:
    raw = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        end = min(len(raw), at + data.draw(st.integers(0, 12)))
        raw[at:end] = data.draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([p.encode() for p in PIECES]))
        )
    survives(file, bytes(raw))


words = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(KEYS)
)
values: st.SearchStrategy[Any] = st.recursive(
    words,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)


@hostile
@given(environments=values, defaults=values, rest=st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
@example(environments={"a": {"extends": "a"}}, defaults=None, rest={})
def test_structures(file: Path, environments: Any, defaults: Any, rest: dict[str, Any]) -> None:
    document = {"version": 1, "defaults": defaults, "environments": environments, **rest}
    # JSON is YAML as far as this goes; what JSON alone writes (NaN, surrogates) is hostile enough to keep.
    survives(file, json.dumps(document).encode("utf-8", "surrogatepass"))


def test_a_file_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(ConfigurationError, match="it is larger than 4 MiB"):
        load(Path("/dev/zero"))
