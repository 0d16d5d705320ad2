"""Every claimed rule, tripped and not, on an empty and on a large table of a real server."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from pgops import postgres
from pgops.backups.dump.dump import session_name
from pgops.environments import HazardSettings
from pgops.migrations import hazards
from pgops.migrations.hazards import Hazard
from pgops.migrations.hazards.live import Replica, Session, replicas
from pgops.migrations.hazards.rules import LIVE, STATEMENT_RULES
from pgops.migrations.hazards.sessions import kind_of, of_replicas
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
CREATE TABLE {t}_loose (id integer NOT NULL, at date NOT NULL);
CREATE SCHEMA {t}_schema;
CREATE TABLE {t}_schema.inside (id integer);
"""
ROWS = """
INSERT INTO {t} SELECT i, i, 'row', 1.5, NULL, i FROM generate_series(1, {rows}) AS i;
REFRESH MATERIALIZED VIEW {t}_view;
INSERT INTO {t}_parts SELECT i, '2026-02-03' FROM generate_series(1, {rows}) AS i;
INSERT INTO {t}_schema.inside SELECT generate_series(1, {rows});
INSERT INTO {t}_loose SELECT i, '2027-02-03' FROM generate_series(1, {rows}) AS i;
"""


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
        with postgres.connected(server.with_database("hazards")) as connection:
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


ATTACH = (
    "ALTER TABLE large_parts ATTACH PARTITION large_loose FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"
)


def test_attaching_names_the_partition_and_not_the_parent(look: Connection) -> None:
    (hazard,) = found(look, ATTACH)

    assert (hazard.level, hazard.table, hazard.rows, hazard.lock) == (
        "block",
        "large_loose",
        2_000,
        "ACCESS EXCLUSIVE",
    )
    assert "ATTACH PARTITION reads every row of large_loose" in hazard.message
    assert 'op.create_check_constraint("large_loose_bounds", "large_loose",' in hazard.fix


def test_the_recipe_for_attaching_is_not_itself_blocked(look: Connection) -> None:
    texts = (
        "ALTER TABLE large_loose ADD CONSTRAINT b CHECK (at IS NOT NULL AND at >= '2027-01-01' AND at < '2028-01-01') NOT VALID",
        "ALTER TABLE large_loose VALIDATE CONSTRAINT b",
        ATTACH,
    )

    assert [(hazard.rule, hazard.level) for hazard in found(look, *texts)] == [
        ("attaching-partition", "note")
    ]
    assert of_rule(found(look, texts[0], texts[2]), "attaching-partition") == ["block"]


def test_a_table_that_becomes_a_partition_of_a_new_one(look: Connection) -> None:
    make = "CREATE TABLE fresh (id integer NOT NULL, at date NOT NULL) PARTITION BY RANGE (at)"
    attach = ATTACH.replace("large_parts", "fresh")
    check = "ALTER TABLE large_loose ADD CONSTRAINT b CHECK (at >= '2027-01-01' AND at < '2028-01-01')"

    assert [hazard.level for hazard in found(look, make, attach)] == ["block"]
    assert of_rule(found(look, check, make, attach), "attaching-partition") == ["note"]


PARTITIONS = """
CREATE TABLE {p} (id integer NOT NULL, at date) PARTITION BY RANGE (at);
CREATE TABLE {p}_rest PARTITION OF {p} DEFAULT;
INSERT INTO {p} SELECT i, '2025-02-03' FROM generate_series(1, 2000) AS i;
CREATE TABLE {p}_new (id integer NOT NULL, at date);
INSERT INTO {p}_new SELECT i, '2027-02-03' FROM generate_series(1, 2000) AS i;
"""
IMPLIED = re.compile(r'partition constraint for (?:table|default partition) "(\w+)" is implied by existing')


BOUNDS = "at IS NOT NULL AND at >= '2027-01-01' AND at < '2028-01-01'"
REST = "at < '2027-01-01' OR at >= '2028-01-01'"
# What ATTACH PARTITION makes on a partition shows as a new index or foreign key of it.
MADE = """
SELECT indexrelid::bigint FROM pg_index WHERE indrelid = to_regclass(%s)
UNION ALL SELECT oid::bigint FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype = 'f'
"""


