"""The S3 protocol, through obstore: objects in a bucket below a prefix. The only module that imports obstore."""

from __future__ import annotations

import datetime as dt
import functools
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pgops.backups.repository.object_list import every_object, refuse_later_directories
from pgops.backups.repository.uploads import Hashing, Uploaded
from pgops.environments import S3Settings, Store
from pgops.errors import ConfigurationError, PgopsError, UnreachableError, UsageError, VerificationError
from pgops.runtime.threads import TooLateError, each_within
from pgops.runtime.variables import AWS_CREDENTIALS, AWS_REGION, making_an_aws_client
from pgops.secrets.redaction import redact
from pgops.secrets.references import SecretRef, resolve

_PART = 5 * 1024 * 1024
_MOST_PARTS = 9_000
_STREAM = 1024 * 1024
_ANSWER_WITHIN = 120.0
_SMALL = 256 * 1024 * 1024
# Some servers take them one by one.
_DELETED_AT_ONCE = 200
_REFUSALS = ("403 Forbidden", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId")
# What a bucket with object lock says to what came without a checksum. Not every server knows checksums.
_WANTS_A_CHECKSUM = "content-md5"
# A thousand keys of a thousand characters, and what is said of each.
_LARGEST_PAGE = 8 * 1024 * 1024


class OddKeyError(VerificationError):
    """A bucket holds an object whose key can't be one of ours, and can't be read."""


class Bucket:
    """Objects of one bucket below a prefix; keys are relative to it. Errors name the bucket, never a key."""

    def __init__(self, store: Store) -> None:
        try:
            import obstore
            import obstore.exceptions as exceptions
            from obstore.store import S3Store
        except ImportError as error:
            raise UsageError(
                f"store {store.name} is in a bucket, and this installation can't reach one",
                untouched="nothing was touched",
                hint="pip install obstore",
            ) from error
        self._obstore: Any = obstore
        self._exceptions: Any = exceptions
        self.url = store.url.rstrip("/")
        parts = urlsplit(self.url)
        if not parts.netloc:
            raise ConfigurationError(
                f"stores.{store.name}.url: {store.url} names no bucket", hint="s3://bucket/prefix"
            )
        self._prefix = parts.path.strip("/")
        settings = _settings(store.name, store.s3 or S3Settings())

        def make(**more: Any) -> tuple[Any, Any]:
            with making_an_aws_client(_from_the_shell(settings)):
                # A part of a file may take long over a thin line. What is small is there soon, or never.
                return (
                    S3Store(parts.netloc, **_within("30 seconds", settings), **more),
                    S3Store(parts.netloc, **_within("5 minutes", settings), **more),
                )

        self._make = make
        try:
            self._store, self._transfers = make()
        except exceptions.BaseError as error:
            raise ConfigurationError(f"stores.{store.name}: {redact(_first_line(error))}") from error

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self._prefix}/") if self._prefix else path

    def _explain(self, error: Exception) -> PgopsError:
        """Why the bucket did not do what it was asked, as an expected failure; it may have done it all the same."""
        said = redact(_first_line(error))
        found = self._exceptions
        refused = isinstance(error, found.PermissionDeniedError | found.UnauthenticatedError)
        # A refused listing comes as a generic error; only its text says what it is.
        if refused or any(word in said for word in _REFUSALS):
            return UnreachableError(
                f"{self.url} does not let us in: {said}",
                kind="password",
                hint="check access_key and secret_key of the store, and what they may do",
            )
        if isinstance(error, FileNotFoundError | found.NotFoundError) or "NoSuchBucket" in str(error):
            return UnreachableError(
                f"there is no bucket {self.url}", kind="database", hint="make it, or fix the store's url"
            )
        return UnreachableError(
            f"{self.url} does not answer as it should: {said}",
            hint="check the store's endpoint and the network, and try again",
        )

    def _asked(self, request: Callable[[], Any]) -> Any:
        """What a small request gives. The caller waits where Ctrl-C is heard: obstore waits outside of Python.

        :raises UnreachableError: no answer in time, retries included. What was to be written may arrive yet.
        """
        (found,) = each_within(_ANSWER_WITHIN, [request], lambda each: each())
        if isinstance(found, TooLateError):
            raise UnreachableError(
                f"{self.url} does not answer",
                kind="timeout",
                hint="check the store's endpoint and the network, and try again",
            )
        if isinstance(found, Exception):
            raise found
        return found

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of every object whose key begins with ``prefix``, which ends with ``/``.

        :raises OddKeyError: one of them has a key that is no path (``..``, control characters), so nothing behind it is seen.
        :raises UnreachableError: the server does not answer, lists without end or not to the end, or is none for buckets.
        """
        below = self._path(prefix)
        try:
            for each in every_object(
                functools.partial(self._batches, below),
                below,
                is_there=lambda path: self.exists(self._key(path)),
                whole_bucket=self._whole_bucket,
                url=self.url,
            ):
                # What a browser of buckets keeps for a folder has no name behind the prefix.
                yield self._key(each["path"]), int(each["size"])
        except (self._exceptions.BaseError, FileNotFoundError) as error:
            raise self._odd_key(prefix, error) or self._explain(error) from error

    def _batches(self, below: str, behind: str | None) -> Iterator[Sequence[Mapping[str, Any]]]:
        """A list as it comes; ``behind``: only what stands behind that path."""
        batches = iter(self._obstore.list(self._store, below, offset=behind))
        while (batch := self._asked(lambda: next(batches, None))) is not None:
            yield batch

    def _whole_bucket(self) -> bytes | None:
        """The first page of the whole bucket's list, as the server writes it; ``None`` where it refuses that in the right way.

        :raises UnreachableError: it does not answer as a server for buckets.
        """

        def page() -> bytes:
            said = b""
            for piece in self._obstore.get(self._store, "").stream(min_chunk_size=_STREAM):
                said += bytes(piece)
                if len(said) > _LARGEST_PAGE:
                    break
            return said

        try:
            return bytes(self._asked(page))
        except (FileNotFoundError, self._exceptions.NotFoundError, self._exceptions.PermissionDeniedError):
            # It tells what it refuses: with rights to a part of the bucket alone, the whole is not listed.
            return None
        except self._exceptions.BaseError as error:
            # Some listings can't be read as an object (their length comes in no header); who answers to
            # every key knows no keys.
            if not self._answers_to_every_key():
                return None
            raise self._explain(error) from error

    def _answers_to_every_key(self) -> bool:
        refusals = (FileNotFoundError, self._exceptions.NotFoundError, self._exceptions.PermissionDeniedError)
        try:
            self._asked(lambda: self._obstore.head(self._store, self._path(secrets.token_hex(16))))
        except refusals:
            return False
        except self._exceptions.BaseError:
            return True
        return True

    def directories(self, prefix: str) -> Iterator[str]:
        """What stands between ``prefix``, which ends with ``/``, and the next ``/`` in the keys of objects.

        :raises UnreachableError: the server does not answer, or lists them not to the end.
        """
        try:
            found = self._asked(
                lambda: self._obstore.list_with_delimiter(self._store, self._path(prefix.rstrip("/")))
            )
        except (self._exceptions.BaseError, FileNotFoundError) as error:
            raise self._odd_key(prefix, error) or self._explain(error) from error
        keys = [self._key(path) for path in found["common_prefixes"]]
        names = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
        try:
            refuse_later_directories(
                functools.partial(self._batches, self._path(prefix)), self._path(prefix), names, self.url
            )
        except (self._exceptions.BaseError, FileNotFoundError) as error:
            # An odd key there is an object behind the last directory's name: so far the list goes.
            if self._odd_key(prefix, error) is None:
                raise self._explain(error) from error
        yield from names

    def _odd_key(self, prefix: str, error: Exception) -> OddKeyError | None:
        said = redact(_first_line(error))
        if "invalid path" not in said:
            return None
        return OddKeyError(
            f"{self.url}/{prefix} holds an object whose name is no path, which pgops did not put there: "
            f"{said.partition('invalid path: ')[2]}",
            untouched="nothing was changed",
            hint="find out who else writes there, and remove that object",
        )

    def get(self, key: str, *, most: int = _SMALL) -> bytes:
        """A small object.

        :raises FileNotFoundError: it is not there.
        :raises VerificationError: it has more than ``most`` bytes.
        """

        def small() -> bytes:
            found = self._obstore.get(self._store, self._path(key))
            if int(found.meta["size"]) > most:
                raise VerificationError(
                    f"{self.url}/{key} is not what pgops writes: it has more than {most:,} bytes"
                )
            return bytes(found.bytes())

        try:
            return bytes(self._asked(small))
        except (FileNotFoundError, self._exceptions.NotFoundError) as error:
            raise FileNotFoundError(key) from error
        except self._exceptions.BaseError as error:
            raise self._explain(error) from error

    def stream(self, key: str) -> Iterator[bytes]:
        """A large object, in pieces; in a thread that nobody has to wait for."""
        try:
            found = self._obstore.get(self._transfers, self._path(key))
            for piece in found.stream(min_chunk_size=_STREAM):
                yield bytes(piece)
        except (FileNotFoundError, self._exceptions.BaseError) as error:
            raise self._explain(error) from error

    def head(self, key: str) -> tuple[int, str]:
        """Size in bytes and ETag without its quotes."""
        try:
            found = self._asked(lambda: self._obstore.head(self._store, self._path(key)))
        except (FileNotFoundError, self._exceptions.BaseError) as error:
            raise self._explain(error) from error
        return int(found["size"]), str(found["e_tag"] or "").strip('"')

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            self._asked(lambda: self._obstore.head(self._store, self._path(key)))
        except (FileNotFoundError, self._exceptions.NotFoundError):
            return False
        except self._exceptions.BaseError as error:
            raise self._explain(error) from error
        return True

    def put(self, key: str, content: bytes) -> None:
        """Write a small object, or replace it.

        Every change of a bucket begins with one (a claim). So it is here that a bucket with object lock says what it
        wants, and from here on everything is sent with checksums.
        """

        def put() -> None:
            self._asked(lambda: self._obstore.put(self._store, self._path(key), content, use_multipart=False))

        try:
            try:
                put()
            except self._exceptions.BaseError as error:
                if _WANTS_A_CHECKSUM not in str(error).lower():
                    raise
                self._store, self._transfers = self._make(checksum_algorithm="SHA256")
                put()
        except (FileNotFoundError, self._exceptions.BaseError) as error:
            raise self._explain(error) from error

    def create(self, key: str, content: bytes) -> None:
        """Write a small object that must not be there yet, and read it back.

        Servers that don't know ``If-None-Match`` ignore it; there the read back is what remains.

        :raises FileExistsError: it was there already, with another content.
        :raises VerificationError: it is not what was written.
        """
        try:
            self._asked(
                lambda: self._obstore.put(
                    self._store, self._path(key), content, mode="create", use_multipart=False
                )
            )
        except (self._exceptions.AlreadyExistsError, self._exceptions.PreconditionError) as error:
            # Where an answer is lost the request is sent again, and then it is our own that is there.
            if self.get(key) != content:
                raise FileExistsError(key) from error
        except (FileNotFoundError, self._exceptions.BaseError) as error:
            raise self._explain(error) from error
        if self.get(key) != content:
            raise VerificationError(f"{self.url}/{key} is not what was written just now")

    def upload(
        self, key: str, path: Path, sent: Callable[[int], None], unwanted: threading.Event
    ) -> Uploaded:
        """Send a file in parts, two at a time: memory stays flat whatever its size.

        :param unwanted: set when nobody wants it any more: what has gone up of it is given up in the bucket too.
        :raises UnwantedError: nobody does.
        """
        size = path.stat().st_size
        part = max(_PART, -(-size // _MOST_PARTS))
        hashing = Hashing(part)
        try:
            if size <= part:
                content = path.read_bytes()
                hashing.take(content)
                self._obstore.put(self._transfers, self._path(key), content, use_multipart=False)
                sent(size)
            else:
                self._obstore.put(
                    self._transfers,
                    self._path(key),
                    hashing.pieces(path, sent, unwanted),
                    use_multipart=True,
                    chunk_size=part,
                    max_concurrency=2,
                )
        except (FileNotFoundError, self._exceptions.BaseError) as error:
            raise self._explain(error) from error
        return hashing.result()

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error."""
        for first in range(0, len(keys), _DELETED_AT_ONCE):
            paths = [self._path(key) for key in keys[first : first + _DELETED_AT_ONCE]]
            try:
                self._asked(functools.partial(self._obstore.delete, self._store, paths))
            except FileNotFoundError:
                continue
            except self._exceptions.BaseError as error:
                raise self._explain(error) from error


