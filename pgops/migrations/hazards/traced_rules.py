"""Rules that only a trace can tell: what they mean, and the safe way."""

from __future__ import annotations

from collections.abc import Mapping

from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.rule import Cost, Rule
from pgops.migrations.hazards.sql import Statement

READING = Rule(
    "reading-table",
    "the statement reads every row of {table}",
    "",
    "reads and writes",
    Cost.SCAN,
    "note",
    """\
# a constraint as NOT VALID reads nothing:
op.execute("ALTER … ADD CONSTRAINT … CHECK (…) NOT VALID")
# in the next revision: checks the rows without blocking
op.execute("ALTER … VALIDATE CONSTRAINT …")""",
)

STATES: Mapping[str, tuple[str, str]] = {
    "changing-session": (
        "the role, search_path or row_security of the session is changed, and stays so for what comes after",
        '# for one transaction only, and only where it is needed:\nop.execute("SET LOCAL {name} = …")',
    ),
    "disarming-run": (
        "a timeout of the run is raised or removed, or triggers and foreign keys are turned off",
        "# leave it as it is: environments.yaml sets the timeouts (timeouts: {{lock: …, statement: …}})",
    ),
    "dropping-view": (
        "a view that a session uses now is dropped",
        "# release code that does not use it any more; only then drop it",
    ),
    "ending-sessions": (
        "sessions of others are ended",
        "# end sessions by hand, after looking at them: SELECT * FROM pg_stat_activity",
    ),
    "failing-statement": (
        "PostgreSQL refused the statement on the target's own schema",
        "# correct the revision; invoke migrate.test tries the whole history",
    ),
    "hiding-rows": (
        "rows are there and not found any more: row security, a policy that shows fewer, a view that reads something else, a partition or child that its parent no longer shows",
        '# policies first, in the same revision:\nop.execute("CREATE POLICY … ON {table} …")',
    ),
    "holding-lock": (
        "a lock that others wait for is held while a later statement of the revision reads or writes a large table",
        "# each in a revision of its own: the long one first, or the one with the strong lock in one that ends at once",
    ),
    "moving-table": (
        "a table or schema goes where the code that is running does not look for it, or a role's or the database's search_path leads elsewhere",
        "# release code that finds it in both places first",
    ),
    "revoking-rights": (
        "a role loses a right that it has now, a membership, or that it may log in or write",
        "# release code that does not need it any more; only then revoke it",
    ),
}
"""Rule -> (what it means, the safe way); they warn, whatever the size."""


def hazard_of_state(rule: str, statement: Statement, table: str | None, message: str, **facts: str) -> Hazard:
    """The finding of one of :data:`STATES`; ``facts`` fill in the safe way."""
    fix = STATES[rule][1].format(**{"table": table or "…", "name": "…", **facts})
    return Hazard(rule, "warning", table, statement.revision, statement.line, message, fix)