@dataclass(frozen=True)
class Attaching:
    """The CHECKs of both tables, what else the target has, and what the plan runs before it attaches.

    ``spared`` is what neither pgops nor the server reads; ``None`` where only the server may know better.
    """

    spared: set[str] | None
    new: str | None = None
    rest: str | None = None
    there: str = ""
    planned: str = ""


ATTACHING = [
    Attaching(set()),
    Attaching({"new"}, BOUNDS),
    Attaching(set(), "at >= '2027-01-01' AND at < '2028-01-01'"),
    Attaching(set(), BOUNDS.replace("2028", "2029")),
    Attaching(set(), "at IS NOT NULL AND (at >= '2027-01-01' AND at < '2028-01-01' OR id > 0)"),
    Attaching({"rest"}, None, REST),
    Attaching({"rest"}, None, "NOT (at >= '2027-01-01' AND at < '2028-01-01')"),
    Attaching(None, None, "(NOT at >= '2027-01-01') AND at < '2028-01-01'"),
    Attaching({"new", "rest"}, BOUNDS, REST),
    # the indexes of the parent
    Attaching({"rest"}, BOUNDS, REST, "CREATE INDEX ON {p} (at)"),
    Attaching({"rest"}, BOUNDS, REST, "ALTER TABLE {p} ADD UNIQUE (id, at); CREATE UNIQUE INDEX ON {p}_new (id, at)"),
    Attaching({"new"}, BOUNDS, None, "CREATE INDEX ON {p} (at DESC) WHERE id > 0; CREATE INDEX ON {p}_new (at DESC) WHERE id > 0"),
    Attaching(set(), BOUNDS, None, "CREATE INDEX {p}_i ON {p}_new (at)", "CREATE INDEX ON {p} (at); DROP INDEX {p}_i"),
    Attaching({"new"}, BOUNDS, None, "ALTER TABLE {p} ADD UNIQUE (id, at)", "CREATE UNIQUE INDEX {p}_k ON {p}_new (id, at); ALTER TABLE {p}_new ADD CONSTRAINT {p}_k UNIQUE USING INDEX {p}_k"),
    # its foreign keys
    Attaching(set(), BOUNDS, None, "CREATE TABLE {p}_u AS SELECT generate_series(1, 2000) AS id; ALTER TABLE {p}_u ADD PRIMARY KEY (id); ALTER TABLE {p} ADD FOREIGN KEY (id) REFERENCES {p}_u"),
    Attaching({"new"}, BOUNDS, None, "CREATE TABLE {p}_u AS SELECT generate_series(1, 2000) AS id; ALTER TABLE {p}_u ADD PRIMARY KEY (id); ALTER TABLE {p} ADD FOREIGN KEY (id) REFERENCES {p}_u; ALTER TABLE {p}_new ADD FOREIGN KEY (id) REFERENCES {p}_u"),
    # the bounds of the parent's own parent
    Attaching({"rest"}, BOUNDS, REST, "CREATE TABLE {p}_top (id integer NOT NULL, at date) PARTITION BY RANGE (id); ALTER TABLE {p}_top ATTACH PARTITION {p} FOR VALUES FROM (0) TO (9999)"),
    Attaching(set(), BOUNDS, None, "CREATE TABLE {p}_top (id integer NOT NULL, at date) PARTITION BY RANGE (id)", "ALTER TABLE {p}_top ATTACH PARTITION {p} FOR VALUES FROM (0) TO (9999)"),
    # what the plan adds and drops itself
    Attaching({"new"}, None, None, "", f"ALTER TABLE {{p}}_new ADD CONSTRAINT b CHECK ({BOUNDS})"),
    Attaching(set(), None, None, "", "ALTER TABLE {p}_new ADD CONSTRAINT b CHECK (at IS NOT NULL AND at::timestamp >= '2027-01-01' AND at::timestamp < '2028-01-01')"),
    Attaching(set(), None, None, "", "ALTER TABLE {p}_new ADD CONSTRAINT b CHECK (at IS NOT NULL AND at >= '2027-01-01'::timestamptz AND at < '2028-01-01'::timestamptz)"),
    Attaching(set(), BOUNDS, None, "ALTER TABLE {p}_new ADD CONSTRAINT other CHECK (id > 0)", "ALTER TABLE {p}_new DROP CONSTRAINT other, DROP CONSTRAINT bounds"),
    Attaching(set(), None, None, "", f"ALTER TABLE {{p}}_new ADD CONSTRAINT b CHECK ({BOUNDS}) NOT ENFORCED"),
    Attaching(set(), BOUNDS.replace("at IS NOT NULL AND ", ""), None, "ALTER TABLE {p}_new ALTER at SET NOT NULL", "ALTER TABLE {p}_new ALTER COLUMN at DROP NOT NULL"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ATTACHING)))
