"""What a full read can't see is told when the backup is taken, with the statement that mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgops.backups.repository import Backup
from pgops.pgtools import ToolError
from pgops.postgres import Target
from tests.support.restores import back_up, put_back, restorable, small_data
from tests.support.sql import run_sql

PLPGSQL = "LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM 1 FROM allowed; RETURN true; END'"

NEEDS_A_PATH = {
    "check": (
        f"CREATE FUNCTION public.f(int) RETURNS boolean {PLPGSQL}",
        "CREATE TABLE t (a int CHECK (f(a)))",
    ),
    "domain": (
        f"CREATE FUNCTION public.f(int) RETURNS boolean {PLPGSQL}",
        "CREATE DOMAIN d AS int CHECK (f(VALUE))",
        "CREATE TABLE t (a d)",
    ),
    "index": (
        f"CREATE FUNCTION public.f(int) RETURNS boolean {PLPGSQL}",
        "CREATE TABLE t (a int)",
        "CREATE INDEX ON t (f(a))",
    ),
    "predicate": (
        f"CREATE FUNCTION public.f(int) RETURNS boolean {PLPGSQL}",
        "CREATE TABLE t (a int)",
        "CREATE INDEX ON t (a) WHERE f(a)",
    ),
    "generated": (
        f"CREATE FUNCTION public.f(int) RETURNS boolean {PLPGSQL}",
        "CREATE TABLE t (a int, b boolean GENERATED ALWAYS AS (f(a)) STORED)",
    ),
    "matview": (
        f"CREATE FUNCTION public.f(int) RETURNS boolean {PLPGSQL}",
        "CREATE TABLE t (a int)",
        "CREATE MATERIALIZED VIEW m AS SELECT f(a) FROM t",
    ),
    "matview over a view": (
        f"CREATE FUNCTION public.f(int) RETURNS boolean {PLPGSQL}",
        "CREATE TABLE t (a int)",
        "CREATE VIEW v AS SELECT f(a) AS b FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM v",
    ),
    "operator": (
        f"CREATE FUNCTION public.f(int, int) RETURNS boolean {PLPGSQL}",
        "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = f)",
        "CREATE TABLE t (a int CHECK (a === 1))",
    ),
    "called by another": (
        f"CREATE FUNCTION public.f(int) RETURNS boolean {PLPGSQL}",
        "CREATE FUNCTION public.g(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT public.f($1)'",
        "CREATE TABLE t (a int CHECK (g(a)))",
    ),
    "sql": (
        "CREATE FUNCTION public.helper(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0'",
        "CREATE FUNCTION public.f(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT helper($1)'",
        "CREATE TABLE t (a int CHECK (f(a)))",
    ),
    "cast": (
        "CREATE TYPE p AS (a int)",
        "CREATE FUNCTION public.f(p) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM 1 FROM allowed; RETURN $1.a; END'",
        "CREATE CAST (p AS int) WITH FUNCTION f(p)",
        "CREATE TABLE t (a p CHECK ((a::int) > 0))",
    ),
}


def hindrances(backup: Backup) -> list[str]:
    """What is told about restoring; the tools are another matter."""
    return [each for each in backup.manifest.warnings if not each.startswith("pg_dump ")]


@pytest.mark.parametrize("name", NEEDS_A_PATH)
def test_what_needs_a_search_path_is_told_and_the_statement_mends_it(
    server: Target, tmp_path: Path, name: str
) -> None:
    with restorable(server, "hinder") as target:
        small_data(target)
        rows = "(ROW(1)::p)" if name == "cast" else "(1)"
        run_sql(
            target, "CREATE TABLE allowed (a int)", *NEEDS_A_PATH[name], f"INSERT INTO t (a) VALUES {rows}"
        )
        repository, backup = back_up(target, tmp_path)
        told = [each for each in backup.manifest.warnings if "a restore has no search_path" in each]
        assert len(told) == 1, backup.manifest.warnings
        with pytest.raises(ToolError):
            put_back(target, repository, backup)
        mend = re.search(r"ALTER FUNCTION .*;", told[0])
        assert mend is not None
        run_sql(target, mend.group())
        repository, backup = back_up(target, tmp_path)
        assert not [each for each in backup.manifest.warnings if "search_path" in each]
        put_back(target, repository, backup)


def test_a_check_that_looks_at_another_table_is_told(server: Target, tmp_path: Path) -> None:
    with restorable(server, "hinder") as target:
        run_sql(
            target,
            "CREATE TABLE zz_allowed (a int)",
            "INSERT INTO zz_allowed VALUES (1)",
            "CREATE FUNCTION ok(int) RETURNS boolean LANGUAGE plpgsql SET search_path = public AS"
            " 'BEGIN RETURN EXISTS (SELECT FROM zz_allowed WHERE a = $1); END'",
            "CREATE TABLE t (a int CONSTRAINT listed CHECK (ok(a)))",
            "INSERT INTO t VALUES (1)",
        )
        _repository, backup = back_up(target, tmp_path)
        (told,) = [each for each in backup.manifest.warnings if "may not be there yet" in each]
        assert told.startswith("CHECK listed of public.t looks at zz_allowed")
        mend = re.search(r"ALTER TABLE .*NOT VALID;", told)
        assert mend is not None
        run_sql(target, *mend.group().split("; "))
        repository, backup = back_up(target, tmp_path)
        assert hindrances(backup) == []
        put_back(target, repository, backup)


def test_a_database_without_such_things_has_no_warning(server: Target, tmp_path: Path) -> None:
    with restorable(server, "hinder") as target:
        small_data(target)
        run_sql(
            target,
            "CREATE FUNCTION plain(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)'",
            "CREATE INDEX ON knowledge (plain(content))",
            "CREATE FUNCTION own(t text) RETURNS boolean LANGUAGE plpgsql SET search_path = public AS"
            " 'BEGIN RETURN t IS NOT NULL; END'",
            "ALTER TABLE knowledge ADD CHECK (own(content))",
            "CREATE FUNCTION unused() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM knowledge'",
        )
        repository, backup = back_up(target, tmp_path)
        assert hindrances(backup) == []
        put_back(target, repository, backup)


def test_an_extension_without_its_files_is_told(server: Target, tmp_path: Path) -> None:
    with restorable(server, "hinder") as target:
        run_sql(
            target,
            "CREATE EXTENSION hstore",
            "UPDATE pg_extension SET extname = 'gone' WHERE extname = 'hstore'",
        )
        _repository, backup = back_up(target, tmp_path)
        assert hindrances(backup) == [
            'extension "gone" is installed and its files are not on this server: no restore here can make it; '
            'install its package, or DROP EXTENSION "gone";',
        ]
