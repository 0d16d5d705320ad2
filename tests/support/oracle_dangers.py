"""What is feared in production, written down without a look at the other lists: errors that are caught, keys between busy
tables, types that only look alike, rights and logins, rows by the thousand, and the harmless that looks like them.
"""

from __future__ import annotations

from tests.support.oracle_statements import Python, Revision

TAKEN_BACK: tuple[Revision, ...] = (
    "DO $$ BEGIN ALTER TABLE people ADD COLUMN name text; EXCEPTION WHEN duplicate_column THEN NULL; END $$",
    "DO $$ BEGIN ALTER TABLE people ADD COLUMN extra text; EXCEPTION WHEN duplicate_column THEN NULL; END $$",
    "DO $$ BEGIN ALTER TABLE people ADD COLUMN name text; EXCEPTION WHEN OTHERS THEN NULL; END $$",
    "DO $$ BEGIN CREATE INDEX people_name ON people (name); EXCEPTION WHEN duplicate_table THEN NULL; END $$",
    "DO $$ BEGIN BEGIN ALTER TABLE people ADD COLUMN name text; EXCEPTION WHEN duplicate_column THEN NULL; END; BEGIN ALTER TABLE orders ADD COLUMN note text; EXCEPTION WHEN duplicate_column THEN NULL; END; END $$",
    "DO $$ BEGIN DROP TABLE owners; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END $$",
    "DO $$ BEGIN INSERT INTO owners VALUES (1, 'x'); EXCEPTION WHEN unique_violation THEN UPDATE owners SET name = 'x' WHERE id = 1; END $$",
    "DO $$ BEGIN ALTER TABLE toys ADD CONSTRAINT toys_pet_fkey FOREIGN KEY (pet) REFERENCES pets; EXCEPTION WHEN duplicate_object THEN RAISE NOTICE 'there'; END $$",
    (
        "CREATE FUNCTION careful() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE pets ADD COLUMN name text; EXCEPTION WHEN duplicate_column THEN NULL; END'",
        "SELECT careful()",
        "DROP FUNCTION careful()",
    ),
    ("SAVEPOINT a", "ALTER TABLE people DROP COLUMN age", "ROLLBACK TO a"),
    (
        "SAVEPOINT a",
        "ALTER TABLE people DROP COLUMN age",
        "ROLLBACK TO a",
        "ALTER TABLE people ADD COLUMN extra text",
    ),
    ("SAVEPOINT a", "ALTER TABLE people DROP COLUMN age", "RELEASE a"),
    ("SAVEPOINT a", "SET LOCAL lock_timeout = 0", "ROLLBACK TO a"),
    ("SAVEPOINT a", "REVOKE ALL ON people FROM oracle_app", "ROLLBACK TO SAVEPOINT a"),
    Python(
        "try:\n    with op.get_bind().begin_nested():\n        op.add_column('people', sa.Column('name', sa.Text()))\n"
        "except sa.exc.ProgrammingError:\n    pass",
        (
            "DO $$ BEGIN ALTER TABLE people ADD COLUMN name text; EXCEPTION WHEN duplicate_column THEN NULL; END $$",
        ),
    ),
    Python(
        "try:\n    with op.get_bind().begin_nested():\n        op.create_table('people', sa.Column('name', sa.Text()))\n"
        "except sa.exc.ProgrammingError:\n    pass",
        ("SELECT 1",),
    ),
    Python(
        "nested = op.get_bind().begin_nested()\nop.drop_column('people', 'age')\nnested.rollback()\nop.execute('SELECT 1')",
        ("SAVEPOINT a", "ALTER TABLE people DROP COLUMN age", "ROLLBACK TO a"),
    ),
)