def test_what_is_called_proven_is_proven_to_the_server_too(
    look: Connection, server: Target, number: int
) -> None:
    case = ATTACHING[number]
    p = f"p{number}"
    attach = f"ALTER TABLE {p} ATTACH PARTITION {p}_new FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"
    with postgres.connected(server.with_database("hazards")) as connection:
        if "NOT ENFORCED" in case.planned and postgres.server_facts(connection).major < 18:
            pytest.skip("a CHECK is always enforced before PostgreSQL 18")
        postgres.execute(connection, PARTITIONS.format(p=p))
        for table, check in (("new", case.new), ("rest", case.rest)):
            if check is not None:
                postgres.execute(connection, f"ALTER TABLE {p}_{table} ADD CONSTRAINT bounds CHECK ({check})")
        if case.there:
            postgres.execute(connection, case.there.format(p=p))
        postgres.execute(connection, f"ANALYZE {p}_new, {p}_rest")
        planned = case.planned.format(p=p)
        levels = {
            hazard.table: hazard.level
            for hazard in found(look, planned, attach)
            if hazard.rule == "attaching-partition" and hazard.revision == "r1"
        }
        assert set(levels) == {f"{p}_new", f"{p}_rest"}
        ours = {table.removeprefix(f"{p}_") for table, level in levels.items() if table and level == "note"}

        if planned:
            postgres.execute(connection, planned)
        before = set(postgres.fetch_all(connection, MADE, [f"{p}_new"] * 2))
        postgres.execute(connection, "SET client_min_messages = debug1")
        connection.notices.clear()
        postgres.execute(connection, attach)
        servers = {name.removeprefix(f"{p}_") for name in IMPLIED.findall("".join(connection.notices))}
        if set(postgres.fetch_all(connection, MADE, [f"{p}_new"] * 2)) != before:
            servers.discard("new")
        postgres.execute(connection, f"DROP TABLE {p}")
    assert ours <= servers
    if case.spared is not None:
        assert ours == servers == case.spared


def test_what_the_parent_has_and_the_partition_lacks_is_named(look: Connection, server: Target) -> None:
    with postgres.connected(server.with_database("hazards")) as connection:
        postgres.execute(connection, PARTITIONS.format(p="lacks"))
        postgres.execute(connection, f"ALTER TABLE lacks_new ADD CONSTRAINT bounds CHECK ({BOUNDS})")
        postgres.execute(connection, "DROP TABLE lacks_rest; CREATE INDEX lacks_at ON lacks (at)")
        postgres.execute(connection, "ANALYZE lacks_new")

    attach = "ALTER TABLE lacks ATTACH PARTITION lacks_new FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"
    (hazard,) = found(look, attach)
    assert (hazard.level, hazard.table) == ("block", "lacks_new")
    assert hazard.message.startswith(
        "ATTACH PARTITION has the index or constraint lacks_at of the parent made or checked on lacks_new "
    )
    assert "CONCURRENTLY" in hazard.fix
    concurrently = "COMMIT; CREATE INDEX CONCURRENTLY i ON lacks_new (at); BEGIN"
    assert [each.level for each in found(look, concurrently, attach)] == ["note"]


