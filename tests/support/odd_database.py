"""A database with everything that is awkward to dump and restore; each piece with data that must survive."""

from __future__ import annotations

from pgops.postgres import Target
from tests.support.sql import run_sql

ODD = 'odd "name"\nwith a newline, ünïcode and a \\ backslash'
_ODD = '"odd ""name""\nwith a newline, ünïcode and a \\ backslash"'

STATEMENTS = (
    "CREATE EXTENSION citext",
    "CREATE SCHEMA accounts",
    'CREATE SCHEMA "Ünï code"',
    "CREATE TYPE accounts.mood AS ENUM ('glad', 'so-so', 'it''s odd')",
    "CREATE DOMAIN accounts.positive AS integer CHECK (VALUE > 0)",
    "CREATE TYPE accounts.pair AS (a integer, b text)",
    "CREATE SEQUENCE accounts.lonely INCREMENT BY -3 START 1000 MINVALUE -1000 MAXVALUE 1000",
    "SELECT nextval('accounts.lonely'), nextval('accounts.lonely')",
    "CREATE SEQUENCE accounts.untouched START 42",
    """
    CREATE TABLE accounts.people (
        id integer GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 5) PRIMARY KEY,
        name citext NOT NULL UNIQUE,
        feels accounts.mood DEFAULT 'glad',
        score accounts.positive,
        both_ways accounts.pair,
        doubled integer GENERATED ALWAYS AS (score * 2) STORED,
        tags text[] DEFAULT '{}',
        data jsonb,
        at timestamptz DEFAULT '2026-01-01 00:00:00+00',
        raw bytea,
        ratio double precision,
        span interval,
        EXCLUDE USING gist (int4range(score, score + 1) WITH &&)
    )
    """,
    """
    INSERT INTO accounts.people (name, feels, score, both_ways, tags, data, raw, ratio, span)
    SELECT 'Person ' || n, CASE n % 3 WHEN 0 THEN 'glad' WHEN 1 THEN 'so-so' ELSE 'it''s odd' END::accounts.mood,
           n, ROW(n, E'tab\\there\\nand newline \\\\N')::accounts.pair, ARRAY['a,b', NULL, '"q"'],
           jsonb_build_object('n', n, 'deep', jsonb_build_array(1, NULL, 'é')), decode('00ff0a5c', 'hex'),
           n / 3.0, make_interval(days => n)
      FROM generate_series(1, 300) AS n
    """,
    "ALTER TABLE accounts.people DROP COLUMN at",
    "COMMENT ON TABLE accounts.people IS 'people, with a '' quote'",
    "COMMENT ON COLUMN accounts.people.feels IS E'two\\nlines'",
    f'CREATE TABLE {_ODD} ("a ""b""" integer PRIMARY KEY, "select" text DEFAULT \'x\')',
    f"INSERT INTO {_ODD} VALUES (1, NULL), (2, ''), (3, E'\\\\.'), (4, E'\\\\N')",
    'CREATE TABLE "Ünï code"."Ta ble" (id integer REFERENCES accounts.people (id) DEFERRABLE INITIALLY DEFERRED)',
    'INSERT INTO "Ünï code"."Ta ble" VALUES (5), (10), (NULL)',
    "CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at)",
    "CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    """
    CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
    PARTITION BY LIST (what)
    """,
    "CREATE TABLE events_2026_a PARTITION OF events_2026 FOR VALUES IN ('a')",
    "CREATE TABLE events_rest PARTITION OF events DEFAULT",
    """
    INSERT INTO events VALUES ('2025-05-05', 'x'), ('2026-05-05', 'a'), ('1999-01-01', 'old'), ('2026-06-06', 'a')
    """,
    "CREATE INDEX events_at ON events (at)",
    "CREATE TABLE parent (id integer, note text)",
    "CREATE TABLE child (extra text) INHERITS (parent)",
    "INSERT INTO parent VALUES (1, 'only parent')",
    "INSERT INTO child VALUES (2, 'in child', 'more'), (3, 'in child', NULL)",
    "CREATE UNLOGGED TABLE scratchpad AS SELECT n FROM generate_series(1, 7) AS n",
    "CREATE VIEW glad AS SELECT id, name FROM accounts.people WHERE feels = 'glad'",
    "CREATE MATERIALIZED VIEW by_mood AS SELECT feels, count(*) AS n FROM accounts.people GROUP BY 1",
    "CREATE UNIQUE INDEX by_mood_feels ON by_mood (feels)",
    "CREATE MATERIALIZED VIEW never_filled AS SELECT 1 AS one WITH NO DATA",
    """
    CREATE FUNCTION accounts.shout() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN NEW.name := upper(NEW.name::text); RETURN NEW; END $body$
    """,
    "CREATE TRIGGER shout BEFORE UPDATE ON accounts.people FOR EACH ROW EXECUTE FUNCTION accounts.shout()",
    "UPDATE accounts.people SET tags = tags WHERE id <= 50",
    "CREATE PROCEDURE noop() LANGUAGE sql AS 'SELECT 1'",
    "CREATE AGGREGATE total (integer) (sfunc = int4pl, stype = integer, initcond = '0')",
    "ALTER TABLE accounts.people ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE accounts.people FORCE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON accounts.people USING (name = current_user)",
    "CREATE RULE no_delete AS ON DELETE TO parent DO INSTEAD NOTHING",
    "CREATE INDEX people_expr ON accounts.people (lower(name::text)) WHERE score > 10",
    "CREATE STATISTICS people_stats ON feels, score FROM accounts.people",
    "SELECT lo_from_bytea(0, convert_to('a large object ' || n || repeat('x', 5000), 'UTF8')) FROM generate_series(1, 3) AS n",
    "CREATE EXTENSION hstore SCHEMA accounts",
    "CREATE TABLE things (h accounts.hstore, c citext)",
    "INSERT INTO things VALUES ('a=>1,b=>NULL', 'Case')",
    "GRANT SELECT ON accounts.people TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA accounts GRANT SELECT ON TABLES TO PUBLIC",
    "CREATE TABLE moments (at timestamptz, day date, span interval, ratio double precision, raw bytea)",
    """
    INSERT INTO moments VALUES ('2026-03-29 01:30:00+01', '0044-03-15 BC', '1 mon -3 days 04:05:06', 0.1::float8 + 0.2, '\\x00ff'),
                               ('infinity', '-infinity', NULL, 'NaN', '')
    """,
    "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('head one'), ('head two')",
)


def make_odd(target: Target) -> None:
    """Fill the target."""
    run_sql(target, *STATEMENTS)
