"""Statements that no list had when the rules were made: what hurts, and what does not.

Where each stands is what its author expected; what PostgreSQL does with it decides.
"""

from __future__ import annotations

from tests.support.oracle_statements import Python, Revision

HARMS: tuple[Revision, ...] = (
    # columns, types, domains, extensions
    "ALTER TABLE people ADD COLUMN extra bigserial NOT NULL",
    "ALTER TABLE mixed ADD COLUMN extra text DEFAULT md5(random()::text)",
    "ALTER TABLE rooms ADD COLUMN extra integer GENERATED ALWAYS AS (floor * 2) STORED",
    "ALTER TABLE pets ALTER COLUMN weight TYPE numeric(6, 1)",
    "ALTER TABLE pets ALTER COLUMN weight TYPE integer USING weight::integer",
    "ALTER TABLE mixed ALTER COLUMN lev DROP DEFAULT, ALTER COLUMN lev TYPE mood USING 'sad'",
    "ALTER TABLE mixed DROP COLUMN tags, DROP COLUMN doc",
    "ALTER TABLE people DROP COLUMN id CASCADE",
    "ALTER TABLE people DROP COLUMN doubled",
    "DROP TYPE level CASCADE",
    "DROP DOMAIN codes CASCADE",
    "DROP EXTENSION citext CASCADE",
    "ALTER TYPE place DROP ATTRIBUTE y CASCADE",
    (
        "ALTER DOMAIN email ADD CONSTRAINT k CHECK (VALUE <> '') NOT VALID",
        "ALTER DOMAIN email VALIDATE CONSTRAINT k",
    ),
    # constraints, indexes, partitions, storage
    "ALTER TABLE people ADD CONSTRAINT k FOREIGN KEY (code) REFERENCES orders (id) ON DELETE SET NULL",
    "ALTER TABLE pets ADD CONSTRAINT k EXCLUDE USING gist (int4range(id, id + 1) WITH &&)",
    "CREATE INDEX i ON extra.inside (what)",
    "CREATE INDEX i ON log_2026 (line)",
    "CREATE UNIQUE INDEX i ON owners (id) INCLUDE (name)",
    "ALTER TABLE cities DETACH PARTITION cities_1",
    "ALTER TABLE events DETACH PARTITION events_a",
    "ALTER TABLE log DETACH PARTITION log_rest",
    "CLUSTER totals USING totals_person",
    ("ALTER TABLE pets CLUSTER ON pets_pkey", "CLUSTER pets"),
    "ALTER TABLE people SET TABLESPACE fast",
    "ALTER INDEX people_name SET TABLESPACE fast",
    "ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE fast",
    "REINDEX SCHEMA extra",
    "VACUUM (FULL) extra.inside",
    # tables that go
    "TRUNCATE owners, pets CASCADE",
    "TRUNCATE animals",
    "TRUNCATE log_2026",
    "TRUNCATE TABLE ONLY quiet_one CONTINUE IDENTITY RESTRICT",
    "DROP TABLE extra.inside RESTRICT",
    "DROP TABLE IF EXISTS nothing_here, toys",
    ("ALTER TABLE bare OWNER TO oracle_reader", "DROP OWNED BY oracle_reader"),
    ("CREATE SCHEMA s", "ALTER TABLE orders SET SCHEMA s", "DROP SCHEMA s CASCADE"),
    # rows
    "DELETE FROM orders WHERE total >= 1",
    "DELETE FROM orders WHERE person NOT IN (SELECT owner FROM pets)",
    "DELETE FROM toys WHERE ctid IN (SELECT ctid FROM toys)",
    "UPDATE people SET age = age + 1 WHERE name LIKE 'p%'",
    "UPDATE people SET (age, score) = (SELECT 1, 2)",
    "UPDATE people AS p SET age = o.total FROM orders AS o, bare AS b WHERE o.person = p.id AND b.n = o.id",
    "UPDATE ONLY extra.inside SET what = upper(what)",
    "UPDATE cats SET lives = 8",
    "UPDATE log_2026 SET line = 'w'",
    "WITH x AS (SELECT id FROM people) UPDATE orders SET note = 'x' FROM x WHERE x.id = orders.person",
    "WITH a AS (DELETE FROM toys RETURNING id), b AS (DELETE FROM bare RETURNING n) SELECT 1",
    "WITH a AS (INSERT INTO quiet_one SELECT id FROM people RETURNING n) SELECT count(*) FROM a",
    "MERGE INTO orders USING people ON orders.person = people.id WHEN MATCHED AND people.age > 5 THEN UPDATE SET total = 0",
    "MERGE INTO quiet_one USING generate_series(20000, 35000) AS g (i) ON quiet_one.n = g.i WHEN NOT MATCHED THEN INSERT VALUES (g.i)",
    "MERGE INTO toys USING (VALUES (1)) AS v (id) ON toys.id = v.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
    "INSERT INTO bare SELECT id, label FROM toys UNION ALL SELECT id, name FROM owners",
    "INSERT INTO extra.inside SELECT id + 100000, what FROM extra.inside",
    "INSERT INTO log SELECT DATE '2025-01-01' + (id % 300), 'x' FROM people",
    "INSERT INTO quiet_one SELECT p.id FROM people AS p JOIN orders AS o ON o.person = p.id",
    "INSERT INTO quiet_one SELECT n FROM bare ORDER BY n LIMIT 11500",
    "COPY quiet_one FROM PROGRAM 'seq 12001'",
    "EXPLAIN (ANALYZE, COSTS off) DELETE FROM bare",
    ("PREPARE p AS UPDATE bare SET n = 0", "EXECUTE p"),
    (
        "CREATE FUNCTION sweep() RETURNS void LANGUAGE plpgsql AS 'BEGIN DELETE FROM toys; END'",
        "SELECT sweep()",
    ),
    ("CREATE FUNCTION sweep() RETURNS void BEGIN ATOMIC DELETE FROM toys; END", "SELECT sweep()"),
    (
        "CREATE FUNCTION by_row(k integer) RETURNS void LANGUAGE sql AS 'UPDATE orders SET total = 0 WHERE id = k'",
        "SELECT by_row(id) FROM orders",
    ),
    (
        "CREATE RULE more AS ON UPDATE TO switches DO ALSO DELETE FROM bare",
        "UPDATE switches SET lit = true WHERE id = 3",
    ),
    ("CREATE VIEW v AS SELECT * FROM toys", "DELETE FROM v"),
    (
        "CREATE TRIGGER t AFTER DELETE ON doors EXECUTE FUNCTION spread()",
        "DELETE FROM doors WHERE id = 3",
    ),
    "DO $$ DECLARE c CURSOR FOR SELECT id FROM orders; BEGIN FOR r IN c LOOP UPDATE orders SET total = 1 WHERE CURRENT OF c; END LOOP; END $$",
    "DO $$ DECLARE k integer; BEGIN FOREACH k IN ARRAY (SELECT array_agg(id) FROM orders) LOOP DELETE FROM orders WHERE id = k; END LOOP; END $$",
    "DO $$ BEGIN WHILE EXISTS (SELECT FROM bare) LOOP DELETE FROM bare WHERE ctid IN (SELECT ctid FROM bare LIMIT 5000); END LOOP; END $$",
    "DO $$ BEGIN ALTER TABLE people ALTER COLUMN quiet SET NOT NULL; EXCEPTION WHEN undefined_column THEN NULL; END $$",
    # what an application no longer finds, or may no longer do
    "CREATE POLICY shut_out ON guarded AS RESTRICTIVE USING (false)",
    "ALTER POLICY guarded_own ON guarded USING (false)",
    "ALTER POLICY guarded_own ON guarded TO oracle_group",
    "REVOKE SELECT (note) ON orders FROM oracle_clerk",
    "REVOKE oracle_group FROM oracle_app",
    "REVOKE ALL ON SCHEMA extra FROM oracle_app",
    "REVOKE USAGE ON SEQUENCE counter FROM oracle_app",
    "ALTER SCHEMA public RENAME TO publick",
    "ALTER TABLE cities SET SCHEMA extra",
    "ALTER MATERIALIZED VIEW totals SET SCHEMA extra",
    "SET SESSION AUTHORIZATION oracle_app",
    "SET row_security = off",
    "RESET ALL",
    "SELECT set_config('statement_timeout', '0', false)",
    # Alembic's operations and Python
    Python("op.drop_column('people', 'feeling')", ("ALTER TABLE people DROP COLUMN feeling",)),
    Python(
        "op.create_foreign_key('k', 'toys', 'owners', ['id'], ['id'])",
        ("ALTER TABLE toys ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES owners (id)",),
    ),
    Python(
        "op.create_primary_key('k', 'bare', ['n'])", ("ALTER TABLE bare ADD CONSTRAINT k PRIMARY KEY (n)",)
    ),
    Python(
        "op.alter_column('people', 'age', new_column_name='years')",
        ("ALTER TABLE people RENAME COLUMN age TO years",),
    ),
    Python(
        "op.add_column('people', sa.Column('made', sa.DateTime(), server_default=sa.text('clock_timestamp()'), nullable=False))",
        ("ALTER TABLE people ADD COLUMN made timestamp DEFAULT clock_timestamp() NOT NULL",),
    ),
    Python(
        "with op.batch_alter_table('toys', recreate='always') as batch:\n"
        "    batch.add_column(sa.Column('a', sa.Integer()))",
        (
            "CREATE TABLE toys_new (LIKE toys INCLUDING ALL)",
            "INSERT INTO toys_new SELECT * FROM toys",
            "DROP TABLE toys",
            "ALTER TABLE toys_new RENAME TO toys",
        ),
    ),
    Python(
        "import io\n"
        "cursor = op.get_bind().connection.cursor()\n"
        "cursor.copy_expert('COPY quiet_one FROM STDIN', io.StringIO(''.join(f'{i}\\n' for i in range(12001))))",
        ("INSERT INTO quiet_one SELECT i FROM generate_series(0, 12000) AS i",),
    ),
    Python("op.get_bind().connection.cursor().execute('DELETE FROM bare')", ("DELETE FROM bare",)),
    Python(
        "quiet = sa.table('quiet_one', sa.column('n', sa.Integer()))\n"
        "op.get_bind().execute(quiet.insert(), [{'n': i} for i in range(12001)])",
        ("INSERT INTO quiet_one SELECT i FROM generate_series(0, 12000) AS i",),
    ),
    Python(
        "bind = op.get_bind()\n"
        "for i in range(12001):\n"
        "    bind.exec_driver_sql('INSERT INTO quiet_one VALUES (%s)', (i,))",
        ("INSERT INTO quiet_one SELECT i FROM generate_series(0, 12000) AS i",),
    ),
    Python(
        "from sqlalchemy.orm import Session, declarative_base\n"
        "class Toy(declarative_base()):\n"
        "    __tablename__ = 'toys'\n"
        "    id = sa.Column(sa.Integer, primary_key=True)\n"
        "    label = sa.Column(sa.Text)\n"
        "session = Session(op.get_bind())\n"
        "session.query(Toy).update({'label': 'new'})\n"
        "session.flush()",
        ("UPDATE toys SET label = 'new'",),
    ),
)

