"""What a rehearsal started is killed under it: it says so, and neither the plan nor the backup gets a bad name by that.

One moment always; PGOPS_TEST_ROUNDS random ones of every part on request.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from tests.integration.rehearsal.conftest import ROWS, SLOW, Release
from tests.support.projects import heads
from tests.support.scratch_remains import remains, servers
from tests.support.sql import value

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "0"))
# What is killed, and the line of output behind which it is.
ALWAYS = [("postmaster", "[1/1]", 1.0)]
SOMETIMES = [
    ("pg_restore", "restoring into", 0.3),
    ("postmaster", "restoring into", 2.0),
    ("postmaster", "[1/1]", 6.0),
    ("backend", "restoring into", 1.0),
    ("backend", "[1/1]", 4.0),
]


def command_lines() -> dict[int, str]:
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found[int(file.parent.name)] = (
                file.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            )
    return found


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def victims(part: str, rehearsal: int, directory: Path) -> list[int]:
    lines = command_lines()
    if part == "pg_restore":
        found, left = [], [rehearsal]
        while left:
            left += children(each := left.pop())
            found += [each] if "pg_restore" in lines.get(each, "").split(" ")[0] else []
        return found
    leaders = [
        pid for pid, text in lines.items() if str(directory) in text and re.search(r"postgres .*-D", text)
    ]
    if part == "postmaster":
        return leaders
    return [
        pid
        for leader in leaders
        for pid in children(leader)
        if re.match(r"postgres: postgres ", lines.get(pid, ""))
    ]


def kill_behind(
    release: Release, temporary: Path, part: str, line: str, delay: float
) -> tuple[int, str, str, bool]:
    process = release.project.start("migrate.rehearse")
    assert process.stdout is not None
    said, killed = "", False
    for text in process.stdout:
        said += text
        if line in text and not killed:
            deadline = time.monotonic() + 10
            time.sleep(delay)
            while not (found := victims(part, process.pid, temporary)) and time.monotonic() < deadline:
                if process.poll() is not None:
                    break
            for pid in found if part != "backend" else random.sample(found, min(1, len(found))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed = True
    err = process.communicate(timeout=120)[1]
    return process.returncode, said, err, killed


def judge(
    release: Release, temporary: Path, part: str, code: int, said: str, err: str, killed: bool, when: str
) -> None:
    backups = release.project.path / "backups"
    assert "Traceback" not in err, (when, err)
    bad = [
        each.read_text() for each in backups.rglob("proof-*.json") if json.loads(each.read_text())["problems"]
    ]
    assert bad == [], when
    verdicts = [json.loads(each.read_text())["verdict"] for each in release.receipts()]
    if killed and part != "backend" and "is kept beside" not in said:
        assert code in {1, 3}, (when, code, err)
        assert verdicts == [], when
        assert "env.check --env=scratch" not in err
        assert "untouched: " in err, when
        assert "next: " in err, when
    else:
        assert (code, verdicts) in ((0, ["passed"]), (1, ["failed"]), (3, []), (1, [])), (when, code, err)
        assert "passed" not in verdicts or code == 0
    for each in release.receipts():
        each.unlink()
    assert heads(release.database) == {"aa01"}
    assert value(release.database, "SELECT count(*) FROM people") == ROWS
    assert remains(temporary) == [], when
    assert servers(temporary) == [], when


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_part_is_killed(release: Release, temporary: Path) -> None:
    release.add("aa02", "aa01", SLOW, SLOW.replace("bigint", "integer"))
    told = []
    moments = [
        (part, line, random.uniform(0, most))
        for part, line, most in (SOMETIMES[each % len(SOMETIMES)] for each in range(ROUNDS))
    ]
    if not ROUNDS:
        print("one moment; more of them with PGOPS_TEST_ROUNDS=20")
    for part, line, delay in moments or ALWAYS:
        code, said, err, killed = kill_behind(release, temporary, part, line, delay)
        when = f"{part} killed {delay:.2f} s behind {line!r}: {killed}"
        print(when, "->", code, err.strip())
        judge(release, temporary, part, code, said, err, killed, when)
        told.append((part, killed, err))
    if not ROUNDS:
        ((_, _, server),) = told
        assert "the scratch server of the copy (embedded PostgreSQL" in server
        assert "nothing is recorded of this try" in server
        return
    # The next one works.
    assert release.rehearse("--no-round-trip")["verdict"] == "passed"
