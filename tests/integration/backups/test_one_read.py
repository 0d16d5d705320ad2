"""Each table is read once: the server reads it as for pg_dump, and the archive says how many rows there are."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.database import inventory
from pgops.backups.dump import create as making
from pgops.backups.dump.dump import Dumped, dump
from pgops.backups.repository import open_repository
from pgops.backups.verify.archive import count_rows
from pgops.backups.verify.reading import ProblemsError
from pgops.pgtools import Toolset, check, embedded_tools, run
from pgops.postgres import Target, connected, fetch_all, fetch_value, identifier
from tests.conftest import fresh_database
from tests.support.backups import ODD_SQL, environment_for
from tests.support.sql import run_sql

COUNTED = (
    *ODD_SQL,
    # No columns to write, yet rows.
    "CREATE TABLE bare ()",
    "INSERT INTO bare SELECT FROM generate_series(1, 7)",
    "CREATE TABLE computed (a int GENERATED ALWAYS AS (1 + 1) STORED)",
    "INSERT INTO computed SELECT FROM generate_series(1, 3)",
    # pg_dump loads these through their root: which of them rows belong to is not in the COPY.
    "CREATE TABLE moods (m mood) PARTITION BY HASH (m)",
    "CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    "INSERT INTO moods SELECT (ARRAY['sad', 'ok', 'it''s'])[1 + g % 3]::mood FROM generate_series(1, 50) g",
    # Shown alike on one line.
    'CREATE TABLE "one\nname" AS SELECT g FROM generate_series(1, 5) g',
    'CREATE TABLE "one name" AS SELECT g FROM generate_series(1, 6) g',
    # Rows that look like what is between the rows.
    "CREATE TABLE forged (t text)",
    r"INSERT INTO forged VALUES (E'\n\\.\n\n\n--\n-- TOC entry 1 (class 0 OID 1)\nCOPY a (b) FROM stdin;\n'), ('\.'), ('')",
    "CREATE TABLE long AS SELECT repeat(md5(g::text), 20000) AS t FROM generate_series(1, 9) g",
    "CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA",
)


@pytest.fixture(scope="module")
def odd(server: Target) -> Iterator[Target]:
    with fresh_database(server) as target:
        run_sql(target, *COUNTED)
        yield target


@pytest.fixture
def tools() -> Toolset:
    (found,) = embedded_tools(18)
    return found


def by_server(target: Target) -> dict[tuple[str, str], int | None]:
    """Rows of every table, as the server counts them; those that a dump has as definitions have none."""
    with connected(target) as connection:
        found = fetch_all(
            connection,
            "SELECT n.nspname::text, c.relname::text, c.relkind::text"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm', 'f') AND c.oid >= 16384",
        )
        counts: dict[tuple[str, str], int | None] = {}
        for schema, name, kind in found:
            sql = f"SELECT count(*) FROM ONLY {identifier(schema, name)}"
            counts[schema, name] = fetch_value(connection, sql) if kind == "r" else None
        return counts


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_manifest_has_the_servers_own_counts(
    odd: Target, tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgops.backups.verify.archive._SPLIT_FROM", 0)
    backup = making.create(environment_for(odd, tmp_path, jobs=jobs), odd)
    assert {(each.schema, each.name): each.rows for each in backup.manifest.tables} == by_server(odd)


def test_a_table_without_data_in_the_archive_makes_no_backup(
    odd: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read in shares goes by the files that are there: one that is not is missed by its table."""

    def forgetful(*arguments: object, directory: Path, **keywords: object) -> Dumped:
        dumped = dump(*arguments, directory=directory, **keywords)  # type: ignore[arg-type]
        max((directory / "dump").glob("[0-9]*.dat*"), key=lambda each: each.stat().st_size).unlink()
        return dumped

    monkeypatch.setattr("pgops.backups.verify.archive._SPLIT_FROM", 0)
    monkeypatch.setattr(making, "dump", forgetful)
    environment = environment_for(odd, tmp_path, jobs=3)
    with pytest.raises(ProblemsError, match=r'dump/toc.dat: it has no data of table "public"."long"'):
        making.create(environment, odd)
    assert open_repository(environment).ids() == []


def test_an_archive_that_breaks_off_is_told_by_pg_restores_own_words(
    odd: Target, tmp_path: Path, tools: Toolset
) -> None:
    backup = making.create(environment_for(odd, tmp_path), odd)
    root = Path(backup.path)
    victim = max((root / "dump").glob("[0-9]*.dat.gz"), key=lambda each: each.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-50])
    (problem,) = count_rows(tools, root).problems
    assert problem.startswith("dump: pg_restore can't read the archive to its end: pg_restore: error: ")


