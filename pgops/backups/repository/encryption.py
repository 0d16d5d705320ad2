"""Encrypted backups: every file of the dump is an age file, which the ``age`` program opens too.

A repository of any kind is wrapped: files are encrypted for the recipients just before they are
published, and decrypted into a directory of ours alone when they are read. The manifest and the notes
stay in clear: listing and retention need no identity. The manifest's hashes are those of the clear
files, so what is decrypted is checked like any other backup; age itself notices a changed file.

Rows in clear never lie in the repository: a dump is made elsewhere (see
:func:`pgops.backups.repository.cache.staging_directory`) and only age files are written there. Each of them is
decrypted again with an identity from here, and must give what was read: without that a backup is not called verified.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import hashlib
import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from pgops.backups.manifest.manifest import File, Manifest, parse_settings
from pgops.backups.manifest.seal import Keys
from pgops.backups.repository.cache import private_directory, staging_directory
from pgops.backups.repository.notes import is_note
from pgops.backups.repository.plain_files import NotPlainError, plain_stream
from pgops.backups.repository.repository import (
    OnLost,
    Progress,
    Repository,
    SealedError,
    Staging,
    leave_alone,
    no_progress,
    raise_lost,
)
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
    def keys(self) -> Keys:
        return self._inner.keys

    @property
    def url(self) -> str:
        return self._inner.url

    def location(self, backup_id: str) -> str:
        return self._inner.location(backup_id)

    def ids(self) -> list[str]:
        return self._inner.ids()

    def read(self, backup_id: str, name: str) -> bytes:
        return self._inner.read(backup_id, name)

    def conceal(self, manifest: Manifest) -> Manifest:
        if not manifest.settings:
            return manifest
        sealed = self._pyrage.encrypt(manifest.settings_json.encode(), self._recipients)
        return dataclasses.replace(manifest, sealed_settings=base64.b64encode(sealed).decode())

    def reveal(self, manifest: Manifest) -> Manifest:
        if not manifest.sealed_settings:
            return manifest
        identities = self._identities()
        try:
            opened = self._pyrage.decrypt(base64.b64decode(manifest.sealed_settings), identities)
        except (binascii.Error, self._pyrage.DecryptError) as error:
            raise SealedError(
                f"backup {manifest.id}: the settings in its manifest can't be decrypted: {error}",
                untouched="the backup was left as it is",
                hint=f"is stores.{self._store}.encrypt.identity one of its recipients? if so, the manifest is damaged",
            ) from error
        return dataclasses.replace(
            manifest, settings=parse_settings(opened, where=self.location(manifest.id))
        )

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

    def clear_leftovers(self, on_stuck: Callable[[str, PgopsError], None] = leave_alone) -> list[str]:
        return self._inner.clear_leftovers(on_stuck)

    @contextlib.contextmanager
    def stage(self, backup_id: str) -> Iterator[Staging]:
        setting = f"stores.{self._store}.encrypt.staging"
        with (
            self._inner.stage(backup_id) as staging,
            staging_directory(self._encryption.staging, setting=setting) as clear,
        ):
            yield _Sealing(staging, clear, self)

    def seal_file(self, clear: Path, sealed: Path, unwanted: threading.Event) -> None:
        """Encrypt a file for the recipients."""
        sealed.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with plain_stream(clear) as stream, sealed.open("xb") as out:
            self._pyrage.encrypt_io(_Wanted(stream, unwanted), out, self._recipients)

    def digest_of(self, sealed: Path, identities: list[Any], unwanted: threading.Event) -> str:
        """The SHA-256 of what comes out of an age file, in hex.

        :raises VerificationError: none of the identities opens it.
        """
        digest = _Digest()
        try:
            with plain_stream(sealed) as stream:
                self._pyrage.decrypt_io(_Wanted(stream, unwanted), digest, identities)
        except self._pyrage.DecryptError as error:
            raise VerificationError(
                f"{sealed.name} was encrypted just now, and can't be decrypted: {error}",
                untouched="nothing was published, and earlier backups were not touched",
                hint=f"stores.{self._store}.encrypt: is identity the private key of one of the recipients?",
            ) from error
        return digest.hexdigest()

    def identities_here(self) -> tuple[list[Any], str]:
        """The identities that are to be had on this machine; none, and why."""
        if self._encryption.identity is None:
            return [], "there is no identity here"
        try:
            return self._identities(), ""
        except SecretError as error:
            return [], f"there is no identity here: {error.message}"

    @contextlib.contextmanager
    def local(
        self, backup_id: str, progress: Progress = no_progress, on_lost: OnLost = raise_lost
    ) -> Iterator[Path]:
        identities = self._identities()
        with self._inner.local(backup_id, progress, on_lost) as sealed, private_directory() as root:
            names = [
                path.relative_to(sealed).as_posix()
                for path in sealed.rglob("*")
                if not path.is_dir() or path.is_symlink()
            ]

            def open_one(name: str, unwanted: threading.Event) -> None:
                try:
                    self._open(sealed / name, root / name, identities, backup_id, unwanted)
                except SealedError as error:
                    # What came out of it before the end is not to be trusted.
                    (root / name).with_suffix("").unlink(missing_ok=True)
                    on_lost(name.removesuffix(SUFFIX), error)

            for_each([name for name in names if not is_note(name)], open_one, at_once=_AT_ONCE)
            yield root

    def _open(
        self, sealed: Path, clear: Path, identities: list[Any], backup_id: str, unwanted: threading.Event
    ) -> None:
        clear.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sealed.suffix != SUFFIX:
            # Not one of ours: whoever compares with the manifest finds it by its name.
            clear.touch()
            return
        try:
            with plain_stream(sealed) as stream, clear.with_suffix("").open("xb") as out:
                self._pyrage.decrypt_io(_Wanted(stream, unwanted), out, identities)
        except NotPlainError:
            # The same: under its own name it is not in the manifest, and what is meant is missing.
            clear.touch()
        except (self._pyrage.DecryptError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise PgopsError(
                    f"backup {backup_id} can't be decrypted into {clear.parent}: {error.strerror}",
                    untouched="the backup was left as it is",
                    hint="free some space there, or set TMPDIR to a directory with room",
                ) from error
            name = clear.with_suffix("").name
            raise SealedError(
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
        found = [self._identity(line, what) for line in identity_lines(reference, what)]
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


def identity_lines(reference: SecretRef, what: str) -> list[str]:
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

    def __init__(self, stream: FileIO, unwanted: threading.Event) -> None:
        self._stream = stream
        self._unwanted = unwanted

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        :raises _UnwantedError: nobody wants them any more.
        """
        if self._unwanted.is_set():
            raise _UnwantedError
        return self._stream.read(size)


