"""Secret references: where a secret is, and its value at the moment of use.

A reference is what ``environments.yaml`` holds; it can be printed. A :class:`Secret` is a value; its
``repr`` and ``str`` are masked, and every value ever revealed is remembered so that
:func:`known_secrets` can take it out of any text before it reaches a person or a file.
"""

from __future__ import annotations

import functools
import shlex
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pgops.errors import SecretError
from pgops.runtime.variables import inherited

MASK = "***"
# What is longer than this is no password, token or key but a file of another kind.
_LONGEST = 64 * 1024
_revealed: set[str] = set()
_public: set[str] = set()
_command_values: dict[tuple[str, ...], tuple[float, str]] = {}


class Secret:
    """A secret value that does not print itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        if value:
            _revealed.add(value)

    def reveal(self) -> str:
        """The value in clear; only for a connection, a passfile or a child's environment."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def known_secrets() -> frozenset[str]:
    """Every value this process has revealed so far, but for public words; the redaction of texts starts from it."""
    return frozenset(_revealed - _public)


def not_secret(*words: str) -> None:
    """Words that people must be able to read (names of users, databases, hosts), even where one is a password too."""
    _public.update(words)


@dataclass(frozen=True, slots=True)
class EnvSecret:
    """``{env: NAME}``: an environment variable, an error when unset or empty."""

    name: str

    def describe(self) -> str:
        return f"environment variable {self.name}"


@dataclass(frozen=True, slots=True)
class FileSecret:
    """``{file: path}``: first line of a file that only its owner can read; of a key, the whole file."""

    path: Path

    def describe(self) -> str:
        return f"file {self.path}"


@dataclass(frozen=True, slots=True)
class CommandSecret:
    """``{command: [argv…], ttl: 10min, timeout: 10s}``: the first line a program prints, of a key all of it; no shell.

    ``{host}``, ``{port}``, ``{user}`` and ``{dbname}`` in an argument are filled in.
    The value is used again for ``ttl`` seconds within the process (cloud tokens expire).
    """

    argv: tuple[str, ...]
    ttl: float = 0.0
    timeout: float = 10.0

    def describe(self) -> str:
        return f"command {self.argv[0]}"


@dataclass(frozen=True, slots=True)
class KeyringSecret:
    """``{keyring: {service: pgops, username: app}}``: the operating system's keyring (extra ``keyring``)."""

    service: str
    username: str

    def describe(self) -> str:
        return f"keyring entry {self.service}/{self.username}"


@dataclass(frozen=True, slots=True)
class PassfileSecret:
    """``{passfile: path}``: libpq's own password file; libpq picks the line.

    https://www.postgresql.org/docs/current/libpq-pgpass.html
    """

    path: Path

    def describe(self) -> str:
        return f"passfile {self.path}"


@dataclass(frozen=True, slots=True)
class LiteralSecret:
    """A value that came with a file pgops does not own (docker-compose.yml); never from environments.yaml."""

    value: Secret = field(repr=False)

    def describe(self) -> str:
        return "docker-compose.yml"


SecretRef = EnvSecret | FileSecret | CommandSecret | KeyringSecret | PassfileSecret | LiteralSecret


def resolve(reference: SecretRef, *, what: str, fill: Mapping[str, str] | None = None) -> Secret:
    """Give the value a reference points to: of a file and of a command's output the first line.

    :param reference: anything but a :class:`PassfileSecret`, which libpq reads by itself.
    :param what: whose secret, for the message: ``"production.password"``.
    :param fill: values for ``{host}``, ``{port}``, ``{user}``, ``{dbname}`` in a command.
    :raises SecretError: no value; says which reference and what to do, never what was found.
    """
    match reference:
        case FileSecret(path=path):
            value = _file_text(path, what).partition("\n")[0]
            if not value:
                raise SecretError(
                    f"{what}: the first line of {path} is empty", hint=f"write the secret into {path}"
                )
        case CommandSecret(argv=argv):
            value = (_command_text(reference, what, fill or {}).splitlines() or [""])[0].strip()
            if not value:
                raise SecretError(f"{what}: command {argv[0]} printed nothing", hint=_see_it(argv))
        case _:
            value = _value(reference, what)
    return _password(value, reference, what)


def resolve_text(reference: SecretRef, *, what: str) -> Secret:
    """Give all that a reference points to: a key file with its comments and lines, from wherever it is kept.

    :raises SecretError: there is nothing; as :func:`resolve`.
    """
    match reference:
        case FileSecret(path=path):
            value = _file_text(path, what)
            if len(value) > _LONGEST:
                raise SecretError(f"{what}: {path} is too large for a key", hint=f"ls -l {path}")
        case CommandSecret():
            value = _command_text(reference, what, {})
        case _:
            value = _value(reference, what)
    if not value.strip():
        raise SecretError(f"{what}: there is nothing in {reference.describe()}", hint="write the key there")
    return _password(value, reference, what)


