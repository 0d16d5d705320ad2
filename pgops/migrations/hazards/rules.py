"""What each rule means: the lock, whom it blocks, what its duration depends on, and the safe way in Alembic.

Lock levels are PostgreSQL's (https://www.postgresql.org/docs/current/explicit-locking.html); what each
ALTER TABLE takes is said under https://www.postgresql.org/docs/current/sql-altertable.html.
"""

from __future__ import annotations

from collections.abc import Mapping

from pgops.migrations.hazards.off import OFF
from pgops.migrations.hazards.rule import Cost, Rule

_AE, _SRE, _SHARE, _ROWS = "ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE", "ROW EXCLUSIVE"
_ALL, _WRITES = "reads and writes", "writes"

_BATCHES = """\
# in batches, each in a transaction of its own; make the WHERE leave out what is already done
with op.get_context().autocommit_block():
    while op.get_bind().execute(sa.text(
        "UPDATE {sql_table} SET … WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM {sql_table} WHERE … LIMIT 10000))"
    )).rowcount:
        continue"""

_RELEASE_FIRST = """\
# 1. release code that does not use {what} any more
# 2. only then, with a backup that was verified:"""

FROM_SQUAWK: tuple[Rule, ...] = (
    Rule(
        "adding-field-with-default",
        "adding {column} with a default that is computed for each row rewrites {table}",
        _AE,
        _ALL,
        Cost.REWRITE,
        "note",
        """\
op.add_column({args}, sa.Column("{column}", …, nullable=True){schema})
op.alter_column({args}, "{column}", server_default=sa.text("…"){schema})
# rows that are there already: fill them in batches in a later revision""",
    ),
    Rule(
        "adding-foreign-key-constraint",
        "adding a foreign key checks every row of {table}",
        _SRE,
        "writes to both tables",
        Cost.SCAN,
        "note",
        """\
op.create_foreign_key("{constraint}", {args}, "{other}", […], […], postgresql_not_valid=True)
# in the next revision: checks the rows without blocking writes
op.execute("ALTER TABLE {sql_table} VALIDATE CONSTRAINT {constraint}")""",
    ),
    Rule(
        "adding-not-nullable-field",
        "SET NOT NULL reads every row of {table}",
        _AE,
        _ALL,
        Cost.SCAN,
        "note",
        """\
op.execute("ALTER TABLE {sql_table} ADD CONSTRAINT {column}_set CHECK ({column} IS NOT NULL) NOT VALID")
# in the next revision: VALIDATE reads the rows without blocking, then SET NOT NULL has nothing to read
op.execute("ALTER TABLE {sql_table} VALIDATE CONSTRAINT {column}_set")
op.alter_column({args}, "{column}", nullable=False{schema})
op.drop_constraint("{column}_set", {args}, type_="check"{schema})""",
    ),
    Rule(
        "adding-required-field",
        "adding {column} as NOT NULL without a default fails while {table} has rows",
        _AE,
        "",
        Cost.INSTANT,
        "block",
        """\
# a constant default is stored once and rewrites nothing
op.add_column({args}, sa.Column("{column}", …, nullable=False, server_default=sa.text("…")){schema})""",
    ),
    Rule(
        "adding-serial-primary-key-field",
        "adding a primary key builds its index on {table}",
        _AE,
        _ALL,
        Cost.INDEX,
        "note",
        """\
with op.get_context().autocommit_block():
    op.create_index("{constraint}", {args}, [{columns}], unique=True, postgresql_concurrently=True{schema})
op.execute("ALTER TABLE {sql_table} ADD CONSTRAINT {constraint} PRIMARY KEY USING INDEX {constraint}")""",
    ),
    Rule(
        "ban-concurrent-index-creation-in-transaction",
        "CREATE INDEX CONCURRENTLY on {table} fails inside a transaction",
        "SHARE UPDATE EXCLUSIVE",
        "",
        Cost.INSTANT,
        "block",
        """\
with op.get_context().autocommit_block():
    op.create_index("{index}", {args}, [{columns}], postgresql_concurrently=True{schema})""",
    ),
    Rule(
        "ban-drop-column",
        "dropping {column} loses its data in {table}, and breaks code that still reads it",
        _AE,
        _ALL,
        Cost.INSTANT,
        "warning",
        _RELEASE_FIRST.replace("{what}", "{column}") + '\nop.drop_column({args}, "{column}"{schema})',
    ),
    Rule(
        "ban-drop-database",
        "a migration drops a whole database",
        _AE,
        "everything",
        Cost.INSTANT,
        "block",
        "# a database is not a migration's to drop: do it by hand, with a backup that was verified",
    ),
    Rule(
        "ban-drop-table",
        "dropping {table} loses its rows, and breaks code that still reads it",
        _AE,
        _ALL,
        Cost.INSTANT,
        "warning",
        _RELEASE_FIRST.replace("{what}", "{sql_table}") + "\nop.drop_table({args}{schema})",
    ),
    Rule(
        "ban-truncate-cascade",
        "TRUNCATE … CASCADE loses the rows of {table} and of every table that refers to it",
        _AE,
        _ALL,
        Cost.INSTANT,
        "warning",
        '# name each table, so that a review sees what is lost\nop.execute("TRUNCATE {sql_table}, …")',
    ),
    Rule(
        "changing-column-type",
        "changing the type of {column} rewrites {table} and its indexes",
        _AE,
        _ALL,
        Cost.REWRITE,
        "note",
        """\
op.add_column({args}, sa.Column("{column}_new", …, nullable=True){schema})
# release code that writes both columns; copy old rows in batches in a later revision; then:
op.drop_column({args}, "{column}"{schema})
op.alter_column({args}, "{column}_new", new_column_name="{column}"{schema})""",
    ),
    Rule(
        "constraint-missing-not-valid",
        "adding the constraint checks every row of {table}",
        _AE,
        _ALL,
        Cost.SCAN,
        "note",
        """\
op.create_check_constraint("{constraint}", {args}, "…", postgresql_not_valid=True{schema})
# in the next revision: checks the rows without blocking reads or writes
op.execute("ALTER TABLE {sql_table} VALIDATE CONSTRAINT {constraint}")""",
    ),
    Rule(
        "disallowed-unique-constraint",
        "adding a unique constraint builds its index on {table}",
        _AE,
        _ALL,
        Cost.INDEX,
        "note",
        """\
with op.get_context().autocommit_block():
    op.create_index("{constraint}", {args}, [{columns}], unique=True, postgresql_concurrently=True{schema})
op.execute("ALTER TABLE {sql_table} ADD CONSTRAINT {constraint} UNIQUE USING INDEX {constraint}")""",
    ),
    Rule(
        "renaming-column",
        "renaming a column of {table} breaks the code that is running now, at once",
        _AE,
        _ALL,
        Cost.INSTANT,
        "warning",
        """\
op.add_column({args}, sa.Column("new_name", …, nullable=True){schema})
# release code that writes both and reads the new one; copy old rows in batches; drop the old one later""",
    ),
    Rule(
        "renaming-table",
        "renaming {table} breaks the code that is running now, at once",
        _AE,
        _ALL,
        Cost.INSTANT,
        "warning",
        """\
op.rename_table({args}, "new_name"{schema})
# the old name goes on working until the new code is everywhere
op.execute("CREATE VIEW {sql_table} AS SELECT * FROM new_name")""",
    ),
    Rule(
        "require-concurrent-index-creation",
        "CREATE INDEX reads the whole of {table}",
        _SHARE,
        _WRITES,
        Cost.INDEX,
        "note",
        """\
with op.get_context().autocommit_block():
    op.create_index("{index}", {args}, [{columns}], {unique}postgresql_concurrently=True{schema})""",
    ),
    Rule(
        "require-concurrent-index-deletion",
        "DROP INDEX waits for every transaction that uses {table}, and everyone else behind it",
        _AE,
        _ALL,
        Cost.INSTANT,
        "note",
        """\
with op.get_context().autocommit_block():
    op.drop_index("{index}", postgresql_concurrently=True)""",
    ),
    Rule(
        "require-concurrent-partition-detach",
        "DETACH PARTITION waits for every transaction that uses {table}, and everyone else behind it",
        _AE,
        _ALL,
        Cost.INSTANT,
        "note",
        """\
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE {sql_table} DETACH PARTITION … CONCURRENTLY")""",
    ),
    Rule(
        "require-concurrent-reindex",
        "REINDEX builds indexes of {table} anew",
        _AE,
        _ALL,
        Cost.INDEX,
        "note",
        """\
with op.get_context().autocommit_block():
    op.execute("REINDEX … CONCURRENTLY …")""",
    ),
)