KEYS: tuple[Revision, ...] = (
    (
        "ALTER TABLE toys ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES orders (id) NOT VALID",
        "ALTER TABLE pets ADD CONSTRAINT l FOREIGN KEY (id) REFERENCES orders (id) NOT VALID",
    ),
    "ALTER TABLE orders ADD COLUMN pet integer REFERENCES pets (id) ON DELETE SET NULL",
    "ALTER TABLE people ADD COLUMN boss integer REFERENCES people (id)",
    (
        "ALTER TABLE bare ADD COLUMN person integer",
        "ALTER TABLE bare ADD CONSTRAINT k FOREIGN KEY (person) REFERENCES people NOT VALID",
        "ALTER TABLE bare VALIDATE CONSTRAINT k",
    ),
    "ALTER TABLE events ADD CONSTRAINT k FOREIGN KEY (n) REFERENCES owners (id)",
    "ALTER TABLE toys ADD COLUMN c integer, ADD COLUMN n text, ADD CONSTRAINT k FOREIGN KEY (c, n) REFERENCES cities (country, name)",
    "ALTER TABLE toys DROP CONSTRAINT toys_pet_fkey, ADD CONSTRAINT toys_pet_fkey FOREIGN KEY (pet) REFERENCES pets ON DELETE CASCADE",
    "ALTER TABLE toys DROP CONSTRAINT toys_pet_fkey, ADD CONSTRAINT toys_pet_fkey FOREIGN KEY (pet) REFERENCES pets ON DELETE CASCADE NOT VALID",
    "CREATE TABLE fresh (a integer REFERENCES people, b integer REFERENCES orders, c integer REFERENCES pets)",
    "CREATE TABLE fresh (c integer, n text, FOREIGN KEY (c, n) REFERENCES cities)",
    "ALTER TABLE toys ALTER CONSTRAINT toys_pet_fkey DEFERRABLE",
    "ALTER TABLE toys RENAME CONSTRAINT toys_pet_fkey TO whose",
    "ALTER TABLE owners RENAME CONSTRAINT owners_pkey TO owners_key",
    "ALTER TABLE owners DROP CONSTRAINT owners_pkey CASCADE, ADD CONSTRAINT owners_pkey PRIMARY KEY (id)",
    "ALTER TABLE people ADD CONSTRAINT k UNIQUE (id, code)",
    "ALTER TABLE pets ADD CONSTRAINT k CHECK (weight > 0) NOT VALID, ADD CONSTRAINT l CHECK (id > 0) NOT VALID",
    "ALTER TABLE pets ADD COLUMN a integer NOT NULL DEFAULT 5, ADD CONSTRAINT k CHECK (a > 0)",
    "ALTER TABLE cities ADD COLUMN mayor integer REFERENCES people (id)",
    "ALTER TABLE log_2025 ADD CONSTRAINT k CHECK (line IS NOT NULL)",
    "ALTER TABLE log_2025 ADD PRIMARY KEY (at, line) NOT VALID",
)

