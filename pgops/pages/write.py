"""A page into the file that a person named: a regular file, or what a shell would write to as well."""

from __future__ import annotations

from pathlib import Path

from pgops.errors import PgopsError


def write_page(file: Path, text: str) -> None:
    """Write ``text`` as UTF-8; what can't be written as that is escaped.

    :raises PgopsError: it can't be written: the disk is full, or it may not be.
    """
    try:
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise PgopsError(
            f"{file} can't be written: {error.strerror}",
            untouched="everything else was done; that file is not what it should be",
            hint=f"df {file.parent}; ls -ld {file}",
        ) from error
