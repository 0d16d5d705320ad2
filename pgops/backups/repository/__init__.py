"""Where backups lie: a directory or a bucket, plain or encrypted. The way in is :func:`open_repository`.

Never deletes what it did not write, and lists nothing that has no manifest.
"""

from __future__ import annotations

from pathlib import Path

from pgops.backups.repository.repository import Backup, Listing, Repository, find, listing, load, newest_first
from pgops.environments import Environment, Store
from pgops.errors import ConfigurationError

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


def open_repository(environment: Environment) -> Repository:
    """The repository that ``backups.store`` of this environment names.

    :raises ConfigurationError: the store's URL is of a kind pgops does not know.
    :raises UsageError: the store needs an extra that is not installed.
    """
    store = environment.backups.store
    repository = _plain(store, environment.name)
    if store.encrypt is None:
        return repository
    from pgops.backups.repository.encryption import EncryptedRepository

    return EncryptedRepository(repository, store.encrypt, store=store.name)


def _plain(store: Store, environment: str) -> Repository:
    scheme, _, rest = store.url.partition(":")
    if scheme == "file":
        from pgops.backups.repository.directory import DirectoryRepository

        return DirectoryRepository(Path(rest.removeprefix("//")), environment)
    if scheme == "s3":
        from pgops.backups.repository.bucket import Bucket
        from pgops.backups.repository.s3 import S3Repository, staging_directory

        return S3Repository(Bucket(store), environment, staging_directory(store.url))
    raise ConfigurationError(
        f"stores.{store.name}.url: {scheme}: is not a kind of store pgops knows",
        untouched="nothing was touched",
        hint="file:./backups or s3://bucket/prefix",
    )