TYPES: tuple[Revision, ...] = (
    "ALTER TABLE orders ALTER COLUMN note TYPE varchar(30)",
    "ALTER TABLE people ALTER COLUMN name TYPE text",
    "ALTER TABLE people ALTER COLUMN name TYPE citext",
    "ALTER TABLE people ALTER COLUMN name TYPE varchar(20)",
    "ALTER TABLE handles ALTER COLUMN handle TYPE text",
    "ALTER TABLE people ALTER COLUMN at TYPE timestamptz USING at AT TIME ZONE 'UTC'",
    ("SET LOCAL timezone = 'UTC'", "ALTER TABLE people ALTER COLUMN at TYPE timestamptz"),
    ("SET LOCAL timezone = 'Europe/Berlin'", "ALTER TABLE people ALTER COLUMN at TYPE timestamptz"),
    ("SET LOCAL timezone = 'UTC'", "ALTER TABLE mixed ALTER COLUMN ts TYPE timestamp"),
    "ALTER TABLE orders ALTER COLUMN person TYPE bigint",
    "ALTER TABLE people ALTER COLUMN score TYPE numeric(12, 4)",
    "ALTER TABLE people ALTER COLUMN score TYPE numeric(8, 2)",
    "ALTER TABLE people ALTER COLUMN score TYPE double precision",
    "ALTER TABLE people ALTER COLUMN age TYPE smallint",
    "ALTER TABLE mixed ALTER COLUMN doc TYPE text",
    'ALTER TABLE people ALTER COLUMN name TYPE varchar(20) COLLATE "C"',
    'ALTER TABLE orders ALTER COLUMN note TYPE text COLLATE "C"',
    "ALTER TABLE mixed ALTER COLUMN small TYPE smallint",
    "ALTER TABLE mixed ALTER COLUMN id TYPE oid",
    "ALTER TABLE orders ALTER COLUMN total TYPE oid",
    "ALTER TABLE mixed ALTER COLUMN c TYPE varchar(4)",
    "ALTER TABLE mixed ALTER COLUMN word TYPE text USING trim(word)",
    "ALTER TABLE mixed ALTER COLUMN word TYPE text USING word::text",
    "ALTER TABLE mixed ALTER COLUMN mail TYPE varchar",
    "ALTER TABLE mixed ALTER COLUMN mail TYPE varchar(40)",
    "ALTER TABLE mixed ALTER COLUMN ts TYPE timestamptz(0)",
    "ALTER TABLE mixed ALTER COLUMN lev TYPE mood USING 'glad'::mood",
    "ALTER TABLE people ALTER COLUMN feeling TYPE varchar(10)",
    "ALTER TABLE people ALTER COLUMN size TYPE integer",
    "ALTER TABLE bare ALTER COLUMN n TYPE positive",
    "ALTER TABLE rooms ALTER COLUMN id TYPE bigint",
    "ALTER TABLE rooms ALTER COLUMN during TYPE text",
    "ALTER TABLE cities ALTER COLUMN name TYPE varchar(90)",
    "ALTER TABLE log ALTER COLUMN line TYPE varchar",
    "ALTER TABLE animals ALTER COLUMN id TYPE bigint",
    'ALTER TABLE mixed ALTER COLUMN tags TYPE text[] COLLATE "C"',
)

COLUMNS: tuple[Revision, ...] = (
    "ALTER TABLE people ADD COLUMN found tsvector GENERATED ALWAYS AS (to_tsvector('english', coalesce(name, ''))) STORED",
    (
        "ALTER TABLE people ADD COLUMN found tsvector",
        "UPDATE people SET found = to_tsvector('english', name)",
        "CREATE INDEX i ON people USING gin (found)",
    ),
    "ALTER TABLE people ADD COLUMN number bigserial",
    "ALTER TABLE people ADD COLUMN made timestamptz NOT NULL DEFAULT now()",
    "ALTER TABLE people ADD COLUMN made timestamptz NOT NULL DEFAULT statement_timestamp()",
    "ALTER TABLE people ADD COLUMN made timestamptz NOT NULL DEFAULT timeofday()::timestamptz",
    "ALTER TABLE people ADD COLUMN made double precision NOT NULL DEFAULT random()",
    "ALTER TABLE people ADD COLUMN a text DEFAULT md5('x')",
    "ALTER TABLE people ADD COLUMN a text DEFAULT md5(random()::text)",
    "ALTER TABLE people ADD COLUMN a text DEFAULT version()",
    "ALTER TABLE people ADD COLUMN a xid8 DEFAULT pg_current_xact_id()",
    "ALTER TABLE people ADD COLUMN a email NOT NULL DEFAULT 'a@b'",
    "ALTER TABLE people ADD COLUMN a positive DEFAULT 1",
    "ALTER TABLE people ALTER COLUMN age SET DEFAULT random()",
    "ALTER TABLE people ALTER COLUMN code SET DEFAULT nextval('counter')",
    "ALTER TABLE people ALTER COLUMN name DROP NOT NULL",
    "ALTER TABLE people ADD COLUMN a text, ALTER COLUMN age SET DEFAULT 1, DROP CONSTRAINT born_there",
    "ALTER TABLE people ADD COLUMN a text, DROP COLUMN age",
    "ALTER TABLE people DROP COLUMN IF EXISTS nothing, DROP COLUMN IF EXISTS score",
    "ALTER TABLE IF EXISTS nothing_such DROP COLUMN x",
    "ALTER TABLE IF EXISTS people DROP COLUMN quiet",
    (
        "ALTER TABLE people ADD COLUMN age_new bigint",
        "UPDATE people SET age_new = age",
        "ALTER TABLE people DROP COLUMN age",
        "ALTER TABLE people RENAME COLUMN age_new TO age",
    ),
    ("ALTER TABLE people RENAME COLUMN age TO years", "ALTER TABLE people RENAME COLUMN years TO age"),
    "ALTER TABLE people ALTER COLUMN doubled DROP EXPRESSION IF EXISTS",
    "ALTER TABLE people ALTER COLUMN name SET STATISTICS 0",
    "ALTER TABLE pets REPLICA IDENTITY FULL",
    "ALTER TABLE pets REPLICA IDENTITY DEFAULT",
    "ALTER TABLE bare SET UNLOGGED",
    "ALTER TABLE bare SET LOGGED",
    "ALTER TABLE pets SET TABLESPACE fast",
    "ALTER TABLE log SET TABLESPACE fast",
    "ALTER TABLE pets SET TABLESPACE pg_default",
    "ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE fast",
    "ALTER TABLE pets SET (fillfactor = 70, autovacuum_enabled = true)",
    "ALTER TABLE pets CLUSTER ON pets_owner",
    "CLUSTER toys USING toys_pkey",
    "CREATE TABLE fresh TABLESPACE fast AS SELECT id FROM people",
    "COMMENT ON VIEW names IS 'names'",
    "COMMENT ON TRIGGER doors_dated ON doors IS 'when'",
    "COMMENT ON FUNCTION twice(integer) IS 'doubles'",
    "COMMENT ON ROLE oracle_app IS 'ours'",
)

