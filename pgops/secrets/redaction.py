"""Taking secrets out of texts: URLs, keyword DSNs, and every value this process has revealed, in every form it takes."""

from __future__ import annotations

import functools
import json
import logging
import re
import shlex
import sys
import threading
import traceback
import urllib.parse
from collections.abc import Iterable
from types import TracebackType

from pgops.runtime.clear_text import clear, clear_output
from pgops.secrets.references import MASK, known_secrets

_SECRET_KEYS = r"(?:password|passwd|pwd|sslpassword|secret|token|access_key|secret_key)"
_USERINFO = re.compile(r"(?P<head>[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*:)(?P<value>[^\s/]*)(?P<tail>@)")
_QUERY = re.compile(rf"(?P<head>[?&]{_SECRET_KEYS}=)(?P<value>[^&\s'\"]*)", re.IGNORECASE)
_KEYWORD = re.compile(
    rf"(?P<head>\b{_SECRET_KEYS}\s*=\s*)(?P<value>'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\s&,;)]+)", re.IGNORECASE
)
# As SQL has it in OPTIONS (…) and in ALTER ROLE … PASSWORD '…'.
_OPTION = re.compile(rf"(?P<head>\b{_SECRET_KEYS}\s+E?)(?P<value>'(?:[^'\\]|''|\\.)*')", re.IGNORECASE)


_BREAKABLE = 8
"""Characters from which on a value is looked for over the end of a line too; a shorter one would match by chance."""


@functools.lru_cache(maxsize=256)
def _forms(value: str) -> tuple[str, ...]:
    """Every way in which a value may stand in a text, the longest first."""
    percent = {
        urllib.parse.quote(value, safe=safe) for safe in ("", "/", " +", "!$&'()*+,;=", "!$&'()*+,;=:@/")
    } | {urllib.parse.quote_plus(value), re.sub("[:@/]", lambda found: f"%{ord(found[0]):02X}", value)}
    percent |= {re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), each) for each in percent}
    sql = value.replace("'", "''")
    quoted = {
        sql,
        sql.replace("\\", "\\\\"),
        value.replace("\\", "\\\\").replace("'", "\\'"),
        value.replace("\\", "\\\\").replace('"', '\\"'),
        value.replace("%", "%%"),
        shlex.quote(value)[1:-1] if shlex.quote(value) != value else value,
    }
    plain = {value, *percent, *quoted}
    # Within a text that was itself written by repr or as JSON, and that in a second one.
    written = {form for each in plain for form in _written(each)}
    written |= {form for each in written for form in _written(each)}
    return tuple(sorted({each for each in plain | written if len(each) >= 3}, key=len, reverse=True))


def _written(text: str) -> set[str]:
    """A text as Python and JSON write it between quotes; repr's choice of quotes depends on what stands around."""
    single = repr(text + '"')[1:-2]
    double = text.replace("\\", "\\\\")
    return {
        single,
        double,
        ascii(text)[1:-1],
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
    }


@functools.lru_cache(maxsize=1024)
def _broken(form: str) -> re.Pattern[str]:
    return re.compile(r"(?:[ \t│|]*\n[ \t│|]*)?".join(map(re.escape, form)))


def redacted_traceback(error: BaseException) -> str:
    """What Python would print of an exception that nobody caught, without secrets and control characters."""
    return clear(redact("".join(traceback.format_exception(error))))


class RedactingFormatter(logging.Formatter):
    """Another formatter's lines, without secrets and control characters."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return clear_output(redact(self._inner.format(record)))


def redact_what_python_prints() -> None:
    """From here on, tracebacks that nobody caught and lines of the handlers that exist are printed without secrets.

    A KeyboardInterrupt is not printed: one that gets this far was raised into a driver's own code, which prints and
    forgets it; whoever waited there is told by the connection that was given up.
    """
    sys.excepthook = _print_redacted
    sys.unraisablehook = _print_ignored
    threading.excepthook = lambda seen: (
        _print_redacted(seen.exc_type, seen.exc_value, seen.exc_traceback) if seen.exc_value else None
    )
    for logger in (logging.getLogger(), logging.getLogger("invoke")):
        for handler in logger.handlers:
            if not isinstance(handler.formatter, RedactingFormatter):
                handler.setFormatter(RedactingFormatter(handler.formatter))


def _print_redacted(
    _kind: type[BaseException], error: BaseException, _traceback: TracebackType | None
) -> None:
    if not isinstance(error, KeyboardInterrupt):
        sys.stderr.write(redacted_traceback(error))


def _print_ignored(seen: sys.UnraisableHookArgs) -> None:
    if seen.exc_value is not None and not isinstance(seen.exc_value, KeyboardInterrupt):
        sys.stderr.write(f"{seen.err_msg or 'Exception ignored'}:\n{redacted_traceback(seen.exc_value)}")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` with passwords masked.

    Masks the userinfo of any URL, password-like query keys, keyword DSN entries and options of SQL, and every value
    in ``secrets`` or revealed so far by :mod:`pgops.secrets.references`: raw, percent-encoded, as Python, JSON, SQL,
    libpq, a shell or a configuration file quote it, and broken over lines. A value that
    reads like a word is masked where it stands as a word, so that ``ship`` leaves ``relationship``
    whole. Values shorter than three characters are masked by position only: replacing them would
    spoil the text without hiding anything.
    """
    known = {value for value in (*secrets, *known_secrets()) if len(value) >= 3}
    for value in sorted(known, key=len, reverse=True):
        for form in _forms(value):
            if form.isalnum():
                text = re.sub(rf"(?<![^\W_]){re.escape(form)}(?![^\W_])", MASK, text)
            else:
                text = text.replace(form, MASK)
            if "\n" in text and len(form) >= _BREAKABLE:
                text = _broken(form).sub(MASK, text)
    text = _USERINFO.sub(rf"\g<head>{MASK}\g<tail>", text)
    text = _QUERY.sub(rf"\g<head>{MASK}", text)
    text = _OPTION.sub(rf"\g<head>{MASK}", text)
    return _KEYWORD.sub(rf"\g<head>{MASK}", text)