def test_a_table_that_moves_into_a_partitioned_one_of_its_name(look: Connection, server: Target) -> None:
    with postgres.connected(server.with_database("hazards")) as connection:
        postgres.execute(
            connection,
            f"""
            CREATE TABLE moves (id integer, at date NOT NULL, PRIMARY KEY (id, at),
                                CONSTRAINT bounds CHECK ({BOUNDS}));
            INSERT INTO moves SELECT i, '2027-02-03' FROM generate_series(1, 2000) AS i;
            """,
        )
        postgres.execute(connection, "ANALYZE moves")

    def levels(key: str, between: str = "") -> list[str]:
        rename = "ALTER TABLE moves RENAME TO moved"
        make = f"CREATE TABLE moves (id integer, at date NOT NULL{key}) PARTITION BY RANGE (at)"
        attach = "ALTER TABLE moves ATTACH PARTITION moved FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"
        return of_rule(found(look, rename, make, between, attach), "attaching-partition")

    assert levels("") == levels(", PRIMARY KEY (id, at)") == ["note"]
    assert levels(", PRIMARY KEY (at, id)") == ["block"]
    assert levels("", "CREATE INDEX ON moves (at)") == ["block"]
    assert levels("", "ALTER TABLE moved DROP CONSTRAINT bounds") == ["block"]
    # Of the new table, not of the one that is attached.
    assert levels("", "ALTER TABLE moves DROP CONSTRAINT bounds") == ["note"]


MADE_AS_PARTITION = (
    "CREATE TABLE {t}_split_2027 PARTITION OF {t}_split FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"
)


@pytest.fixture(scope="module")
def split(look: Connection, server: Target) -> None:
    """Partitioned tables with a default partition that is empty, and one that is large; and large ones to become one."""
    with postgres.connected(server.with_database("hazards")) as connection:
        for name, rows in (("empty", 0), ("large", 2_000)):
            postgres.execute(
                connection,
                f"""
                CREATE TABLE {name}_split (id integer, at date NOT NULL) PARTITION BY RANGE (at);
                CREATE TABLE {name}_split_rest PARTITION OF {name}_split DEFAULT;
                CREATE TABLE {name}_bare (id integer, at date NOT NULL) PARTITION BY RANGE (at);
                CREATE TABLE {name}_bare_rest (id integer, at date NOT NULL);
                INSERT INTO {name}_split SELECT i, '2026-02-03' FROM generate_series(1, {rows}) AS i;
                INSERT INTO {name}_bare_rest SELECT i, '2026-02-03' FROM generate_series(1, {rows}) AS i;
                """,
            )
            postgres.execute(connection, f"ANALYZE {name}_split_rest, {name}_bare_rest")


@pytest.mark.usefixtures("split")
def test_making_a_partition_reads_the_default_partition(look: Connection) -> None:
    rule = "attaching-partition"
    assert_trips(look, rule, MADE_AS_PARTITION.format(t="empty"), "note")
    assert_trips(look, rule, MADE_AS_PARTITION.format(t="large"), "block")
    for table in ("empty", "large"):
        assert_passes(look, rule, MADE_AS_PARTITION.replace("_split", "_bare").format(t=table))
        assert_passes(look, rule, f"CREATE TABLE {table}_split_2027 (LIKE {table}_split)")

    (hazard,) = found(look, MADE_AS_PARTITION.format(t="large"))
    assert hazard.table == "large_split_rest"
    assert hazard.message.startswith(
        "a new partition has every row of the default partition large_split_rest read (about "
    )
    assert 'op.create_check_constraint("large_split_rest_without_…", "large_split_rest",' in hazard.fix