OBJECTS: tuple[Revision, ...] = (
    "ALTER SEQUENCE rooms_id_seq RESTART WITH 1",
    "ALTER SEQUENCE counter OWNED BY NONE",
    "ALTER SEQUENCE counter AS integer",
    "ALTER SEQUENCE counter OWNER TO oracle_reader",
    "SELECT setval('rooms_id_seq', 1, false)",
    "ALTER TABLE orders DISABLE TRIGGER ALL",
    (
        "ALTER TABLE orders DISABLE TRIGGER ALL",
        "UPDATE orders SET total = 0 WHERE id = 1",
        "ALTER TABLE orders ENABLE TRIGGER ALL",
    ),
    "CREATE TRIGGER t BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION noted()",
    "CREATE TRIGGER t INSTEAD OF INSERT ON names FOR EACH ROW EXECUTE FUNCTION noted()",
    "DROP TRIGGER switches_spread ON switches",
    "CREATE RULE r AS ON INSERT TO orders DO ALSO NOTHING",
    "CREATE OR REPLACE FUNCTION twice(integer) RETURNS integer LANGUAGE sql VOLATILE AS 'SELECT $1 * 2'",
    "ALTER FUNCTION twice(integer) VOLATILE",
    "DROP FUNCTION touch_all(), empty_it()",
    "ALTER PUBLICATION feed SET TABLE people",
    "ALTER PUBLICATION feed ADD TABLE people WHERE (id > 5)",
    (
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)",
        "DROP SUBSCRIPTION s",
    ),
    "CREATE OR REPLACE VIEW names AS SELECT id, name FROM people WHERE id < 0",
    "CREATE OR REPLACE VIEW names AS SELECT id, name, age, score FROM people",
    "ALTER VIEW names SET (check_option = local)",
    (
        "DROP MATERIALIZED VIEW totals",
        "CREATE MATERIALIZED VIEW totals AS SELECT person, sum(total) AS total FROM orders GROUP BY person",
        "GRANT ALL ON totals TO oracle_app",
    ),
    (
        "CREATE MATERIALIZED VIEW m AS SELECT id FROM people WITH NO DATA",
        "REFRESH MATERIALIZED VIEW m",
    ),
    "ALTER TYPE mood RENAME VALUE 'glad' TO 'happy'",
    ("ALTER TYPE mood ADD VALUE 'angry'", "ALTER TYPE level ADD VALUE 'middle' BEFORE 'high'"),
    (
        "ALTER DOMAIN positive ADD CONSTRAINT k CHECK (VALUE > 0) NOT VALID",
        "ALTER DOMAIN positive VALIDATE CONSTRAINT k",
    ),
    "DROP EXTENSION hstore",
    "DROP EXTENSION citext CASCADE",
    "ALTER INDEX people_pkey RENAME TO people_key",
    "CREATE INDEX i ON people (name text_pattern_ops)",
    "CREATE INDEX i ON people (name) INCLUDE (age) WHERE code IS NOT NULL",
    "CREATE INDEX i ON people (twice(id))",
    "CREATE INDEX i ON cities (name)",
    "CREATE UNIQUE INDEX i ON owners (id)",
    "REINDEX TABLE orders",
    "REINDEX (CONCURRENTLY) INDEX pets_owner",
    "CREATE UNIQUE INDEX CONCURRENTLY i ON pets (id, name)",
    "CREATE INDEX CONCURRENTLY i ON cities_0 (name)",
    "DROP INDEX CONCURRENTLY people_age",
    "ALTER TABLE cities DETACH PARTITION cities_0 CONCURRENTLY",
    "ALTER TABLE cities DETACH PARTITION cities_0",
    "ALTER TABLE log DETACH PARTITION log_rest",
    (
        "ALTER TABLE log DETACH PARTITION log_2025",
        "ALTER TABLE log ATTACH PARTITION log_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    ),
    "ALTER TABLE events ATTACH PARTITION log_loose FOR VALUES IN ('z')",
    "CREATE TABLE cats_too () INHERITS (cats)",
    "VACUUM (FULL) bare",
    "VACUUM (TRUNCATE false) bare",
)

