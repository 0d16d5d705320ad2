"""Every claimed rule, tripped and not, on an empty and on a large table of a real server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from pgops import postgres
from pgops.environments import HazardSettings
from pgops.migrations import hazards
from pgops.migrations.hazards import Hazard
from pgops.migrations.hazards_rules import STATEMENT_RULES
from pgops.postgres import Connection, Target

SETTINGS = HazardSettings(large_rows=1_000, large_bytes=10**12)

TABLES = """
CREATE TABLE {t} (
    id integer NOT NULL, n integer NOT NULL, note varchar(20), price numeric(10, 2), maybe integer,
    proven integer, CONSTRAINT {t}_proven CHECK (proven IS NOT NULL)
);
CREATE INDEX {t}_n ON {t} (n);
CREATE UNIQUE INDEX {t}_id ON {t} (id);
CREATE MATERIALIZED VIEW {t}_view AS SELECT * FROM {t};
CREATE TABLE {t}_parts (id integer NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE {t}_2026 PARTITION OF {t}_parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE SCHEMA {t}_schema;
CREATE TABLE {t}_schema.inside (id integer);
"""
ROWS = """
INSERT INTO {t} SELECT i, i, 'row', 1.5, NULL, i FROM generate_series(1, {rows}) AS i;
REFRESH MATERIALIZED VIEW {t}_view;
INSERT INTO {t}_parts SELECT i, '2026-02-03' FROM generate_series(1, {rows}) AS i;
INSERT INTO {t}_schema.inside SELECT generate_series(1, {rows});
"""


@dataclass(frozen=True)
class Case:
    """What trips a rule and what is like it and does not; outside of a transaction where ``alone``."""

    rule: str
    trips: str
    passes: str
    alone: bool = False


CASES = [
    Case("adding-field-with-default", "ALTER TABLE {t} ADD COLUMN u uuid DEFAULT gen_random_uuid()", "ALTER TABLE {t} ADD COLUMN u integer DEFAULT 0 NOT NULL"),
    Case("adding-field-with-default", "ALTER TABLE {t} ADD COLUMN u SERIAL NOT NULL", "ALTER TABLE {t} ADD COLUMN u timestamptz DEFAULT now()"),
    Case("adding-foreign-key-constraint", "ALTER TABLE {t} ADD CONSTRAINT f FOREIGN KEY(n) REFERENCES {t} (id)", "ALTER TABLE {t} ADD CONSTRAINT f FOREIGN KEY(n) REFERENCES {t} (id) NOT VALID"),
    Case("adding-not-nullable-field", "ALTER TABLE {t} ALTER COLUMN maybe SET NOT NULL", "ALTER TABLE {t} ALTER COLUMN maybe DROP NOT NULL"),
    Case("adding-required-field", "ALTER TABLE {t} ADD COLUMN u integer NOT NULL", "ALTER TABLE {t} ADD COLUMN u integer"),
    Case("adding-serial-primary-key-field", "ALTER TABLE {t} ADD CONSTRAINT k PRIMARY KEY (id)", "ALTER TABLE {t} ADD CONSTRAINT k PRIMARY KEY USING INDEX {t}_id"),
    Case("ban-concurrent-index-creation-in-transaction", "CREATE INDEX CONCURRENTLY x ON {t} (n)", "COMMIT; CREATE INDEX CONCURRENTLY x ON {t} (n); BEGIN"),
    Case("ban-drop-column", "ALTER TABLE {t} DROP COLUMN note", "ALTER TABLE {t} ADD COLUMN other text"),
    Case("ban-drop-schema", "DROP SCHEMA {t}_schema CASCADE", "CREATE SCHEMA other"),
    Case("ban-drop-table", "DROP TABLE {t}", "DROP VIEW IF EXISTS some_view"),
    Case("ban-truncate-cascade", "TRUNCATE {t} CASCADE", "TRUNCATE {t}"),
    Case("changing-column-type", "ALTER TABLE {t} ALTER COLUMN n TYPE BIGINT", "ALTER TABLE {t} ALTER COLUMN n SET DEFAULT 3"),
    Case("constraint-missing-not-valid", "ALTER TABLE {t} ADD CONSTRAINT c CHECK (n > 0)", "ALTER TABLE {t} ADD CONSTRAINT c CHECK (n > 0) NOT VALID"),
    Case("constraint-missing-not-valid", "ALTER TABLE {t} ADD CONSTRAINT c CHECK (n > 0) NOT VALID; ALTER TABLE {t} VALIDATE CONSTRAINT c", "ALTER TABLE {t} VALIDATE CONSTRAINT c"),
    Case("disallowed-unique-constraint", "ALTER TABLE {t} ADD CONSTRAINT u UNIQUE (id)", "ALTER TABLE {t} ADD CONSTRAINT u UNIQUE USING INDEX {t}_id"),
    Case("renaming-column", "ALTER TABLE {t} RENAME n TO m", "ALTER TABLE {t} ALTER COLUMN n SET STATISTICS 10"),
    Case("renaming-table", "ALTER TABLE {t} RENAME TO other", "ALTER INDEX {t}_n RENAME TO other"),
    Case("require-concurrent-index-creation", "CREATE INDEX x ON {t} (n)", "COMMIT; CREATE INDEX CONCURRENTLY x ON {t} (n); BEGIN"),
    Case("require-concurrent-index-deletion", "DROP INDEX {t}_n", "COMMIT; DROP INDEX CONCURRENTLY {t}_n; BEGIN"),
    Case("require-concurrent-partition-detach", "ALTER TABLE {t}_parts DETACH PARTITION {t}_2026", "COMMIT; ALTER TABLE {t}_parts DETACH PARTITION {t}_2026 CONCURRENTLY; BEGIN"),
    Case("require-concurrent-reindex", "REINDEX INDEX {t}_n", "COMMIT; REINDEX INDEX CONCURRENTLY {t}_n; BEGIN"),
    Case("refreshing-materialized-view", "REFRESH MATERIALIZED VIEW {t}_view", "REFRESH MATERIALIZED VIEW CONCURRENTLY {t}_view"),
    Case("rewriting-table", "ALTER TABLE {t} SET UNLOGGED", "ALTER TABLE {t} SET (fillfactor = 90)"),
    Case("rewriting-table", "COMMIT; VACUUM FULL {t}; BEGIN", "COMMIT; VACUUM {t}; BEGIN"),
    Case("rewriting-table", "CLUSTER {t} USING {t}_n", "COMMIT; ANALYZE {t}; BEGIN"),
    Case("truncating-table", "TRUNCATE TABLE ONLY {t}", "INSERT INTO {t} (id, n, proven) VALUES (1, 1, 1)"),
    Case("unbatched-write", "UPDATE {t} SET maybe = 1", "UPDATE {t} SET maybe = 1 WHERE ctid = ANY(ARRAY(SELECT ctid FROM {t} WHERE maybe IS NULL LIMIT 1000))"),
    Case("unbatched-write", "DELETE FROM {t}", "SELECT count(*) FROM {t}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def look(server: Target) -> Iterator[Connection]:
    """A read-only session on a database with the same tables empty, small and large."""
    with contextlib.ExitStack() as stack:
        with postgres.connected(server) as connection:
            postgres.execute(connection, "DROP DATABASE IF EXISTS hazards")
            postgres.execute(connection, "CREATE DATABASE hazards")
        stack.callback(_drop, server)
        with postgres.connected(server.with_database("hazards")) as connection:
            for name, rows in (("empty", 0), ("small", 10), ("large", 2_000)):
                postgres.execute(connection, TABLES.format(t=name))
                if rows:
                    postgres.execute(connection, ROWS.format(t=name, rows=rows))
            postgres.execute(connection, "ANALYZE")
        reader = stack.enter_context(postgres.connected(server.with_database("hazards")))
        postgres.set_read_only(reader)
        yield reader


def _drop(server: Target) -> None:
    with postgres.connected(server) as connection:
        postgres.execute(connection, "DROP DATABASE hazards WITH (FORCE)")


def found(look: Connection, *texts: str, settings: HazardSettings = SETTINGS) -> list[Hazard]:
    """The hazards of a plan whose revisions emit these texts."""
    return hazards.find(look, {f"r{at}": text for at, text in enumerate(texts)}, settings)


def of_rule(hazards: Sequence[Hazard], rule: str) -> list[str]:
    """The levels of one rule's findings."""
    return [hazard.level for hazard in hazards if hazard.rule == rule]


def assert_trips(look: Connection, rule: str, text: str, level: str) -> None:
    """The one finding of the rule has this level."""
    assert of_rule(found(look, f"BEGIN;\n{text};\nCOMMIT;\n"), rule) == [level]


def assert_passes(look: Connection, rule: str, text: str) -> None:
    """The rule has nothing to say."""
    assert of_rule(found(look, f"BEGIN;\n{text};\nCOMMIT;\n"), rule) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.trips}")
def test_a_rule_is_a_note_on_an_empty_table_and_blocks_on_a_large_one(look: Connection, case: Case) -> None:
    assert_trips(look, case.rule, case.trips.format(t="empty"), "note")
    assert_trips(look, case.rule, case.trips.format(t="large"), "block")
    for table in ("empty", "large"):
        assert_passes(look, case.rule, case.passes.format(t=table))


def test_every_claimed_statement_rule_has_a_case() -> None:
    # A database can't be dropped inside a plan that looks at it; its own test is below.
    assert {case.rule for case in CASES} == set(STATEMENT_RULES) - {"ban-drop-database"}


def test_dropping_a_database_always_blocks(look: Connection) -> None:
    assert_trips(look, "ban-drop-database", "DROP DATABASE other", "block")
    assert_passes(look, "ban-drop-database", "COMMENT ON DATABASE hazards IS 'x'")