HARMLESS: tuple[Revision, ...] = (
    # comments, statistics, options
    "COMMENT ON CONSTRAINT orders_person ON orders IS 'whose'",
    "COMMENT ON SCHEMA extra IS 'more'",
    "COMMENT ON DATABASE app IS 'ours'",
    "COMMENT ON TYPE mood IS 'felt'",
    "COMMENT ON DOMAIN positive IS 'above nothing'",
    "ALTER TABLE people ALTER COLUMN code SET STATISTICS 200",
    "ALTER TABLE people SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_threshold = 50)",
    "ALTER TABLE mixed SET (toast.autovacuum_enabled = false)",
    "ALTER TABLE people ALTER COLUMN name SET STORAGE PLAIN",
    "CREATE STATISTICS s (dependencies) ON small, word FROM mixed",
    "ANALYZE people (name, age)",
    # identity, sequences, defaults, columns
    "ALTER TABLE rooms ALTER COLUMN id SET INCREMENT BY 5",
    "ALTER TABLE rooms ALTER COLUMN id SET GENERATED BY DEFAULT RESTART WITH 90000",
    "ALTER SEQUENCE counter RESTART",
    "ALTER SEQUENCE counter NO CYCLE CACHE 20",
    "ALTER SEQUENCE counter OWNER TO oracle_app",
    "CREATE SEQUENCE s OWNED BY people.id",
    "SELECT setval(pg_get_serial_sequence('rooms', 'id'), (SELECT max(id) FROM rooms))",
    "SELECT setval('rooms_id_seq', coalesce(max(id), 1)) FROM rooms",
    "ALTER TABLE people ALTER COLUMN id SET DEFAULT nextval('counter')",
    "ALTER TABLE log ALTER COLUMN line SET DEFAULT 'u'",
    "ALTER TABLE animals ADD COLUMN extra text DEFAULT 'q'",
    "ALTER TABLE cities ADD COLUMN extra integer DEFAULT 3 NOT NULL",
    "ALTER TABLE people ADD COLUMN IF NOT EXISTS name text",
    "ALTER TABLE mixed ADD COLUMN extra hstore",
    "ALTER TABLE mixed ALTER COLUMN bits TYPE bit varying(9)",
    "ALTER TABLE mixed ALTER COLUMN t TYPE time(4)",
    "ALTER TABLE mixed ALTER COLUMN iv TYPE interval",
    "ALTER TABLE mixed ALTER COLUMN num TYPE numeric",
    "ALTER TABLE mixed ALTER COLUMN mail TYPE email",
    'ALTER TABLE log ALTER COLUMN line TYPE text COLLATE "C"',
    "REINDEX TABLE log",
    ("ALTER TABLE people ADD COLUMN extra text", "ALTER TABLE people DROP COLUMN extra"),
    (
        "ALTER TABLE people ADD COLUMN extra integer",
        "ALTER TABLE people ADD CONSTRAINT k CHECK (extra > 0) NOT VALID",
    ),
    # constraints, indexes
    "ALTER TABLE log ADD CONSTRAINT k CHECK (line <> 'y') NOT VALID",
    "ALTER TABLE animals DROP CONSTRAINT IF EXISTS nothing_such",
    "CREATE UNIQUE INDEX CONCURRENTLY i ON extra.inside (id, what)",
    "REINDEX (CONCURRENTLY) TABLE owners",
    "VACUUM (ANALYZE) people",
    "VACUUM (FREEZE) owners",
    # other objects
    "ALTER EXTENSION citext UPDATE",
    "ALTER EXTENSION citext SET SCHEMA extra",
    "CREATE EXTENSION IF NOT EXISTS citext",
    "ALTER PUBLICATION feed RENAME TO feed_2",
    "ALTER PUBLICATION feed SET TABLE orders, people",
    "CREATE PUBLICATION p FOR TABLES IN SCHEMA extra",
    "ALTER TYPE pair SET SCHEMA extra",
    "ALTER TYPE pair DROP ATTRIBUTE b",
    "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad'",
    "ALTER DOMAIN positive SET SCHEMA extra",
    "ALTER DOMAIN email SET DEFAULT 'a@b'",
    (
        "CREATE FUNCTION watched() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER w ON sql_drop EXECUTE FUNCTION watched()",
    ),
    (
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE USER MAPPING FOR oracle_app SERVER s",
    ),
    "CREATE ACCESS METHOD h TYPE TABLE HANDLER heap_tableam_handler",
    "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple)",
    "CREATE MATERIALIZED VIEW m AS SELECT id FROM people WITH NO DATA",
    "CREATE TEMP VIEW v AS SELECT id FROM people",
    "CREATE OR REPLACE VIEW names AS SELECT id, name FROM people",
    "ALTER TABLE people OWNER TO CURRENT_USER",
    "REASSIGN OWNED BY oracle_clerk TO oracle_app",
    "GRANT CONNECT ON DATABASE app TO oracle_reader",
    "GRANT EXECUTE ON FUNCTION twice(integer) TO oracle_reader",
    "GRANT oracle_group TO oracle_reader",
    "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    "ALTER DATABASE app SET timezone = 'UTC'",
    "ALTER DATABASE app OWNER TO CURRENT_USER",
    (
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY more ON guarded FOR SELECT TO oracle_app USING (true)",
    ),
    # tables of the plan's own
    (
        "CREATE TABLE fresh (at date) PARTITION BY RANGE (at)",
        "CREATE TABLE fresh_rest PARTITION OF fresh DEFAULT",
        "CREATE TABLE fresh_26 PARTITION OF fresh FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "INSERT INTO fresh VALUES ('2026-01-01')",
        "ALTER TABLE fresh DETACH PARTITION fresh_26",
    ),
    (
        "CREATE TABLE fresh (id integer)",
        "INSERT INTO fresh SELECT i FROM generate_series(1, 20000) AS i",
        "CREATE INDEX ON fresh (id)",
        "ALTER TABLE fresh ALTER COLUMN id TYPE bigint",
        "TRUNCATE fresh",
    ),
    ("CREATE TEMP TABLE pad AS SELECT id FROM people", "UPDATE pad SET id = id + 1", "DROP TABLE pad"),
    # rows
    "UPDATE people SET age = 1 WHERE id = 7 RETURNING age",
    "UPDATE people SET age = 2 WHERE code = 5 AND age > 3",
    "UPDATE people SET age = v.age FROM (VALUES (1, 2), (3, 4)) AS v (id, age) WHERE v.id = people.id",
    "UPDATE cities SET name = name WHERE (country, name) = (3, 'c')",
    "UPDATE extra.inside SET what = 'y' WHERE id = 44",
    "DELETE FROM toys WHERE id = 12",
    "DELETE FROM orders WHERE id IN (VALUES (1), (2))",
    "DELETE FROM orders WHERE id = ANY ('{1,2,3}'::integer[])",
    "DELETE FROM toys WHERE ctid = '(0,1)'",
    "INSERT INTO bare SELECT id, name FROM people WHERE id IN (1, 2)",
    "INSERT INTO owners VALUES (99999, 'z') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    "INSERT INTO owners SELECT 12345678, 'x' WHERE NOT EXISTS (SELECT 1 FROM owners WHERE name = 'x')",
    "INSERT INTO quiet_one SELECT 5 WHERE NOT EXISTS (SELECT 1 FROM quiet_one WHERE n = 5)",
    "INSERT INTO quiet_one SELECT i FROM generate_series(1, 50) AS i",
    "WITH v AS (SELECT id FROM owners WHERE id = 3) UPDATE pets SET name = 'q' FROM v WHERE pets.id = v.id",
    "MERGE INTO toys USING (VALUES (1), (2)) AS v (id) ON toys.id = v.id WHEN MATCHED THEN DELETE",
    "SELECT id FROM people WHERE id = 3 FOR SHARE",
    "SELECT 1 FROM people LIMIT 1",
    "SELECT count(*) FROM orders WHERE person IS NULL",
    "COPY (SELECT id FROM people) TO PROGRAM 'cat > /dev/null'",
    "DECLARE c CURSOR FOR SELECT * FROM people",
    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'people' AND column_name = 'extra') THEN ALTER TABLE people ADD COLUMN extra text; END IF; END $$",
    "DO $$ BEGIN CREATE TYPE fresh AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    "DO $$ BEGIN IF (SELECT count(*) FROM people WHERE age < 0) > 0 THEN RAISE EXCEPTION 'no'; END IF; END $$",
    # settings
    "SET LOCAL lock_timeout = '100ms'",
    "SET LOCAL client_min_messages = warning",
    "SET LOCAL TIME ZONE 'UTC'",
    "SELECT set_config('app.user', 'x', true)",
    ("SET LOCAL search_path = extra", "SET LOCAL search_path = DEFAULT"),
    "SELECT pg_advisory_unlock_all()",
    # Alembic's operations and Python
    Python("op.create_table_comment('people', 'them')", ("COMMENT ON TABLE people IS 'them'",)),
    Python("op.alter_column('people', 'age', comment='years')", ("COMMENT ON COLUMN people.age IS 'years'",)),
    Python(
        "op.alter_column('people', 'age', server_default='3')",
        ("ALTER TABLE people ALTER COLUMN age SET DEFAULT 3",),
    ),
    Python(
        "op.alter_column('mixed', 'word', type_=sa.String(40), existing_type=sa.String(10))",
        ("ALTER TABLE mixed ALTER COLUMN word TYPE varchar(40)",),
    ),
    Python(
        "op.drop_constraint('born_there', 'people', type_='check')",
        ("ALTER TABLE people DROP CONSTRAINT born_there",),
    ),
    Python(
        "op.create_foreign_key('k', 'toys', 'owners', ['id'], ['id'], postgresql_not_valid=True)",
        ("ALTER TABLE toys ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES owners (id) NOT VALID",),
    ),
    Python(
        "people = sa.table('people', sa.column('id'), sa.column('age'))\n"
        "op.execute(people.update().where(people.c.id.in_([1, 2, 3])).values(age=1))",
        ("UPDATE people SET age = 1 WHERE id IN (1, 2, 3)",),
    ),
    Python(
        "toys = sa.table('toys', sa.column('id', sa.Integer()))\n"
        "op.execute(toys.delete().where(toys.c.id == 5))",
        ("DELETE FROM toys WHERE id = 5",),
    ),
    Python(
        "op.get_bind().execute(sa.text('UPDATE people SET age = 1 WHERE id = :id'), [{'id': 1}, {'id': 2}])",
        ("UPDATE people SET age = 1 WHERE id IN (1, 2)",),
    ),
    Python(
        "op.get_bind().execute(sa.text('UPDATE extra.inside SET what = :w WHERE id = ANY(:ids)'), {'w': 'q', 'ids': [1, 2]})",
        ("UPDATE extra.inside SET what = 'q' WHERE id IN (1, 2)",),
    ),
    Python(
        "with op.batch_alter_table('people') as batch:\n"
        "    batch.alter_column('age', server_default='4')\n"
        "    batch.create_check_constraint('k', 'age > 0', postgresql_not_valid=True)",
        (
            "ALTER TABLE people ALTER COLUMN age SET DEFAULT 4",
            "ALTER TABLE people ADD CONSTRAINT k CHECK (age > 0) NOT VALID",
        ),
    ),
)
