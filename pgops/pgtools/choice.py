"""Choosing client tools by major version.

Dump with the source's major, restore with the target's. An archive of pg_dump 17 or later can't be read
by an older pg_restore, so none older than the dump's is ever taken; and pg_restore 17 or later sends
``SET transaction_timeout``, which servers before 17 refuse. A newer pg_dump reads older servers, an older
one refuses newer servers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pgops.errors import PgopsError
from pgops.pgtools.toolset import DEFAULT_SOURCES, Toolset, ToolSource, method_of

# From 17 on pg_restore sends a setting that older servers don't know.
_SENDS_TRANSACTION_TIMEOUT = 17


class NoToolsError(PgopsError):
    """No client tools here fit."""

    code = "tools"


@dataclass(frozen=True, slots=True)
class Choice:
    """The toolset to use, why this one, and what a person should know about it."""

    toolset: Toolset
    reason: str
    warnings: tuple[str, ...] = ()


def choose_for_dump(
    server_major: int, *, tls: bool, sources: Sequence[ToolSource] = DEFAULT_SOURCES
) -> Choice:
    """Tools to dump a server with: its own major, with zstd where any has it; else the next newer major.

    :param tls: the connection goes over TLS: a build without it won't do, even where the server would take it.
    :raises NoToolsError: none fits; says what was found and where to get it.
    """
    looked = _look(sources, server_major, lambda each: _fits_tls(each, tls) and each.zstd)
    usable = [each for each in looked if _fits_tls(each, tls) and each.major >= server_major]
    if not usable:
        raise _nothing("pg_dump", f"{server_major} or later", looked, server_major, tls=tls)
    best = min(usable, key=lambda each: (each.major, not each.zstd))
    warnings = []
    if best.major == server_major:
        reason = f"same major as the server ({server_major})"
    else:
        reason = f"no pg_dump {server_major} was found; {best.major} is the next newer one"
        warnings.append(
            f"dumped with pg_dump {best.version} from a server of major {server_major}: "
            f"restoring it takes pg_restore {best.major} or later"
        )
    if not best.zstd:
        # No warning: it would be the same at every backup, and nothing is wrong with the backup.
        reason += f"; it has no zstd, so {method_of(best.compression)}: slower and larger"
    return Choice(best, reason, tuple(warnings))


def choose_for_restore(
    server_major: int,
    *,
    archive_major: int,
    compression: str,
    tls: bool,
    sources: Sequence[ToolSource] = DEFAULT_SOURCES,
) -> Choice:
    """Tools to restore into a server with: its own major where that can read the archive, else the nearest.

    :param archive_major: major of the pg_dump that wrote the archive.
    :param compression: what the archive is compressed with (the manifest's word).
    :raises NoToolsError: none can read the archive and speak to this server.
    """

    def fits(each: Toolset) -> bool:
        known = server_major >= _SENDS_TRANSACTION_TIMEOUT or each.major < _SENDS_TRANSACTION_TIMEOUT
        return each.major >= archive_major and known and each.reads(compression) and _fits_tls(each, tls)

    wanted = max(server_major, archive_major)
    looked = _look(sources, wanted, fits)
    if not any(map(fits, looked)) and archive_major != wanted:
        # Not of the server's major, but of the one that wrote the archive: it may be all there is with its compression.
        looked += _look(sources, archive_major, fits)
    usable = [each for each in looked if fits(each)]
    if not usable:
        what = f"{wanted} that reads {method_of(compression)}"
        raise _nothing("pg_restore", what, looked, wanted, tls=tls)
    best = min(usable, key=lambda each: (each.major != server_major, each.major))
    if best.major == server_major:
        return Choice(best, f"same major as the server ({server_major})")
    return Choice(
        best,
        f"the archive was written by pg_dump {archive_major}; {best.major} reads it and speaks to a server of "
        f"major {server_major}",
    )


def choose_for_reading(
    *, archive_major: int, compression: str, sources: Sequence[ToolSource] = DEFAULT_SOURCES
) -> Choice:
    """Tools to read an archive with, no server involved: the major that wrote it, or a newer one.

    :raises NoToolsError: none can read it.
    """

    def fits(each: Toolset) -> bool:
        return each.major >= archive_major and each.reads(compression)

    looked = _look(sources, archive_major, fits)
    usable = [each for each in looked if fits(each)]
    if not usable:
        what = f"{archive_major} or later that reads {method_of(compression)}"
        raise _nothing("pg_restore", what, looked, archive_major, tls=False)
    best = min(usable, key=lambda each: each.major)
    return Choice(best, f"can read an archive of pg_dump {archive_major} with {method_of(compression)}")


def _fits_tls(each: Toolset, tls: bool) -> bool:
    return each.tls or not tls


def _look(sources: Sequence[ToolSource], wanted: int, enough: Callable[[Toolset], bool]) -> list[Toolset]:
    """Ask the sources in order and stop at the first toolset of the wanted major that has all we want."""
    found: list[Toolset] = []
    for source in sources:
        for each in source(wanted):
            found.append(each)
            if each.major == wanted and enough(each):
                return found
    return found


def _nothing(program: str, what: str, looked: Sequence[Toolset], major: int, *, tls: bool) -> NoToolsError:
    def describe(each: Toolset) -> str:
        lacks = "" if each.zstd else ", no zstd"
        return f"{each.version} ({each.origin}{lacks}{'' if each.tls else ', no TLS'})"

    found = ", ".join(dict.fromkeys(map(describe, looked))) or "none"
    with_tls = " with TLS" if tls else ""
    return NoToolsError(
        f"this needs {program} {what}{with_tls}; found: {found}",
        untouched="nothing was touched",
        hint=f"install postgresql-client-{major}, or start a Docker engine that has the image postgres:{major}",
    )
