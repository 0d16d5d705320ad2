"""What a plan says of partitions that come and go, held against what the server reads and refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from pgops import postgres
from pgops.postgres import Connection, Target
from tests.support.hazards import assert_passes, assert_trips, busy, found, of_rule, of_sessions

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
