"""Every claimed rule, tripped and not, on an empty and on a large table of a real server."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pgops import postgres
from pgops.environments import HazardSettings
from pgops.migrations import hazards
from pgops.migrations.hazards.rules import STATEMENT_RULES
from pgops.postgres import Connection, Target
from tests.support.hazards import SETTINGS, assert_passes, assert_trips, found, of_rule


@dataclass(frozen=True)
class Case:
    """What trips a rule and what is like it and does not; outside of a transaction where ``alone``."""

    rule: str
    trips: str
    passes: str
    alone: bool = False


CASES = [
    Case("adding-column-with-check", "ALTER TABLE {t} ADD COLUMN u integer DEFAULT 0 CONSTRAINT pos CHECK (u >= 0)", "ALTER TABLE {t} ADD COLUMN u integer, ADD CONSTRAINT pos CHECK (n > 0) NOT VALID"),
    Case("adding-column-with-check", "ALTER TABLE IF EXISTS ONLY {t} ADD u numeric(3, 1) CHECK (u > 0), ADD v integer", "ALTER TABLE {t} ADD COLUMN \"check\" integer DEFAULT (0)"),
    Case("attaching-partition", "ALTER TABLE {t}_parts ATTACH PARTITION {t}_loose FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')", "CREATE TABLE {t}_2027 PARTITION OF {t}_parts FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"),
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


def test_a_small_table_is_a_note_where_only_time_is_lost_and_a_warning_where_rows_are(
    look: Connection,
) -> None:
    assert_trips(look, "require-concurrent-index-creation", "CREATE INDEX x ON small (n)", "note")
    assert_trips(look, "ban-drop-table", "DROP TABLE small", "warning")
    # It can't succeed: there are rows.
    assert_trips(look, "adding-required-field", "ALTER TABLE small ADD COLUMN u integer NOT NULL", "block")


def test_size_in_bytes_makes_a_table_large_too(look: Connection) -> None:
    settings = HazardSettings(large_rows=10**9, large_bytes=8_192)

    assert of_rule(
        found(look, "CREATE INDEX x ON large (n)", settings=settings), "require-concurrent-index-creation"
    ) == ["block"]


def test_an_excluded_rule_is_silent(look: Connection) -> None:
    settings = HazardSettings(exclude=frozenset(["ban-drop-table"]))

    assert found(look, "DROP TABLE large", settings=settings) == []


def test_the_whole_message_and_a_fix_ready_to_paste(look: Connection) -> None:
    (hazard,) = found(look, "-- Running upgrade\n\nCREATE UNIQUE INDEX ix_large_n ON large (n, id);")

    assert hazard.message.startswith("CREATE INDEX reads the whole of large (about 2,000 rows, ")
    assert hazard.message.endswith("; SHARE blocks writes for an instant")
    assert hazard.fix == (
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("ix_large_n", "large", ["n", "id"], unique=True, postgresql_concurrently=True)'
    )
    assert (hazard.table, hazard.revision, hazard.line, hazard.lock) == ("large", "r0", 3, "SHARE")
    assert hazard.rows == 2_000
    assert hazard.as_dict()["level"] == "block"


def test_a_table_that_the_plan_makes_is_a_note_in_later_revisions_too(look: Connection) -> None:
    hazards_found = found(
        look,
        "CREATE TABLE fresh (id integer)",
        "ALTER TABLE fresh RENAME TO renamed",
        "CREATE INDEX x ON renamed (id)",
    )

    assert [(hazard.rule, hazard.level) for hazard in hazards_found] == [
        ("renaming-table", "note"),
        ("require-concurrent-index-creation", "note"),
    ]


def test_an_index_that_the_plan_makes_leads_to_its_table(look: Connection) -> None:
    rule = "require-concurrent-index-deletion"

    assert of_rule(found(look, "CREATE INDEX i ON large (n)", "DROP INDEX i"), rule) == ["block"]
    assert of_rule(
        found(look, "CREATE TABLE f (n integer); CREATE INDEX i ON f (n)", "DROP INDEX i"), rule
    ) == ["note"]
    assert of_rule(found(look, "DROP INDEX i"), rule) == ["warning"]


def test_a_statement_on_everything_blocks(look: Connection) -> None:
    assert_trips(look, "require-concurrent-reindex", "REINDEX SCHEMA public", "block")


def test_a_table_renamed_by_the_plan_is_still_the_large_one(look: Connection) -> None:
    texts = ("ALTER TABLE large RENAME TO other", "CREATE INDEX x ON other (n)")

    assert of_rule(found(look, *texts), "require-concurrent-index-creation") == ["block"]


def test_a_table_dropped_and_made_again_is_new(look: Connection) -> None:
    texts = ("DROP TABLE large", "CREATE TABLE large (n integer)", "CREATE INDEX x ON large (n)")

    assert of_rule(found(look, *texts), "require-concurrent-index-creation") == ["note"]


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ("note TYPE VARCHAR(40)", "note"),
        ("note TYPE text", "note"),
        ("price TYPE numeric(12,2)", "note"),
        ("note TYPE varchar(10)", "block"),
        ("price TYPE numeric(12,4)", "block"),
        ("note TYPE text USING upper(note)", "block"),
    ],
)
def test_a_type_that_only_widens_rewrites_nothing(look: Connection, change: str, level: str) -> None:
    assert_trips(look, "changing-column-type", f"ALTER TABLE large ALTER COLUMN {change}", level)


def test_a_validated_check_spares_the_scan_of_set_not_null(look: Connection) -> None:
    assert_trips(
        look, "adding-not-nullable-field", "ALTER TABLE large ALTER COLUMN proven SET NOT NULL", "note"
    )


def test_the_recipe_for_set_not_null_is_not_itself_blocked(look: Connection) -> None:
    first = "ALTER TABLE large ADD CONSTRAINT n_set CHECK (maybe IS NOT NULL) NOT VALID"
    second = "ALTER TABLE large VALIDATE CONSTRAINT n_set; ALTER TABLE large ALTER COLUMN maybe SET NOT NULL"

    assert [hazard.level for hazard in found(look, first, second)] == ["note"]
    # The same on another table is no proof.
    elsewhere = "ALTER TABLE small ADD CONSTRAINT n_set CHECK (maybe IS NOT NULL)"
    set_here = "ALTER TABLE large ALTER COLUMN maybe SET NOT NULL"
    assert of_rule(found(look, elsewhere, set_here), "adding-not-nullable-field") == ["block"]


def test_an_update_with_a_where_warns_and_without_one_blocks(look: Connection) -> None:
    assert_trips(look, "unbatched-write", "UPDATE large SET maybe = 1 WHERE n < 10", "warning")


def test_alembics_own_statements_are_no_findings(look: Connection) -> None:
    text = """BEGIN;