# what the server has to read


@contextlib.contextmanager
def quiet(server: Target, *statements: str) -> Iterator[Target]:
    """A database that nobody else reads meanwhile, autovacuum neither."""
    with fresh_database(server) as target:
        run_sql(target, *statements)
        run_sql(target, "VACUUM (FREEZE, ANALYZE)")
        yield target


def left(target: Target) -> Target:
    """The target when every session in it has ended, and has told what it read."""
    with connected(target.with_database("postgres")) as connection:
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        deadline = time.monotonic() + 60
        while fetch_value(connection, sessions, (target.dbname,)):
            assert time.monotonic() < deadline, "somebody is still connected"
            time.sleep(0.02)
    return target


def blocks(target: Target) -> int:
    """Blocks of the tables' rows that ended sessions have asked for, from the disk or not; out of line ones too."""
    with connected(left(target)) as connection:
        sql = (
            "SELECT sum(heap_blks_read + heap_blks_hit + coalesce(toast_blks_read + toast_blks_hit, 0))::bigint"
            " FROM pg_statio_user_tables"
        )
        return int(str(fetch_value(connection, sql)))


def all_blocks(target: Target) -> int:
    """Blocks of the whole database that ended sessions have asked for."""
    with connected(left(target).with_database("postgres")) as connection:
        sql = "SELECT blks_read + blks_hit FROM pg_stat_database WHERE datname = %s"
        return int(str(fetch_value(connection, sql, (target.dbname,))))


OFF = "WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off)"


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_server_reads_every_table_once_as_for_pg_dump(
    server: Target, tmp_path: Path, tools: Toolset, jobs: int
) -> None:
    with quiet(
        server,
        f"CREATE TABLE large {OFF} AS SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 50000) g",
        f"CREATE TABLE wide (t text STORAGE EXTERNAL) {OFF}",
        "INSERT INTO wide SELECT repeat('x', 20000) FROM generate_series(1, 300)",
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('abc')",
    ) as target:
        begun = blocks(target)
        stock = ["pg_dump", "--format=directory", f"--jobs={jobs}", f"--file={tmp_path / 'stock'}"]
        check(run(tools.runner, stock, target=target, paths=[tmp_path]))
        between = blocks(target)
        making.create(environment_for(target, tmp_path, jobs=jobs), target)
        ended = blocks(target)
    assert between - begun > 2500
    # One block more: the look at Alembic's heads.
    assert 0 <= (ended - between) - (between - begun) <= 1


def test_what_is_asked_of_the_catalogues_hardly_grows_with_the_number_of_tables(server: Target) -> None:
    """pg_dump asks for some ninety blocks of the catalogues for each table."""

    def cost(tables: int) -> int:
        statements = [f"CREATE TABLE t{n} (id int PRIMARY KEY, t text) {OFF}" for n in range(tables)]
        statements += [f"INSERT INTO t{n} VALUES (1)" for n in range(tables)]
        with quiet(server, *statements) as target:
            before = all_blocks(target)
            with connected(target) as connection:
                found = inventory.relations(connection)
                inventory.alembic_heads(connection, found)
                inventory.beside(connection)
            return all_blocks(target) - before

    few, many = cost(10), cost(210)
    assert (many - few) / 200 < 3


def test_a_tables_size_is_known_whoever_looked_after_it(server: Target) -> None:
    wide = "SELECT g, repeat(md5(g::text), 8) AS t FROM generate_series(1, 5000) g"
    with quiet(
        server,
        f"CREATE TABLE still {OFF} AS {wide}",
        f"CREATE TABLE grown {OFF} AS {wide}",
        f"CREATE TABLE apart (t text STORAGE EXTERNAL) {OFF}",
        "INSERT INTO apart SELECT repeat('x', 20000) FROM generate_series(1, 100)",
    ) as target:
        run_sql(
            target,
            f"INSERT INTO grown {wide}",
            f"CREATE TABLE fresh {OFF} AS {wide}",
            f"CREATE TABLE late (t text STORAGE EXTERNAL) {OFF}",
            "INSERT INTO late SELECT repeat('x', 20000) FROM generate_series(1, 100)",
            # That looks at the table and not at the values that lie apart.
            "ANALYZE late",
        )
        with connected(left(target)) as connection:
            sizes = {each.name: each.bytes for each in inventory.relations(connection)}
            exact = dict(
                fetch_all(
                    connection,
                    "SELECT relname::text, pg_table_size(oid) FROM pg_class"
                    " WHERE relkind = 'r' AND oid >= 16384",
                )
            )
    assert {name: round(sizes[name] / exact[name], 1) for name in sizes} == dict.fromkeys(exact, 1.0)
