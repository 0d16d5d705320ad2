"""The SQL that revision files emit, rendered without env.py, a database or the project's other code."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from alembic import util
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

from pgops.migrations.alembic_env.failures import describe
from pgops.migrations.alembic_env.guest import as_a_guest
from pgops.migrations.alembic_env.output import OutputGuard
from pgops.migrations.plan.hashes import text_hash
from pgops.migrations.plan.plan import PlannedRevision
from pgops.migrations.plan.source_lines import RecordingBuffer
from pgops.migrations.revisions.location import ScriptLocation
from pgops.migrations.revisions.reversible import irreversible
from pgops.migrations.revisions.revision import Revision, text_now


def render_files(location: ScriptLocation, revisions: Sequence[Revision]) -> tuple[PlannedRevision, ...]:
    """Run each file's ``upgrade()`` against a context that only writes SQL down.

    What keeps a file from being run or read to its end is in ``reads_data``.

    :param revisions: parents before children.
    """
    output = OutputGuard(keep_stderr=False)
    try:
        with as_a_guest(), output, _import_path(location):
            return tuple(_render(location, each) for each in revisions)
    finally:
        output.close()


def _render(location: ScriptLocation, revision: Revision) -> PlannedRevision:
    buffer = RecordingBuffer(revision.file)
    problem = None
    with _writing_down(location, buffer) as context, context.begin_transaction(_per_migration=True):
        try:
            module: Any = util.load_python_file(str(revision.file.parent), revision.file.name)
            module.upgrade()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code raises anything; it is shown
            problem = describe(error)
            buffer.stopped_at(error.__traceback__)
    text = buffer.getvalue()
    content = text_now(revision.file)
    return PlannedRevision(
        revision=revision.id,
        message=revision.message,
        file=revision.file,
        hash=revision.hash,
        sql=text,
        reads_data=problem,
        heads_after=(revision.id,),
        sql_hash=None if problem else text_hash(text),
        irreversible=irreversible(content) if content else None,
        places=tuple(buffer.places),
    )


@contextlib.contextmanager
def _import_path(location: ScriptLocation) -> Iterator[None]:
    """The project's own modules can be imported for the block, as far as they are installed."""
    before = list(sys.path)
    sys.path[:0] = [str(each) for each in (*location.import_path, location.working_directory)]
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _writing_down(location: ScriptLocation, buffer: io.StringIO) -> Iterator[Any]:
    """``op`` and ``context`` of a revision file mean one that writes into ``buffer``."""
    # "named": with the driver's own style every % in the text would come out doubled.
    made: Any = make_url("postgresql+psycopg2://").get_dialect()
    config = Config()
    config.set_main_option("script_location", str(location.script_directory).replace("%", "%%"))
    options = {
        "as_sql": True,
        "literal_binds": True,
        "output_buffer": buffer,
        "transaction_per_migration": True,
        "fn": None,
    }
    scripts = ScriptDirectory(str(location.script_directory))
    with EnvironmentContext(config, scripts, as_sql=True) as surrounding:
        context = MigrationContext(made(paramstyle="named"), None, options, surrounding)
        surrounding._migration_context = context
        with Operations.context(context):
            yield context
