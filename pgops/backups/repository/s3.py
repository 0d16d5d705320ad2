"""A repository in an S3-compatible bucket: ``s3://bucket/prefix/<environment>/<id>/…``, the same layout as a directory.

The manifest is written last and with ``If-None-Match: *``, so of two writers one is refused; there is no
index to keep in step. A backup is staged on this machine, each file is uploaded and checked by size and
checksum, all of them are looked for once more, and only then goes the manifest up.

What a dead process left is told by its claim (:mod:`pgops.backups.repository.locks`): one that was made from here
and whose staging directory nobody holds any more. Any other claim is never touched.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pgops.backups.manifest.manifest import MANIFEST_NAME, File, Manifest, is_id
from pgops.backups.manifest.seal import NO_KEYS, Keys
from pgops.backups.repository.bucket import Bucket, OddKeyError
from pgops.backups.repository.cache import private_directory, refuse_too_much, user_cache
from pgops.backups.repository.directory import DirectoryRepository
from pgops.backups.repository.locks import CLAIM_NAME, RepositoryLocks
from pgops.backups.repository.notes import is_note
from pgops.backups.repository.plain_files import SMALL
from pgops.backups.repository.repository import (
    OnLost,
    Progress,
    Staging,
    leave_alone,
    no_progress,
    raise_lost,
)
from pgops.backups.repository.uploads import Uploaded
from pgops.errors import PgopsError, UnreachableError, VerificationError
from pgops.runtime.threads import for_each

_CLAIMS = ".claims"
_AT_ONCE = 4
_CHUNK = 1024 * 1024


class S3Repository:
    """See :class:`pgops.backups.repository.repository.Repository`.

    :param staging: a directory on this machine; backups are made in it before they are uploaded.
    :param keys: what signs the manifests and notes that are written here.
    """

    def __init__(self, bucket: Bucket, environment: str, staging: Path, keys: Keys = NO_KEYS) -> None:
        self._bucket = bucket
        self._keys = keys
        self._environment = environment
        self._staging = DirectoryRepository(staging, environment)
        self._claims = RepositoryLocks(staging / environment / _CLAIMS)

    @property
    def environment(self) -> str:
        return self._environment

    @property
    def keys(self) -> Keys:
        return self._keys

    @property
    def url(self) -> str:
        return f"{self._bucket.url}/{self._environment}"

    def location(self, backup_id: str) -> str:
        return f"{self.url}/{backup_id}"

    def _key(self, backup_id: str, name: str) -> str:
        return f"{self._environment}/{backup_id}/{name}"

    def ids(self) -> list[str]:
        return sorted(backup_id for backup_id, names in self._everything().items() if MANIFEST_NAME in names)

    def _everything(self) -> dict[str, set[str]]:
        """The names of all objects of each backup; where one has an odd key, manifests and claims alone."""
        found: dict[str, set[str]] = {}
        prefix = f"{self._environment}/"
        try:
            for key, _size in self._bucket.list(prefix):
                backup_id, slash, name = key.removeprefix(prefix).partition("/")
                if slash and is_id(backup_id):
                    found.setdefault(backup_id, set()).add(name)
        except OddKeyError:
            # It spoils the backup that it lies in, and hides no other.
            return {
                each: {
                    name for name in (MANIFEST_NAME, CLAIM_NAME) if self._bucket.exists(self._key(each, name))
                }
                for each in self._bucket.directories(prefix)
                if is_id(each)
            }
        return found

    def read(self, backup_id: str, name: str) -> bytes:
        return self._bucket.get(self._key(backup_id, name), most=SMALL)

    def conceal(self, manifest: Manifest) -> Manifest:
        return manifest

    def reveal(self, manifest: Manifest) -> Manifest:
        return manifest

    def names(self, backup_id: str) -> list[str]:
        return sorted(self._sizes(backup_id))

    def _sizes(self, backup_id: str) -> dict[str, int]:
        prefix = self._key(backup_id, "")
        found = {key.removeprefix(prefix): size for key, size in self._bucket.list(prefix)}
        found.pop(CLAIM_NAME, None)
        return found

    def write_note(self, backup_id: str, name: str, text: str) -> None:
        if not is_note(name) or name == MANIFEST_NAME:
            raise ValueError(f"{name} is not a note")
        self._bucket.put(self._key(backup_id, name), self._keys.sign(text).encode())

    def remove_note(self, backup_id: str, name: str) -> None:
        self._bucket.delete([self._key(backup_id, name)])

    @contextlib.contextmanager
    def stage(self, backup_id: str) -> Iterator[Staging]:
        with self._staging.stage(backup_id) as local:
            staged = _Staged(self, local.path, backup_id)
            try:
                yield staged
            except BaseException as error:
                try:
                    staged.settle()
                except PgopsError as second:
                    error.add_note(f"the next backup looks after what went up: {second}")
                raise
            # A backup that is published is whole, claim or not; a claim that stays is cleared by the next one.
            with contextlib.suppress(PgopsError):
                staged.settle()

    @contextlib.contextmanager
    def local(
        self, backup_id: str, progress: Progress = no_progress, on_lost: OnLost = raise_lost
    ) -> Iterator[Path]:
        sizes = {name: size for name, size in self._sizes(backup_id).items() if not is_note(name)}
        with private_directory() as root:
            refuse_too_much(root, sum(sizes.values()), self.location(backup_id))
            fetched = _Sum(progress, sum(sizes.values()))
            for_each(sizes, functools.partial(self._fetch, backup_id, root, fetched), at_once=_AT_ONCE)
            yield root

    def _fetch(self, backup_id: str, root: Path, fetched: _Sum, name: str, unwanted: threading.Event) -> None:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise self._no_path(backup_id, name)
        path = root / pure
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            stream = path.open("xb")
        except (FileExistsError, NotADirectoryError, ValueError) as error:
            # Keys of a bucket are no paths: one may be what another one takes for a directory.
            raise self._no_path(backup_id, name) from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise self._no_path(backup_id, name) from error
            raise
        try:
            with stream:
                for piece in self._bucket.stream(self._key(backup_id, name)):
                    if unwanted.is_set():
                        return
                    stream.write(piece)
                    fetched.add(len(piece))
        except OSError as error:
            raise PgopsError(
                f"{self.location(backup_id)} can't be fetched into {root}: {error.strerror}",
                untouched="the backup was left as it is",
                hint="free some space there, or set TMPDIR to a directory with room",
            ) from error

    def _no_path(self, backup_id: str, name: str) -> VerificationError:
        return VerificationError(
            f"{self.location(backup_id)} holds a file with the name {name[:80]!r}, which pgops did not put there",
            untouched="the backup was left as it is",
            hint="find out who else writes there, and use another backup: invoke backup.list",
        )

    def delete(self, backup_id: str) -> None:
        if not self._published(backup_id):
            raise FileNotFoundError(backup_id)
        # The staging directory's lock says that we live, the claim lets this machine finish what a crash interrupts.
        with self._staging.stage(backup_id):
            self._bucket.put(self._key(backup_id, CLAIM_NAME), self._claims.make(backup_id))
            self._remove(backup_id)

    def _remove(self, backup_id: str) -> None:
        """The manifest first: from then on it is not a backup; the claim last: until then it is known as ours."""
        prefix = self._key(backup_id, "")
        # Listed before anything goes: what can't be listed stays as it is.
        apart = (prefix + MANIFEST_NAME, prefix + CLAIM_NAME)
        keys = [key for key, _size in self._bucket.list(prefix) if key not in apart]
        self._bucket.delete([prefix + MANIFEST_NAME])
        self._bucket.delete(keys)
        self._settle(backup_id)

    def _settle(self, backup_id: str) -> None:
        self._bucket.delete([self._key(backup_id, CLAIM_NAME)])
        self._claims.forget(backup_id)

    def leftovers(self) -> list[str]:
        left = self._abandoned(self._claimed()) | set(self._staging.leftovers())
        return sorted(each for each in left if not self._published(each))

    def clear_leftovers(self, on_stuck: Callable[[str, PgopsError], None] = leave_alone) -> list[str]:
        made = self._claims.ids()
        claimed = self._claimed()
        abandoned, staged = self._abandoned(claimed), set(self._staging.leftovers())
        whole = {each for each in abandoned | staged if self._published(each)}
        for backup_id in abandoned:
            if backup_id in whole:
                # Its maker died between the manifest and the claim's removal.
                self._settle(backup_id)
                continue
            try:
                self._remove(backup_id)
            except OddKeyError as error:
                on_stuck(backup_id, error)
        for backup_id in made - claimed:
            # Its maker died before the claim was in the bucket, or when it was gone.
            if not self._staging.is_claimed(backup_id):
                self._claims.forget(backup_id)
        self._staging.clear_leftovers(on_stuck)
        return sorted((abandoned | staged) - whole)

    def _claimed(self) -> set[str]:
        """Ids with a claim, whoever's."""
        return {each for each, names in self._everything().items() if CLAIM_NAME in names}

    def _abandoned(self, claimed: set[str]) -> set[str]:
        """Those of them whose process is gone: nothing changes there any more."""
        return {each for each in claimed if self._is_dead(each)}

    def _published(self, backup_id: str) -> bool:
        """Whether there is a manifest; asked anew, for one may have come up since the objects were listed."""
        return self._bucket.exists(self._key(backup_id, MANIFEST_NAME))

    def _claim_there(self, backup_id: str) -> bytes:
        """The claim that is there; empty where there is none."""
        try:
            return self.read(backup_id, CLAIM_NAME)
        except FileNotFoundError:
            return b""

    def _is_dead(self, backup_id: str) -> bool:
        """Whether the claim was made from here and nobody holds its staging directory any more."""
        made_here = self._claims.made_here(backup_id, self._claim_there(backup_id))
        return made_here and not self._staging.is_claimed(backup_id)


