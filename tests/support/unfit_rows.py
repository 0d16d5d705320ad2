"""Statements that demand something of the rows that are there: the rows, the statement, and how many do not fit."""

from __future__ import annotations

from collections.abc import Mapping

# What is there, a statement, and how many rows keep it from going through.
CASES: Mapping[str, tuple[str, str, int]] = {
    "not null": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES (NULL), (NULL), ('x')",
        "ALTER TABLE {t} ALTER COLUMN a SET NOT NULL",
        2,
    ),
    "not null that fits": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('x')",
        "ALTER TABLE {t} ALTER COLUMN a SET NOT NULL",
        0,
    ),
    "not null, quoted and in another schema": (
        'CREATE SCHEMA "S s"; CREATE TABLE "S s".{t} ("A ""b" text, c int); INSERT INTO "S s".{t} VALUES (NULL, 1)',
        'ALTER TABLE "S s".{t} ALTER COLUMN "A ""b" SET NOT NULL',
        1,
    ),
    "unique": (
        "CREATE TABLE {t} (a text, b int); INSERT INTO {t} VALUES ('x', 1), ('x', 2), ('x', 3), ('y', 1), (NULL, 1), (NULL, 1)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (a)",
        3,
    ),
    "unique over two columns": (
        "CREATE TABLE {t} (a text, b int); INSERT INTO {t} VALUES ('x', 1), ('x', 1), ('x', 3), ('x', NULL), ('x', NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE (a, b)",
        2,
    ),
    "unique nulls not distinct": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('x'), (NULL), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_u UNIQUE NULLS NOT DISTINCT (a)",
        2,
    ),
    "primary key": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (1), (2)",
        "ALTER TABLE {t} ADD PRIMARY KEY (a)",
        2,
    ),
    "primary key of what is null": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_p PRIMARY KEY (a)",
        1,
    ),
    "unique index on an expression": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('x'), ('X'), ('y')",
        "CREATE UNIQUE INDEX {t}_i ON {t} (lower(a))",
        2,
    ),
    "unique index on a part": (
        "CREATE TABLE {t} (a int, gone bool); INSERT INTO {t} VALUES (1, true), (1, false), (2, false), (2, false)",
        "CREATE UNIQUE INDEX {t}_i ON {t} USING btree (a DESC) WHERE NOT gone",
        2,
    ),
    "check": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (-1), (1), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0)",
        1,
    ),
    "check of an enum": (
        "CREATE TYPE {t}_e AS ENUM ('on', 'off'); CREATE TABLE {t} (a {t}_e); INSERT INTO {t} VALUES ('on'), ('off')",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a <> 'off')",
        1,
    ),
    "check that is not valid": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (-1)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0) NOT VALID",
        0,
    ),
    "two at once": (
        "CREATE TABLE {t} (a int, b int); INSERT INTO {t} VALUES (-1, NULL), (1, NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0), ALTER b SET NOT NULL",
        3,
    ),
    "foreign key": (
        "CREATE TABLE {t}_o (id int PRIMARY KEY); INSERT INTO {t}_o VALUES (1);"
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2), (3), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_f FOREIGN KEY(a) REFERENCES {t}_o (id) ON DELETE CASCADE",
        2,
    ),
    "foreign key of two columns": (
        "CREATE TABLE {t}_o (x int, y int, PRIMARY KEY (x, y)); INSERT INTO {t}_o VALUES (1, 2);"
        "CREATE TABLE {t} (a int, b int); INSERT INTO {t} VALUES (1, 2), (2, 1), (5, NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_f FOREIGN KEY (a, b) REFERENCES {t}_o (x, y)",
        1,
    ),
    "exclude": (
        "CREATE TABLE {t} (a int4range); INSERT INTO {t} VALUES ('[1,5)'), ('[4,8)'), ('[9,10)')",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_x EXCLUDE USING gist (a WITH &&)",
        2,
    ),
    "shorter text": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('abcd'), ('abc'), ('abc   '), (NULL)",
        "ALTER TABLE {t} ALTER COLUMN a TYPE VARCHAR(3)",
        1,
    ),
    "shorter varchar": (
        "CREATE TABLE {t} (a varchar(9)); INSERT INTO {t} VALUES ('abcd'), ('abc')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE character varying(3)",
        1,
    ),
    "smaller whole number": (
        "CREATE TABLE {t} (a bigint); INSERT INTO {t} VALUES (2147483647), (2147483648), (-2147483649)",
        "ALTER TABLE {t} ALTER COLUMN a TYPE INTEGER",
        2,
    ),
    "numeric becomes whole": (
        "CREATE TABLE {t} (a numeric); INSERT INTO {t} VALUES (32767.4), (32767.5), ('NaN')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE smallint",
        2,
    ),
    "fewer digits": (
        "CREATE TABLE {t} (a numeric); INSERT INTO {t} VALUES (999.994), (999.995), (-1000), ('NaN')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE NUMERIC(5, 2)",
        2,
    ),
    "text becomes a number": (
        "CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('12'), (' 7 '), ('x'), ('')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE integer USING a::integer",
        2,
    ),
    "text becomes an enum": (
        "CREATE TYPE {t}_e AS ENUM ('on', 'off'); CREATE TABLE {t} (a text); INSERT INTO {t} VALUES ('on'), ('of')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE {t}_e USING a::{t}_e",
        1,
    ),
    "an enum loses a label": (
        "CREATE TYPE {t}_e AS ENUM ('on', 'off', 'new'); CREATE TABLE {t} (a {t}_e);"
        "INSERT INTO {t} VALUES ('on'), ('new'), ('new'), (NULL)",
        "ALTER TYPE {t}_e RENAME TO {t}_old;\nCREATE TYPE {t}_e AS ENUM ('on', 'off');\n"
        "ALTER TABLE {t} ALTER COLUMN a TYPE {t}_e USING a::text::{t}_e",
        2,
    ),
    "wider": (
        "CREATE TABLE {t} (a int, b varchar(3)); INSERT INTO {t} VALUES (1, 'abc')",
        "ALTER TABLE {t} ALTER COLUMN a TYPE bigint, ALTER COLUMN b TYPE text",
        0,
    ),
    "a constraint that is there is validated": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (-1), (1), (NULL);"
        'ALTER TABLE {t} ADD CONSTRAINT "{t} C" CHECK (a > 0) NOT VALID',
        'ALTER TABLE {t} VALIDATE CONSTRAINT "{t} C"',
        1,
    ),
    "a foreign key that is there is validated": (
        "CREATE TABLE {t}_o (id int PRIMARY KEY); INSERT INTO {t}_o VALUES (1);"
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2), (3), (NULL);"
        "ALTER TABLE {t} ADD CONSTRAINT {t}_f FOREIGN KEY (a) REFERENCES {t}_o (id) NOT VALID",
        "ALTER TABLE {t} VALIDATE CONSTRAINT {t}_f",
        2,
    ),
    "a constraint of the plan is validated": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (-1), (1), (NULL)",
        "ALTER TABLE {t} ADD CONSTRAINT {t}_c CHECK (a > 0) NOT VALID;\nALTER TABLE {t} VALIDATE CONSTRAINT {t}_c",
        1,
    ),
    "wider, by their numbers": (
        "CREATE TABLE {t} (a smallint, b varchar(3), c numeric(5, 2), d int, e numeric(3, 2), f int);"
        "INSERT INTO {t} VALUES (1, 'abc', 999.99, 7, 9.99, 100)",
        "ALTER TABLE {t} ALTER a TYPE bigint, ALTER b TYPE varchar(4), ALTER c TYPE numeric(7, 2),"
        " ALTER d TYPE numeric(12, 2), ALTER e TYPE numeric(2, 1), ALTER f TYPE numeric(4, 2)",
        2,
    ),
    "a domain gets a check": (
        "CREATE DOMAIN {t}_d AS int; CREATE TABLE {t} (a {t}_d, b int, c {t}_d);"
        "INSERT INTO {t} VALUES (-1, -1, 1), (1, -1, NULL)",
        "ALTER DOMAIN {t}_d ADD CONSTRAINT {t}_c CHECK (VALUE > 0)",
        1,
    ),
    "a domain forbids null": (
        "CREATE DOMAIN {t}_d AS int; CREATE DOMAIN {t}_e AS {t}_d; CREATE TABLE {t} (a {t}_e, b int);"
        "INSERT INTO {t} VALUES (1, NULL), (NULL, 1), (NULL, 2)",
        "ALTER DOMAIN {t}_d SET NOT NULL",
        2,
    ),
    "a domain's check is validated": (
        "CREATE DOMAIN {t}_d AS text; CREATE TABLE {t} (a {t}_d); INSERT INTO {t} VALUES ('x'), ('');"
        "ALTER DOMAIN {t}_d ADD CONSTRAINT {t}_c CHECK (VALUE <> '') NOT VALID",
        "ALTER DOMAIN {t}_d VALIDATE CONSTRAINT {t}_c",
        1,
    ),
    "of a partitioned table": (
        "CREATE TABLE {t} (k int, a text) PARTITION BY LIST (k); CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1);"
        "INSERT INTO {t} VALUES (1, NULL), (1, 'x')",
        "ALTER TABLE {t} ALTER COLUMN a SET NOT NULL",
        1,
    ),
}
# What only a trace knows: what the plan itself adds holds the same in every row, and what a partition leaves to others.
BY_TRACE: Mapping[str, tuple[str, str, int]] = {
    "a partition beside the default one": (
        "CREATE TABLE {t} (a int) PARTITION BY LIST (a); CREATE TABLE {t}_d PARTITION OF {t} DEFAULT; INSERT INTO {t} VALUES (1), (1), (2)",
        "CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1)",
        2,
    ),
    "a partition of nothing in the default one": (
        "CREATE TABLE {t} (a int) PARTITION BY LIST (a); CREATE TABLE {t}_d PARTITION OF {t} DEFAULT; INSERT INTO {t} VALUES (1), (1), (2)",
        "CREATE TABLE {t}_5 PARTITION OF {t} FOR VALUES IN (5)",
        0,
    ),
    "the same in every row, and unique": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2), (3)",
        "ALTER TABLE {t} ADD COLUMN b int DEFAULT 1 UNIQUE",
        3,
    ),
    "the only row, and unique": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1)",
        "ALTER TABLE {t} ADD COLUMN b int DEFAULT 1 UNIQUE",
        0,
    ),
    "another in every row, and unique": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b uuid DEFAULT gen_random_uuid() UNIQUE",
        0,
    ),
    "a default that its check refuses": (
        "CREATE TABLE {t} (a int) PARTITION BY LIST (a); CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1, 2); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b int DEFAULT 1 CHECK (b > a)",
        2,
    ),
    "a default that refers to nothing": (
        "CREATE TABLE {t}_o (id int PRIMARY KEY); CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1)",
        "ALTER TABLE {t} ADD COLUMN b int DEFAULT 7 REFERENCES {t}_o",
        1,
    ),
    "null where it must not be": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b int CHECK (b IS NOT NULL)",
        2,
    ),
    "computed to null": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b int GENERATED ALWAYS AS (nullif(a, 1)) STORED NOT NULL",
        1,
    ),
    "a domain for a type": (
        "CREATE DOMAIN {t}_p AS int CHECK (VALUE > 5); CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2), (7), (NULL)",
        "ALTER TABLE {t} ALTER COLUMN a TYPE {t}_p",
        2,
    ),
    "a domain that takes no null": (
        "CREATE DOMAIN {t}_n AS int NOT NULL; CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b {t}_n",
        2,
    ),
    "added, and demanded": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b text;\nALTER TABLE {t} ALTER COLUMN b SET NOT NULL",
        2,
    ),
    "added, filled, and demanded": (
        "CREATE TABLE {t} (a int); INSERT INTO {t} VALUES (1), (2)",
        "ALTER TABLE {t} ADD COLUMN b text;\nUPDATE {t} SET b = a;\nALTER TABLE {t} ALTER COLUMN b SET NOT NULL",
        0,
    ),
}