RIGHTS: tuple[Revision, ...] = (
    "DROP OWNED BY oracle_app",
    "DROP OWNED BY oracle_clerk CASCADE",
    ("DROP OWNED BY oracle_clerk", "DROP ROLE oracle_clerk"),
    "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM oracle_app",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "REVOKE USAGE ON SCHEMA extra FROM oracle_app",
    "REVOKE ALL ON names FROM oracle_app",
    "GRANT ALL ON people TO oracle_app",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM oracle_app",
    "ALTER ROLE oracle_app SET search_path = extra",
    "ALTER ROLE oracle_app BYPASSRLS",
    "ALTER ROLE oracle_app VALID UNTIL '2020-01-01'",
    "ALTER ROLE oracle_app VALID UNTIL 'infinity'",
    "ALTER ROLE oracle_app CONNECTION LIMIT 0",
    "ALTER ROLE oracle_app SET work_mem = '8MB'",
    "ALTER ROLE oracle_app SET default_transaction_read_only = on",
    "ALTER DATABASE app SET default_transaction_read_only = on",
    "ALTER DATABASE app ALLOW_CONNECTIONS false",
    "ALTER DATABASE app CONNECTION LIMIT 0",
    "ALTER TABLE pets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    ("CREATE POLICY p ON pets USING (true)", "ALTER TABLE pets ENABLE ROW LEVEL SECURITY"),
    ("CREATE POLICY p ON pets TO oracle_reader USING (true)", "ALTER TABLE pets ENABLE ROW LEVEL SECURITY"),
    ("CREATE POLICY p ON pets USING (id < 5)", "ALTER TABLE pets ENABLE ROW LEVEL SECURITY"),
    "CREATE POLICY p ON guarded AS RESTRICTIVE USING (id < 5)",
    "ALTER TABLE pets OWNER TO oracle_app",
    "SET LOCAL default_transaction_read_only = on",
    "SET LOCAL maintenance_work_mem = '128MB'",
    "SET LOCAL lock_timeout = '5min'",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL row_security = off",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 0",
)

