"""Proof by restoring, on a real server, with data that is awkward and with data that was spoilt on the way."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pgops.backups.repository import load
from pgops.backups.verify.proof import SCRATCH, prove
from pgops.errors import BlockedError
from pgops.postgres import Target
from tests.conftest import fresh_database
from tests.support.odd_database import make_odd
from tests.support.restores import back_up, databases, restorable, small_data
from tests.support.sql import run_sql, value

LATER = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
COMPARING_CONTENT = "comparing the content of every table"


def scratch_databases(server: Target) -> set[str]:
    return databases(server.with_database(SCRATCH))


def test_an_odd_database_is_proven_and_nothing_is_left(server: Target, tmp_path: Path) -> None:
    with fresh_database(server, "proof") as target:
        make_odd(target)
        run_sql(target, "ALTER DATABASE " + target.dbname + " SET timezone TO 'Asia/Kathmandu'")
        repository, backup = back_up(target, tmp_path)
    roles = value(server, "SELECT string_agg(rolname, ' ' ORDER BY 1) FROM pg_roles")

    proof = prove(repository, backup, server, now=LATER, jobs=2)

    assert proof.problems == ()
    assert (proof.method, proof.ok, proof.seconds > 0) == ("restore", True, True)
    assert scratch_databases(server) == set()
    assert value(server, "SELECT string_agg(rolname, ' ' ORDER BY 1) FROM pg_roles") == roles
    recorded = load(repository, backup.id)
    assert recorded.proofs[-1] == proof
    assert recorded.verified


ORDINARY = (
    'CREATE TABLE prices (id integer, "price (eur)" integer, "a ""b"" (c" text)',
    "INSERT INTO prices VALUES (1, 250, 'x'), (2, 300, NULL)",
    "CREATE TABLE without_columns ()",
    "INSERT INTO without_columns DEFAULT VALUES",
    "INSERT INTO without_columns DEFAULT VALUES",
    'CREATE TABLE "it\'s (a) table. FROM stdin;\n" (v integer)',
    'INSERT INTO "it\'s (a) table. FROM stdin;\n" VALUES (1)',
    'CREATE SEQUENCE "a\nCOPY public.prices (id) FROM stdin;\n"',
)


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SQL_ASCII"])
def test_names_with_parentheses_and_tables_without_columns_are_proven(
    server: Target, tmp_path: Path, encoding: str
) -> None:
    with restorable(server, "proof", encoding=encoding) as target:
        run_sql(target, *ORDINARY)
        repository, backup = back_up(target, tmp_path)
    assert prove(repository, backup, server, now=LATER, jobs=2).problems == ()


def test_names_are_read_in_the_archives_encoding_and_shown_in_it(server: Target, tmp_path: Path) -> None:
    with restorable(server, "proof", encoding="LATIN1") as target:
        run_sql(target, 'CREATE TABLE café ("prix (é)" text)', "INSERT INTO café VALUES ('été'), ('hiver')")
        repository, backup = back_up(target, tmp_path)

    assert prove(repository, backup, server, now=LATER, jobs=2).problems == ()

    def spoil(step: str) -> None:
        if step == COMPARING_CONTENT:
            (name,) = scratch_databases(server)
            run_sql(server.with_database(name), "UPDATE café SET \"prix (é)\" = 'ete'")

    proof = prove(repository, backup, server, now=LATER, jobs=2, step=spoil)
    assert proof.problems == ('the rows of public."café" are not those of the archive',)


def test_rows_that_an_enums_new_oid_puts_into_another_partition_are_not_lost(
    server: Target, database: Target, tmp_path: Path
) -> None:
    moods = ", ".join(f"'mood {n}'" for n in range(40))
    run_sql(
        database,
        f"CREATE TYPE mood AS ENUM ({moods})",
        'CREATE TABLE "by mood" ("mood (now)" mood, "n, m" integer) PARTITION BY HASH ("mood (now)")',
        'CREATE TABLE mood_0 PARTITION OF "by mood" FOR VALUES WITH (MODULUS 2, REMAINDER 0)',
        'CREATE TABLE mood_1 PARTITION OF "by mood" FOR VALUES WITH (MODULUS 2, REMAINDER 1)'
        ' PARTITION BY LIST ("mood (now)")',
        "CREATE TABLE mood_1_rest PARTITION OF mood_1 DEFAULT",
        """INSERT INTO "by mood" SELECT each, (n - 1) ^ 3 FROM unnest(enum_range(NULL::mood)) WITH ORDINALITY AS e (each, n)""",
    )
    repository, backup = back_up(database, tmp_path)
    assert prove(repository, backup, server, now=LATER, jobs=2).problems == ()


def test_content_that_no_encoding_knows_is_proven(server: Target, tmp_path: Path) -> None:
    with restorable(server, "proof", encoding="SQL_ASCII") as target:
        run_sql(
            target,
            "CREATE TABLE mixed (v text)",
            "INSERT INTO mixed VALUES (E'caf\\xe9'), (E'caf\\xc3\\xa9'), (E'\\xff\\xfe')",
        )
        repository, backup = back_up(target, tmp_path)
    assert prove(repository, backup, server, now=LATER, jobs=2).problems == ()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            "UPDATE knowledge SET content = 'entry 8' WHERE id = 7",
            "the rows of public.knowledge are not those of the archive",
        ),
        ("SELECT lo_put(max(oid), 3, 'X') FROM pg_largeobject_metadata", "large object"),
    ],
)
def test_a_content_that_differs_is_found_and_named(
    server: Target, database: Target, tmp_path: Path, spoil: str, said: str
) -> None:
    small_data(database)
    run_sql(database, "SELECT lo_from_bytea(0, 'twelve bytes')")
    repository, backup = back_up(database, tmp_path)

    def disturb(step: str) -> None:
        if step == COMPARING_CONTENT:
            (name,) = scratch_databases(server)
            run_sql(server.with_database(name), spoil)

    proof = prove(repository, backup, server, now=LATER, jobs=2, step=disturb)

    assert len(proof.problems) == 1
    assert said in proof.problems[0]
    assert not load(repository, backup.id).verified
    assert scratch_databases(server) == set()


def test_rows_in_another_order_are_the_same_rows(server: Target, database: Target, tmp_path: Path) -> None:
    small_data(database)
    repository, backup = back_up(database, tmp_path)

    def shuffle(step: str) -> None:
        if step == COMPARING_CONTENT:
            (name,) = scratch_databases(server)
            run_sql(server.with_database(name), "UPDATE knowledge SET content = content WHERE id % 3 = 0")

    assert prove(repository, backup, server, now=LATER, jobs=2, step=shuffle).problems == ()


def test_roles_that_the_scratch_server_lacks_are_made_and_removed(
    server: Target, database: Target, tmp_path: Path
) -> None:
    small_data(database)
    run_sql(
        database,
        'CREATE ROLE "proof owner"',
        'ALTER TABLE knowledge OWNER TO "proof owner"',
        'CREATE POLICY p ON knowledge TO "proof owner" USING (true)',
    )
    repository, backup = back_up(database, tmp_path)
    run_sql(database, 'DROP OWNED BY "proof owner"', 'DROP ROLE "proof owner"')

    proof = prove(repository, backup, server, now=LATER, jobs=2)

    assert proof.problems == ()
    assert value(server, "SELECT count(*) FROM pg_roles WHERE rolname = 'proof owner'") == 0


def test_a_damaged_file_is_found_without_restoring(server: Target, database: Target, tmp_path: Path) -> None:
    small_data(database)
    repository, backup = back_up(database, tmp_path)
    (tmp_path / "test" / backup.id / "dump" / "toc.dat").write_bytes(b"PGDMP")
    proof = prove(repository, backup, server, now=LATER, jobs=2)
    assert any("dump/toc.dat" in each for each in proof.problems)


def test_a_server_without_the_extension_is_refused_and_the_backup_not_blamed(
    server: Target, database: Target, tmp_path: Path
) -> None:
    import dataclasses

    from pgops.backups.manifest.manifest import Extension

    small_data(database)
    repository, backup = back_up(database, tmp_path)
    manifest = dataclasses.replace(
        backup.manifest, extensions=(*backup.manifest.extensions, Extension("postgis", "3.4", "public"))
    )
    with pytest.raises(BlockedError) as caught:
        prove(repository, dataclasses.replace(backup, manifest=manifest), server, now=LATER, jobs=2)
    assert "extension postgis 3.4 is not available" in caught.value.message
    assert load(repository, backup.id).verified
