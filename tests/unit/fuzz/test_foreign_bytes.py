"""Whatever bytes come from a file, a store or a program: a value, or an expected failure; nothing else comes out.

What is read is made from something sound by cutting, doubling, swapping and flipping, so that it gets far.
``PGOPS_TEST_FUZZ=100000`` tries each so many times.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgops.backups.manifest.manifest import MANIFEST_NAME, File, Table, parse_settings, read_manifest
from pgops.backups.manifest.pin import Pin, read_pin
from pgops.backups.manifest.proof import Proof, read_proof
from pgops.backups.restore.partial import filtered_list
from pgops.backups.restore.rebuilt import read_header
from pgops.backups.restore.tolerant_load import errors_in
from pgops.backups.verify.archive import count_script
from pgops.backups.verify.script import Script
from pgops.environments import load as load_environments
from pgops.errors import PgopsError, VerificationError
from pgops.local.compose.service import load as load_compose
from pgops.migrations.hazards import squawk
from pgops.migrations.hazards.sql import Statement
from pgops.pgtools import without_column_versions
from pgops.runtime.clear_text import clear_output
from tests.support.backups import MOMENT, manifest_for

ROUNDS = int(os.environ.get("PGOPS_TEST_FUZZ", "150"))
fuzzed = settings(
    max_examples=ROUNDS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

MANIFEST = manifest_for([File("dump/toc.dat", 10, "0" * 64)])
TOC = bytes.fromhex(
    "5047444d5001100004080301000c0000000001000000000a000000001b000000000a000000007e000000000000000000"
    "0b000000646576656c6f706d656e740004000000 31382e36 0004000000 31382e36".replace(" ", "")
)
ENVIRONMENTS = b"""\
version: 1
default: dev
stores: {local: {url: "file:./backups"}}
defaults: {backups: {store: local, keep: {last: 5}}}
environments:
  dev: {compose: {service: db}, server: auto}
  prod: {host: db.example.com, dbname: app, user: app, password: {env: A}, sslmode: verify-full}
  other: {extends: prod, dbname: "b", timeouts: {lock: 500ms}, aliases: [o]}
"""
COMPOSE = b"""\
name: app
services:
  db:
    image: "postgres:${PG:-17}"
    ports: ["127.0.0.1:5432:5432"]
    environment: {POSTGRES_PASSWORD: pw, POSTGRES_USER: app}
    volumes: [data:/var/lib/postgresql/data]
    healthcheck: {test: [CMD, pg_isready], interval: 1s, retries: 3}
    deploy: {resources: {limits: {cpus: "1", memory: 1gb}}}
volumes: {data: {}}
"""
LISTING = """\
;
; Archive created at 2026-11-27 10:00:00 UTC
;     dbname: app
215; 1259 16385 TABLE public knowledge postgres
3345; 0 16385 TABLE DATA public knowledge postgres
3350; 2606 16391 CONSTRAINT public knowledge knowledge_pkey postgres
"""
SCRIPT = b"""\
--
-- TOC entry 3345 (class 1259 OID 16385)
-- Data for Name: knowledge; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.knowledge (id, content) FROM stdin;
1\tone
2\t\\\\.
\\.