@pytest.mark.usefixtures("split")
def test_a_check_on_the_default_partition_spares_the_reading(look: Connection) -> None:
    add = f"ALTER TABLE large_split_rest ADD CONSTRAINT r CHECK ({REST}) NOT VALID"
    validate = "ALTER TABLE large_split_rest VALIDATE CONSTRAINT r"
    make = MADE_AS_PARTITION.format(t="large")

    assert of_rule(found(look, add, validate, make), "attaching-partition") == ["note"]
    assert of_rule(found(look, add, make), "attaching-partition") == ["block"]


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize(("table", "level"), [("empty", "note"), ("large", "block")])
def test_a_default_partition_that_the_plan_attaches_is_read_too(
    look: Connection, table: str, level: str
) -> None:
    attach = f"ALTER TABLE {table}_bare ATTACH PARTITION {table}_bare_rest DEFAULT"
    make = MADE_AS_PARTITION.replace("_split", "_bare").format(t=table)

    levels = [(each.revision, each.table, each.level) for each in found(look, attach, make)]
    assert levels == [("r0", f"{table}_bare_rest", level), ("r1", f"{table}_bare_rest", level)]


def test_partitions_of_a_table_that_the_plan_makes_are_no_finding(look: Connection) -> None:
    make = "CREATE TABLE fresh (id integer, at date) PARTITION BY RANGE (at)"
    rest = "CREATE TABLE fresh_rest PARTITION OF fresh DEFAULT"
    part = "CREATE TABLE fresh_1 PARTITION OF fresh FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"

    assert found(look, make, rest, part) == []


def test_a_reader_of_the_partition_stands_in_the_way_of_attaching_it_to_a_new_table(
    look: Connection, server: Target
) -> None:
    make = "CREATE TABLE fresh (id integer NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);"
    with busy(server, "SELECT count(*) FROM large_loose"):
        (hazard,) = of_sessions(look, make + ATTACH.replace("large_parts", "fresh"))
    assert (hazard.table, hazard.lock) == ("large_loose", "ACCESS EXCLUSIVE")


@pytest.mark.usefixtures("split")
def test_a_reader_of_the_parent_stands_in_the_way_of_making_a_partition(
    look: Connection, server: Target
) -> None:
    with busy(server, "SELECT count(*) FROM ONLY large_split") as other:
        (hazard,) = of_sessions(look, MADE_AS_PARTITION.format(t="large"))
        with postgres.connected(server.with_database("hazards")) as connection:
            postgres.execute(connection, "SET lock_timeout = '50ms'")
            with pytest.raises(postgres.DatabaseError, match="lock timeout"):
                postgres.execute(connection, MADE_AS_PARTITION.format(t="large"))
        assert f"pid {other.info.backend_pid} " in hazard.message
    assert (hazard.table, hazard.lock) == ("large_split", "ACCESS EXCLUSIVE")


def test_a_reader_of_the_parent_does_not_stand_in_the_way_of_attaching(
    look: Connection, server: Target
) -> None:
    with busy(server, "SELECT count(*) FROM ONLY large_parts"):
        assert of_sessions(look, ATTACH) == []
    with busy(server, "SELECT count(*) FROM large_loose"):
        assert [each.table for each in of_sessions(look, ATTACH)] == ["large_loose"]


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


@contextlib.contextmanager
def busy(server: Target, *statements: str, application_name: str = "an application") -> Iterator[Connection]:
    """Another session in the middle of a transaction."""
    with postgres.connected(server.with_database("hazards"), application_name=application_name) as connection:
        postgres.execute(connection, "BEGIN")
        for statement in statements:
            postgres.execute(connection, statement)
        yield connection


def of_sessions(look: Connection, text: str, *, lock_timeout: float = 0.0) -> list[Hazard]:
    """The findings about other sessions."""
    plan = hazards.find(look, {"r": text}, SETTINGS, lock_timeout=lock_timeout)
    return [hazard for hazard in plan if hazard.rule in LIVE]


