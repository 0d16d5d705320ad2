"""What the journal keeps of a project's revision files, so that an older checkout can undo what they did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pgops.migrations import journal
from pgops.migrations.revisions.history import History
from pgops.migrations.revisions.revision import file_hash, text_now
from pgops.postgres import Connection

if TYPE_CHECKING:
    from pgops.migrations.plan.plan import PlannedRevision


def keep_texts(connection: Connection, history: History, beginning: Iterable[PlannedRevision] = ()) -> None:
    """Keep the texts of revisions that are about to be applied, and of those on record whose text is not kept yet.

    :param history: the files that are here; one that is not the file that was applied is left alone.
    :param beginning: revisions of which the journal has no row yet.
    """
    wanted = {(each.revision, each.hash) for each in beginning} | journal.hashes_without_text(connection)
    texts = {}
    for revision, known in sorted(wanted):
        here = history.revisions.get(revision)
        # Of a compiled file there is no text.
        if here is not None and here.hash == known and here.path.endswith(".py"):
            text = text_now(here.file).replace(b"\r\n", b"\n")  # as it is hashed
            if file_hash(text) == known:
                texts[known] = text
    journal.keep_files(connection, texts)
