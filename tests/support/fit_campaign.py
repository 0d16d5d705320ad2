"""Short sequences of statements by chance on small tables: what is told to fail on their rows, and what PostgreSQL refuses.

    python -m tests.support.fit_campaign 18 --sequences=2000 [--seed=1] [--traced]

A sequence is told by its SQL alone (or traced), then run and rolled back. Printed is each statement that is told to
fail and goes through, and each that fails on rows and is not told.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import tests.conftest  # noqa: F401 - sessions of the application find what an application finds
from pgops.local.scratch import ScratchServer, scratch_server
from pgops.migrations.hazards import Hazard
from pgops.migrations.hazards.fit.judge import RULE, unfit_rows
from pgops.migrations.plan.unfit import with_unfit_rows
from pgops.postgres import DatabaseError, Target, connected, execute, set_read_only
from tests.support.oracle_campaign import traced

SCHEMA = """
CREATE SCHEMA other;
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE a (id int, n int, s text, d numeric(8, 2), k int, feel text, gone bool, day date, j jsonb, m mood);
INSERT INTO a VALUES (1, 1, 'x', 1.25, 1, 'sad', false, '2026-01-01', '1', 'sad'), (2, NULL, 'a long one', 99999.99, 7, 'angry', true, NULL, NULL, 'glad'),
    (3, 1, NULL, -5, NULL, NULL, false, '2026-01-01', '1', NULL), (4, -4, 'x', 2.5, 1, 'glad', NULL, '2027-01-01', '2', 'sad');
