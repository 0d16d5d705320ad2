"""How a manifest and the notes beside it prove themselves: a SHA-256 as their last key, and a signature before it.

The hash covers every byte before it, so a flipped bit anywhere is found; what comes after it has one form only. The
keys are additions: a version that does not know them reads past them, and what was written without them stays
readable and says that it is not covered.

The signature is an HMAC-SHA256. Who has the key can make what counts as ours, who has it not can't: neither by
writing into the repository nor by knowing the public keys that backups are encrypted for.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pgops.backups.manifest.json_reader import MalformedError, Reader, load_object

_HASH_KEY, _SIGNATURE_KEY = "sha256", "signature"
_HASH = re.compile(rb',\n "sha256": "([0-9a-f]{64})"\n\}\n')
_HASH_LENGTH = len(',\n "sha256": ""\n}\n') + 64
_SIGNATURE = re.compile(rb',\n "signature": "hmac-sha256 ([0-9a-f]{16}) ([0-9a-f]{64})"')
_SIGNATURE_LENGTH = len(',\n "signature": "hmac-sha256  "') + 16 + 64
_PURPOSE = b"pgops: a manifest or note of a backup\0"

Origin = Literal["ours", "unchecked", "unsigned", "foreign"]
"""Who wrote a document, as far as it can be told here: ``ours`` is signed with one of our keys, ``unchecked`` means
that there is no key here, ``unsigned`` that there is one and no signature, ``foreign`` that another key signed."""


@dataclass(frozen=True, slots=True)
class Signature:
    """``key`` is the beginning of a hash of the key, ``value`` the HMAC; both in hex."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """A document as it was read. ``covered``: its hash was there and fits.

    ``digest`` names the content: a SHA-256 without what the seal itself added.
    """

    body: bytes
    covered: bool
    signature: Signature | None
    reader: Reader

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hex."""
        return hashlib.sha256(self.body).hexdigest()


def seal(document: Mapping[str, Any]) -> str:
    """The text of a document that proves itself."""
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return _closed(text.removesuffix("\n}").encode()).decode()


def _closed(covered: bytes) -> bytes:
    return covered + b',\n "sha256": "' + hashlib.sha256(covered).hexdigest().encode() + b'"\n}\n'


def open_sealed(text: str | bytes, known: Collection[str]) -> Sealed:
    """Take a document apart, and check what it says of itself.

    :param known: the keys that a document without a hash can have; one that has others was sealed and is damaged.
    :raises MalformedError: it is not what was written.
    """
    raw = text.encode() if isinstance(text, str) else text
    found = _HASH.fullmatch(raw[-_HASH_LENGTH:])
    if found is None:
        reader = load_object(raw)
        if reader.keys() & {_HASH_KEY, _SIGNATURE_KEY}:
            raise MalformedError("its hash does not stand where it was written")
        if strange := sorted(reader.keys() - set(known)):
            raise MalformedError(f"its hash is damaged, or {strange[0][:80]!r} is not a key of it")
        return Sealed(raw, covered=False, signature=None, reader=reader)
    covered = raw[:-_HASH_LENGTH]
    if not hmac.compare_digest(hashlib.sha256(covered).hexdigest().encode(), found.group(1)):
        raise MalformedError("its content is not what was written (SHA-256 differs)")
    signed = _SIGNATURE.fullmatch(covered[-_SIGNATURE_LENGTH:])
    signature = Signature(signed.group(1).decode(), signed.group(2).decode()) if signed else None
    body = covered[:-_SIGNATURE_LENGTH] if signed else covered
    return Sealed(body, covered=True, signature=signature, reader=load_object(raw))


class Keys:
    """The secrets that sign here: the first signs, and what any of them signed is ours.

    :param find: gives them when they are first needed: a listing of what nobody signed needs none.
    """

    def __init__(self, find: Callable[[], Sequence[str]]) -> None:
        self._find = find

    @functools.cached_property
    def _keys(self) -> dict[str, bytes]:
        keys = [
            hmac.digest(each.encode(), b"pgops: the key that signs backups", "sha256")
            for each in self._find()
        ]
        return {hashlib.sha256(each).hexdigest()[:16]: each for each in keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def sign(self, text: str) -> str:
        """A sealed text with our signature in it; as it was where there is no key."""
        if not self._keys:
            return text
        body = open_sealed(text, ()).body
        name, key = next(iter(self._keys.items()))
        signed = f',\n "signature": "hmac-sha256 {name} {_mac(key, body)}"'
        return _closed(body + signed.encode()).decode()

    def origin(self, sealed: Sealed) -> Origin:
        """Who wrote it.

        :raises MalformedError: it names one of our keys, and that key did not sign this.
        """
        if not self._keys:
            return "unchecked"
        if sealed.signature is None:
            return "unsigned"
        key = self._keys.get(sealed.signature.key)
        if key is None:
            return "foreign"
        if not hmac.compare_digest(_mac(key, sealed.body), sealed.signature.value):
            raise MalformedError("its signature is not that of its content")
        return "ours"


NO_KEYS = Keys(lambda: ())
"""Nobody signs, and every signature is passed over."""


def _mac(key: bytes, body: bytes) -> str:
    return hmac.digest(key, _PURPOSE + body, "sha256").hex()