CREATE TABLE side.versions (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT versions_pkc PRIMARY KEY (version_num)
);
INSERT INTO side.versions (version_num) VALUES ('a') RETURNING side.versions.version_num;
UPDATE side.versions SET version_num='b' WHERE side.versions.version_num = 'a';
DELETE FROM side.versions WHERE side.versions.version_num = 'b';
DROP TABLE alembic_version;
COMMIT;
"""

    assert found(look, text) == []


def test_sql_that_is_not_understood_says_so_and_hides_nothing_else(look: Connection) -> None:
    rules = [
        (hazard.rule, hazard.line)
        for hazard in found(look, "SELEKT 1;\nDO $$ BEGIN END $$;\nDROP TABLE large;")
    ]

    assert rules == [("unseen-sql", 1), ("unseen-sql", 2), ("ban-drop-table", 3)]


def test_a_revision_that_reads_data_is_judged_by_what_is_known(look: Connection) -> None:
    hazards_found = hazards.find(
        look, {"r": "DROP TABLE large"}, SETTINGS, unreadable={"r": "it asks for rows"}
    )

    assert [(hazard.rule, hazard.level) for hazard in hazards_found] == [
        ("unseen-sql", "warning"),
        ("ban-drop-table", "block"),
    ]
    assert hazards_found[0].message.startswith(
        "not all of its SQL is known before it runs (it asks for rows)"
    )


def test_names_that_need_quotes_are_found(look: Connection, server: Target) -> None:
    with postgres.connected(server.with_database("hazards")) as connection:
        postgres.execute(connection, 'CREATE SCHEMA "Odd; one"')
        postgres.execute(
            connection, 'CREATE TABLE "Odd; one"."T ""x""" AS SELECT generate_series(1, 2000) AS n'
        )
        postgres.execute(connection, "ANALYZE")

    (hazard,) = found(look, 'CREATE INDEX x ON "Odd; one"."T ""x""" (n)')
    assert (hazard.level, hazard.table) == ("block", '"Odd; one"."T ""x"""')
    # env.py may set a search_path of its own.
    assert [each.level for each in found(look, 'CREATE INDEX x ON "T ""x""" (n)')] == ["block"]


def test_a_table_that_is_not_there_is_a_warning(look: Connection) -> None:
    assert_trips(look, "require-concurrent-index-creation", "CREATE INDEX x ON nowhere (n)", "warning")


def test_partitions_count_with_their_parent(look: Connection) -> None:
    assert_trips(look, "changing-column-type", "ALTER TABLE large_parts ALTER COLUMN id TYPE bigint", "block")


def test_looking_needs_no_privilege_on_the_tables(look: Connection, server: Target) -> None:
    with postgres.connected(server.with_database("hazards")) as connection:
        postgres.execute(connection, "DROP ROLE IF EXISTS only_looks")
        postgres.execute(connection, "CREATE ROLE only_looks")
    postgres.execute(look, "SET ROLE only_looks")
    try:
        assert_trips(look, "ban-drop-table", "DROP TABLE large", "block")
    finally:
        postgres.execute(look, "RESET ROLE")
        with postgres.connected(server) as connection:
            postgres.execute(connection, "DROP ROLE only_looks")


# who is busy
