"""Journals that somebody forged: what they keep as a revision's text is refused or harmless, and never runs unasked."""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.environments import Environment
from pgops.errors import PgopsError
from pgops.migrations.plan import carried
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.postgres import Target, connected, execute
from tests.support.projects import AlembicProject, heads, migrate
from tests.support.sql import run_sql

MARK = Path(tempfile.gettempdir()) / f"pgops-forged-{hashlib.sha256(str(id(sys)).encode()).hexdigest()[:12]}"


def evil(revision: str = "aa03", down: str | None = "aa02") -> str:
    """A revision file that shows that it was run."""
    return (
        f"import pathlib\npathlib.Path({str(MARK)!r}).touch()\n"
        f"revision = {revision!r}\ndown_revision = {down!r}\n"
        "def upgrade(): pass\ndef downgrade(): pass\n"
    )


def keep(text: str, revision: str = "aa03") -> str:
    """SQL that makes the journal keep another text, its hash and all: what only a trusted role can do."""
    found = hashlib.sha256(text.encode()).hexdigest()
    return (
        f"INSERT INTO pgops.files VALUES ('{found}', decode('{text.encode().hex()}', 'hex')) ON CONFLICT DO NOTHING;"
        f"UPDATE pgops.revisions SET file_hash = '{found}' WHERE revision = '{revision}'"
    )


EVIL = f"decode('{evil().encode().hex()}', 'hex')"


@pytest.fixture
def older(tmp_path: Path, database: Target) -> Iterator[Environment]:
    """A database at aa03, and a checkout that knows aa01 only."""
    alembic = AlembicProject.make(tmp_path)
    alembic.chain("aa01", "aa02", "aa03")
    environment = alembic.environment(database)
    migrate(environment, database)
    for each in ("aa02", "aa03"):
        (file,) = (tmp_path / "migrations" / "versions").glob(f"*{each}*")
        file.unlink()
    MARK.unlink(missing_ok=True)
    yield environment
    assert not MARK.exists(), "what somebody wrote into the journal was run"
    assert heads(database) == {"aa03"}


def down(environment: Environment, target: Target) -> Plan:
    """Look at the way back; to render its SQL, the files are loaded."""
    return make_plan(environment, target, to="base", action="downgrade")


@pytest.fixture
def mallory(database: Target) -> Iterator[str]:
    name = "mallory_of_the_files"
    run_sql(database, f"CREATE ROLE {name}")
    yield name
    run_sql(database, f"DROP OWNED BY {name} CASCADE")
    run_sql(database, f"DROP ROLE {name}")


