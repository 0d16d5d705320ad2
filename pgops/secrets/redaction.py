"""Taking secrets out of texts: URLs, keyword DSNs, and every value this process has revealed."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable

from pgops.secrets.references import MASK, known_secrets

_SECRET_KEYS = r"(?:password|passwd|pwd|sslpassword|secret|token|access_key|secret_key)"
_USERINFO = re.compile(r"(?P<head>[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*:)(?P<value>[^\s/]*)(?P<tail>@)")
_QUERY = re.compile(rf"(?P<head>[?&]{_SECRET_KEYS}=)(?P<value>[^&\s'\"]*)", re.IGNORECASE)
_KEYWORD = re.compile(
    rf"(?P<head>\b{_SECRET_KEYS}\s*=\s*)(?P<value>'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\s&,;)]+)", re.IGNORECASE
)
# As SQL has it in OPTIONS (…) and in ALTER ROLE … PASSWORD '…'.
_OPTION = re.compile(rf"(?P<head>\b{_SECRET_KEYS}\s+E?)(?P<value>'(?:[^'\\]|''|\\.)*')", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` with passwords masked.

    Masks the userinfo of any URL, password-like query keys, keyword DSN entries and options of SQL, and every value
    in ``secrets`` or revealed so far by :mod:`pgops.secrets.references`, raw and percent-encoded. A value that
    reads like a word is masked where it stands as a word, so that ``ship`` leaves ``relationship``
    whole. Values shorter than three characters are masked by position only: replacing them would
    spoil the text without hiding anything.
    """
    known = {value for value in (*secrets, *known_secrets()) if len(value) >= 3}
    for value in sorted(known, key=len, reverse=True):
        for form in {value, urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value)}:
            if form.isalnum():
                text = re.sub(rf"(?<![^\W_]){re.escape(form)}(?![^\W_])", MASK, text)
            else:
                text = text.replace(form, MASK)
    text = _USERINFO.sub(rf"\g<head>{MASK}\g<tail>", text)
    text = _QUERY.sub(rf"\g<head>{MASK}", text)
    text = _OPTION.sub(rf"\g<head>{MASK}", text)
    return _KEYWORD.sub(rf"\g<head>{MASK}", text)
