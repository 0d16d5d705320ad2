"""Encrypted backups: every file of the dump is an age file, which the ``age`` program opens too.

A repository of any kind is wrapped: files are encrypted for the recipients just before they are
published, and decrypted into a directory of ours alone when they are read. The manifest and the notes
stay in clear: listing and retention need no identity. The manifest's hashes are those of the clear
files, so what is decrypted is checked like any other backup; age itself notices a changed file.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pgops.backups.manifest.manifest import Manifest
from pgops.backups.repository.cache import private_directory
from pgops.backups.repository.repository import Progress, Repository, Staging, is_note, no_progress
from pgops.environments import Encryption
from pgops.errors import ConfigurationError, PgopsError, SecretError, UsageError, VerificationError
from pgops.runtime.threads import for_each
from pgops.secrets.references import Secret, SecretRef, resolve_text

SUFFIX = ".age"
_SSH_KEY = "-----BEGIN"
_AT_ONCE = 2


def _pyrage(store: str) -> Any:
    try:
        return importlib.import_module("pyrage")
    except ImportError as error:
        raise UsageError(
            f"store {store} is encrypted, and this installation can't encrypt",
            untouched="nothing was touched",
            hint="pip install pyrage",
        ) from error


class EncryptedRepository:
    """See :class:`pgops.backups.repository.repository.Repository`; ``inner`` is where the age files live.

    :param store: its name in environments.yaml, for messages.
    """

    def __init__(self, inner: Repository, encryption: Encryption, *, store: str) -> None:
        self._inner = inner
        self._store = store
        self._encryption = encryption
        self._pyrage = _pyrage(store)
        self._recipients = [self._recipient(each) for each in encryption.recipients]

    def _recipient(self, text: str) -> Any:
        kind = self._pyrage.ssh if text.startswith("ssh-") else self._pyrage.x25519
        try:
            return kind.Recipient.from_str(text)
        except self._pyrage.RecipientError as error:
            raise ConfigurationError(
                f"stores.{self._store}.encrypt.recipients: {text!r} is not an age recipient",
                untouched="nothing was touched",
                hint="age1… as age-keygen prints it, or an ssh-ed25519 or ssh-rsa public key",
            ) from error

    @property
    def environment(self) -> str:
        return self._inner.environment

    @property
    def url(self) -> str:
        return self._inner.url

    def location(self, backup_id: str) -> str:
        return self._inner.location(backup_id)

    def ids(self) -> list[str]:
        return self._inner.ids()

    def read(self, backup_id: str, name: str) -> bytes:
        return self._inner.read(backup_id, name)

    def names(self, backup_id: str) -> list[str]:
        return sorted(name.removesuffix(SUFFIX) for name in self._inner.names(backup_id))

    def write_note(self, backup_id: str, name: str, text: str) -> None:
        self._inner.write_note(backup_id, name, text)

    def remove_note(self, backup_id: str, name: str) -> None:
        self._inner.remove_note(backup_id, name)

    def delete(self, backup_id: str) -> None:
        self._inner.delete(backup_id)

    def leftovers(self) -> list[str]:
        return self._inner.leftovers()

    def clear_leftovers(self) -> list[str]:
        return self._inner.clear_leftovers()

    @contextlib.contextmanager
    def stage(self, backup_id: str) -> Iterator[Staging]:
        with self._inner.stage(backup_id) as staging:
            yield _Sealing(staging, self._seal)

    def _seal(self, path: Path, unwanted: threading.Event) -> None:
        """Put the encrypted file in the place of the clear one."""
        sealed = path.with_name(path.name + SUFFIX)
        with path.open("rb") as clear, sealed.open("xb") as stream:
            self._pyrage.encrypt_io(_Wanted(clear, unwanted), stream, self._recipients)
        path.unlink()

    @contextlib.contextmanager
    def local(self, backup_id: str, progress: Progress = no_progress) -> Iterator[Path]:
        identities = self._identities()
        with self._inner.local(backup_id, progress) as sealed, private_directory() as root:
            names = [
                path.relative_to(sealed).as_posix()
                for path in sealed.rglob("*")
                if not path.is_dir() or path.is_symlink()
            ]

            def open_one(name: str, unwanted: threading.Event) -> None:
                self._open(sealed / name, root / name, identities, backup_id, unwanted)

            for_each([name for name in names if not is_note(name)], open_one, at_once=_AT_ONCE)
            yield root

    def _open(
        self, sealed: Path, clear: Path, identities: list[Any], backup_id: str, unwanted: threading.Event
    ) -> None:
        clear.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sealed.suffix != SUFFIX or sealed.is_symlink():
            # Not one of ours: whoever compares with the manifest finds it by its name.
            clear.touch()
            return
        try:
            with sealed.open("rb") as stream, clear.with_suffix("").open("xb") as out:
                self._pyrage.decrypt_io(_Wanted(stream, unwanted), out, identities)
        except (self._pyrage.DecryptError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise PgopsError(
                    f"backup {backup_id} can't be decrypted into {clear.parent}: {error.strerror}",
                    untouched="the backup was left as it is",
                    hint="free some space there, or set TMPDIR to a directory with room",
                ) from error
            name = clear.with_suffix("").name
            raise VerificationError(
                f"backup {backup_id}: {name} can't be decrypted: {error}",
                untouched="the backup was left as it is",
                hint=f"is stores.{self._store}.encrypt.identity one of its recipients? if so, the file is damaged",
            ) from error

    def _identities(self) -> list[Any]:
        reference = self._encryption.identity
        what = f"stores.{self._store}.encrypt.identity"
        if reference is None:
            raise SecretError(
                f"the backups in {self.url} are encrypted, and {what} is not set",
                untouched="nothing was touched",
                hint="name the identity by reference, for example identity: {file: ~/.config/pgops/age.key}",
            )
        found = [self._identity(line, what) for line in _identity_lines(reference, what)]
        if not found:
            raise SecretError(
                f"{what}: there is no age identity in it", hint="AGE-SECRET-KEY-1…, as age-keygen writes it"
            )
        return found

    def _identity(self, text: str, what: str) -> Any:
        try:
            if text.startswith(_SSH_KEY):
                return self._pyrage.ssh.Identity.from_buffer(text.encode())
            return self._pyrage.x25519.Identity.from_str(text)
        except self._pyrage.IdentityError:
            # The cause is dropped: it may repeat part of the key.
            raise SecretError(f"{what}: its value is not an age identity") from None


def _identity_lines(reference: SecretRef, what: str) -> list[str]:
    """A key as age-keygen writes it has comments, and may be several identities; an ssh key is one."""
    # A variable's text may begin with an empty line.
    text = Secret(resolve_text(reference, what=what).reveal().lstrip()).reveal()
    # As Secrets they are masked from here on, wherever a text may repeat one of them.
    lines = [Secret(line.strip()).reveal() for line in text.splitlines() if _is_key(line.strip())]
    return [text] if text.startswith(_SSH_KEY) else lines


def _is_key(line: str) -> bool:
    return line != "" and not line.startswith(("#", "-----"))


class _UnwantedError(Exception):
    """Nobody wants the rest. Not an InterruptedError: what reads for pyrage would try that again for ever."""


class _Wanted:
    """A file as pyrage reads it, for as long as anybody wants the result."""

    def __init__(self, stream: BinaryIO, unwanted: threading.Event) -> None:
        self._stream = stream
        self._unwanted = unwanted

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        :raises _UnwantedError: nobody wants them any more.
        """
        if self._unwanted.is_set():
            raise _UnwantedError
        return self._stream.read(size)


class _Sealing:
    """A backup that is being made in clear and published encrypted."""

    def __init__(self, inner: Staging, seal: Callable[[Path, threading.Event], None]) -> None:
        self._inner = inner
        self._seal = seal

    @property
    def path(self) -> Path:
        return self._inner.path

    def commit(
        self, manifest: Manifest, notes: Sequence[tuple[str, str]] = (), progress: Progress = no_progress
    ) -> None:
        files = [path for path in self.path.rglob("*") if path.is_file()]
        for_each(files, self._seal, at_once=_AT_ONCE)
        self._inner.commit(manifest, notes, progress)
