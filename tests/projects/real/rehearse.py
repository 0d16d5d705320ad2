#!/usr/bin/env python3
"""Rehearse a real project's history from a backup of a database with rows, and tell what came of it.

    python tests/projects/real/rehearse.py ckan

The project is installed as adopt.py does it. Its first third is migrated, each table gets a few hundred made-up rows, and
everything that is pending then is rehearsed whole, on a backup that is taken for it. Where made-up rows keep a revision
from running, the history goes on behind that with other rows. Prints a line for each rehearsal and one for each
prediction that PostgreSQL refuted or that nobody made; ends with 1 where a rehearsal failed otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_ROWS_IN_THE_WAY = (
    "NotNullViolation",
    "ForeignKeyViolation",
    "UniqueViolation",
    "CheckViolation",
    "InvalidText",
    "CharacterNotIn",
    "decompress",
)
_TOLD = ("refuted", "not predicted")


_KEYS = """
SELECT k.conrelid::regclass::text, k.confrelid::regclass::text, (
           SELECT string_agg(format('c.%%I = p.%%I', a.attname, b.attname), ' AND ')
             FROM unnest(k.conkey, k.confkey) AS u (one, other)
             JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.one
             JOIN pg_attribute AS b ON b.attrelid = k.confrelid AND b.attnum = u.other), (
           SELECT string_agg(format('c.%%I IS NOT NULL', a.attname), ' AND ')
             FROM pg_attribute AS a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
  FROM pg_constraint AS k WHERE k.contype = 'f'
"""


def without_orphans(connection: Any) -> None:
    """Delete rows whose foreign key leads nowhere: a backup of them could not be restored."""
    from pgops.postgres import execute, fetch_all, fetch_value

    execute(connection, "SET search_path = public")
    keys = fetch_all(connection, _KEYS.replace("%%", "%"))
    deleted = 1
    while deleted:
        deleted = 0
        for child, parent, equal, given in keys:
            deleted += fetch_value(
                connection,
                f"WITH gone AS (DELETE FROM {child} AS c WHERE {given} AND NOT EXISTS"
                f" (SELECT FROM {parent} AS p WHERE {equal}) RETURNING 1) SELECT count(*) FROM gone",
            )


def task(work: Path, *arguments: str) -> dict[str, Any]:
    """One task of pgops with ``--json``, failed or not."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("invoke")), *arguments, "--json"],
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}") from None
    return answer


def rehearse_all(work: Path) -> bool:
    """Every revision behind the first third; whether each rehearsal came to its end."""
    from trace import empty, fill

    from pgops.environments import load
    from pgops.local.scratch import scratch_server
    from pgops.postgres import connected, execute
    from pgops.targets import target_for

    with scratch_server() as server:
        with connected(server.target) as connection:
            execute(connection, "CREATE DATABASE trial")
        password = server.target.secret()
        os.environ["TRIAL_DATABASE_URL"] = (
            f"postgresql://{server.target.user}:{password.reveal() if password else ''}"
            f"@{server.target.host}:{server.target.port}/trial"
        )
        target = target_for(load(work / "environments.yaml", environ=os.environ).environments["trial"])
        pending = [each["revision"] for each in task(work, "migrate.plan")["pending"]]
        upto = pending[len(pending) // 3]
        while True:
            migrated = task(work, "migrate", f"--to={upto}", "--confirm=trial")
            if not migrated["ok"]:
                raise SystemExit(f"migrate --to={upto}: {migrated['error']['message']}")
            pending = pending[pending.index(upto) + 1 :]
            if not pending:
                return True
            with connected(target) as connection:
                fill(connection)
                without_orphans(connection)
            answer = task(work, "migrate.rehearse", "--backup=fresh")
            found = answer.get("rehearsal") or {}
            tell(upto, len(pending), answer)
            if found.get("verdict") == "passed":
                return True
            ran = [each["revision"] for each in found.get("revisions", ())]
            said = str(answer.get("error", {}).get("message", ""))
            if not any(each in said for each in _ROWS_IN_THE_WAY):
                return False
            # The revision that the rows stop goes through without any.
            upto = next(each for each in pending if each not in ran or each == ran[-1])
            empty(target)


def tell(start: str, count: int, answer: dict[str, Any]) -> None:
    """What a rehearsal says, shortly."""
    found = answer.get("rehearsal") or {}
    if not found:
        print(f"{count} revisions behind {start}: {answer.get('error')}", flush=True)
        return
    ran = [each for each in found["revisions"] if each["statements"]]
    statements = sum(each["times"] for revision in ran for each in revision["statements"])
    verdicts = [each["verdict"] for each in found["predictions"]]
    counted = ", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts))
    stall = max(
        (max(each["read_seconds"], each["write_seconds"]) for each in found["stalls"] or ()), default=0.0
    )
    print(
        f"{count} revisions behind {start}: {found['verdict']}, {len(ran)} revisions and {statements} statements in"
        f" {found['seconds']:.1f} s, longest wait {stall:.2f} s; predictions: {counted or 'none'}",
        flush=True,
    )
    back = found["round_trip"]
    if back and back["problems"]:
        print(f"  down and up again: {'; '.join(back['problems'][:3])[:400]}", flush=True)
    if found["verdict"] != "passed":
        print(f"  {answer.get('error', {}).get('message', '')[:400]}", flush=True)
    for each in found["predictions"]:
        if each["verdict"] in _TOLD:
            print(
                f"  {each['verdict']}: {each['rule']} on {each['relation']} in {each['revision']}: {each['evidence']}"
            )


def main() -> int:
    """Install, then run this file where the project is installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("project")
    parser.add_argument("--cache", type=Path, default=HERE.parents[2] / "build" / "real-projects")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.path.insert(0, str(HERE))
    if given.inside:
        return 0 if rehearse_all(given.inside) else 1
    import adopt

    cache = given.cache.absolute()
    programs = adopt.make_environment(given.project, cache)
    work = cache / f"rehearse-{given.project}"
    environ = {**os.environ, **adopt.adopt(given.project, work, programs)}
    done = subprocess.run(
        [str(programs / "python"), str(Path(__file__).resolve()), given.project, "--inside", str(work)],
        env=environ,
        cwd=work,
        check=False,
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
