"""A release is rolled back with the code of the day before: the journal has the revision files that it lacks."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pgops.postgres import Target, connected, execute, fetch_all, fetch_value
from tests.conftest import ProjectDirectory
from tests.support.projects import AlembicProject, heads, tables

# The journal as a pgops left it that did not keep texts yet.
BEFORE_TEXTS_WERE_KEPT = (
    "ALTER TABLE pgops.runs DROP COLUMN history, DROP COLUMN written, DROP COLUMN approval, "
    "DROP COLUMN restore_point; DROP TABLE pgops.files; "
    "UPDATE pgops.journal SET version = 3"
)


def files(alembic: AlembicProject, *revisions: str) -> list[Path]:
    versions = alembic.path / "migrations" / "versions"
    return [file for each in revisions for file in versions.glob(f"*{each}*.py")]


def forget(alembic: AlembicProject, *revisions: str) -> None:
    """Make the checkout older: these files are of tomorrow."""
    found = files(alembic, *revisions)
    assert len(found) == len(revisions)
    for file in found:
        file.unlink()


@pytest.fixture
def older(project: ProjectDirectory, alembic: AlembicProject) -> AlembicProject:
    """A database at aa03, and a checkout that knows aa01 only."""
    migrated = project.run("migrate", "--yes")
    assert migrated.code == 0, migrated
    forget(alembic, "aa02", "aa03")
    return alembic


def test_each_text_is_kept_once_by_its_hash(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    texts = {each.read_bytes() for each in files(alembic, "aa01", "aa02", "aa03")}
    assert project.run("migrate", "--yes").code == 0
    assert project.run("migrate.down", "--to=aa01", "--confirm=staging").code == 0
    assert project.run("migrate", "--yes").code == 0

    with connected(database) as connection:
        kept = fetch_all(connection, "SELECT hash, content FROM pgops.files")
    assert {bytes(content) for _, content in kept} == texts
    assert len(kept) == 3
    assert all(hashlib.sha256(content).hexdigest() == found for found, content in kept)


@pytest.mark.usefixtures("older")
def test_what_is_pending_is_not_known_where_the_database_is_ahead(project: ProjectDirectory) -> None:
    """aa01 is applied, and this checkout can't see that aa03 builds on it."""
    for task in ("migrate.status", "status"):
        shown = project.run(task)
        (row,) = [line for line in shown.out.splitlines() if line.startswith("staging ")]
        assert "  ?  " in row, shown
        assert "ahead of this code: aa03" in shown.out


@pytest.mark.usefixtures("older")
def test_down_with_the_files_of_the_journal(project: ProjectDirectory, database: Target) -> None:
    shown = project.run("migrate.down", "--to=aa01", "--dry-run")
    assert shown.code == 0, shown
    assert "this checkout lacks 2 revisions that the database has" in shown.text
    assert shown.text.count("from the journal: migrations/versions/") == 2
    assert ", applied by run " in shown.text
    planned = json.loads(project.run("migrate.down", "--to=aa01", "--dry-run", "--json").out)["plan"]
    assert [(each["revision"], each["source"]) for each in planned["pending"]] == [
        ("aa03", "journal"),
        ("aa02", "journal"),
    ]
    assert {each["file"].rpartition("/")[0] for each in planned["pending"]} == {"migrations/versions"}
    assert "DROP TABLE" in planned["pending"][0]["sql"]

    done = project.run("migrate.down", "--to=aa01", "--confirm=staging")
    assert done.code == 0, done
    assert heads(database) == {"aa01"}
    assert not tables(database) & {"t_aa02", "t_aa03"}
    # And the older code is whole again.
    assert "nothing is pending" in project.run("migrate").text


@pytest.mark.usefixtures("older")
def test_one_step_back_ends_at_a_revision_that_only_the_journal_has(
    project: ProjectDirectory, database: Target
) -> None:
    assert project.run("migrate.down", "--confirm=staging").code == 0
    assert heads(database) == {"aa02"}
    assert project.run("migrate.down", "--to=aa02", "--confirm=staging").code == 0
    assert project.run("migrate.down", "--to=base", "--confirm=staging").code == 0
    assert heads(database) == set()