def _password(value: str, reference: SecretRef, what: str) -> Secret:
    secret = Secret(value)
    if "\0" in value:
        raise SecretError(
            f"{what}: the value from {reference.describe()} has a NUL byte in it, which no password can have",
            untouched="no connection was made",
            hint="write the password alone, as text",
        )
    return secret


def _value(reference: EnvSecret | KeyringSecret | PassfileSecret | LiteralSecret, what: str) -> str:
    match reference:
        case LiteralSecret(value=value):
            return value.reveal()
        case EnvSecret(name=name):
            return _from_environment(name, what)
        case KeyringSecret(service=service, username=username):
            return _from_keyring(service, username, what)
        case PassfileSecret():
            raise SecretError(
                f"{what}: a passfile is read by libpq and holds a password only",
                hint="use env, file, command or keyring here",
            )


def _from_environment(name: str, what: str) -> str:
    environ = inherited()
    value = environ.get(name, "")
    if not value:
        state = "empty" if name in environ else "not set"
        raise SecretError(
            f"{what}: environment variable {name} is {state}",
            untouched="no connection was made",
            hint=f"export {name}=…  (or read it from a vault: {{command: […]}})",
        )
    return value


def check_private(path: Path, what: str) -> None:
    """Refuse a secret file that others can read, as ssh and libpq do."""
    try:
        found = path.stat()
    except OSError as error:
        raise SecretError(
            f"{what}: {path}: {error.strerror}", untouched="no connection was made", hint=f"ls -l {path}"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise SecretError(f"{what}: {path} is not a regular file", hint=f"ls -l {path}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretError(
            f"{what}: {path} can be read by others (mode {stat.S_IMODE(found.st_mode):04o})",
            untouched="no connection was made",
            hint=f"chmod 600 {path}",
        )


def _file_text(path: Path, what: str) -> str:
    check_private(path, what)
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(_LONGEST + 1)
    except UnicodeDecodeError:
        # Without its cause: that error carries what the file holds.
        raise SecretError(f"{what}: {path} is not UTF-8 text", hint="write the secret as text") from None
    except OSError as error:
        raise SecretError(f"{what}: {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from error


def _command_text(reference: CommandSecret, what: str, fill: Mapping[str, str]) -> str:
    argv = tuple(functools.reduce(_fill_one, fill.items(), part) for part in reference.argv)
    kept = _command_values.get(argv)
    if kept is not None and kept[0] > time.monotonic():
        return kept[1]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=reference.timeout,
            check=False,
            # The operator's own program, with the environment that it has in the operator's shell.
            env=inherited(),
        )
    except FileNotFoundError as error:
        raise SecretError(
            f"{what}: command {argv[0]} was not found", hint=f"install {argv[0]} or fix PATH"
        ) from error
    except PermissionError as error:
        raise SecretError(f"{what}: command {argv[0]} may not be run", hint=f"chmod +x {argv[0]}") from error
    except subprocess.TimeoutExpired:
        # Without their causes: these errors carry what the program has printed.
        raise SecretError(
            f"{what}: command {argv[0]} gave nothing in {reference.timeout:g} s",
            hint=f"{_see_it(argv)}; raise timeout: where it is merely slow",
        ) from None
    except UnicodeDecodeError:
        raise SecretError(
            f"{what}: command {argv[0]} printed something that is not text", hint=_see_it(argv)
        ) from None
    except (OSError, ValueError) as error:
        raise SecretError(
            f"{what}: command {argv[0]} could not be run: {error}", hint=_see_it(argv)
        ) from error
    if done.returncode != 0:
        # Its last words on stderr say why; stdout, where the secret would be, is never shown.
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = "; ".join(lines[-3:])[-300:] or "it said nothing"
        raise SecretError(
            f"{what}: command {argv[0]} ended with {done.returncode}: {said}", hint=_see_it(argv)
        )
    if reference.ttl > 0 and done.stdout.strip():
        _command_values[argv] = (time.monotonic() + reference.ttl, done.stdout)
    return done.stdout


def _see_it(argv: Sequence[str]) -> str:
    """The command to type, to see what it says. It is in environments.yaml, and no secret may stand there."""
    return f"see what it says: {shlex.join(argv)}"


def _fill_one(text: str, pair: tuple[str, str]) -> str:
    return text.replace("{" + pair[0] + "}", pair[1])


def _from_keyring(service: str, username: str, what: str) -> str:
    try:
        import keyring
        import keyring.errors
    except ImportError as error:
        raise SecretError(
            f"{what}: the keyring needs the extra 'keyring'", hint="pip install keyring"
        ) from error
    try:
        value = keyring.get_password(service, username)
    except keyring.errors.KeyringError as error:
        raise SecretError(
            f"{what}: the keyring did not answer: {error}", hint="unlock it, or use env"
        ) from error
    if not value:
        raise SecretError(
            f"{what}: the keyring has no entry {service}/{username}",
            hint=f"keyring set {service} {username}",
        )
    return value
