"""Where backups lie: a directory or a bucket, plain or encrypted. The way in is :func:`open_repository`.

Never deletes what it did not write, and lists nothing that has no manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgops.backups.manifest.seal import NO_KEYS, Keys
from pgops.backups.repository.backup import Backup, load
from pgops.backups.repository.listing import Listing, find, listing, newest_first
from pgops.backups.repository.repository import Repository
from pgops.environments import Environment, Store
from pgops.errors import ConfigurationError, SecretError
from pgops.secrets.references import Secret, SecretRef, resolve_text

__all__ = [
    "Backup",
    "Listing",
    "Repository",
    "find",
    "listing",
    "load",
    "newest_first",
    "open_repository",
]

_SHORTEST_KEY = 16


def open_repository(environment: Environment) -> Repository:
    """The repository that ``backups.store`` of this environment names.

    :raises ConfigurationError: the store's URL is of a kind pgops does not know.
    :raises UsageError: the store needs an extra that is not installed.
    """
    store = environment.backups.store
    repository = _plain(store, environment.name, _keys(store))
    if store.encrypt is None:
        return repository
    from pgops.backups.repository.encryption import EncryptedRepository

    return EncryptedRepository(repository, store.encrypt, store=store.name)


def _keys(store: Store) -> Keys:
    """What signs: the store's own key, else one made from the identity, where that is here."""
    if store.sign is not None:
        reference = store.sign
        return Keys(lambda: _signing_keys(reference, f"stores.{store.name}.sign"))
    if store.encrypt is None or store.encrypt.identity is None:
        return NO_KEYS
    identity = store.encrypt.identity

    def from_identity() -> Sequence[str]:
        from pgops.backups.repository.encryption import identity_lines

        try:
            return identity_lines(identity, f"stores.{store.name}.encrypt.identity")
        except SecretError:
            # Backups are made and listed without the identity; whoever needs it says that it is not here.
            return ()

    return Keys(from_identity)


def _signing_keys(reference: SecretRef, what: str) -> list[str]:
    """One key a line: the first signs, the others are those of before."""
    # As Secrets they are masked from here on, each by itself too.
    keys = [Secret(each).reveal() for each in resolve_text(reference, what=what).reveal().split()]
    if any(len(each) < _SHORTEST_KEY for each in keys):
        raise SecretError(
            f"{what}: a key of less than {_SHORTEST_KEY} characters can be guessed",
            untouched="nothing was touched",
            hint="openssl rand -hex 32 makes one",
        )
    return keys


def _plain(store: Store, environment: str, keys: Keys) -> Repository:
    scheme, _, rest = store.url.partition(":")
    if scheme == "file":
        from pgops.backups.repository.directory import DirectoryRepository

        return DirectoryRepository(Path(rest.removeprefix("//")), environment, keys)
    if scheme == "s3":
        from pgops.backups.repository.bucket import Bucket
        from pgops.backups.repository.s3 import S3Repository, staging_directory

        return S3Repository(Bucket(store), environment, staging_directory(store.url), keys)
    raise ConfigurationError(
        f"stores.{store.name}.url: {scheme}: is not a kind of store pgops knows",
        untouched="nothing was touched",
        hint="file:./backups or s3://bucket/prefix",
    )