PLANTED = {
    "a view in place of the table": (
        "ALTER TABLE pgops.files RENAME TO kept; CREATE VIEW pgops.files AS "
        f"SELECT hash, CASE WHEN convert_from(content, 'UTF8') LIKE '%aa03%' THEN {EVIL} ELSE content END AS content FROM pgops.kept",
        "pgops.files is not a plain table",
    ),
    "a child with rows of its own": (
        "CREATE TABLE public.more () INHERITS (pgops.files)",
        "pgops.files inherits, or is inherited from",
    ),
    "row security": ("ALTER TABLE pgops.files ENABLE ROW LEVEL SECURITY", "pgops.files has row security"),
    "a trigger": (
        "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
        "CREATE TRIGGER t BEFORE INSERT ON pgops.files FOR EACH ROW EXECUTE FUNCTION public.f()",
        "pgops.files has trigger t",
    ),
    "a rule": (
        "CREATE RULE r AS ON INSERT TO pgops.files DO ALSO NOTHING",
        "pgops.files has rule r",
    ),
    "a default of somebody's": (
        "CREATE FUNCTION public.g() RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;"
        "ALTER TABLE pgops.files ALTER content SET DEFAULT public.g()",
        "pgops.files uses function public.g()",
    ),
    "another owner": ("ALTER TABLE pgops.files OWNER TO {mallory}", "pgops.files belongs to {mallory}"),
    "somebody who may write": (
        "GRANT USAGE ON SCHEMA pgops TO {mallory}; GRANT UPDATE (content) ON pgops.files TO {mallory}",
        "{mallory} may write to pgops.files",
    ),
    "somebody who may write to everything": (
        "GRANT pg_write_all_data TO {mallory}",
        "{mallory} may write to every table (pg_write_all_data), the journal's too",
    ),
    "somebody whose group may write to everything": (
        "CREATE ROLE writers_of_all; GRANT pg_write_all_data TO writers_of_all; GRANT writers_of_all TO {mallory}",
        "{mallory}",
    ),
    "another text": (
        f"ALTER TABLE pgops.files DROP CONSTRAINT files_check; UPDATE pgops.files SET content = {EVIL}",
        "is not the one that was applied",
    ),
    "no text": ("DELETE FROM pgops.files", "the journal has not kept the text of revision aa03"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_somebody_planted_is_refused(
    older: Environment, database: Target, mallory: str, planted: str
) -> None:
    statement, said = (each.replace("{mallory}", mallory) for each in PLANTED[planted])
    run_sql(database, statement)
    try:
        with pytest.raises(PgopsError) as refused:
            down(older, database)
        assert said in refused.value.message
    finally:
        run_sql(database, "DROP ROLE IF EXISTS writers_of_all")


GRAPHS = {
    "of another revision": (
        keep(evil("aa09")),
        "the text that the journal keeps as revision aa03 is of aa09",
    ),
    "on nothing known": (
        keep(evil(down="zz99")),
        "revision zz99 is neither in this checkout nor on record in the journal",
    ),
    "on itself": (keep(evil(down="aa03")), "aa03"),
    "in a circle": (f"{keep(evil(down='aa02'))};{keep(evil('aa02', 'aa03'), 'aa02')}", "aa0"),
    "computed": (
        keep("revision = ''.join(['aa', '03'])\ndown_revision = 'aa02'\n"),
        "revision aa03 computes its identifiers",
    ),
    "not Python": (keep("revision = 'aa03'\ndown_revision = (\n"), "aa03"),
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_that_can_not_be_is_refused_before_a_file_is_loaded(
    older: Environment, database: Target, graph: str
) -> None:
    statement, said = GRAPHS[graph]
    run_sql(database, statement)
    with pytest.raises(PgopsError) as refused:
        down(older, database)
    assert said in refused.value.message, refused.value


def test_what_the_checkout_has_is_the_checkouts(older: Environment, database: Target) -> None:
    run_sql(database, keep(evil("aa01", None), "aa01"))
    found = down(older, database)
    assert [(each.revision, each.kept is not None) for each in found.pending] == [
        ("aa03", True),
        ("aa02", True),
        ("aa01", False),
    ]


def test_functions_on_the_search_path_are_not_called(older: Environment, database: Target) -> None:
    for name in (
        "sha256(bytea)",
        "to_regclass(text)",
        "has_table_privilege(text, text)",
        "convert_from(bytea, text)",
    ):
        run_sql(
            database,
            f"CREATE FUNCTION public.{name} RETURNS bytea LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'somebody else''s code runs'; END $$",
        )
    run_sql(database, f'ALTER DATABASE "{database.dbname}" SET search_path = public, pg_catalog')
    assert len(down(older, database).pending) == 3


NAMES = [
    "../../../../../tmp/pgops_climbs.py",
    "/tmp/pgops_absolute.py",
    "..",
    "",
    "/",
    ".#aa03.py",
    "__init__.py",
    "a\nb.py",
    "ü.py",
    "aa03.pyc",
    "x" * 400 + ".py",
    "migrations/versions/aa01.py",
    "env.py",
    "\x1b[31m.py",
]


def test_a_name_leads_nowhere_but_into_the_directory_of_ones_own(
    older: Environment, database: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, text: (written.append(path), write(path, text))[1])
    for name in NAMES:
        with connected(database) as connection:
            execute(connection, "UPDATE pgops.revisions SET file = %s WHERE revision = 'aa03'", (name,))
        found = down(older, database)
        assert [each.revision for each in found.pending] == ["aa03", "aa02", "aa01"], name
    assert len(written) == 2 * len(NAMES)
    assert {each.resolve().parent.parent for each in written} == {carried._directory().resolve()}
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]*\.py", each.name) for each in written)


def test_a_link_is_not_followed(older: Environment, database: Target, tmp_path: Path) -> None:
    """Nobody else can make one in a directory of 0700; somebody who is us could have."""
    (victim := tmp_path / "victim.py").write_text("precious")
    first = down(older, database).pending[0].file
    first.unlink()
    first.symlink_to(victim)
    assert down(older, database).pending[0].file == first
    assert victim.read_text() == "precious"


def test_two_histories_may_have_a_revision_of_the_same_name(older: Environment, database: Target) -> None:
    before = [each.file for each in down(older, database).pending]
    run_sql(
        database,
        keep("revision = 'aa03'\ndown_revision = 'aa02'\ndef upgrade(): pass\ndef downgrade(): pass\n"),
    )
    after = [each.file for each in down(older, database).pending]
    assert before[:2] != after[:2]
    assert all(each.exists() for each in (*before, *after)), (
        "a plan's files have to be there until its run is over"
    )


def test_a_commit_that_is_none_is_not_for_pasting(older: Environment, database: Target) -> None:
    run_sql(database, "DELETE FROM pgops.files")
    for commit in ("$(reboot)", "; rm -rf ~", "--help", "abc1234"):
        with connected(database) as connection:
            execute(connection, "UPDATE pgops.runs SET git_commit = %s", (commit,))
        with pytest.raises(PgopsError) as refused:
            down(older, database)
        assert (commit in refused.value.hint) is (commit == "abc1234"), refused.value.hint