@pytest.mark.usefixtures("older")
def test_migrate_and_plan_say_that_the_database_is_ahead_and_how_to_go_back(
    project: ProjectDirectory, database: Target
) -> None:
    for arguments in (["migrate", "--yes"], ["migrate.plan"]):
        ran = project.run(*arguments)
        assert ran.code == 1, ran
        assert "staging is ahead of this code: it stands at aa03, applied by run " in ran.text
        assert "to roll it back from here: invoke migrate.down --env=staging" in ran.text
    assert project.run("migrate.plan", "--to=aa02").code == 0
    assert heads(database) == {"aa03"}


@pytest.mark.usefixtures("older")
def test_status_names_what_this_code_does_not_know(project: ProjectDirectory) -> None:
    shown = project.run("migrate.status")
    assert shown.code == 0, shown
    assert "ahead of this code: aa03" in " ".join(shown.out.split())
    assert "make aa03" in shown.out
    (row,) = json.loads(project.run("migrate.status", "--json").out)["environments"]
    assert row["unknown"] == ["aa03"]
    (told,) = row["ahead"]
    assert (told["revision"], told["message"], told["kept"]) == ("aa03", "make aa03", True)
    assert told["run"] and told["operator"]


@pytest.mark.usefixtures("older")
def test_history_beside_the_journal(project: ProjectDirectory) -> None:
    rows = json.loads(project.run("migrate.history", "--journal", "--json").out)["revisions"]
    assert [(each["revision"], each["source"]) for each in rows] == [
        ("aa03", "journal"),
        ("aa02", "journal"),
        ("aa01", "checkout"),
    ]
    shown = project.run("migrate.history", "--journal")
    assert shown.out.count("journal") >= 2
    assert "aa03" not in project.run("migrate.history").out


