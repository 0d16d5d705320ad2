"""Which client tools are taken for which server: the rules, over made-up installations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from pgops.pgtools import (
    Child,
    NoToolsError,
    Toolset,
    ToolSource,
    choose_for_dump,
    choose_for_reading,
    choose_for_restore,
    major_of,
    method_of,
)

ZSTD = ("zstd:3", "lz4", "gzip:1")
GZIP = ("gzip:1",)


class _NeverRun:
    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        raise AssertionError("choosing runs nothing")


def tools(
    version: str, *, compressions: tuple[str, ...] = ZSTD, tls: bool = True, origin: str = "host"
) -> Toolset:
    """A made-up installation."""
    return Toolset(version, origin, _NeverRun(), compressions, tls)


def source(*found: Toolset) -> ToolSource:
    """A source that has these."""
    return lambda _wanted: found


def test_a_dump_takes_the_servers_own_major() -> None:
    choice = choose_for_dump(16, tls=False, sources=[source(tools("18.1"), tools("16.4"), tools("15.2"))])
    assert (choice.toolset.version, choice.reason, choice.warnings) == (
        "16.4",
        "same major as the server (16)",
        (),
    )


def test_zstd_wins_within_the_major_but_not_over_it() -> None:
    plain, able, newer = tools("17.1", compressions=GZIP), tools("17.0", origin="image"), tools("18.0")
    assert (
        choose_for_dump(17, tls=False, sources=[source(plain), source(newer), source(able)]).toolset is able
    )
    choice = choose_for_dump(17, tls=False, sources=[source(plain, newer)])
    assert choice.toolset is plain
    assert choice.warnings == ()
    assert choice.reason.endswith("; it has no zstd, so gzip: slower and larger")


def test_sources_after_a_fitting_one_are_not_asked() -> None:
    def slow(_wanted: int) -> Iterator[Toolset]:
        raise AssertionError("asked a Docker engine for nothing")

    assert choose_for_dump(17, tls=True, sources=[source(tools("17.2")), slow]).toolset.version == "17.2"


def test_a_newer_dump_is_taken_with_a_warning_an_older_one_never() -> None:
    choice = choose_for_dump(16, tls=False, sources=[source(tools("15.1"), tools("18.1"), tools("17.3"))])
    assert choice.toolset.version == "17.3"
    assert choice.reason == "no pg_dump 16 was found; 17 is the next newer one"
    assert choice.warnings == (
        "dumped with pg_dump 17.3 from a server of major 16: restoring it takes pg_restore 17 or later",
    )
    with pytest.raises(NoToolsError) as caught:
        choose_for_dump(18, tls=False, sources=[source(tools("15.1", compressions=GZIP), tools("17.3"))])
    assert caught.value.message == "this needs pg_dump 18 or later; found: 15.1 (host, no zstd), 17.3 (host)"
    assert caught.value.hint.startswith("install postgresql-client-18, or start a Docker engine")


def test_tools_without_tls_are_no_use_where_tls_is_demanded() -> None:
    without = tools("18.6", compressions=GZIP, tls=False, origin="wheel")
    assert choose_for_dump(18, tls=False, sources=[source(without)]).toolset is without
    with pytest.raises(
        NoToolsError, match=r"pg_dump 18 or later with TLS; found: 18\.6 \(wheel, no zstd, no TLS\)"
    ):
        choose_for_dump(18, tls=True, sources=[source(without)])


def restore(server: int, archive: int, *found: Toolset, compression: str = "gzip:1") -> Toolset | None:
    """What a restore takes, ``None`` for nothing."""
    try:
        return choose_for_restore(
            server, archive_major=archive, compression=compression, tls=False, sources=[source(*found)]
        ).toolset
    except NoToolsError:
        return None


def test_a_restore_takes_the_targets_major_if_that_reads_the_archive() -> None:
    fifteen, sixteen, seventeen, eighteen = (tools(f"{major}.1") for major in (15, 16, 17, 18))
    everything = (fifteen, sixteen, seventeen, eighteen)
    assert restore(16, 16, *everything) is sixteen
    assert restore(17, 15, *everything) is seventeen
    assert restore(17, 18, *everything) is eighteen
    # 17 and later send SET transaction_timeout, which 16 refuses; older ones can't read what 17 wrote.
    assert restore(16, 17, *everything) is None
    assert restore(16, 15, seventeen, fifteen) is fifteen


def test_a_restore_needs_tools_that_read_the_compression() -> None:
    plain, able = tools("17.2", compressions=GZIP), tools("18.1")
    assert restore(17, 17, plain, able, compression="zstd:3") is able
    assert restore(17, 17, plain, able, compression="6") is plain
    assert restore(17, 17, plain, compression="zstd:3") is None


def test_a_restore_looks_for_the_archives_major_where_the_servers_own_cannot_read_it() -> None:
    def images(wanted: int) -> Iterator[Toolset]:
        if wanted == 17:
            yield tools("17.2", origin="image postgres:17")

    wheel = source(tools("18.6", compressions=GZIP, origin="wheel"))
    choice = choose_for_restore(
        18, archive_major=17, compression="zstd:3", tls=False, sources=[images, wheel]
    )
    assert choice.toolset.origin == "image postgres:17"


def test_reading_takes_the_oldest_that_can() -> None:
    found = [source(tools("18.1"), tools("17.1", compressions=GZIP), tools("16.1"))]
    assert choose_for_reading(archive_major=17, compression="gzip:1", sources=found).toolset.version == "17.1"
    assert choose_for_reading(archive_major=17, compression="zstd:3", sources=found).toolset.version == "18.1"
    with pytest.raises(
        NoToolsError, match=r"this needs pg_restore 19 or later that reads gzip; found: 18\.1"
    ):
        choose_for_reading(archive_major=19, compression="gzip:1", sources=found)


@pytest.mark.parametrize(("version", "major"), [("17.2", 17), ("18beta1", 18), ("9.6.24", 9), ("devel", 0)])
def test_majors(version: str, major: int) -> None:
    assert major_of(version) == major


@pytest.mark.parametrize(
    ("compression", "method"), [("zstd:3", "zstd"), ("lz4", "lz4"), ("6", "gzip"), ("0", "none")]
)
def test_methods(compression: str, method: str) -> None:
    assert method_of(compression) == method