class _Staged:
    """A backup in the local staging directory, on its way up."""

    def __init__(self, repository: S3Repository, path: Path, backup_id: str) -> None:
        self._repository = repository
        self._path = path
        self._id = backup_id
        self._sent: dict[str, int] = {}
        self._on_its_way: set[str] = set()
        self._begun = False
        self._committed = False

    @property
    def path(self) -> Path:
        return self._path

    def seal(self, _files: Sequence[File]) -> str:
        """What was read is what goes up, checked when it has arrived."""
        return ""

    def commit(
        self, manifest: Manifest, notes: Sequence[tuple[str, str]] = (), progress: Progress = no_progress
    ) -> None:
        repository, bucket = self._repository, self._repository._bucket
        here = [each for each in sorted(self._path.rglob("*")) if each.is_file()]
        sent = _Sum(progress, sum(each.stat().st_size for each in here))
        if repository._published(self._id):
            raise self._taken()
        self._begun = True
        claim = repository._claims.make(self._id)
        with self._going(CLAIM_NAME):
            bucket.put(repository._key(self._id, CLAIM_NAME), claim)
        expected = {each.path: each.sha256 for each in manifest.files}
        for_each(here, lambda path, unwanted: self._send(path, expected, sent, unwanted), at_once=_AT_ONCE)
        for name, text in notes:
            content = repository.keys.sign(text).encode()
            with self._going(name):
                bucket.put(repository._key(self._id, name), content)
            self._sent[name] = len(content)
        self._check_all_there(claim)
        try:
            with self._going(MANIFEST_NAME):
                text = repository.keys.sign(manifest.to_json())
                bucket.create(repository._key(self._id, MANIFEST_NAME), text.encode())
        except FileExistsError as error:
            # Another's backup: nothing of it is ours to remove.
            self._begun = False
            raise self._taken() from error
        self._committed = True

    def _taken(self) -> VerificationError:
        return VerificationError(
            f"{self._repository.location(self._id)} is there already",
            untouched="nothing of it was removed",
        )

    @contextlib.contextmanager
    def _going(self, name: str) -> Iterator[None]:
        """A request that sends something. One that is not waited for any more may arrive yet: it stays noted."""
        self._on_its_way.add(name)
        try:
            yield
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt) and getattr(error, "kind", "") != "timeout":
                self._on_its_way.discard(name)
            raise
        self._on_its_way.discard(name)

    def _send(self, path: Path, expected: dict[str, str], sent: _Sum, unwanted: threading.Event) -> None:
        name = path.relative_to(self._path).as_posix()
        key = self._repository._key(self._id, name)
        with self._going(name):
            uploaded = self._repository._bucket.upload(key, path, sent.add, unwanted)
        if name in expected and expected[name] != uploaded.sha256:
            raise VerificationError(f"{name} changed on this machine's disk between dump and upload")
        _check_arrived(self._repository._bucket, key, uploaded)
        self._sent[name] = uploaded.size

    def _check_all_there(self, claim: bytes) -> None:
        """Look once more: somebody may have taken it away since it arrived, and a manifest says that it is whole."""
        repository = self._repository
        there = repository._sizes(self._id)
        if MANIFEST_NAME in there:
            # Another's backup: nothing of it is ours to remove.
            self._begun = False
            raise self._taken()
        changed = sorted(
            name for name in there.keys() | self._sent.keys() if there.get(name) != self._sent.get(name)
        )
        if changed:
            raise self._disturbed(
                f"{len(changed)} of its {len(self._sent)} files are not there as they were sent, {changed[0]} among them"
            )
        if repository._claim_there(self._id) != claim:
            raise self._disturbed("its claim was taken away")

    def _disturbed(self, what: str) -> VerificationError:
        return VerificationError(
            f"{self._repository.location(self._id)} was changed by somebody else during the upload: {what}",
            untouched="nothing was published, and earlier backups were not touched",
            hint=f"find out who else writes to or tidies {self._repository.url}, and make the backup again: "
            f"invoke backup --env={self._repository.environment}",
        )

    def settle(self) -> None:
        """After a commit the claim goes; without one, everything that went up does.

        :raises UnreachableError: the bucket does not answer, or did not to what was sent last: that may arrive yet,
            so everything stays for the next backup to look after.
        """
        if self._on_its_way:
            sent = ", ".join(sorted(self._on_its_way))
            may = "; the backup may be there: invoke backup.list" if MANIFEST_NAME in self._on_its_way else ""
            raise UnreachableError(f"{self._repository.url} has not answered to {sent}{may}")
        if self._committed:
            self._repository._settle(self._id)
        elif self._begun:
            self._repository._remove(self._id)


def _check_arrived(bucket: Bucket, key: str, uploaded: Uploaded) -> None:
    """The size must be right, and the server's own checksum; where it gives none that we know, the bytes are read back."""
    size, tag = bucket.head(key)
    if size != uploaded.size:
        raise VerificationError(f"{key} arrived with {size} bytes instead of {uploaded.size}")
    if tag == uploaded.tag:
        return
    digest = hashlib.sha256()
    for piece in bucket.stream(key):
        digest.update(piece)
    if digest.hexdigest() != uploaded.sha256:
        raise VerificationError(f"{key} arrived with another content than was sent")


class _Sum:
    """Bytes of several files at once, told to one progress."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self, size: int) -> None:
        """So many more are done. Threads may race for the display, never for the data."""
        self._done += size
        self._progress(self._done, self._total)


def staging_directory(url: str) -> Path:
    """Where backups for this bucket are made on this machine: below the user's cache directory."""
    return user_cache() / hashlib.sha256(url.encode()).hexdigest()[:16]