def test_a_journal_of_before_is_filled_in_from_the_checkout(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    assert project.run("migrate", "--to=aa02", "--yes").code == 0
    with connected(database) as connection:
        execute(connection, BEFORE_TEXTS_WERE_KEPT)
        execute(connection, "UPDATE pgops.revisions SET file_hash = 'other' WHERE revision = 'aa01'")
    assert project.run("migrate", "--yes").code == 0
    with connected(database) as connection:
        assert fetch_value(connection, "SELECT count(*) FROM pgops.files") == 2, "aa01 is another file now"

    forget(alembic, "aa01", "aa02", "aa03")
    (alembic.path / "migrations" / "versions" / "old.py").write_text(
        "revision = 'zz'\ndown_revision = None\ndef upgrade(): pass\ndef downgrade(): pass\n"
    )
    refused = project.run("migrate.down", "--to=base", "--confirm=staging")
    assert refused.code != 0
    assert "the journal has not kept the text of revision aa01" in refused.text


def test_a_journal_that_keeps_no_texts_says_so(
    project: ProjectDirectory, database: Target, older: AlembicProject
) -> None:
    with connected(database) as connection:
        execute(connection, BEFORE_TEXTS_WERE_KEPT)
    refused = project.run("migrate.down", "--confirm=staging")
    assert refused.code == 1, refused
    assert "the journal has not kept the text of revision aa03" in refused.text
    assert heads(database) == {"aa03"}


def test_stamp_keeps_the_texts_too(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    assert project.run("migrate.stamp", "--to=aa02", "--confirm=staging").code == 0
    with connected(database) as connection:
        assert fetch_value(connection, "SELECT count(*) FROM pgops.files") == 2


def test_a_revision_that_imports_what_is_not_here_is_refused_in_words(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    (project.path / "shop").mkdir()
    (project.path / "shop" / "__init__.py").write_text("SIZE = 3\n")
    (alembic.path / "migrations" / "versions" / "aa04.py").write_text(
        '"""needs the shop"""\nfrom shop import SIZE\nfrom alembic import op\n'
        "revision = 'aa04'\ndown_revision = 'aa03'\n"
        "def upgrade(): op.execute(f'CREATE TABLE shop_{SIZE} ()')\n"
        "def downgrade(): op.execute(f'DROP TABLE shop_{SIZE}')\n"
    )
    assert project.run("migrate", "--yes").code == 0
    forget(alembic, "aa04")
    (project.path / "shop" / "__init__.py").unlink()
    for cached in (project.path / "shop").rglob("*.pyc"):
        cached.unlink()
    for left in sorted((project.path / "shop").rglob("*"), reverse=True):
        left.rmdir() if left.is_dir() else left.unlink()
    (project.path / "shop").rmdir()

    refused = project.run("migrate.down", "--confirm=staging")
    assert refused.code != 0
    assert "aa04" in refused.text and "shop" in refused.text
    assert "from the journal" in refused.text
    assert heads(database) == {"aa04"}


def test_rows_of_the_newer_code_that_do_not_fit_are_told_before_anything_is_rolled_back(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    alembic.revision(
        "aa04",
        "aa03",
        "op.execute('ALTER TABLE t_aa01 ADD COLUMN mail text UNIQUE')",
        "op.drop_column('t_aa01', 'mail')",
    )
    alembic.revision(
        "aa05",
        "aa04",
        "op.drop_constraint('t_aa01_mail_key', 't_aa01')",
        "op.create_unique_constraint('t_aa01_mail_key', 't_aa01', ['mail'])",
    )
    assert project.run("migrate", "--yes").code == 0
    forget(alembic, "aa04", "aa05")
    with connected(database) as connection:
        execute(connection, "INSERT INTO public.t_aa01 (mail) VALUES ('a'), ('a'), ('a'), ('b')")

    told = "3 rows of t_aa01 do not fit UNIQUE (mail), 1 value between them: the statement will fail"
    for task in (["migrate.down"], ["migrate.undo", "--by=downgrade"]):
        refused = project.run(*task, "--confirm=staging")
        assert refused.code == 7, refused
        assert told in " ".join(refused.text.split())
        assert heads(database) == {"aa05"}
    planned = json.loads(project.run("migrate.undo", "--json", "--confirm=staging").out)
    assert planned["error"]["exit_code"] == 7
    shown = json.loads(
        project.run(
            "migrate.down", "--dry-run", "--json", "--accept-hazard=rows-do-not-fit", "--reason=cleaning"
        ).out
    )["plan"]["pending"][0]
    assert [each["message"] for each in shown["hazards"] if each["rule"] == "rows-do-not-fit"] == [told]
    assert shown["sql"].splitlines()[shown["hazards"][-1]["line"] - 1].startswith("ALTER TABLE t_aa01 ADD")

    with connected(database) as connection:
        execute(connection, "DELETE FROM public.t_aa01 WHERE mail = 'a'")
    assert project.run("migrate.down", "--confirm=staging").code == 0
    assert heads(database) == {"aa04"}


FORGERIES = {
    "another text": "UPDATE pgops.files SET content = 'import os; os.mkdir(''/tmp/forged'')'",
    "another hash": "UPDATE pgops.revisions SET file_hash = (SELECT min(hash) FROM pgops.files WHERE hash NOT IN "
    "(SELECT file_hash FROM pgops.revisions WHERE revision = 'aa03')) WHERE revision = 'aa03'",
}


@pytest.mark.usefixtures("older")
def test_the_server_itself_refuses_another_text(database: Target) -> None:
    from pgops.postgres import DatabaseError

    with connected(database) as connection, pytest.raises(DatabaseError, match="check"):
        execute(connection, FORGERIES["another text"])


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_text_is_not_run(project: ProjectDirectory, database: Target, forgery: str) -> None:
    with connected(database) as connection:
        execute(connection, "ALTER TABLE pgops.files DROP CONSTRAINT files_check")
        execute(connection, FORGERIES[forgery])
    refused = project.run("migrate.down", "--confirm=staging")
    assert refused.code != 0
    assert "that the journal keeps" in refused.text
    assert "nothing was rolled back" in refused.text
    assert heads(database) == {"aa03"}
    assert not Path("/tmp/forged").exists()


@pytest.mark.usefixtures("older")
def test_a_journal_in_which_others_may_write_is_not_run(project: ProjectDirectory, database: Target) -> None:
    with connected(database) as connection:
        execute(connection, "CREATE ROLE mallory_of_the_journal")
        try:
            execute(connection, "GRANT USAGE ON SCHEMA pgops TO mallory_of_the_journal")
            execute(connection, "GRANT INSERT, UPDATE ON pgops.files TO mallory_of_the_journal")
            refused = project.run("migrate.down", "--confirm=staging")
            assert refused.code == 7, refused
            assert "mallory_of_the_journal may write to pgops.files" in refused.text
        finally:
            execute(connection, "DROP OWNED BY mallory_of_the_journal; DROP ROLE mallory_of_the_journal")
    assert heads(database) == {"aa03"}


def test_nothing_of_the_journals_files_stays(
    project: ProjectDirectory,
    database: Target,
    older: AlembicProject,
    tmp_path: Path,
) -> None:
    (own := tmp_path / "own").mkdir()
    assert project.run("migrate.down", "--confirm=staging", environ={"TMPDIR": str(own)}).code == 0
    assert not [each for each in own.rglob("*.py*") if "trace" not in str(each)]


def test_what_a_killed_run_left_is_removed_by_the_next(
    project: ProjectDirectory, database: Target, alembic: AlembicProject, tmp_path: Path
) -> None:
    alembic.revision("aa04", "aa03", "pass", "op.execute('SELECT pg_sleep(60)')")
    assert project.run("migrate", "--yes").code == 0
    forget(alembic, "aa03", "aa04")
    (own := tmp_path / "own").mkdir()
    command = [str(Path(sys.executable).with_name("invoke")), "migrate.down", "--confirm=staging"]
    environ = {**os.environ, "TMPDIR": str(own)}
    with (
        connected(database) as connection,
        subprocess.Popen(command, cwd=project.path, env=environ, stdout=subprocess.DEVNULL) as running,
    ):
        until = time.monotonic() + 60
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%' AND pid <> pg_backend_pid()"
        while not fetch_value(connection, f"{asleep} AND datname = %s", (database.dbname,)):
            assert time.monotonic() < until and running.poll() is None
            time.sleep(0.1)
        running.kill()
        running.wait()
        left = list(own.rglob("aa04*.py"))
        assert left, "it was killed before it could tidy up"
        execute(
            connection,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%' "
            "AND datname = %s AND pid <> pg_backend_pid()",
            (database.dbname,),
        )
    assert heads(database) == {"aa04"}
    assert project.run("migrate.down", "--dry-run", environ={"TMPDIR": str(own)}).code == 0
    assert not [each for each in left if each.exists()]


def test_a_revision_that_reads_a_file_beside_it_is_refused_in_words(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    """The journal keeps revision files alone: it is known before anything is touched."""
    alembic.revision(
        "aa04",
        "aa03",
        "op.execute('CREATE TABLE t4 ()')",
        "import pathlib\nop.execute((pathlib.Path(__file__).parent / 'down.sql').read_text())",
    )
    beside = alembic.path / "migrations" / "versions" / "down.sql"
    beside.write_text("DROP TABLE t4", encoding="utf-8")
    assert project.run("migrate", "--yes").code == 0
    forget(alembic, "aa03", "aa04")
    beside.unlink()
    refused = project.run("migrate.down", "--to=aa02", "--confirm=staging")
    assert refused.code != 0
    assert "reads down.sql, which lay beside it and which the journal does not keep" in refused.err
    assert "untouched: nothing was rolled back" in refused.err
    assert heads(database) == {"aa04"}
