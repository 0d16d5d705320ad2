"""What code that is running no longer finds, and what it still does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.postgres import Target, connected, execute
from tests.support.traces import plan_of

FILLED = """
CREATE TABLE people (id integer PRIMARY KEY, name text, kind integer);
INSERT INTO people SELECT i, 'p' || i, 1 FROM generate_series(1, 2000) AS i;
CREATE INDEX people_kind ON people (kind);
CREATE TABLE orders (id integer PRIMARY KEY);
INSERT INTO orders SELECT i FROM generate_series(1, 2000) AS i;
CREATE VIEW names AS SELECT id, name FROM people;
CREATE ROLE {role} LOGIN;
GRANT SELECT ON people, orders TO {role};
ANALYZE;
"""
BATCHES = """
bind = op.get_bind()
while True:
    done = bind.execute(sa.text("UPDATE people SET name = '' WHERE id IN (SELECT id FROM people WHERE name <> '' LIMIT 500)"))
    if done.rowcount == 0:
        break
"""


def sql(*statements: str) -> str:
    return "\n".join(f"op.execute({each!r})" for each in statements)


@pytest.fixture
def filled(database: Target) -> Iterator[Target]:
    role = f"{database.dbname}_app"
    with connected(database) as connection:
        execute(connection, FILLED.replace("{role}", role))
        yield database
        execute(connection, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_what_is_found_and_what_is_not(tmp_path: Path, filled: Target) -> None:
    role = f"{filled.dbname}_app"
    plan = plan_of(
        tmp_path,
        filled,
        # Each with what is told of it.
        sql("CREATE OR REPLACE VIEW names AS SELECT id, name FROM people WHERE id < 5"),
        sql("CREATE OR REPLACE VIEW names AS SELECT id, name FROM people"),
        sql("CREATE OR REPLACE VIEW names AS SELECT people.id, people.name, orders.id AS o FROM people LEFT JOIN orders ON true"),
        sql("ALTER TABLE people RENAME TO persons", "ALTER TABLE persons RENAME TO people"),
        sql("ALTER TABLE people RENAME name TO called", "ALTER TABLE people RENAME called TO name"),
        sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY", f"CREATE POLICY few ON orders TO {role} USING (id < 5)"),
        sql("CREATE POLICY whole ON people USING (true)", "ALTER TABLE people ENABLE ROW LEVEL SECURITY"),
        sql(f"ALTER ROLE {role} CONNECTION LIMIT 0"),
        sql(f"ALTER ROLE {role} SET default_transaction_read_only = on"),
        sql("UPDATE people SET name = 'x' WHERE kind = 7"),
        BATCHES,
    )  # fmt: skip

    assert plan.trace is not None and plan.trace.untraced == (), plan.notes
    assert [(each.revision, each.rule, each.table) for each in plan.all_hazards] == [
        ("aa01", "hiding-rows", "names"),
        ("aa06", "hiding-rows", "orders"),
        ("aa08", "revoking-rights", None),
        ("aa09", "revoking-rights", None),
        ("aa11", "unbatched-write", "people"),
    ]
    told = {each.revision: each.message for each in plan.all_hazards}
    assert told["aa01"].startswith("view names reads something else now, FROM people WHERE id < 5:")
    assert told["aa08"] == f"{role} may no longer log in"
    assert told["aa09"] == f"new sessions of {role} only read: they can change no row"
