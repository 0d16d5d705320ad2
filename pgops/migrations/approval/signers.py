"""Who may sign: OpenSSH's file of allowed signers, read strictly, so that people can be counted.

One line is one key of one person: a pattern, a list or a certificate authority would let one key stand for many
people. https://man.openbsd.org/ssh-keygen#ALLOWED_SIGNERS
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops.errors import ConfigurationError
from pgops.runtime.files import read_regular

_LIMIT = 1 << 20
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_NAME = re.compile(r'[^\s"*?!,#][^\s"*?!,]*')
_KEY_TYPE = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[A-Za-z0-9@.-]+")


@dataclass(frozen=True, slots=True)
class Signer:
    """One key of one person. ``line`` is its own line of the file, with the options that ssh-keygen looks at."""

    name: str
    fingerprint: str
    line: str


@dataclass(frozen=True, slots=True)
class Signers:
    """All that a file of allowed signers names; ``text`` is the file as it was read, once."""

    text: str
    signers: tuple[Signer, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The people, each once."""
        return tuple(dict.fromkeys(each.name for each in self.signers))

    @property
    def hash(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def by_fingerprint(self, fingerprint: str) -> Signer | None:
        """Whose key it is."""
        return next((each for each in self.signers if each.fingerprint == fingerprint), None)


def read_signers(file: Path) -> Signers:
    """Read a file of allowed signers.

    :raises ConfigurationError: it is not there, or a line does not name one key of one person.
    """
    try:
        # Lines end as they end in the checkout: with Windows' line ends it is the same file.
        text = read_regular(file, _LIMIT).decode("utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"the allowed signers can't be read: {file}: {why}",
            untouched="nothing was touched",
            hint=f'one line for each key: echo "$(git config user.email) $(cat ~/.ssh/id_ed25519.pub)" >> {file.name}',
        ) from error
    return parse_signers(text, str(file))


def parse_signers(text: str, where: str) -> Signers:
    """The same of a text.

    :param where: the file's name, for the messages.
    :raises ConfigurationError: with every line that is wrong.
    """
    problems: list[str] = []
    found: list[Signer] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            found.append(_signer(_WORD.findall(line), line, found))
        except ValueError as error:
            problems.append(f"{where}:{number}: {error}")
    if not found and not problems:
        problems.append(f"{where}: names nobody")
    if problems:
        raise ConfigurationError(
            "the allowed signers are not people with keys of their own",
            problems=problems,
            untouched="nothing was touched",
            hint='one line for each key: <name> [valid-before="YYYYMMDD"] <type> <key>; one person\'s keys under one name',
        )
    return Signers(text, tuple(found))


def _signer(words: Sequence[str], line: str, before: Sequence[Signer]) -> Signer:
    name = words[0] if words else ""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name} is not the name of one person: no patterns, lists or quotes")
    options = "" if len(words) > 1 and _KEY_TYPE.fullmatch(words[1]) else "".join(words[1:2])
    rest = words[2:] if options else words[1:]
    if "cert-authority" in options.lower():
        raise ValueError("cert-authority: an authority makes any number of people; name the keys")
    if len(rest) < 2 or not _KEY_TYPE.fullmatch(rest[0]):
        raise ValueError("there is no key; a line is <name> [options] <type> <key>")
    if "-cert-" in rest[0]:
        raise ValueError("a certificate; name the key itself")
    try:
        key = base64.b64decode(rest[1], validate=True)
    except binascii.Error:
        raise ValueError("the key is not base64") from None
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    fingerprint = f"SHA256:{digest}"
    for other in before:
        if other.fingerprint == fingerprint and other.name != name:
            raise ValueError(f"the key of {name} is {other.name}'s too: one key is one person")
    return Signer(name, fingerprint, line)