ATTACHING = "attaching-partition"

OWN: tuple[Rule, ...] = (
    Rule(
        "adding-column-with-check",
        "a CHECK that comes with {column} is checked against every row of {table}",
        _AE,
        _ALL,
        Cost.SCAN,
        "note",
        """\
op.add_column({args}, sa.Column("{column}", …){schema})
op.create_check_constraint("{column}_check", {args}, "…", postgresql_not_valid=True{schema})
# in the next revision: checks the rows without blocking reads or writes
op.execute("ALTER TABLE {sql_table} VALIDATE CONSTRAINT {column}_check")""",
    ),
    Rule(
        ATTACHING,
        "ATTACH PARTITION reads every row of {table}, and makes the indexes and foreign keys of its parent that it lacks",
        _AE,
        _ALL,
        Cost.SCAN,
        "note",
        """\
# the bounds as a CHECK, NULL left out as well
op.create_check_constraint("{partition}_bounds", "{partition}",
    "… IS NOT NULL AND … >= … AND … < …", postgresql_not_valid=True{schema})
# in the next revision: reads the rows without blocking; then ATTACH PARTITION has none to read
op.execute("ALTER TABLE {sql_table} VALIDATE CONSTRAINT {partition}_bounds")
op.execute("ALTER TABLE {parent} ATTACH PARTITION {sql_table} FOR VALUES …")""",
    ),
    # squawk has it too, in its newest releases.
    Rule(
        "ban-drop-schema",
        "dropping the schema loses every table in it",
        _AE,
        _ALL,
        Cost.INSTANT,
        "block",
        "# drop its tables one by one in a revision of their own, so that a review sees each of them",
    ),
    Rule(
        "refreshing-materialized-view",
        "REFRESH MATERIALIZED VIEW computes {table} anew",
        _AE,
        _ALL,
        Cost.REWRITE,
        "note",
        """\
# needs a unique index on the view
with op.get_context().autocommit_block():
    op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY {sql_table}")""",
    ),
    Rule(
        "rewriting-table",
        "the statement writes {table} and its indexes anew",
        _AE,
        _ALL,
        Cost.REWRITE,
        "note",
        "# outside of migrations, online: pg_repack --table={sql_table}",
    ),
    Rule(
        "truncating-table",
        "TRUNCATE loses the rows of {table}",
        _AE,
        _ALL,
        Cost.INSTANT,
        "warning",
        '# only with a backup that was verified:\nop.execute("TRUNCATE {sql_table}")',
    ),
    Rule(
        "unbatched-write",
        "one statement changes the rows of {table} and keeps them locked until the revision ends",
        _ROWS,
        "writes to the same rows",
        Cost.ROWS,
        "note",
        _BATCHES,
    ),
)

