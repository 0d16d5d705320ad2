"""The revisions on disk as a graph, read without running them; and the arithmetic over it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from io import FileIO

from pgops.errors import UsageError
from pgops.migrations.revisions import mistakes
from pgops.migrations.revisions.location import SURROUNDED, ScriptLocation
from pgops.migrations.revisions.mistakes import duplicate as duplicate
from pgops.migrations.revisions.revision import NotPlainError, Revision, open_file, read_revision
from pgops.units import counted

# The names Alembic itself takes for revision files: anything .py but package files and editors' locks.
_REVISION_FILE = re.compile(r"(?!\.\#|__init__)(.*\.py)$")
_LABEL_AT = re.compile(r"^(?:[^@]+)@(.+)$")


@dataclass(frozen=True)
class History:
    """All revisions by id, with dependencies already resolved to ids."""

    revisions: Mapping[str, Revision]

    def __post_init__(self) -> None:
        for revision in self.revisions.values():
            for parent in revision.parents:
                if parent not in self.revisions:
                    name = "down_revision" if parent in revision.down else "depends_on"
                    raise mistakes.missing_parent(revision.id, revision.path, name, parent)
        if around := mistakes.find_cycle({each.id: each.parents for each in self.revisions.values()}):
            raise mistakes.cycle([(each, self.revisions[each].path) for each in around])

    @property
    def hashes(self) -> dict[str, str]:
        """The hash of each revision's file."""
        return {each.id: each.hash for each in self.revisions.values()}

    @property
    def heads(self) -> tuple[str, ...]:
        """Revisions that no other builds on by ``down_revision``: Alembic's heads, sorted."""
        built_on = {down for revision in self.revisions.values() for down in revision.down}
        return tuple(sorted(set(self.revisions) - built_on))

    def ancestors(self, ids: Iterable[str]) -> set[str]:
        """The known ones of ``ids`` and everything they need, dependencies included."""
        return _reached(
            (each for each in ids if each in self.revisions), lambda each: self.revisions[each].parents
        )

    def pending(self, current: Iterable[str]) -> tuple[str, ...]:
        """What ``upgrade heads`` would apply to a database at ``current``, parents before children."""
        done = self.ancestors(current)
        missing = sorted(set(self.revisions) - done)
        if not missing:
            return ()
        import graphlib

        needs = {each: [up for up in self.revisions[each].parents if up not in done] for each in missing}
        return tuple(graphlib.TopologicalSorter(needs).static_order())

    def undoing(self, current: Iterable[str], revisions: Iterable[str]) -> tuple[str, ...]:
        """What has to be rolled back so that these are: they and what builds on them, children before parents.

        :param current: the heads of the database; what is not applied there is left out.
        """
        applied = self.ancestors(current)
        gone = applied.intersection(revisions)
        order = [each for each in self.pending(()) if each in applied]
        for each in order:
            if gone.intersection(self.revisions[each].parents):
                gone.add(each)
        return tuple(each for each in reversed(order) if each in gone)

    def unknown(self, current: Iterable[str]) -> tuple[str, ...]:
        """Those of ``current`` that no file has: the database is ahead of this code, or on another branch of it."""
        return tuple(sorted(set(current) - set(self.revisions)))

    def unintended_heads(self) -> tuple[str, ...]:
        """Heads that look like an accident: two that share an ancestor and carry no branch label.

        Labelled branches and independent bases are a layout somebody chose; two people adding a
        revision to the same parent is not.
        """
        unlabelled: dict[str, set[str]] = {}
        for head in self.heads:
            lineage = _reached([head], lambda each: self.revisions[each].down)
            if not any(self.revisions[each].labels for each in lineage):
                unlabelled[head] = lineage
        return tuple(
            head
            for head, lineage in unlabelled.items()
            if any(lineage & other for name, other in unlabelled.items() if name != head)
        )


def _reached(ids: Iterable[str], links: Callable[[str], Iterable[str]]) -> set[str]:
    """These and all that is linked from them, over any number of links."""
    found: set[str] = set()
    waiting = list(ids)
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(links(current))
    return found


def read_history(location: ScriptLocation) -> History:
    """Read every revision file of a project.

    :raises NotPlainError: Alembic has to do it.
    :raises ConfigurationError: a file builds on one that is not there, two files have the same
        revision, or the graph has a cycle.
    """
    if location.surrounded:
        raise NotPlainError(SURROUNDED)
    if why := location.moves_revisions():
        raise NotPlainError(why)
    return read_files(location)


def read_files(location: ScriptLocation) -> History:
    """:func:`read_history` where it is known that the revisions lie in the configured place.

    :raises NotPlainError: Alembic has to read them.
    :raises ConfigurationError: as there.
    """
    if location.sourceless:
        raise NotPlainError("sourceless = true: revisions may be compiled files")
    found: dict[str, Revision] = {}
    doubt: NotPlainError | None = None
    for file in location.revision_files():
        if not _REVISION_FILE.match(file.rpartition(os.sep)[2]):
            continue
        with FileIO(open_file(file)) as stream:
            content = stream.readall()
        try:
            revision = read_revision(file, content)
        except NotPlainError as error:
            # Alembic says nothing of two files with one revision: look at those that can be read.
            doubt = error
            continue
        if revision.id in found:
            raise duplicate(revision.id, found[revision.id].file, revision.file)
        found[revision.id] = revision
    if doubt is not None:
        raise doubt
    return History(resolve_dependencies(found))


def resolve_dependencies(found: Mapping[str, Revision]) -> dict[str, Revision]:
    """Turn ``depends_on`` from branch labels into ids; like Alembic, nothing shorter than an id stands for it.

    :raises ConfigurationError: one is neither.
    """
    by_label = {label: revision.id for revision in found.values() for label in revision.labels}

    def resolve(revision: Revision, name: str) -> str:
        if name in found:
            return name
        if name in by_label:
            return by_label[name]
        raise mistakes.missing_parent(revision.id, revision.path, "depends_on", name)

    return {
        key: replace(revision, depends=tuple(resolve(revision, name) for name in revision.depends))
        if revision.depends
        else revision
        for key, revision in found.items()
    }


def known_revision(history: History, wanted: str) -> None:
    """Check that a revision a person named exists, before anything is asked of a database.

    Symbols (``head``, ``heads``, ``base``), relative forms (``+1``, ``-2``, ``abc+1``) and labels
    are left to Alembic.

    :raises UsageError: with the nearest revision.
    """
    import difflib

    name = labelled[1] if (labelled := _LABEL_AT.match(wanted)) else wanted
    name = re.sub(r"[+-]\d+$", "", name)
    labels = {label for revision in history.revisions.values() for label in revision.labels}
    if name in {"", "head", "heads", "base", *history.revisions, *labels}:
        return
    if len(name) >= 4 and any(known.startswith(name) for known in history.revisions):
        return
    near = difflib.get_close_matches(name, [*history.revisions, *labels], n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(
        f"there is no revision {name!r} among the {counted(len(history.revisions), 'file')} on disk{meant}",
        untouched="no database was touched",
        hint="invoke migrate.history",
    )