class _Digest:
    """Where decrypted bytes go that nobody keeps."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def write(self, piece: bytes) -> int:
        """Take some bytes; how many."""
        self._digest.update(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def hexdigest(self) -> str:
        """The SHA-256 of what came, in hex."""
        return self._digest.hexdigest()


class _Sealing:
    """A backup that is made in clear at ``clear`` and published encrypted by ``inner``."""

    def __init__(self, inner: Staging, clear: Path, repository: EncryptedRepository) -> None:
        self._inner = inner
        self._clear = clear
        self._repository = repository

    @property
    def path(self) -> Path:
        return self._clear

    def seal(self, files: Sequence[File]) -> str:
        """Encrypt every file, and decrypt it again where there is an identity; each clear one goes when that is done."""
        identities, reason = self._repository.identities_here()
        expected = {each.path: each.sha256 for each in files}

        def seal_one(path: Path, unwanted: threading.Event) -> None:
            name = path.relative_to(self._clear).as_posix()
            sealed = self._inner.path / (name + SUFFIX)
            self._repository.seal_file(path, sealed, unwanted)
            if identities and self._repository.digest_of(sealed, identities, unwanted) != expected.get(name):
                raise VerificationError(
                    f"{name} is not what was read when it is decrypted again",
                    untouched="nothing was published, and earlier backups were not touched",
                )
            path.unlink()

        for_each([each for each in self._clear.rglob("*") if each.is_file()], seal_one, at_once=_AT_ONCE)
        return reason

    def commit(
        self, manifest: Manifest, notes: Sequence[tuple[str, str]] = (), progress: Progress = no_progress
    ) -> None:
        self.seal(manifest.files)
        self._inner.commit(manifest, notes, progress)