SELECT pg_catalog.setval('public.s', 2, true);
"""
SAID = """\
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3345; 0 16385 TABLE DATA knowledge postgres
pg_restore: error: could not execute query: ERROR:  relation "knowledge" does not exist
Command was: COPY public.knowledge (id) FROM stdin;
pg_restore: warning: errors ignored on restore: 1
"""
FINDINGS = (
    b'[{"file": "/tmp/0.sql", "line": 1, "rule_name": "ban-drop-column", "level": "Warning", "message": "x"}]'
)
PIECES = [b"", b"\x00", b"\xff", b"\n", b'"', b"'", b"{", b"}", b"[", b"]", b"null", b"1e999", b"-1", b"${", b"&a ", b"*a", b"<<: ", b"\xc3", b"\xed\xa0\x80", b"9" * 30]  # fmt: skip


@st.composite
def harmed(draw: st.DrawFn, sound: bytes) -> bytes:
    """Something sound after a few changes."""
    raw = bytearray(sound)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(raw)))
        until = min(len(raw), at + draw(st.integers(0, 12)))
        match draw(st.integers(0, 4)):
            case 0 if at < len(raw):
                raw[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del raw[at:until]
            case 2:
                raw[at:at] = draw(st.sampled_from(PIECES))
            case 3:
                there = draw(st.integers(0, len(raw)))
                raw[there:there] = raw[at:until]
            case _:
                raw[at:until] = draw(st.binary(max_size=8))
    return bytes(raw)


@pytest.mark.parametrize(
    ("sound", "read"),
    [
        (MANIFEST.to_json().encode(), lambda raw: read_manifest(raw, where="x")),
        (Proof("read", MOMENT, 1.0).to_json().encode(), lambda raw: read_proof(raw, where="x")),
        (Pin(MOMENT, "why", MANIFEST.id).to_json().encode(), lambda raw: read_pin(raw, where="x")),
        (MANIFEST.settings_json.encode(), lambda raw: parse_settings(raw, where="x")),
        (TOC, read_header),
    ],
    ids=[MANIFEST_NAME, "proof", "pin", "settings", "toc.dat"],
)
def test_what_lies_in_a_repository(sound: bytes, read: Callable[[bytes], Any]) -> None:
    read(sound)

    @fuzzed
    @given(harmed(sound))
    def whatever(raw: bytes) -> None:
        with contextlib.suppress(VerificationError):
            read(raw)

    whatever()


@pytest.mark.parametrize(
    ("name", "sound", "read"),
    [
        ("environments.yaml", ENVIRONMENTS, lambda file: load_environments(file, environ={})),
        (
            "compose.yaml",
            COMPOSE,
            lambda file: load_compose(file.parent, service="db", environ={"A": "b"}),
        ),
    ],
)
def test_what_lies_in_a_checkout(
    tmp_path: Path, name: str, sound: bytes, read: Callable[[Path], Any]
) -> None:
    file = tmp_path / name
    file.write_bytes(sound)
    read(file)

    @fuzzed
    @given(harmed(sound))
    def whatever(raw: bytes) -> None:
        file.write_bytes(raw)
        with contextlib.suppress(PgopsError):
            read(file)

    whatever()


@fuzzed
@given(harmed(LISTING.encode()), harmed(SAID.encode()), harmed(SCRIPT))
def test_what_pg_restore_prints(listing: bytes, said: bytes, script: bytes) -> None:
    filtered_list(listing.decode("utf-8", "replace"), [Table("public", "knowledge", 1, 1)], "UTF8")
    assert all(why is not None for _what, why in errors_in(said.decode("utf-8", "replace")))
    with contextlib.suppress(EOFError, VerificationError):
        count_script(Script(io.BytesIO(script)), found={})
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", clear_output(said.decode("utf-8", "replace")))


@fuzzed
@given(
    harmed(b"\x00\x01ALTER TABLE ONLY public.a ALTER COLUMN id SET (pg_attver=22, n_distinct=5);\n\x05" * 3)
)
def test_what_pg_dump_writes(contents: bytes) -> None:
    assert len(without_column_versions(contents)) == len(contents)


@fuzzed
@given(harmed(FINDINGS))
def test_what_squawk_prints(output: bytes) -> None:
    said = subprocess.CompletedProcess([], 1, output.decode("utf-8", "replace"), "")
    with pytest.MonkeyPatch.context() as patched, contextlib.suppress(PgopsError):
        patched.setattr(subprocess, "run", lambda *_given, **_named: said)
        squawk.lint([Statement("a", 1, "DROP TABLE a", (), None)], "17")