BESIDE_DEFAULT_PARTITION = Rule(
    ATTACHING,
    "a new partition has every row of the default partition {table} read",
    _AE,
    _ALL,
    Cost.SCAN,
    "note",
    """\
# the new bounds, left out of the default partition by a CHECK
op.create_check_constraint("{partition}_without_…", "{partition}",
    "… < … OR … >= …", postgresql_not_valid=True{schema})
# in the next revision: reads the rows without blocking; then a new partition has none to read
op.execute("ALTER TABLE {sql_table} VALIDATE CONSTRAINT {partition}_without_…")""",
)
"""What ``attaching-partition`` says of the parent's default partition."""

LIVE: Mapping[str, str] = {
    "invalid-index": "CREATE INDEX IF NOT EXISTS finds an INVALID index of the name, and leaves it so",
    "long-transaction": "a transaction older than the lock timeout holds a table of the plan",
    "running-dump": "a pg_dump reads a table of the plan",
    "running-vacuum": "a vacuum that does not give way works on a table of the plan",
    "replica-lag": "a replica is behind, and the plan writes a lot",
    "rows-do-not-fit": "rows are there that a constraint, NOT NULL or a narrower type of the plan does not take",
    "unseen-sql": "SQL that nothing can be said about before it runs",
}
"""Rules about the state of the server and of the plan, not about one kind of statement."""

TRACED: tuple[str, ...] = (
    "changing-session",
    "disarming-run",
    "dropping-view",
    "ending-sessions",
    "failing-statement",
    "hiding-rows",
    "holding-lock",
    "moving-table",
    "reading-table",
    "revoking-rights",
)
"""Rules that only a trace can tell; see :mod:`.traced_rules`."""

STATEMENT_RULES: Mapping[str, Rule] = {rule.name: rule for rule in (*FROM_SQUAWK, *OWN)}

CLAIMED: tuple[str, ...] = tuple(sorted([*STATEMENT_RULES, *LIVE, *TRACED]))
"""The rules that can be reported, accepted with ``--accept-hazard`` and excluded."""

RULES: tuple[str, ...] = tuple(sorted({*CLAIMED, *OFF}))
"""Every rule name that ``hazards.exclude`` may hold."""