def test_a_transaction_older_than_the_lock_timeout_is_named(look: Connection, server: Target) -> None:
    with busy(server, "SELECT count(*) FROM small") as other:
        (hazard,) = of_sessions(look, "ALTER TABLE small ADD COLUMN x integer")
        # It does not stand in the way of a CREATE INDEX, and a young one is not worth a word.
        assert of_sessions(look, "CREATE INDEX x ON small (n)") == []
        assert of_sessions(look, "ALTER TABLE small ADD COLUMN x integer", lock_timeout=60) == []
        assert of_sessions(look, "ALTER TABLE large ADD COLUMN x integer") == []
        pid = other.info.backend_pid
    assert (hazard.rule, hazard.level, hazard.table) == ("long-transaction", "warning", "small")
    assert hazard.message.startswith(f"pid {pid} (postgres, an application, open for ")
    assert hazard.message.endswith("holds small (AccessShareLock), and this statement wants ACCESS EXCLUSIVE")
    assert f"pg_terminate_backend({pid})" in hazard.fix


def test_a_writer_stands_in_the_way_of_create_index(look: Connection, server: Target) -> None:
    with busy(server, "INSERT INTO small (id, n, proven) VALUES (99, 99, 99)"):
        assert [each.rule for each in of_sessions(look, "CREATE INDEX x ON small (n)")] == [
            "long-transaction"
        ]


def test_concurrently_waits_for_who_may_still_see_the_table_as_it_was(
    look: Connection, server: Target
) -> None:
    create = "COMMIT; CREATE INDEX CONCURRENTLY x ON small (n); BEGIN"
    renew = "COMMIT; REINDEX TABLE CONCURRENTLY small; BEGIN"
    with busy(server, "SELECT count(*) FROM small"):
        assert of_sessions(look, create) == []
        assert [each.rule for each in of_sessions(look, renew)] == ["long-transaction"]
    with busy(server, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM small"):
        assert [each.rule for each in of_sessions(look, create)] == ["long-transaction"]
    with busy(server, "INSERT INTO small (id, n, proven) VALUES (99, 99, 99)"):
        assert [each.rule for each in of_sessions(look, create)] == ["long-transaction"]


@pytest.mark.parametrize("application", ["pg_dump", session_name("20260203T040506Z-abcdef")])
def test_a_running_dump_is_named_however_young(look: Connection, server: Target, application: str) -> None:
    with busy(server, "LOCK TABLE small IN ACCESS SHARE MODE", application_name=application):
        (hazard,) = of_sessions(look, "ALTER TABLE small ADD COLUMN x integer", lock_timeout=60)
    assert hazard.rule == "running-dump"


def test_a_vacuum_that_somebody_started_is_named() -> None:
    session = Session(
        "small", 7, "app", "psql", "client backend", "VACUUM small", 9.0, ["ShareUpdateExclusiveLock"]
    )

    assert kind_of(session, 60.0)[0] == "running-vacuum"


def test_an_autovacuum_that_gives_way_is_not_worth_a_word() -> None:
    session = Session(
        "small",
        7,
        "",
        "",
        "autovacuum worker",
        "autovacuum: VACUUM small",
        99.0,
        ["ShareUpdateExclusiveLock"],
    )

    assert kind_of(session, 2.0)[0] is None
    urgent = dataclasses.replace(session, query="autovacuum: VACUUM small (to prevent wraparound)")
    assert kind_of(urgent, 2.0)[0] == "running-vacuum"


def test_replicas_that_are_behind_are_named() -> None:
    there = Replica("standby-1", "streaming", synchronous=False, lag_bytes=10**9, lag_seconds=31.0)
    near = Replica("standby-2", "streaming", synchronous=True, lag_bytes=1000, lag_seconds=0.01)
    hidden = Replica("standby-3", "", synchronous=False, lag_bytes=None, lag_seconds=None)

    (hazard,) = of_replicas([there, near, hidden], 5 * 10**9)
    assert hazard.message == (
        "replica standby-1 is behind by 1.0 GB, 31.0 s; the largest table of the plan has 5.0 GB"
    )


def test_a_server_without_replicas_has_none(look: Connection) -> None:
    assert replicas(look) == []


def test_a_table_locked_exclusively_does_not_hold_the_look_up(look: Connection, server: Target) -> None:
    with busy(server, "LOCK TABLE large IN ACCESS EXCLUSIVE MODE"):
        levels = {hazard.rule: hazard.level for hazard in found(look, "CREATE INDEX x ON large (n)")}
    assert levels["require-concurrent-index-creation"] == "block"
