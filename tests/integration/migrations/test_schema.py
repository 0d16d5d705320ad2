"""What counts as a change of the schema between two turns of a round trip."""

from __future__ import annotations

from pgops import postgres
from pgops.migrations.round_trip.schema import differences, read_schema
from pgops.postgres import Target

CHANGES = [
    "ALTER TABLE t ADD COLUMN x int",
    "ALTER TABLE t ALTER COLUMN n TYPE bigint",
    "ALTER TABLE t ALTER COLUMN n SET DEFAULT 3",
    "ALTER TABLE t ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE t ADD CHECK (n > 0)",
    "ALTER TABLE t ADD CONSTRAINT k UNIQUE (n)",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE t SET (fillfactor = 50)",
    "ALTER TABLE t SET UNLOGGED",
    "ALTER TYPE e ADD VALUE 'z'",
    "ALTER DOMAIN d ADD CHECK (value <> 'x')",
    "ALTER SEQUENCE s INCREMENT 7",
    "CREATE INDEX ON t (n)",
    "CREATE OR REPLACE VIEW v AS SELECT n FROM t WHERE n > 1",
    "DROP MATERIALIZED VIEW m",
    "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE POLICY p ON t USING (true)",
    "COMMENT ON COLUMN t.n IS 'a number'",
    "GRANT SELECT ON t TO public",
    "CREATE SCHEMA other",
    "CREATE TYPE c AS (x int)",
    "CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)",
]  # fmt: skip


def test_every_kind_of_change_shows_in_the_schema_and_only_that_one(database: Target) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, """
            CREATE TYPE e AS ENUM ('a'); CREATE DOMAIN d AS text; CREATE SEQUENCE s;
            CREATE TABLE t (n int); CREATE TABLE parts (n int) PARTITION BY LIST (n);
            CREATE VIEW v AS SELECT n FROM t; CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
            CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
        """)  # fmt: skip
        for change in CHANGES:
            before = read_schema(connection)
            assert differences(before, read_schema(connection)) == []
            if "COLUMN n TYPE" in change:
                postgres.execute(connection, "DROP VIEW v")
                before = read_schema(connection)
            postgres.execute(connection, change)
            assert differences(before, read_schema(connection)), change
            if "COLUMN n TYPE" in change:
                postgres.execute(connection, "CREATE VIEW v AS SELECT n FROM t")


def test_the_journal_and_the_version_table_are_not_part_of_a_schema(database: Target) -> None:
    with postgres.connected(database) as connection:
        before = read_schema(connection)
        postgres.execute(
            connection,
            "CREATE SCHEMA pgops; CREATE TABLE pgops.runs (id serial PRIMARY KEY); CREATE TABLE alembic_version (version_num text PRIMARY KEY)",
        )

        assert differences(before, read_schema(connection, without=["public.alembic_version"])) == []
