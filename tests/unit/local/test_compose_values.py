"""Sizes, durations, ports, mounts and command lines, one table each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.local.compose import values
from pgops.local.compose.document import Mark, Scalar
from pgops.local.compose.spec import BindOptions, Mount, Port, VolumeOptions

HERE = Mark("c.yml", 1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64", 64),
        ("64b", 64),
        ("64k", 65536),
        ("64MB", 67108864),
        ("64 MiB", 67108864),
        ("1.5g", 1610612736),
        ("0", 0),
        ("-1", -1),
    ],
)
def test_size(text: str, expected: int) -> None:
    assert values.size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        ("2d", 172_800_000_000_000),
        ("500ms", 500_000_000),
        ("1us", 1_000),
        ("0", 0),
    ],
)
def test_duration(text: str, expected: int) -> None:
    assert values.duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5432", [Port(5432)]),
        ("5432:5432", [Port(5432, "5432")]),
        ("127.0.0.1:5432:5432", [Port(5432, "5432", "127.0.0.1")]),
        ("127.0.0.1::5432", [Port(5432, "", "127.0.0.1")]),
        ("[::1]:80:80", [Port(80, "80", "::1")]),
        ("::1:80:80", [Port(80, "80", "::1")]),
        ("6060:6060/UDP", [Port(6060, "6060", "", "udp")]),
        ("9000-9001", [Port(9000), Port(9001)]),
        ("8000-8001:80", [Port(80, "8000-8001")]),
        ("6000-6001:7000-7001", [Port(7000, "6000"), Port(7001, "6001")]),
    ],
)
def test_ports(text: str, expected: list[Port]) -> None:
    assert values.ports(text) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/anon", Mount("volume", "/anon", volume=VolumeOptions())),
        ("data:/d", Mount("volume", "/d", "data", volume=VolumeOptions())),
        ("data:/d:ro,nocopy", Mount("volume", "/d", "data", True, volume=VolumeOptions(nocopy=True))),
        ("./x:/d:z", Mount("bind", "/d", "./x", bind=BindOptions(selinux="z"))),
        ("/x:/d:ro,rslave", Mount("bind", "/d", "/x", True, bind=BindOptions(propagation="rslave"))),
    ],
)
def test_mount(text: str, expected: Mount) -> None:
    assert values.mount(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c' \"d\"", ("a", "b c", "d")),
        ("postgres -c shared_buffers=1GB", ("postgres", "-c", "shared_buffers=1GB")),
        (r"a\ b", ("a b",)),
        ("", ()),
    ],
)
def test_words(text: str, expected: tuple[str, ...]) -> None:
    assert values.words(text) == expected


@pytest.mark.parametrize(
    ("read", "text", "problem"),
    [
        (values.size, "64x", "'64x' is not a size such as 256mb"),
        (values.size, "9" * 30, f"'{'9' * 30}' is larger than Docker can count"),
        (values.duration, "10", "'10' is not a duration such as 30s or 1m30s"),
        (values.duration, "", "'' is not a duration such as 30s or 1m30s"),
        (values.duration, "1s x", "'1s x' is not a duration such as 30s or 1m30s"),
        (values.ports, "127.0.0.1:5432", "'127.0.0.1:5432': '127.0.0.1' is not a port between 1 and 65535"),
        (values.ports, "localhost:1:1", "'localhost' is not an IP address of this machine"),
        (values.ports, "70000:80", "'70000:80': '70000' is not a port between 1 and 65535"),
        (values.ports, "1-3:1-2", "'1-3:1-2': the two ranges are not of one length"),
        (values.ports, "3-1", "'3-1': the range '3-1' runs backwards"),
        (values.ports, "80/x", "'80/x': protocol 'x' is none of tcp, udp, sctp"),
        (values.mount, "a:b:c:d", "'a:b:c:d' is not source:target[:options]"),
        (values.mount, "a:/b:foo", "'a:/b:foo': mount option 'foo' is none of nocopy, ro, rw"),
        (values.words, "a 'b", '"a \'b" is not a command line: no closing quotation'),
        (values.words, "a | b", "'a | b': no shell reads it, so '|' means nothing; write a list"),
        (values.boolean, "maybe", "'maybe' is neither true nor false"),
        (values.integer, "1_0", "'1_0' is not a whole number"),
        (values.decimal, "-1", "'-1' is below zero"),
    ],
)
def test_refusals(read: Callable[[str], object], text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", "5"),
        ("+5", "5"),
        ("1.50", "1.5"),
        ("1.0", "1"),
        ("on", "on"),
        ("True", "true"),
        ("22:22", "22:22"),
    ],
)
def test_plain_values_become_text_as_compose_prints_them(text: str, expected: str) -> None:
    assert values.printed(Scalar(text, HERE)) == expected
    assert values.printed(Scalar(text, HERE, plain=False)) == text


@pytest.mark.parametrize(
    "text", ["010", "0x10", "1e3", "1_000", "2001-01-01", ".5", ".inf", "-0", "9" * 30, "1234567.5"]
)
def test_plain_values_that_readers_differ_on_must_be_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="write it in quotes"):
        values.printed(Scalar(text, HERE))


@given(
    st.sampled_from(
        [
            values.size,
            values.duration,
            values.ports,
            values.mount,
            values.words,
            values.boolean,
            values.integer,
            values.decimal,
            values.exposed,
        ]
    ),
    st.text(max_size=30)
    | st.text(alphabet="0123456789.:-/smhdkgb", max_size=80)
    | st.from_regex(r"[0-9]{1,6000}", fullmatch=True),
)
def test_nothing_but_value_errors_come_out(read: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(ValueError):
        read(text)
