"""The record of every run, in schema ``pgops`` of the target, out of Alembic's sight.

Rows are written through a connection of their own, so that a run that was rolled back is on record too.
"""

from pgops.migrations.journal.approvals import last_approval, refuse_used
from pgops.migrations.journal.files import AppliedFile, applied_files, hashes_without_text, keep_files
from pgops.migrations.journal.half_made import (
    HalfMade,
    drop_constraint_on,
    forget_leftovers,
    half_made_indexes,
    rows_with_half_made,
)
from pgops.migrations.journal.honour import honour_stamp
from pgops.migrations.journal.records import (
    FAILED,
    INTERRUPTED,
    ROLLED_BACK,
    RUNNING,
    SUCCEEDED,
    RevisionRecord,
    RunRecord,
    begun,
    finish_revision,
    finish_run,
    new_run_id,
    note_leftover,
    note_version_table,
    run_application,
    runs,
    start_revision,
    start_run,
    succeeded_files,
    unfinished,
    work_application,
)
from pgops.migrations.journal.stamp import Stamp, check_stamp, prepare, read_stamp, restamp
from pgops.migrations.journal.tables import tables_of_others, tables_on_record
from pgops.migrations.journal.trust import refuse_writers_of_everything
from pgops.migrations.journal.written import note_written, written_since

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "ROLLED_BACK",
    "RUNNING",
    "SUCCEEDED",
    "AppliedFile",
    "HalfMade",
    "RevisionRecord",
    "RunRecord",
    "Stamp",
    "applied_files",
    "begun",
    "check_stamp",
    "drop_constraint_on",
    "finish_revision",
    "finish_run",
    "forget_leftovers",
    "half_made_indexes",
    "hashes_without_text",
    "honour_stamp",
    "keep_files",
    "last_approval",
    "new_run_id",
    "note_leftover",
    "note_version_table",
    "note_written",
    "prepare",
    "read_stamp",
    "refuse_used",
    "refuse_writers_of_everything",
    "restamp",
    "rows_with_half_made",
    "run_application",
    "runs",
    "start_revision",
    "start_run",
    "succeeded_files",
    "tables_of_others",
    "tables_on_record",
    "unfinished",
    "work_application",
    "written_since",
]