ROWS: tuple[Revision, ...] = (
    "UPDATE orders SET total = (SELECT count(*) FROM pets WHERE pets.id = orders.person)",
    "UPDATE people SET name = upper(name) WHERE name IS NOT NULL",
    "UPDATE people SET feeling = 'sad' WHERE feeling = 'glad'",
    "DELETE FROM orders WHERE id > 100",
    "DELETE FROM orders WHERE total < 11900",
    "DELETE FROM log WHERE at < '2026-01-01'",
    "INSERT INTO orders SELECT id + 100000, person, total, note FROM orders",
    "INSERT INTO people (id, name, born) SELECT g, 'x', '2001-01-01' FROM generate_series(20001, 33000) AS g",
    "WITH d AS (DELETE FROM orders WHERE id <= 11000 RETURNING *) INSERT INTO bare SELECT id, note FROM d",
    "UPDATE owners SET id = id + 100000",
    "UPDATE pets SET owner = 2",
    "DELETE FROM pets WHERE owner = 1",
    "UPDATE pets SET name = 'x' WHERE owner = 7",
    "DELETE FROM toys WHERE pet IN (SELECT id FROM pets WHERE owner = 1)",
    "DELETE FROM toys WHERE pet = 4",
    "DELETE FROM owners WHERE id = 11999",
    "UPDATE people SET age = 1 WHERE code BETWEEN 5 AND 9 AND id = 6",
    "UPDATE people SET age = NULL WHERE (id, code) IN ((1, 1), (2, 2))",
    "INSERT INTO owners (id, name) VALUES (20001, 'a'), (20002, 'b') ON CONFLICT DO NOTHING",
    "INSERT INTO bare SELECT n, t FROM bare",
    "TRUNCATE log_2025",
    "TRUNCATE people, orders",
    "TRUNCATE totals",
    "TRUNCATE pets, toys",
    "LOCK TABLE orders IN SHARE ROW EXCLUSIVE MODE",
    "LOCK TABLE people IN SHARE UPDATE EXCLUSIVE MODE",
    "SELECT count(*) FROM people JOIN orders ON orders.person = people.id",
    "SELECT pg_sleep(0)",
    "SELECT pg_try_advisory_xact_lock(7)",
    "DO $$ DECLARE n integer := 1; BEGIN WHILE n > 0 LOOP DELETE FROM bare WHERE ctid IN (SELECT ctid FROM bare LIMIT 500); GET DIAGNOSTICS n = ROW_COUNT; END LOOP; END $$",
    "DO $$ DECLARE n integer; BEGIN LOOP UPDATE bare SET t = 'y' WHERE ctid IN (SELECT ctid FROM bare WHERE t = 'x' LIMIT 500); GET DIAGNOSTICS n = ROW_COUNT; EXIT WHEN n = 0; END LOOP; END $$",
    "DO $$ BEGIN LOOP DELETE FROM bare WHERE ctid IN (SELECT ctid FROM bare LIMIT 500); EXIT WHEN NOT FOUND; END LOOP; END $$",
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT n FROM bare LIMIT 5 LOOP UPDATE orders SET total = 1 WHERE id = r.n; END LOOP; END $$",
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT table_name FROM information_schema.tables WHERE table_schema = 'extra' LOOP EXECUTE 'ALTER TABLE extra.' || quote_ident(r.table_name) || ' ADD COLUMN touched timestamptz'; END LOOP; END $$",
    "DO $$ BEGIN IF (SELECT count(*) FROM bare) > 5 THEN TRUNCATE bare; END IF; END $$",
    "DO $$ BEGIN PERFORM count(*) FROM people; END $$",
)

