"""What a walk through PostgreSQL's manual, page by page, found missing, and migrations as teams write them.

Where each stands is what its author expected; what PostgreSQL does with it decides.
"""

from __future__ import annotations

from tests.support.oracle_statements import Python, Revision

OF_THE_MANUAL: tuple[Revision, ...] = (
    # ALTER TABLE: constraints and columns of 16 to 18
    (
        "ALTER TABLE mixed ADD CONSTRAINT k NOT NULL word NOT VALID",
        "ALTER TABLE mixed VALIDATE CONSTRAINT k",
    ),
    (
        "ALTER TABLE toys ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES owners (id) NOT ENFORCED",
        "ALTER TABLE toys ALTER CONSTRAINT k ENFORCED",
    ),
    "ALTER TABLE pets ALTER CONSTRAINT pets_owner_fkey NOT ENFORCED",
    "ALTER TABLE mixed ADD COLUMN a integer GENERATED ALWAYS AS (small * 2) VIRTUAL CHECK (a > 0)",
    (
        "ALTER TABLE mixed ADD COLUMN a integer GENERATED ALWAYS AS (small * 2) VIRTUAL",
        "ALTER TABLE mixed ALTER COLUMN a SET EXPRESSION AS (small * 3)",
    ),
    "ALTER TABLE animals ADD CONSTRAINT k NOT NULL id NO INHERIT",
    "ALTER TABLE people ADD PRIMARY KEY USING INDEX people_code_too",
    (
        "ALTER TABLE people DROP CONSTRAINT people_pkey",
        "ALTER TABLE people ADD PRIMARY KEY USING INDEX people_code_too",
    ),
    "ALTER TABLE people ALTER COLUMN age RESET (n_distinct)",
    "ALTER TABLE people ALTER COLUMN name SET STORAGE DEFAULT",
    "ALTER TABLE people ALTER COLUMN name SET COMPRESSION default",
    "ALTER TABLE people SET ACCESS METHOD DEFAULT",
    "ALTER TABLE people NOT OF",
    "ALTER TABLE people RESET (toast.autovacuum_enabled)",
    "ALTER TABLE people ADD COLUMN a text STORAGE EXTERNAL COMPRESSION pglz",
    "ALTER TABLE people ADD COLUMN a integer DEFAULT nextval('counter')",
    "ALTER TABLE people ADD COLUMN a text DEFAULT current_user",
    "ALTER TABLE people ADD COLUMN a date DEFAULT CURRENT_DATE NOT NULL",
    "ALTER TABLE people ADD COLUMN a interval DEFAULT age(timestamp '2026-01-01')",
    "ALTER TABLE people ADD COLUMN a integer DEFAULT twice(4)",
    "ALTER TABLE people ADD COLUMN a level DEFAULT 'low' NOT NULL",
    "ALTER TABLE cats ALTER COLUMN lives TYPE bigint, ALTER COLUMN lives SET DEFAULT 9",
    "ALTER TABLE people ALTER COLUMN age TYPE integer USING age + 1",
    "ALTER TABLE people ALTER COLUMN name TYPE varchar(20) USING upper(name)",
    "ALTER TABLE mixed ALTER COLUMN doc TYPE jsonb USING doc",
    "ALTER TABLE passing ALTER COLUMN n TYPE bigint",
    # inheritance, partitions
    "CREATE TABLE dogs (bark text) INHERITS (animals)",
    ("CREATE TABLE dogs (id integer, name text)", "ALTER TABLE dogs INHERIT animals"),
    "ALTER TABLE log_2027 INHERIT bare",
    "CREATE TABLE log_now PARTITION OF log FOR VALUES FROM ('2035-01-01') TO ('2035-02-01')",
    "CREATE TABLE log_then PARTITION OF log FOR VALUES FROM ('2045-01-01') TO ('2046-01-01') PARTITION BY LIST (line)",
    "CREATE TABLE events_a_27 PARTITION OF events_a FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
    (
        "CREATE INDEX i ON ONLY log (at)",
        "CREATE INDEX i_25 ON log_2025 (at)",
        "ALTER INDEX i ATTACH PARTITION i_25",
    ),
    ("ALTER TABLE events ADD PRIMARY KEY (kind, at, n)",),
    "ALTER TABLE log ALTER COLUMN at TYPE timestamp",
    "ALTER TABLE log SET (autovacuum_enabled = off)",
    "ALTER TABLE log_2025 SET UNLOGGED",
    "ALTER TABLE log RENAME COLUMN line TO said",
    "DROP TABLE log_2025, log_2026",
    "UPDATE log SET at = at + 365 WHERE at < '2026-01-01'",
    (
        "CREATE TABLE people_new (LIKE people INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (id)",
        "CREATE TABLE people_all PARTITION OF people_new DEFAULT",
        "INSERT INTO people_new (id, name, born) SELECT id, name, born FROM people",
    ),
    (
        "ALTER TABLE quiet_one RENAME TO quiet_old",
        "CREATE TABLE quiet_one (n integer) PARTITION BY RANGE (n)",
        "ALTER TABLE quiet_one ATTACH PARTITION quiet_old DEFAULT",
    ),
    (
        "ALTER TABLE quiet_one RENAME TO quiet_old",
        "CREATE VIEW quiet_one AS SELECT n FROM quiet_old",
        "GRANT ALL ON quiet_one TO oracle_app",
    ),
    # indexes
    ("CREATE EXTENSION IF NOT EXISTS pg_trgm", "CREATE INDEX i ON people USING gin (name gin_trgm_ops)"),
    (
        "CREATE EXTENSION IF NOT EXISTS btree_gist",
        "ALTER TABLE rooms ADD EXCLUDE USING gist (floor WITH =, during WITH &&)",
    ),
    (
        "CREATE EXTENSION IF NOT EXISTS btree_gist",
        "ALTER TABLE rooms ADD UNIQUE (floor, during WITHOUT OVERLAPS)",
    ),
    "CREATE INDEX i ON rooms USING gist (during)",
    "CREATE INDEX i ON people USING brin (at) WITH (pages_per_range = 32)",
    "CREATE INDEX i ON people USING spgist (name)",
    "CREATE UNIQUE INDEX i ON people (code) NULLS NOT DISTINCT",
    "CREATE INDEX IF NOT EXISTS i ON totals (person)",
    "CREATE INDEX i ON mixed ((doc ->> 'a'))",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON toys (label)",
    "DROP INDEX CONCURRENTLY IF EXISTS pets_owner",
    "ALTER INDEX people_name DEPENDS ON EXTENSION citext",
    "ALTER INDEX ALL IN TABLESPACE pg_default SET TABLESPACE fast",
    "ALTER TABLE people DROP CONSTRAINT people_pkey CASCADE",
    # views, rules, triggers
    "ALTER VIEW names RENAME COLUMN name TO called",
    "ALTER VIEW names SET (security_invoker = true)",
    "ALTER MATERIALIZED VIEW totals RENAME COLUMN total TO sum",
    "ALTER MATERIALIZED VIEW totals SET TABLESPACE fast",
    "ALTER MATERIALIZED VIEW totals CLUSTER ON totals_person",
    (
        "DROP VIEW names CASCADE",
        "CREATE VIEW names AS SELECT id, name, age FROM people",
        "GRANT ALL ON names TO oracle_app",
    ),
    "CREATE VIEW v WITH (security_barrier) AS SELECT id FROM people WHERE id < 5",
    "CREATE RECURSIVE VIEW v (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v WHERE n < 5",
    "CREATE OR REPLACE RULE r AS ON INSERT TO bare DO INSTEAD NOTHING",
    ("CREATE RULE r AS ON INSERT TO bare DO INSTEAD NOTHING", "DROP RULE r ON bare"),
    "ALTER TABLE doors ENABLE TRIGGER ALL",
    "DROP TRIGGER IF EXISTS nothing_such ON doors",
    "DROP FUNCTION noted() CASCADE",
    "CREATE TRIGGER t BEFORE TRUNCATE ON bare EXECUTE FUNCTION noted()",
    "ALTER FUNCTION noted() DEPENDS ON EXTENSION citext",
    "DROP ROUTINE touch_all",
    "DROP OPERATOR CLASS IF EXISTS nothing_such USING btree",
    # types, domains, sequences, text search, large objects
    "ALTER TYPE pair RENAME ATTRIBUTE a TO aa",
    "ALTER TYPE pair OWNER TO oracle_reader",
    "ALTER TYPE span RENAME TO stretch",
    "DROP TYPE pair RESTRICT",
    "ALTER DOMAIN positive RENAME CONSTRAINT nothing_such TO other",
    "ALTER DOMAIN email RENAME CONSTRAINT email_check TO has_at",
    "ALTER DOMAIN email DROP DEFAULT",
    "ALTER DOMAIN email OWNER TO oracle_reader",
    "DROP TYPE email CASCADE",
    "ALTER SEQUENCE counter SET UNLOGGED",
    "ALTER SEQUENCE rooms_id_seq AS bigint",
    "ALTER SEQUENCE counter MINVALUE 1 MAXVALUE 1000000 CYCLE",
    "DROP SEQUENCE IF EXISTS counter CASCADE",
    "ALTER TEXT SEARCH CONFIGURATION english RENAME TO anglais",
    "CREATE TEXT SEARCH TEMPLATE t (LEXIZE = dsimple_lexize)",
    "CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1",
    "CREATE OPERATOR FAMILY f USING btree",
    "CREATE TRANSFORM FOR integer LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal))",
    "CREATE LANGUAGE IF NOT EXISTS plpgsql",
    "ALTER LANGUAGE plpgsql OWNER TO CURRENT_USER",
    "DROP CAST IF EXISTS (text AS xml)",
    "DROP COLLATION IF EXISTS nothing_such",
    "ALTER COLLATION plain RENAME TO plainer",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_unlink(l.oid) FROM pg_largeobject_metadata AS l",
    # foreign tables, publications, subscriptions, event triggers, statistics
    (
        "CREATE EXTENSION IF NOT EXISTS postgres_fdw",
        "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'localhost')",
        "CREATE FOREIGN TABLE far (id integer) SERVER s",
        "ALTER FOREIGN TABLE far ADD COLUMN name text",
        "ALTER SERVER s OPTIONS (ADD dbname 'x')",
        "DROP FOREIGN TABLE far",
        "DROP SERVER s CASCADE",
    ),
    "CREATE PUBLICATION p FOR TABLE people (id, name) WHERE (id > 5) WITH (publish_via_partition_root)",
    "ALTER PUBLICATION feed OWNER TO CURRENT_USER",
    "ALTER PUBLICATION feed ADD TABLES IN SCHEMA extra",
    "DROP PUBLICATION IF EXISTS nothing_such",
    "CREATE STATISTICS s ON (age + 1), name FROM people",
    "ALTER STATISTICS people_together RENAME TO together",
    "SELECT pg_clear_relation_stats('public', 'people')",
    (
        "CREATE FUNCTION watched() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER w ON ddl_command_end EXECUTE FUNCTION watched()",
        "ALTER EVENT TRIGGER w DISABLE",
        "DROP EVENT TRIGGER w",
    ),
    "SELECT pg_logical_emit_message(true, 'p', 'x')",
    # roles, rights, databases
    "ALTER ROLE oracle_app NOLOGIN",
    "ALTER ROLE oracle_app RENAME TO oracle_application",
    "ALTER ROLE oracle_reader NOINHERIT",
    "ALTER ROLE oracle_app CONNECTION LIMIT 5",
    "ALTER ROLE oracle_app PASSWORD 'x'",
    "ALTER GROUP oracle_group DROP USER oracle_app",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    "REVOKE EXECUTE ON FUNCTION twice(integer) FROM PUBLIC",
    "REVOKE USAGE ON TYPE mood FROM PUBLIC",
    "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
    "REVOKE CONNECT ON DATABASE app FROM PUBLIC",
    "REVOKE SELECT, INSERT ON ALL TABLES IN SCHEMA extra FROM oracle_app",
    "REVOKE GRANT OPTION FOR SELECT ON people FROM oracle_reader",
    "REVOKE UPDATE ON people FROM oracle_app CASCADE",
    "GRANT SELECT ON people TO oracle_clerk WITH GRANT OPTION",
    "GRANT MAINTAIN ON people TO oracle_clerk",
    "GRANT pg_read_all_data TO oracle_clerk",
    "ALTER TABLE guarded OWNER TO oracle_app",
    "ALTER DATABASE app RESET ALL",
    "ALTER DATABASE app CONNECTION LIMIT 100",
    "ALTER DATABASE app SET search_path = extra",
    "ALTER DATABASE app SET statement_timeout = '5s'",
    "ALTER ROLE oracle_app IN DATABASE app SET search_path = extra",
    "ALTER ROLE ALL SET work_mem = '4MB'",
    "DROP ROLE IF EXISTS nothing_such",
    "CREATE GROUP others ROLE oracle_app",
    # rows
    "COPY (DELETE FROM bare RETURNING n) TO PROGRAM 'cat > /dev/null'",
    "SELECT query_to_xml('UPDATE bare SET n = 0 RETURNING n', false, false, '')",
    "UPDATE bare SET t = DEFAULT",
    "UPDATE bare SET n = n FROM generate_series(1, 2)",
    "DELETE FROM bare WHERE n IN (SELECT n FROM bare ORDER BY n LIMIT 10)",
    "DELETE FROM toys WHERE label IS NULL",
    "DELETE FROM people WHERE id = ANY (SELECT generate_series(1, 3))",
    "UPDATE people SET age = 1 WHERE id < 4 AND id > 2",
    "UPDATE bare SET n = 1 WHERE random() < 2",
    "INSERT INTO quiet_one DEFAULT VALUES",
    "INSERT INTO quiet_one VALUES (1) RETURNING n",
    "INSERT INTO quiet_one SELECT json_array_elements_text('[1, 2]')::integer",
    "WITH s AS MATERIALIZED (SELECT n FROM bare) INSERT INTO quiet_one SELECT n FROM s",
    "MERGE INTO toys USING owners ON toys.id = owners.id WHEN MATCHED THEN UPDATE SET label = 'm' RETURNING toys.id",
    "UPDATE people SET age = 31 WHERE id = 5 RETURNING old.age, new.age",
    "DECLARE c CURSOR WITH HOLD FOR SELECT id FROM people",
    "CREATE TEMP TABLE pad ON COMMIT DROP AS SELECT id FROM people WHERE id < 10",
    ("PREPARE p AS SELECT 1", "CREATE TABLE fresh AS EXECUTE p"),
    "EXPLAIN (ANALYZE) CREATE TABLE fresh AS SELECT id FROM people",
    "DISCARD PLANS",
    "DISCARD SEQUENCES",
    "LOAD 'plpgsql'",
    "TRUNCATE cities_0, cities_1",
    "LOCK TABLE ONLY animals IN SHARE UPDATE EXCLUSIVE MODE",
    "LOCK TABLE log IN EXCLUSIVE MODE NOWAIT",
    "SELECT id FROM people ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 5",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL transaction_timeout = 0",
    "SET LOCAL synchronous_commit = off",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ("SET LOCAL lock_timeout = '2s'", "ALTER TABLE people ADD COLUMN extra text"),
    ("SET LOCAL statement_timeout = '10min'", "UPDATE bare SET n = 1"),
    # code
    "DO $$ DECLARE q text := 'DELETE FROM bare'; BEGIN EXECUTE q; END $$",
    "DO $$ BEGIN EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE bigint', 'people', 'age'); END $$",
    "DO $$ DECLARE t text; BEGIN FOREACH t IN ARRAY ARRAY['bare', 'toys'] LOOP EXECUTE format('DELETE FROM %I', t); END LOOP; END $$",
    "DO $$ DECLARE t text; BEGIN FOR t IN SELECT relname FROM pg_class WHERE relname IN ('bare', 'quiet_one') LOOP EXECUTE 'TRUNCATE ' || t; END LOOP; END $$",
    "DO $$ BEGIN ASSERT (SELECT count(*) FROM people WHERE age IS NULL) = 0; END $$",
    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'k') THEN ALTER TABLE toys ADD CONSTRAINT k UNIQUE (pet); END IF; END $$",
    (
        "CREATE FUNCTION by_name(t regclass) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE format(''DELETE FROM %s'', t); END'",
        "SELECT by_name('bare')",
    ),
    (
        "CREATE PROCEDURE moves() LANGUAGE plpgsql AS 'BEGIN INSERT INTO quiet_one SELECT id FROM people; DELETE FROM bare; END'",
        "CALL moves()",
        "DROP PROCEDURE moves()",
    ),
    (
        "CREATE FUNCTION made() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.label := upper(NEW.label); RETURN NEW; END'",
        "CREATE TRIGGER made BEFORE INSERT OR UPDATE ON toys FOR EACH ROW EXECUTE FUNCTION made()",
        "UPDATE toys SET label = label",
    ),
)

