"""A failed pg_restore: is it the backup's fault, the program's end, or the server's?"""

from __future__ import annotations

import pytest

from pgops.backups.verify.blame import fault_of_another
from pgops.pgtools import ToolError
from pgops.pgtools.runner import Finished


@pytest.mark.parametrize(
    ("exit_code", "said", "fault"),
    [
        (-9, "", "pg_restore was killed by signal 9"),
        (137, "", "pg_restore failed with exit code 137"),
        (1, "pg_restore: error: server closed the connection unexpectedly", "was lost"),
        (1, "pg_restore: error: FATAL:  the database system is in recovery mode", "was lost"),
        (
            1,
            'ERROR:  could not extend file "base/1/2": No space left on device',
            "ran short: No space left on device",
        ),
        (1, "ERROR:  out of shared memory", "ran short: out of shared memory"),
        (1, 'ERROR:  type "hstore" does not exist', None),
        (1, "pg_restore: error: could not uncompress data: (null)", None),
        (1, "pg_restore: error: found unexpected block ID (0) when reading data", None),
    ],
)
def test_whose_fault(exit_code: int, said: str, fault: str | None) -> None:
    found = fault_of_another(ToolError(Finished(("pg_restore",), exit_code, "", said)))
    assert (found is None) is (fault is None)
    if found is not None and fault is not None:
        assert fault in found.message
        assert "nothing is recorded of it" in found.untouched
        assert found.hint