BY_PYTHON: tuple[Revision, ...] = (
    Python(
        "op.execute(sa.text('UPDATE bare SET t = :t').bindparams(t='y'))",
        ("UPDATE bare SET t = 'y'",),
    ),
    Python(
        "op.execute(sa.text('UPDATE orders SET note = :t WHERE id = :id').bindparams(t='y', id=4))",
        ("UPDATE orders SET note = 'y' WHERE id = 4",),
    ),
    Python(
        "op.execute('ALTER TABLE people ADD COLUMN a text; ALTER TABLE people DROP COLUMN age; UPDATE bare SET n = 1')",
        (
            "ALTER TABLE people ADD COLUMN a text",
            "ALTER TABLE people DROP COLUMN age",
            "UPDATE bare SET n = 1",
        ),
    ),
    Python(
        "op.add_column('people', sa.Column('made', sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False))",
        ("ALTER TABLE people ADD COLUMN made timestamptz DEFAULT now() NOT NULL",),
    ),
    Python(
        "op.add_column('people', sa.Column('token', sa.Uuid(), server_default=sa.func.gen_random_uuid(), nullable=False))",
        ("ALTER TABLE people ADD COLUMN token uuid DEFAULT gen_random_uuid() NOT NULL",),
    ),
    Python(
        "op.alter_column('people', 'at', server_default=sa.func.now())",
        ("ALTER TABLE people ALTER COLUMN at SET DEFAULT now()",),
    ),
    Python(
        "op.alter_column('people', 'at', type_=sa.DateTime(timezone=True), postgresql_using=\"at AT TIME ZONE 'UTC'\")",
        ("ALTER TABLE people ALTER COLUMN at TYPE timestamptz USING at AT TIME ZONE 'UTC'",),
    ),
    Python(
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('i', 'pets', ['name'], postgresql_concurrently=True, if_not_exists=True)",
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON pets (name)",),
    ),
    Python(
        "op.create_exclude_constraint('k', 'rooms', ('id', '='), using='btree')",
        ("ALTER TABLE rooms ADD CONSTRAINT k EXCLUDE USING btree (id WITH =)",),
    ),
    Python(
        "source = sa.select(sa.column('id'), sa.literal('x')).select_from(sa.table('people'))\n"
        "op.execute(sa.table('bare', sa.column('n'), sa.column('t')).insert().from_select(['n', 't'], source))",
        ("INSERT INTO bare SELECT id, 'x' FROM people",),
    ),
    Python(
        "bind = op.get_bind()\nwhile True:\n"
        "    done = bind.execute(sa.text(\"UPDATE bare SET t = 'y' WHERE ctid IN (SELECT ctid FROM bare WHERE t = 'x' LIMIT 500)\"))\n"
        "    if done.rowcount == 0:\n        break",
        ("UPDATE bare SET t = 'y' WHERE t = 'x'",),
    ),
    Python(
        "bind = op.get_bind()\nlast = 0\nwhile True:\n"
        "    keys = bind.execute(sa.text('SELECT id FROM orders WHERE id > :last ORDER BY id LIMIT 500'), {'last': last}).scalars().all()\n"
        "    if not keys:\n        break\n"
        "    bind.execute(sa.text('UPDATE orders SET total = 0 WHERE id = ANY(:keys)'), {'keys': keys})\n"
        "    last = keys[-1]",
        ("UPDATE orders SET total = 0",),
    ),
    Python(
        "top = op.get_bind().execute(sa.text('SELECT max(id) FROM orders')).scalar() or 0\n"
        "for start in range(0, top, 1000):\n"
        "    op.execute(sa.text('UPDATE orders SET total = 0 WHERE id BETWEEN :a AND :b').bindparams(a=start, b=start + 999))",
        ("UPDATE orders SET total = 0",),
    ),
    Python(
        "from sqlalchemy.orm import Session, declarative_base\n"
        "class Bare(declarative_base()):\n"
        "    __tablename__ = 'orders'\n"
        "    id = sa.Column(sa.Integer, primary_key=True)\n"
        "    note = sa.Column(sa.Text)\n"
        "session = Session(op.get_bind())\n"
        "for each in session.query(Bare):\n    each.note = 'seen'\n"
        "session.commit()",
        ("UPDATE orders SET note = 'seen'",),
    ),
    Python(
        "with op.batch_alter_table('pets') as batch:\n"
        "    batch.alter_column('name', new_column_name='called')\n"
        "    batch.create_index('i', ['weight'])",
        ("ALTER TABLE pets RENAME COLUMN name TO called", "CREATE INDEX i ON pets (weight)"),
    ),
    Python(
        "with op.batch_alter_table('toys', recreate='never') as batch:\n"
        "    batch.drop_constraint('toys_pet_fkey', type_='foreignkey')\n"
        "    batch.create_foreign_key('toys_pet_fkey', 'pets', ['pet'], ['id'], ondelete='CASCADE')",
        (
            "ALTER TABLE toys DROP CONSTRAINT toys_pet_fkey",
            "ALTER TABLE toys ADD CONSTRAINT toys_pet_fkey FOREIGN KEY (pet) REFERENCES pets ON DELETE CASCADE",
        ),
    ),
    Python(
        "from sqlalchemy.dialects import postgresql\n"
        "op.add_column('people', sa.Column('tags', postgresql.ARRAY(sa.Text()), server_default='{}', nullable=False))\n"
        "op.add_column('people', sa.Column('doc', postgresql.JSONB(), server_default=sa.text(\"'{}'::jsonb\")))",
        (
            "ALTER TABLE people ADD COLUMN tags text[] DEFAULT '{}' NOT NULL",
            "ALTER TABLE people ADD COLUMN doc jsonb DEFAULT '{}'::jsonb",
        ),
    ),
    Python(
        "op.drop_constraint('people_code_key', 'people', type_='unique')",
        ("ALTER TABLE people DROP CONSTRAINT people_code_key",),
    ),
    Python("op.drop_index('people_name', table_name='people')", ("DROP INDEX people_name",)),
    Python(
        "op.execute(sa.schema.CreateSequence(sa.Sequence('fresh_seq')))\n"
        "op.execute(sa.schema.DropSequence(sa.Sequence('counter')))",
        ("CREATE SEQUENCE fresh_seq", "DROP SEQUENCE counter"),
    ),
    Python(
        "import json\nfor key, value in {'a': 1, 'b': 2}.items():\n"
        "    op.execute(sa.text('UPDATE mixed SET doc = :doc WHERE id = :id').bindparams(doc=json.dumps({key: value}), id=value))",
        (
            "UPDATE mixed SET doc = '{}' WHERE id = 1",
            "UPDATE mixed SET doc = '{}' WHERE id = 2",
        ),
    ),
    Python(
        "if op.get_context().dialect.name == 'postgresql':\n    op.execute('LOCK TABLE bare IN ACCESS EXCLUSIVE MODE')",
        ("LOCK TABLE bare IN ACCESS EXCLUSIVE MODE",),
    ),
)

