"""Every statement of the oracle on filled tables, its plan held against what PostgreSQL did; the table of docs/hazards.md.

    python -m tests.support.oracle_campaign 15 17 18

runs all of them on each major that a scratch server can be had of, prints where the plan and PostgreSQL disagree, and
writes the row of each into the page. A quarter of an hour for each; ``--every=5`` takes each fifth.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 - sessions of the application find what an application finds
from pgops.environments import HazardSettings
from pgops.local.scratch import ScratchServer, scratch_server
from pgops.local.tools import tool_sources
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.migrations.tracing.trace import with_trace
from pgops.postgres import Target, connected, execute, fetch_value
from tests.support.oracle import BEYOND, FAILING, UNKNOWABLE, Truth, read_everything, truth, upgrade_of
from tests.support.oracle_dangers import DANGERS
from tests.support.oracle_manual import OF_TEAMS, OF_THE_MANUAL
from tests.support.oracle_schema import SCHEMA
from tests.support.oracle_statements import STATEMENTS, Revision
from tests.support.oracle_unlisted import HARMLESS, HARMS
from tests.support.projects import AlembicProject
from tests.support.traces import clean

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hazards.md"
SETTINGS = HazardSettings(large_rows=1_000)
ALL: tuple[Revision, ...] = (*STATEMENTS, *HARMS, *HARMLESS, *OF_THE_MANUAL, *OF_TEAMS, *DANGERS)
_WAITS = frozenset(["long-transaction", "running-dump"])
_ROW = re.compile(r"^\| (\d\d)\.\S* \|.*$", re.MULTILINE)
_BEGIN, _END = "<!-- oracle: python -m tests.support.oracle_campaign -->", "<!-- end -->"
_HEAD = """\
| PostgreSQL | statements | harms told | waits told | harmless left alone |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Outcome:
    """What PostgreSQL did with a statement, and what its plan said: rules, messages, what kept it from being traced."""

    did: Truth
    told: frozenset[str]
    messages: tuple[str, ...]
    untraced: tuple[str, ...]
    harm: bool

    @property
    def harm_told(self) -> bool:
        """Whether anything but a wait was told."""
        return bool(self.told - _WAITS)

    @property
    def wait_told(self) -> bool:
        """Whether somebody is told to be in the way."""
        return bool(self.told & _WAITS)


@contextlib.contextmanager
def filled_database(major: int) -> Iterator[Target]:
    """The filled tables on a server of this major."""
    with scratch_server((major,)) as server:
        with connected(server.target) as connection:
            execute(connection, "SET allow_in_place_tablespaces = on")
            execute(connection, "CREATE TABLESPACE fast LOCATION ''")
            execute(connection, "CREATE DATABASE app")
        target = dataclasses.replace(server.target.with_database("app"), environment="test")
        with connected(target) as connection:
            execute(connection, SCHEMA)
        yield target


def outcome_of(path: Path, filled: Target, empty: ScratchServer, statement: Revision) -> Outcome:
    """Run one statement and undo it; then plan it while a session that has read every table stands in the way."""
    did = truth(filled, statement)
    harm = bool(did.harms or did.breaks or statement in BEYOND)
    if did.refused:
        return Outcome(did, frozenset(), (), (), harm)
    with connected(filled) as reader:
        execute(reader, "BEGIN")
        read_everything(reader)
        time.sleep(0.35)  # longer than the plan's lock timeout: that old a transaction is in the way
        plan = traced(path, filled, empty, statement)
    found = plan.all_hazards
    untraced = plan.notes if plan.trace is None else plan.trace.untraced
    return Outcome(
        did,
        frozenset(each.rule for each in found),
        tuple(f"{each.rule}: {each.message}" for each in found if each.rule not in _WAITS),
        () if statement in FAILING else untraced,
        harm,
    )


def traced(path: Path, target: Target, empty: ScratchServer, statement: Revision) -> Plan:
    """A plan of one revision with this statement, traced on a server that is used again."""

    @contextlib.contextmanager
    def lent(_majors: Any, _extensions: Any) -> Iterator[tuple[Target, str]]:
        try:
            yield empty.target, empty.origin
        finally:
            clean(empty.target)

    project = AlembicProject.make(path)
    project.revision("aa01", None, upgrade_of(statement))
    plan = make_plan(project.environment(target, hazards=SETTINGS), target)
    return with_trace(plan, lent, tool_sources(), of_backup=lambda: ("", ""))


def disagreements(statement: Revision, found: Outcome) -> Iterator[str]:
    """Where a plan says something else than what PostgreSQL did; nothing of what it refused."""
    if found.did.refused:
        return
    if found.untraced:
        yield f"not traced: {'; '.join(found.untraced)}"
    if found.wait_told != found.did.waits:
        yield "a wait is not told" if found.did.waits else "a wait is told, and it waits for nobody"
    if found.harm and not found.harm_told:
        yield f"not told: {'; '.join((*found.did.harms, *found.did.breaks)) or BEYOND[statement]}"
    if not found.harm and found.harm_told and statement not in UNKNOWABLE:
        yield f"told, and nothing happened: {'; '.join(found.messages)}"


def campaign(major: int, every: int) -> str:
    """All of them, or each ``every``-th, on one major; the row of the table."""
    count: Counter[str] = Counter()
    with filled_database(major) as filled, scratch_server((major,)) as empty:
        with connected(filled) as connection:
            version = str(
                fetch_value(connection, "SELECT split_part(current_setting('server_version'), ' ', 1)")
            )
        for statement in ALL[::every]:
            with tempfile.TemporaryDirectory() as directory:
                found = outcome_of(Path(directory), filled, empty, statement)
            for each in disagreements(statement, found):
                print(f"PostgreSQL {version}: {statement}\n    {each}", flush=True)
            if found.did.refused:
                count["refused"] += 1
                continue
            count["statements"] += 1
            count["waits"] += found.did.waits
            count["waits told"] += found.did.waits and found.wait_told
            count["harms"] += found.harm
            count["harms told"] += found.harm and found.harm_told
            if not found.harm and statement not in UNKNOWABLE:
                count["harmless"] += 1
                count["left alone"] += not found.harm_told
    shares = [
        f"{count[told]} of {count[of]}"
        for told, of in (("harms told", "harms"), ("waits told", "waits"), ("left alone", "harmless"))
    ]
    return f"| {version} | {count['statements']} | {' | '.join(shares)} |"


def with_row(page: str, row: str) -> str:
    """The page with this row in its table, in the place of that of the same major."""
    before, _, rest = page.partition(_BEGIN)
    table, _, after = rest.partition(_END)
    rows = {match[1]: match[0] for match in (*_ROW.finditer(table), *_ROW.finditer(row))}
    made = "\n".join(rows[each] for each in sorted(rows))
    return f"{before}{_BEGIN}\n{_HEAD}{made}\n{_END}{after}"


def main() -> int:
    """Run the campaign on each major that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("majors", nargs="+", type=int)
    parser.add_argument("--every", type=int, default=1)
    given = parser.parse_args()
    for major in given.majors:
        row = campaign(major, given.every)
        print(row, flush=True)
        PAGE.write_text(with_row(PAGE.read_text(encoding="utf-8"), row), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