OF_TEAMS: tuple[Revision, ...] = (
    Python(
        "kind = sa.Enum('red', 'green', name='colour')\n"
        "kind.create(op.get_bind(), checkfirst=True)\n"
        "op.add_column('people', sa.Column('colour', kind, server_default='red', nullable=False))",
        (
            "CREATE TYPE colour AS ENUM ('red', 'green')",
            "ALTER TABLE people ADD COLUMN colour colour DEFAULT 'red' NOT NULL",
        ),
    ),
    Python(
        "op.execute('ALTER TYPE level RENAME TO level_old')\n"
        "sa.Enum('low', 'high', 'top', name='level').create(op.get_bind())\n"
        "op.execute('ALTER TABLE mixed ALTER COLUMN lev DROP DEFAULT, ALTER COLUMN lev TYPE level USING lev::text::level')\n"
        "op.execute('DROP TYPE level_old')",
        (
            "ALTER TYPE level RENAME TO level_old",
            "CREATE TYPE level AS ENUM ('low', 'high', 'top')",
            "ALTER TABLE mixed ALTER COLUMN lev DROP DEFAULT, ALTER COLUMN lev TYPE level USING lev::text::level",
            "DROP TYPE level_old",
        ),
    ),
    Python(
        "op.add_column('people', sa.Column('token', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False))\n"
        "op.create_unique_constraint('k', 'people', ['token'])",
        (
            "ALTER TABLE people ADD COLUMN token uuid DEFAULT gen_random_uuid() NOT NULL",
            "ALTER TABLE people ADD CONSTRAINT k UNIQUE (token)",
        ),
    ),
    Python(
        "op.add_column('orders', sa.Column('state', sa.String(10), nullable=True))\n"
        "op.execute(\"UPDATE orders SET state = 'open' WHERE state IS NULL\")\n"
        "op.alter_column('orders', 'state', nullable=False)",
        (
            "ALTER TABLE orders ADD COLUMN state varchar(10)",
            "UPDATE orders SET state = 'open' WHERE state IS NULL",
            "ALTER TABLE orders ALTER COLUMN state SET NOT NULL",
        ),
    ),
    Python(
        "from sqlalchemy.orm import Session, declarative_base\n"
        "class Order(declarative_base()):\n"
        "    __tablename__ = 'orders'\n"
        "    id = sa.Column(sa.Integer, primary_key=True)\n"
        "    note = sa.Column(sa.Text)\n"
        "session = Session(bind=op.get_bind())\n"
        "for order in session.query(Order).yield_per(500):\n"
        "    order.note = (order.note or '').upper()\n"
        "session.flush()",
        ("UPDATE orders SET note = upper(note)",),
    ),
    Python(
        "connection = op.get_bind()\n"
        "while connection.execute(sa.text('DELETE FROM bare WHERE ctid IN (SELECT ctid FROM bare LIMIT 1000)')).rowcount:\n"
        "    pass",
        ("DELETE FROM bare",),
    ),
    Python(
        "rows = op.get_bind().execute(sa.text('SELECT id, name FROM owners')).mappings().all()\n"
        "op.bulk_insert(sa.table('quiet_one', sa.column('n', sa.Integer())), [{'n': row['id']} for row in rows])",
        ("INSERT INTO quiet_one SELECT id FROM owners",),
    ),
    Python(
        "op.execute('''\n"
        "    ALTER TABLE people ADD COLUMN full_name text;\n"
        "    UPDATE people SET full_name = name;\n"
        "    CREATE INDEX i ON people (full_name);\n"
        "''')",
        (
            "ALTER TABLE people ADD COLUMN full_name text",
            "UPDATE people SET full_name = name",
            "CREATE INDEX i ON people (full_name)",
        ),
    ),
    Python(
        "with op.batch_alter_table('toys') as batch:\n"
        "    batch.drop_constraint('toys_pet_fkey', type_='foreignkey')\n"
        "    batch.create_foreign_key('toys_pet', 'pets', ['pet'], ['id'], ondelete='CASCADE')",
        (
            "ALTER TABLE toys DROP CONSTRAINT toys_pet_fkey",
            "ALTER TABLE toys ADD CONSTRAINT toys_pet FOREIGN KEY (pet) REFERENCES pets (id) ON DELETE CASCADE",
        ),
    ),
    Python(
        "op.alter_column('people', 'age', existing_type=sa.Integer(), type_=sa.String(), postgresql_using='age::text')",
        ("ALTER TABLE people ALTER COLUMN age TYPE varchar USING age::text",),
    ),
    Python(
        "op.drop_index('people_age', table_name='people')\n"
        "op.create_index('people_age', 'people', ['age'], postgresql_where=sa.text('age > 0'))",
        ("DROP INDEX people_age", "CREATE INDEX people_age ON people (age) WHERE age > 0"),
    ),
    Python(
        "op.create_exclude_constraint('k', 'rooms', ('during', '&&'), using='gist')",
        ("ALTER TABLE rooms ADD CONSTRAINT k EXCLUDE USING gist (during WITH &&)",),
    ),
    Python(
        "op.execute(\"SET LOCAL lock_timeout = '200ms'\")\nop.add_column('people', sa.Column('extra', sa.Text()))",
        ("SET LOCAL lock_timeout = '200ms'", "ALTER TABLE people ADD COLUMN extra text"),
    ),
    Python(
        "if not op.get_context().as_sql:\n"
        "    columns = {each['name'] for each in sa.inspect(op.get_bind()).get_columns('people')}\n"
        "    if 'age' in columns:\n"
        "        op.drop_column('people', 'age')",
        ("ALTER TABLE people DROP COLUMN age",),
    ),
    Python(
        "ids = [row[0] for row in op.get_bind().execute(sa.text('SELECT id FROM owners WHERE id % 2 = 0'))]\n"
        "pets = sa.table('pets', sa.column('owner', sa.Integer()))\n"
        "op.execute(pets.delete().where(pets.c.owner.notin_(ids)))",
        ("DELETE FROM pets WHERE owner NOT IN (SELECT id FROM owners WHERE id % 2 = 0)",),
    ),
    Python(
        "from psycopg2.extras import execute_values\n"
        "cursor = op.get_bind().connection.cursor()\n"
        "execute_values(cursor, 'INSERT INTO quiet_one (n) VALUES %s', [(i,) for i in range(12001)])",
        ("INSERT INTO quiet_one SELECT i FROM generate_series(0, 12000) AS i",),
    ),
    Python(
        "raw = op.get_bind().connection\n"
        "with raw.cursor() as cursor:\n"
        "    cursor.execute('ALTER TABLE people ALTER COLUMN age TYPE bigint')",
        ("ALTER TABLE people ALTER COLUMN age TYPE bigint",),
    ),
    Python(
        "op.execute(sa.text('UPDATE people SET age = :a WHERE code = :c').bindparams(a=1, c=5))",
        ("UPDATE people SET age = 1 WHERE code = 5",),
    ),
    Python(
        "people = sa.table('people', sa.column('id', sa.Integer()), sa.column('age', sa.Integer()))\n"
        "op.get_bind().execute(\n"
        "    people.update().where(people.c.id == sa.bindparam('key')).values(age=sa.bindparam('age')),\n"
        "    [{'key': i, 'age': i} for i in range(3)],\n"
        ")",
        ("UPDATE people SET age = 0 WHERE id IN (0, 1, 2)",),
    ),
    Python(
        "with op.get_context().begin_transaction():\n    op.execute('CREATE SEQUENCE made START 5')\n"
        "op.alter_column('people', 'id', server_default=sa.text(\"nextval('made')\"))",
        ("CREATE SEQUENCE made START 5", "ALTER TABLE people ALTER COLUMN id SET DEFAULT nextval('made')"),
    ),
    Python(
        "with op.get_bind().begin_nested():\n    op.execute('DELETE FROM toys WHERE id = 3')",
        ("DELETE FROM toys WHERE id = 3",),
    ),
    Python(
        "op.drop_table('handles')\nop.create_table('handles', sa.Column('id', sa.BigInteger(), primary_key=True))",
        ("DROP TABLE handles", "CREATE TABLE handles (id bigint PRIMARY KEY)"),
    ),
    Python(
        "op.execute(sa.schema.CreateSchema('later', if_not_exists=True))\n"
        "op.create_table('fresh', sa.Column('id', sa.Integer(), primary_key=True), schema='later')",
        ("CREATE SCHEMA later", "CREATE TABLE later.fresh (id integer PRIMARY KEY)"),
    ),
    Python(
        "import sqlalchemy.dialects.postgresql as pg\n"
        "owners = sa.table('owners', sa.column('id', sa.Integer()), sa.column('name', sa.Text()))\n"
        "op.execute(pg.insert(owners).values([{'id': i, 'name': 'n'} for i in range(3)]).on_conflict_do_nothing())",
        ("INSERT INTO owners VALUES (0, 'n'), (1, 'n'), (2, 'n') ON CONFLICT DO NOTHING",),
    ),
)