def _within(timeout: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "client_options": {**settings["client_options"], "timeout": timeout}}


def _from_the_shell(settings: dict[str, Any]) -> tuple[str, ...]:
    """Which ``AWS_…`` variables may still say something: never where the bucket is, or how it is checked."""
    credentials = () if "access_key_id" in settings else AWS_CREDENTIALS
    return credentials if "region" in settings else (*credentials, *AWS_REGION)


def _settings(name: str, s3: S3Settings) -> dict[str, Any]:
    plain = (s3.endpoint or "").startswith("http://")
    settings: dict[str, Any] = {
        "client_options": {"connect_timeout": "10 seconds", "allow_http": plain},
        "retry_config": {"max_retries": 4, "retry_timeout": dt.timedelta(seconds=60)},
        "conditional_put": "etag",
    }
    if s3.endpoint is not None:
        settings["endpoint"] = s3.endpoint
        settings["virtual_hosted_style_request"] = False
    settings["region"] = s3.region or "us-east-1" if s3.endpoint else s3.region
    for key, reference in (("access_key_id", s3.access_key), ("secret_access_key", s3.secret_key)):
        if reference is not None:
            settings[key] = _reveal(reference, f"stores.{name}.{key.removesuffix('_id')}")
    return {key: value for key, value in settings.items() if value is not None}


def _reveal(reference: SecretRef, what: str) -> str:
    return resolve(reference, what=what).reveal()


def _first_line(error: Exception) -> str:
    """What happened, in the server's own words where it gave any."""
    said = str(error).split("\n\n", 1)[0].strip().replace("\n", " ")
    told = [
        found.group(1) for tag in ("Code", "Message") if (found := re.search(f"<{tag}>(.*?)</{tag}>", said))
    ]
    return ": ".join(told) or said