CREATE TABLE kid (extra int) INHERITS (a);
INSERT INTO kid (id, n, s, k, feel) VALUES (1, NULL, 'x', 9, 'blue');
CREATE TABLE b (id int PRIMARY KEY, v text);
INSERT INTO b VALUES (1, 'one'), (2, 'two');
CREATE TABLE other.a (id int, n int, s text, d numeric(8, 2), k int, feel text, gone bool, day date, j jsonb, m mood);
INSERT INTO other.a VALUES (1, 1, 'x', 1, 1, 'sad', false, '2026-01-01', '1', 'sad');
CREATE TABLE lst (id int, n int, s text) PARTITION BY LIST (id);
CREATE TABLE lst_1 PARTITION OF lst FOR VALUES IN (1);
CREATE TABLE lst_2 PARTITION OF lst FOR VALUES IN (2);
CREATE TABLE lst_rest PARTITION OF lst DEFAULT;
INSERT INTO lst VALUES (1, NULL, 'x'), (1, 1, 'y'), (2, NULL, 'x'), (9, 2, 'z');
CREATE TABLE loose (id int, n int, s text);
INSERT INTO loose VALUES (9, 3, 'q'), (5, NULL, NULL);
CREATE TABLE up (id int PRIMARY KEY);
CREATE TABLE down (id int, up_id int REFERENCES up ON DELETE CASCADE ON UPDATE CASCADE, n int);
INSERT INTO up VALUES (1), (2);
INSERT INTO down VALUES (1, 1, NULL), (1, 2, 2);
CREATE VIEW av AS SELECT id, n, s, k FROM a;
CREATE TABLE switch (id int, lit bool);
INSERT INTO switch VALUES (1, false);
CREATE FUNCTION mend() RETURNS int LANGUAGE sql AS 'UPDATE a SET n = id * 10 + coalesce(k, 5), s = coalesce(s, ''s''), k = NULL; SELECT 1';
CREATE FUNCTION mends() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM mend(); RETURN NEW; END';
CREATE TRIGGER switched AFTER INSERT OR UPDATE ON switch FOR EACH ROW EXECUTE FUNCTION mends();
CREATE TABLE ruled (id int);
INSERT INTO ruled VALUES (1);
CREATE RULE ruled_mends AS ON UPDATE TO ruled DO ALSO UPDATE a SET n = id, s = 's', k = NULL;
CREATE VIEW iv AS SELECT 1 AS id;
CREATE TRIGGER iv_mends INSTEAD OF INSERT OR UPDATE OR DELETE ON iv FOR EACH ROW EXECUTE FUNCTION mends();
CREATE MATERIALIZED VIEW mv AS SELECT id, n, s FROM loose UNION ALL SELECT id, n, s FROM loose;
CREATE TABLE gen (id int, n int, twice int GENERATED ALWAYS AS (n * 2) STORED);
INSERT INTO gen (id, n) VALUES (1, 1), (2, 1), (3, NULL);
"""
DEMANDS = (
    "ALTER TABLE a ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE ONLY a ALTER COLUMN s SET NOT NULL",
    "ALTER TABLE a ALTER COLUMN s SET NOT NULL",
    "ALTER TABLE public.a ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE a ADD CONSTRAINT c1 UNIQUE (id)",
    "ALTER TABLE a ADD CONSTRAINT c2 UNIQUE (n)",
    "ALTER TABLE a ADD CONSTRAINT c3 UNIQUE NULLS NOT DISTINCT (s, n)",
    "ALTER TABLE a ADD PRIMARY KEY (n)",
    "ALTER TABLE a ADD PRIMARY KEY (id)",
    "CREATE UNIQUE INDEX i1 ON a (n)",
    "CREATE UNIQUE INDEX i2 ON a (lower(s)) WHERE NOT gone",
    "CREATE UNIQUE INDEX IF NOT EXISTS i3 ON a (n)",
    "CREATE UNIQUE INDEX IF NOT EXISTS b_pkey ON a (n)",
    "ALTER TABLE a ADD CONSTRAINT c4 CHECK (n > 0)",
    "ALTER TABLE a ADD CONSTRAINT c5 CHECK (n > 0) NO INHERIT",
    "ALTER TABLE a ADD CONSTRAINT c6 CHECK (n > 0) NOT VALID",
    "ALTER TABLE a ADD CONSTRAINT c7 CHECK (n > 0) NO INHERIT NOT VALID",
    "ALTER TABLE a ADD CONSTRAINT c7b CHECK (length(s) < 5)",
    "ALTER TABLE a ADD CONSTRAINT c8 FOREIGN KEY (k) REFERENCES b (id)",
    "ALTER TABLE a ADD CONSTRAINT c8b FOREIGN KEY (k) REFERENCES b",
    "ALTER TABLE a ADD CONSTRAINT c9 FOREIGN KEY (k) REFERENCES b (id) ON DELETE CASCADE NOT VALID",
    "ALTER TABLE a ADD CONSTRAINT c10 FOREIGN KEY (k) REFERENCES b (id) NOT VALID DEFERRABLE INITIALLY DEFERRED",
    "ALTER TABLE a ADD FOREIGN KEY (k) REFERENCES b (id)",
    "ALTER TABLE down ADD CONSTRAINT d1 UNIQUE (id)",
    "ALTER TABLE down ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE down ADD CHECK (up_id > 1)",
    "ALTER TABLE a ALTER COLUMN s TYPE varchar(3)",
    "ALTER TABLE a ALTER COLUMN s TYPE varchar(3) USING substr(s, 1, 3)",
    "ALTER TABLE a ALTER COLUMN s TYPE varchar(3) USING s::varchar(3)",
    "ALTER TABLE a ALTER COLUMN d TYPE numeric(4, 1)",
    "ALTER TABLE a ALTER COLUMN d TYPE smallint",
    "ALTER TABLE a ALTER COLUMN feel TYPE mood USING feel::mood",
    "ALTER TABLE a ALTER COLUMN feel TYPE mood USING CASE WHEN feel IN ('sad', 'glad') THEN feel::mood END",
    "ALTER TABLE a ALTER COLUMN s TYPE int USING s::int",
    "ALTER TABLE a ALTER COLUMN s TYPE date USING s::date",
    "ALTER TABLE a ALTER COLUMN n TYPE int USING coalesce(n, 0), ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE a ALTER COLUMN n TYPE int USING coalesce(n, 0)",
    "ALTER TABLE a ALTER COLUMN n TYPE int USING abs(n)",
    "ALTER TABLE a DROP COLUMN n, ADD COLUMN n int DEFAULT 1, ADD CHECK (n > 0)",
    "ALTER TABLE a DROP COLUMN n, ADD COLUMN n int DEFAULT 1 NOT NULL",
    "ALTER TABLE a ADD EXCLUDE USING btree (id WITH =)",
    "ALTER TABLE a ADD EXCLUDE USING btree (n WITH =) WHERE (n > 0)",
    "ALTER TABLE lst ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE lst ADD CHECK (n > 1)",
    "ALTER TABLE lst ADD UNIQUE (id)",
    "ALTER TABLE lst ADD UNIQUE (id, n)",
    "ALTER TABLE lst ADD CHECK (id < 5)",
    "ALTER TABLE loose ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE loose ADD UNIQUE (id)",
    "CREATE UNIQUE INDEX i4 ON mv (id)",
    "ALTER TABLE kid ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE kid ADD CHECK (k < 5)",
    "ALTER TABLE gen ADD UNIQUE (twice)",
    "ALTER TABLE gen ALTER COLUMN twice SET NOT NULL",
    "ALTER TABLE gen ADD CHECK (twice > 3)",
    "ALTER TABLE IF EXISTS a ALTER COLUMN n SET NOT NULL",
    'ALTER TABLE "a" ALTER "n" SET NOT NULL',
    "ALTER TABLE a2 ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE other.a ALTER COLUMN n SET NOT NULL",
    "ALTER TABLE a ALTER COLUMN n2 SET NOT NULL",
    "ALTER TABLE lst ATTACH PARTITION loose FOR VALUES IN (5, 6)",
    "ALTER TABLE a ADD COLUMN fresh int NOT NULL",
    "ALTER TABLE a ADD COLUMN fresh2 int UNIQUE DEFAULT 1",
    "ALTER TABLE a VALIDATE CONSTRAINT c6",
    "ALTER TABLE a ADD CONSTRAINT c11 UNIQUE USING INDEX i1",
    "DO $$ BEGIN UPDATE a SET n = 0 WHERE n IS NULL; ALTER TABLE a ALTER n SET NOT NULL; END $$",
    "DO $$ BEGIN ALTER TABLE a ALTER n SET NOT NULL; END $$",
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM a LOOP UPDATE a SET n = r.id WHERE id = r.id; END LOOP; ALTER TABLE a ALTER n SET NOT NULL; END $$",
    "DO $$ BEGIN ALTER TABLE a ALTER n SET NOT NULL; EXCEPTION WHEN not_null_violation THEN NULL; END $$",
)
CHANGES = (
    "UPDATE a SET n = id",
    "UPDATE ONLY a SET n = id * 7, s = 'p'",
    "UPDATE public.a SET n = 5 WHERE n IS NULL OR n < 0",
    "UPDATE \"a\" SET s = 'y'",
    "UPDATE kid SET n = 3, k = 1, id = 77",
    "UPDATE av SET n = id + 3, s = id, k = NULL",
    "UPDATE switch SET lit = true",
    "INSERT INTO switch VALUES (2, true)",
    "UPDATE ruled SET id = 2",
    "UPDATE iv SET id = 3",
    "INSERT INTO iv VALUES (3)",
    "DELETE FROM iv",
    "SELECT mend()",
    "VALUES (mend())",
    "CREATE TABLE t9 AS SELECT mend()",
    "CREATE TEMP TABLE t8 AS SELECT 1",
    "DO $$ BEGIN PERFORM mend(); END $$",
    "EXPLAIN ANALYZE UPDATE a SET n = id + 100, s = id",
    "(SELECT mend())",
    "WITH x AS (DELETE FROM a RETURNING id) SELECT 1 FROM x",
    "DELETE FROM ONLY a",
    "DELETE FROM kid",
    "TRUNCATE a",
    "TRUNCATE ONLY a",
    "TRUNCATE up CASCADE",
    "DELETE FROM up",
    "UPDATE up SET id = id + 10",
    "UPDATE b SET id = id + 5",
    "INSERT INTO b VALUES (7, 'seven'), (9, 'nine')",
    "INSERT INTO b SELECT DISTINCT k, 'v' FROM a WHERE k > 2",
    "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET n = b.id, s = 'm'",
    "MERGE INTO a USING (SELECT 1) AS x ON true WHEN MATCHED THEN DELETE",
    "INSERT INTO a (id, n) VALUES (50, NULL)",
    "ALTER TABLE kid NO INHERIT a",
    "DROP TABLE kid",
    "DROP TABLE a CASCADE",
    "DROP TABLE lst_rest",
    "DROP TABLE IF EXISTS lst_1, lst_2",
    "ALTER TABLE lst DETACH PARTITION lst_1",
    "ALTER TABLE lst DETACH PARTITION lst_rest",
    "ALTER TABLE lst ATTACH PARTITION loose FOR VALUES IN (7)",
    "DROP SCHEMA other CASCADE",
    "TRUNCATE lst_1",
    "UPDATE lst SET n = 4 WHERE n IS NULL",
    "UPDATE lst_1 SET n = 5",
    "DELETE FROM lst_2 WHERE n IS NULL",
    "DELETE FROM loose",
    "REFRESH MATERIALIZED VIEW mv",
    "ALTER TABLE a RENAME TO a2",
    "ALTER TABLE a2 RENAME TO a",
    "ALTER TABLE loose RENAME TO a",
    "ALTER TABLE a RENAME COLUMN n TO n2",
    "ALTER TABLE a RENAME COLUMN id TO n",
    "ALTER TABLE a DROP COLUMN n CASCADE",
    "ALTER TABLE a ADD COLUMN n int DEFAULT 4",
    "ALTER TABLE a DROP COLUMN s CASCADE, ADD COLUMN s text DEFAULT 'd'",
    "CREATE TABLE a (id int, n int, s text, k int)",
    "CREATE TABLE public.a (id int, n int, s text, k int)",
    "CREATE TABLE a2 (id int, n int, s text, k int)",
    "CREATE VIEW a2 AS SELECT 1",
    "ALTER TABLE a SET SCHEMA other",
    "ALTER TABLE other.a SET SCHEMA public",
    "ALTER TABLE other.a RENAME TO a3",
    "ALTER SCHEMA public RENAME TO was",
    "ALTER SCHEMA other RENAME TO public",
    "SET LOCAL search_path = other, public",
    "SELECT set_config('search_path', 'other', true)",
    "CREATE TEMP TABLE a (id int, n int, s text, k int)",
    "ALTER TYPE mood RENAME VALUE 'sad' TO 'angry'",
    "ALTER TYPE mood RENAME TO mood_old",
    "CREATE TYPE mood AS ENUM ('sad', 'glad', 'angry', 'blue')",
    "CREATE TYPE mood_new AS ENUM ('sad', 'glad', 'angry', 'blue')",
    "ALTER TABLE a ALTER COLUMN m TYPE mood_new USING m::text::mood_new",
    "DROP TYPE mood CASCADE",
    "ALTER TYPE mood_new RENAME TO mood",
    "ALTER TYPE mood ADD VALUE 'angry'",
    "CREATE TRIGGER late AFTER INSERT ON b EXECUTE FUNCTION mends()",
    "CREATE RULE late AS ON INSERT TO b DO ALSO UPDATE a SET n = id, s = 'w'",
    "ALTER TABLE gen ALTER COLUMN twice SET EXPRESSION AS (id + 5)",
    "ALTER TABLE gen ALTER COLUMN twice DROP EXPRESSION",
    "UPDATE gen SET n = id",
    "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
    "COMMENT ON TABLE a IS 'a'",
    "ALTER TABLE a ALTER COLUMN n SET DEFAULT 3",
    "ALTER TABLE a ADD COLUMN spare int",
    "CREATE INDEX i9 ON a (n)",
    "GRANT SELECT ON a TO PUBLIC",
    "CREATE TABLE fresh (id int)",
    "CREATE VIEW vv AS SELECT 1 AS one",
    "CREATE SEQUENCE sq",
    "SELECT 1",
    "SAVEPOINT one",
    "ROLLBACK TO SAVEPOINT one",
    "INSERT INTO fresh VALUES (1)",
    "LOCK TABLE a",
)
_OF_ROWS = ("23", "22")


@dataclass(frozen=True)
class Outcome:
    """What a sequence came to: its statements, which one PostgreSQL refused and why, and what was told of each."""

    statements: tuple[str, ...]
    refused: int | None
    why: str
    of_rows: bool
    told: dict[int, str]

    def false_blocks(self) -> list[int]:
        """Statements that were told to fail and went through."""
        end = len(self.statements) if self.refused is None else self.refused
        return [at for at, level in self.told.items() if level == "block" and at < end]

    def missed(self) -> bool:
        """Whether a statement failed on rows, and nothing was told of it."""
        return self.refused is not None and self.of_rows and self.refused not in self.told


def sequence(chance: random.Random) -> tuple[str, ...]:
    """One to four changes with one to three demands, a demand last."""
    changes = [chance.choice(CHANGES) for _ in range(chance.randint(0, 4))]
    demands = [chance.choice(DEMANDS) for _ in range(chance.randint(0, 2))]
    mixed = changes + demands
    chance.shuffle(mixed)
    return (*mixed, chance.choice(DEMANDS))


def refusal(target: Target, statements: tuple[str, ...]) -> tuple[int | None, str, str]:
    """Which of them PostgreSQL refuses, with its code and message; all of it is rolled back."""
    with connected(target) as connection:
        execute(connection, "BEGIN")
        for at, each in enumerate(statements):
            try:
                execute(connection, each.replace("%", "%%"))
            except DatabaseError as error:
                return at, str(error.pgcode), str(error).splitlines()[0]
        execute(connection, "ROLLBACK")
    return None, "", ""


def by_sql(target: Target, statements: tuple[str, ...]) -> list[Hazard]:
    """What the SQL alone tells."""
    with connected(target) as connection:
        set_read_only(connection)
        return unfit_rows(connection, None, {"aa01": ";\n".join(statements) + ";\n"}, {})


def outcome(target: Target, statements: tuple[str, ...], found: list[Hazard]) -> Outcome:
    """Hold what was told against what PostgreSQL does."""
    refused, code, why = refusal(target, statements)
    told: dict[int, str] = {}
    for each in found:
        if each.rule == RULE and each.line:
            at = each.line - 1
            told[at] = "block" if "block" in (each.level, told.get(at)) else each.level
    return Outcome(statements, refused, why, code[:2] in _OF_ROWS, told)


def by_trace(target: Target, empty: ScratchServer, statements: tuple[str, ...]) -> list[Hazard]:
    """What a trace tells, as far as it came."""
    with tempfile.TemporaryDirectory() as directory:
        plan = with_unfit_rows(traced(Path(directory), target, empty, statements))
    lines = {each: at + 1 for at, each in reversed(list(enumerate(statements)))}
    found = []
    for hazard in plan.all_hazards:
        at = next(
            (at for text, at in lines.items() if text in plan.pending[0].sql.splitlines()[hazard.line - 1]), 0
        )
        found.append(replace(hazard, line=at))
    return found


@contextlib.contextmanager
def small_tables(major: int) -> Iterator[Target]:
    """The small tables on a server of this major."""
    with scratch_server((major,)) as server:
        with connected(server.target) as connection:
            execute(connection, "CREATE DATABASE app")
        target = server.target.with_database("app")
        with connected(target) as connection:
            execute(connection, SCHEMA)
        yield target


def main() -> int:
    """Run sequences; the number of false blocks is the exit code's business."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("major", type=int)
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--missed", action="store_true", help="print those too that fail and are not told")
    parser.add_argument("--traced", action="store_true")
    given = parser.parse_args()
    chance, count = random.Random(given.seed), Counter[str]()
    with small_tables(given.major) as target, scratch_server((given.major,)) as empty:
        for _ in range(given.sequences):
            statements = sequence(chance)
            told = by_trace(target, empty, statements) if given.traced else by_sql(target, statements)
            found = outcome(target, statements, told)
            count["sequences"] += 1
            count["refused for rows"] += found.of_rows
            count["of these blocked"] += found.of_rows and found.told.get(found.refused or 0) == "block"
            count["missed"] += found.missed()
            count["false blocks"] += bool(found.false_blocks())
            if found.false_blocks() or (given.missed and found.missed()):
                print("FALSE BLOCK" if found.false_blocks() else "MISSED", found.why)
                for at, each in enumerate(statements):
                    print(f"    {found.told.get(at, ''):8}{each}")
    print(dict(count))
    return 1 if count["false blocks"] else 0


if __name__ == "__main__":
    sys.exit(main())
