"""A database of the same tables empty, small and large, and what the hazard rules say of statements on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from pgops import postgres
from pgops.environments import HazardSettings
from pgops.migrations import hazards
from pgops.migrations.hazards import Hazard
from pgops.migrations.hazards.rules import LIVE
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


@contextlib.contextmanager
def tables_of_all_sizes(server: Target) -> Iterator[Connection]:
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
            # Otherwise they are counted once more where they come after those of ANALYZE.
            postgres.fetch_value(connection, "SELECT pg_stat_force_next_flush()::text")
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
