"""Revisions that this checkout lacks, from the files that the database's journal keeps.

A release is rolled back with the code of the day before, and that has not the files that it has to undo. They are
checked against the hash by which they were applied, and against the graph, and lie in a private directory of their
own beside the checkout's.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pgops.environments import Environment
from pgops.errors import PgopsError
from pgops.migrations.journal import AppliedFile, applied_files, refuse_writers_of_everything
from pgops.migrations.plan.plan import PlannedRevision
from pgops.migrations.revisions.history import History, resolve_dependencies
from pgops.migrations.revisions.revision import NotPlainError, Revision, file_hash, read_revision
from pgops.postgres import Connection
from pgops.runtime import temporary

# What Alembic takes for a revision file, whatever the operating system. A journal may say anything.
_FILE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,120}\.py", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class Carried:
    """Files of a journal, by revision; ``directory`` holds each under the name in ``names``."""

    directory: Path
    files: Mapping[str, AppliedFile]
    names: Mapping[str, str]

    def explained(self, error: PgopsError) -> PgopsError | None:
        """An error of one of these files as one that says where it comes from; ``None`` for any other."""
        for revision, name in self.names.items():
            path = str(self.directory / name)
            if path in error.message:
                file = self.files[revision]
                return _not_carried(
                    error.message.replace(path, f"revision {revision} (from the journal, {file.file})"), file
                )
        return None

    def refuse_files_beside(self, pending: Iterable[PlannedRevision]) -> None:
        """Refuse a revision that reads a file which lay beside it: the journal keeps revision files alone.

        :raises NotCarriedError: it does, with the commit that has the file.
        """
        for each in pending:
            if each.kept is None or "FileNotFoundError" not in (each.reads_data or ""):
                continue
            if str(self.directory) in (each.reads_data or ""):
                missing = (each.reads_data or "").rpartition("/")[2].strip("'")
                raise _not_carried(
                    f"revision {each.revision} (from the journal, {each.kept.file}) reads {missing}, which lay beside it "
                    "and which the journal does not keep",
                    each.kept,
                )


class NotCarriedError(PgopsError):
    """What the journal keeps is not enough to go back from here."""

    code = "ahead"


def carry(
    connection: Connection,
    wanted: Collection[str],
    history: History,
    environment: Environment,
    *,
    others: Collection[str],
) -> Carried:
    """Write the files of ``wanted``, and of what they build on, as far as this checkout lacks them.

    :param history: the checkout's own revisions.
    :param environment: whose journal it is, and which history of it.
    :param others: version tables of other projects, whose revisions may have the same names.
    :raises NotCarriedError: a file is not kept, is not the one that was applied, or can't be placed in the graph.
    :raises UntrustedError: the journal is not to be believed.
    """
    refuse_writers_of_everything(connection, environment.trusted_owners)
    kept = _kept(connection, history, environment, others)
    return _written(_chain(wanted, history, kept))


def with_applied(
    connection: Connection, history: History, environment: Environment, *, others: Collection[str]
) -> tuple[History, Mapping[str, AppliedFile]]:
    """A checkout's revisions with all that were applied here besides; nothing is written and nothing run.

    :returns: both in one graph, and which are the journal's.
    :raises NotCarriedError: as :func:`carry`.
    :raises UntrustedError: the journal is not to be believed.
    """
    kept = _kept(connection, history, environment, others)
    chain = _chain(kept, history, kept)
    read = {each: _checked(each, file)[1] for each, file in chain.items()}
    return History(resolve_dependencies({**history.revisions, **read})), chain


def _kept(
    connection: Connection, history: History, environment: Environment, others: Collection[str]
) -> dict[str, AppliedFile]:
    return applied_files(
        connection,
        but=tuple(history.revisions),
        trusted=environment.trusted_owners,
        history=environment.alembic.history,
        others=others,
    )


def _chain(
    wanted: Iterable[str], history: History, kept: Mapping[str, AppliedFile]
) -> dict[str, AppliedFile]:
    """The files from ``wanted`` down to revisions that the checkout has."""
    labels = {label for revision in history.revisions.values() for label in revision.labels}
    found: dict[str, AppliedFile] = {}
    waiting = sorted(wanted)
    while waiting:
        revision = waiting.pop()
        if revision in found or revision in history.revisions or revision in labels:
            continue
        found[revision], read = _checked(revision, kept.get(revision))
        labels.update(read.labels)
        waiting.extend(read.parents)
    return found


def _checked(revision: str, file: AppliedFile | None) -> tuple[AppliedFile, Revision]:
    """The file, if it is the one that was applied, and what it says of itself."""
    if file is None:
        raise _not_carried(
            f"revision {revision} is neither in this checkout nor on record in the journal", None
        )
    if file.content is None:
        raise _not_carried(f"the journal has not kept the text of revision {revision}", file)
    if file_hash(file.content) != file.hash:
        raise _not_carried(
            f"the text that the journal keeps of revision {revision} is not the one that was applied", file
        )
    try:
        read = read_revision(Path(file.file).name, file.content)
    except NotPlainError as error:
        raise _not_carried(
            f"revision {revision} computes its identifiers, so its place is not known: {error}", file
        ) from error
    if read.id != revision:
        raise _not_carried(f"the text that the journal keeps as revision {revision} is of {read.id}", file)
    return file, read


def _not_carried(what: str, file: AppliedFile | None) -> NotCarriedError:
    commit = None if file is None else file.commit
    return NotCarriedError(
        what,
        untouched="nothing was rolled back",
        hint=f"git checkout {commit[:12]}, which applied it ({file.origin}), and run it from there"
        if file is not None and commit and _COMMIT.fullmatch(commit)
        else "run it from the code that has this revision, or restore a backup from before",
    )


def _written(files: Mapping[str, AppliedFile]) -> Carried:
    # A directory for each set of files: two plans of one process (two histories) may each have a revision 0001.
    which = hashlib.sha256(repr([(each, file.hash, file.file) for each, file in files.items()]).encode())
    directory = _directory() / which.hexdigest()[:16]
    directory.mkdir(mode=0o700, exist_ok=True)
    names: dict[str, str] = {}
    for number, (revision, each) in enumerate(files.items()):
        assert each.content is not None
        name = Path(each.file).name
        if not _FILE_NAME.fullmatch(name):
            name = f"{each.hash[:16]}.py"
        if name in names.values():
            name = f"{number}_{name}"
        own = directory / name
        own.unlink(missing_ok=True)
        own.write_bytes(each.content)
        names[revision] = name
    return Carried(directory, files, names)


@functools.cache
def _directory() -> Path:
    """This process's own, for as long as it lives: a plan's files have to be there until its run is over.

    What a killed process left is removed by the next one.
    """
    stack = contextlib.ExitStack()
    home = temporary.own_directory("revisions", NotCarriedError)
    directory = stack.enter_context(temporary.directory_below(home))
    atexit.register(stack.close)
    return directory
