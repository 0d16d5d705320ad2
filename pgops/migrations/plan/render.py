"""The SQL that revisions emit for this target, rendered without running any of it.

Rendered inside env.py's own ``run_migrations()``, with the options it configured and the dialect of
the server it reached; one revision that can't be rendered does not spoil the others.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import HeadMaintainer, MigrationContext, RevisionStep
from sqlalchemy.engine import make_url

from pgops.migrations.alembic_env.failures import describe
from pgops.migrations.plan.source_lines import RecordingBuffer, SourceLine


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one revision emits. ``unreadable`` says why the SQL is not all of it: the revision reads data.

    ``body`` is the revision's own SQL, without what Alembic does around it (transaction, version table); ``None``
    where it was not asked for. ``asked``: it could tell that its SQL is only written, so it may do something else
    when it runs. ``places``: which line of the file emits which line of ``sql``.
    """

    revision: str
    sql: str
    body: str | None
    unreadable: str | None
    heads_after: tuple[str, ...]
    places: tuple[SourceLine, ...] = field(default=(), compare=False)
    asked: bool = False


def render(
    context: MigrationContext,
    environment_context: EnvironmentContext,
    steps: Sequence[RevisionStep],
    heads: Sequence[str],
    arguments: dict[str, Any],
) -> list[Rendered]:
    """Render each step as ``alembic upgrade --sql`` would, transaction and version row included.

    :param context: the context env.py configured, online; its options are used.
    :param arguments: what env.py gave to ``run_migrations()``.
    """
    offline = _offline(context, environment_context)
    _indexes_in_one_order(offline.impl)
    maintainer = HeadMaintainer(offline, tuple(heads))
    found = []
    with _as_if_offline(context, offline, environment_context):
        for step in steps:
            script: Any = step.revision
            buffer = RecordingBuffer(Path(script.path))
            context_output: Any = buffer
            offline.output_buffer = offline.impl.output_buffer = context_output
            problem = None
            offline.asked = False
            with offline.begin_transaction(_per_migration=True):
                if not maintainer.heads and step.is_upgrade:
                    offline._version.create(offline.connection)  # type: ignore[arg-type]
                begins = buffer.tell()
                try:
                    step.migration_fn(**arguments)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code raises anything; it is shown
                    problem = describe(error)
                    buffer.stopped_at(error.__traceback__)
                body = buffer.getvalue()[begins:]
                maintainer.update_to_step(step)
            found.append(
                Rendered(
                    revision=step.revision.revision,
                    sql=buffer.getvalue(),
                    body=body,
                    unreadable=problem,
                    heads_after=tuple(sorted(maintainer.heads)),
                    places=tuple(buffer.places),
                    asked=offline.asked,
                )
            )
    return found


def _indexes_in_one_order(impl: Any) -> None:
    """A table's indexes are a set, and come in another order each time: the same SQL has to be the same text."""
    create = impl.create_table

    def create_table(table: Any, **options: Any) -> Any:
        table.indexes = sorted(
            table.indexes, key=lambda index: (str(index.name), [str(each) for each in index.expressions])
        )
        return create(table, **options)

    impl.create_table = create_table


def outline(context: MigrationContext, steps: Sequence[RevisionStep], heads: Sequence[str]) -> list[Rendered]:
    """The same steps without their SQL: where the heads are after each."""
    maintainer = _Heads(_offline(context, None), tuple(heads))
    found = []
    for step in steps:
        maintainer.update_to_step(step)
        found.append(Rendered(step.revision.revision, "", None, None, tuple(sorted(maintainer.heads))))
    return found


class _Heads(HeadMaintainer):
    """Alembic's bookkeeping of heads without the statements for the version table, which nobody reads."""

    def _insert_version(self, version: str) -> None:
        self.heads.add(version)

    def _delete_version(self, version: str) -> None:
        self.heads.remove(version)

    def _update_version(self, from_: str, to_: str) -> None:
        self.heads.remove(from_)
        self.heads.add(to_)


class _Offline(MigrationContext):
    """Notes whether others than Alembic ask it if SQL is only written."""

    asked = False

    @property
    def as_sql(self) -> bool:
        caller = str(sys._getframe(1).f_globals.get("__name__"))
        if not caller.startswith("alembic."):
            self.asked = True
        return self._as_sql

    @as_sql.setter
    def as_sql(self, value: bool) -> None:
        self._as_sql = value


def _offline(context: MigrationContext, environment_context: EnvironmentContext | None) -> _Offline:
    # "named": with the driver's own style every % in the text would come out doubled.
    made: Any = make_url("postgresql+psycopg2://").get_dialect()
    dialect = made(paramstyle="named")
    for name in ("server_version_info", "_backslash_escapes", "default_schema_name"):
        if hasattr(context.dialect, name):
            setattr(dialect, name, getattr(context.dialect, name))
    options = {
        **context.opts,
        "as_sql": True,
        "literal_binds": True,
        "output_buffer": io.StringIO(),
        "fn": None,
        "transaction_per_migration": True,
    }
    options.pop("dont_mutate", None)
    return _Offline(dialect, None, options, environment_context)


@contextlib.contextmanager
def _as_if_offline(
    online: MigrationContext, offline: _Offline, environment_context: EnvironmentContext
) -> Iterator[None]:
    """``op``, ``context.is_offline_mode()`` and ``context.get_context()`` mean the offline one for the block."""
    mode: Any = environment_context

    def is_offline_mode() -> bool:
        offline.asked = True
        return True

    def get_bind() -> None:
        offline.asked = True

    mode.is_offline_mode = is_offline_mode
    operations: Any = Operations(offline)
    operations.get_bind = get_bind
    environment_context.context_opts["as_sql"] = True
    environment_context._migration_context = offline
    operations._install_proxy()
    try:
        yield
    finally:
        del mode.is_offline_mode
        # Re-installed, not removed: Alembic's own block around us removes the proxy once.
        Operations(online)._install_proxy()
        environment_context._migration_context = online
        environment_context.context_opts["as_sql"] = False