FOUND_SINCE: tuple[Revision, ...] = (
    "CREATE OR REPLACE VIEW names AS SELECT people.id, people.name, orders.total FROM people LEFT JOIN orders ON orders.id = people.id",
    "CREATE OR REPLACE VIEW names AS SELECT people.id, people.name FROM people JOIN orders ON orders.id = people.id AND orders.id < 5",
    "CREATE OR REPLACE VIEW shut AS SELECT id FROM doors",
    "DO $$ BEGIN EXECUTE 'CREATE OR REPLACE VIEW names AS SELECT id, name FROM people LIMIT 3'; END $$",
    ("ALTER TABLE people RENAME TO persons", "ALTER TABLE persons RENAME TO people"),
    ("ALTER TABLE people SET SCHEMA extra", "ALTER TABLE extra.people SET SCHEMA public"),
    ("ALTER TABLE people RENAME TO persons", "ALTER TABLE orders RENAME TO people"),
    ("ALTER TABLE pets ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON pets USING (id < 5)"),
    (
        "ALTER TABLE pets ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON pets USING (id < 5)",
        "CREATE POLICY q ON pets USING (true)",
    ),
    "UPDATE pets SET name = 'x' WHERE owner = 1",
    "UPDATE people SET age = 5 WHERE feeling = 'sad'",
)

DANGERS: tuple[Revision, ...] = (
    *TAKEN_BACK,
    *KEYS,
    *TYPES,
    *COLUMNS,
    *OBJECTS,
    *RIGHTS,
    *ROWS,
    *BY_PYTHON,
    *FOUND_SINCE,
)
