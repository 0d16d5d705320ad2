"""migrate.undo: both ways back are laid out before anybody is asked, and one of them is gone."""

from __future__ import annotations

import json
from typing import Any

from pgops.postgres import Target, connected, execute, fetch_value
from tests.conftest import ProjectDirectory, Ran
from tests.support.projects import AlembicProject, heads, tables


def backed_up(project: ProjectDirectory) -> None:
    """From here on every migration takes a backup first."""
    file = project.path / "environments.yaml"
    file.write_text(
        file.read_text(encoding="utf-8").replace(
            "    protected: false", "    protected: false\n    backups: {required_before: [migrate]}"
        ),
        encoding="utf-8",
    )


def answered(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_by_downgrades_back_to_where_the_last_run_began(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    assert project.run("migrate", "--to=aa01", "--yes").code == 0
    run = answered(project.run("migrate", "--yes", "--json"))["run"]["id"]

    shown = project.run("migrate.undo", "--dry-run")
    assert shown.code == 0, shown
    assert f"undo run {run} of " in shown.out and ": back to aa01" in " ".join(shown.out.split())
    assert "aa03 -> aa01" in shown.out
    assert "by its backup (--by=backup): not possible: no backup was taken for the run" in " ".join(
        shown.out.split()
    )
    assert heads(database) == {"aa03"}

    done = answered(project.run("migrate.undo", "--confirm=staging", "--json"))
    assert done["undo"]["run"] == run
    assert (done["undo"]["by"], done["undo"]["to"]) == ("downgrade", ["aa01"])
    assert done["run"]["applied"] == ["aa03", "aa02"]
    assert heads(database) == {"aa01"}
    log = answered(project.run("migrate.log", "--json"))["runs"]
    assert (log[0]["action"], log[0]["reason"]) == ("downgrade", f"undoes run {run}")

    # What is undone is not undone again: the run before is next.
    first = log[2]["id"]
    assert answered(project.run("migrate.undo", "--dry-run", "--json"))["undo"]["run"] == first
    refused = project.run("migrate.undo", f"--run={run}", "--confirm=staging")
    assert refused.code == 2
    assert f"--run={run} has nothing left to undo" in refused.text
    assert project.run("migrate.undo", "--confirm=staging").code == 0
    assert heads(database) == set()
    nothing = project.run("migrate.undo", "--confirm=staging")
    assert nothing.code == 8
    assert "has no run that could be undone" in nothing.text


def test_an_earlier_run_takes_the_later_ones_along(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    first = answered(project.run("migrate", "--to=aa01", "--yes", "--json"))["run"]["id"]
    second = answered(project.run("migrate", "--yes", "--json"))["run"]["id"]
    done = project.run("migrate.undo", f"--run={first[:-2]}", "--confirm=staging")
    assert done.code == 0, done
    assert f"run {second} came later and is undone with it" in " ".join(done.text.split())
    assert heads(database) == set()


def test_from_an_older_checkout(project: ProjectDirectory, database: Target, alembic: AlembicProject) -> None:
    assert project.run("migrate", "--to=aa01", "--yes").code == 0
    assert project.run("migrate", "--yes").code == 0
    for file in (alembic.path / "migrations" / "versions").glob("*aa0[23]*"):
        file.unlink()
    done = project.run("migrate.undo", "--confirm=staging")
    assert done.code == 0, done
    assert done.text.count("from the journal: ") == 2
    assert heads(database) == {"aa01"}


def test_by_the_backup_with_what_was_written_since(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    assert project.run("migrate", "--to=aa01", "--yes").code == 0
    with connected(database) as connection:
        execute(connection, "INSERT INTO public.t_aa01 DEFAULT VALUES")
    backed_up(project)
    run = answered(project.run("migrate", "--yes", "--json"))["run"]
    with connected(database) as connection:
        execute(connection, "INSERT INTO public.t_aa03 DEFAULT VALUES")
        execute(connection, "INSERT INTO public.t_aa03 DEFAULT VALUES")
        execute(connection, "SELECT pg_stat_force_next_flush()")

    shown = project.run("migrate.undo", "--dry-run", "--by=backup")
    assert shown.code == 0, shown
    assert f"by its backup (--by=backup): {run['backup']}" in shown.out
    assert "public.t_aa03: 2 inserted" in shown.text
    assert "t_aa01" not in shown.text.partition("written since")[2]
    facts = answered(project.run("migrate.undo", "--dry-run", "--json"))["undo"]
    assert facts["downgrade"]["possible"] and facts["backup"]["possible"]
    assert facts["backup"]["written_since"] == [
        {"table": "public.t_aa03", "inserted": 2, "updated": 0, "deleted": 0}
    ]

    done = answered(project.run("migrate.undo", "--by=backup", "--confirm=staging", "--json"))
    assert done["restore"]["backup"] == run["backup"]
    assert heads(database) == {"aa01"}
    assert not tables(database) & {"t_aa02", "t_aa03"}
    with connected(database) as connection:
        assert fetch_value(connection, "SELECT count(*) FROM public.t_aa01") == 1
    # And back again: what was there is kept beside.
    assert project.run("restore.undo", "--confirm=staging").code == 0
    assert heads(database) == {"aa03"}


def test_what_has_no_way_back_is_refused_with_what_is_possible(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    alembic.revision("aa04", "aa03", "op.execute('CREATE TABLE late ()')", "raise NotImplementedError")
    assert project.run("migrate", "--to=aa03", "--yes").code == 0
    backed_up(project)
    told = project.run("migrate", "--yes")
    assert told.code == 0, told
    assert "can not be undone: its downgrade() raises" in told.out
    run = answered(project.run("migrate.log", "--json"))["runs"][0]

    refused = project.run("migrate.undo", "--confirm=staging")
    assert refused.code == 8, refused
    assert (
        f"run {run['id']} can not be undone by its downgrades: aa04: its downgrade() raises" in refused.text
    )
    assert f"migrate.undo --env=staging --run={run['id']} --by=backup" in refused.text
    assert heads(database) == {"aa04"}

    for each in (project.path / "backups").rglob("manifest.json"):
        each.unlink()
    neither = project.run("migrate.undo", "--confirm=staging", "--json")
    assert neither.code == 8, neither
    message = json.loads(neither.out)["error"]["message"]
    assert "; nor by its backup: " in message


def test_an_environment_may_take_only_what_can_be_undone(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    alembic.revision("aa04", "aa03", "op.execute('CREATE TABLE late ()')", "pass")
    file = project.path / "environments.yaml"
    file.write_text(
        file.read_text(encoding="utf-8").replace(
            "    protected: false", "    protected: false\n    reversible: {required_before: [migrate]}"
        ),
        encoding="utf-8",
    )
    refused = project.run("migrate", "--yes", "--json")
    assert refused.code == 7, refused
    error = json.loads(refused.out)["error"]
    assert error["code"] == "irreversible"
    assert "aa04 (its downgrade() does nothing)" in error["message"]
    assert not tables(database)
    assert project.run("migrate", "--to=aa03", "--yes").code == 0
    plan = answered(project.run("migrate.plan", "--json"))["pending"]
    assert [each["irreversible"] for each in plan] == ["its downgrade() does nothing"]


def test_a_way_that_does_not_exist(project: ProjectDirectory, alembic: AlembicProject) -> None:
    refused = project.run("migrate.undo", "--by=magic")
    assert refused.code == 2
    assert "--by=magic is none of downgrade, backup" in refused.text


def test_a_file_that_was_edited_since_is_told(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    """Its downgrade() may undo something else than what was done; of one that is the same nothing is said."""
    assert project.run("migrate", "--yes").code == 0
    (file,) = (alembic.path / "migrations" / "versions").glob("*aa03*")
    file.write_text(file.read_text(encoding="utf-8") + "# another thought\n", encoding="utf-8")
    shown = " ".join(project.run("migrate.undo", "--dry-run").text.split())
    assert "aa03 is not the file that was applied (run " in shown
    assert "what runs is this checkout's migrations/versions/aa03_.py" in shown
    assert "aa02 is not the file" not in shown


def test_a_run_that_stops_on_the_way_says_how_to_go_on(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    """Somebody dropped a table by hand; what is rolled back stays so, and the command that is told ends where this would."""
    assert project.run("migrate", "--to=aa01", "--yes").code == 0
    assert project.run("migrate", "--yes").code == 0
    with connected(database) as connection:
        execute(connection, "DROP TABLE public.t_aa02")
    stopped = project.run("migrate.undo", "--confirm=staging")
    assert stopped.code == 1
    assert "aa03 was rolled back; aa02 was not" in stopped.err
    assert "run it again: invoke migrate.down --env=staging --to=aa01" in stopped.err
    with connected(database) as connection:
        execute(connection, "CREATE TABLE public.t_aa02 ()")
    assert project.run("migrate.down", "--to=aa01", "--confirm=staging").code == 0
    assert heads(database) == {"aa01"}


def test_what_was_adopted_is_no_run(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    assert project.run("migrate.stamp", "--to=aa02", "--confirm=staging").code == 0
    refused = project.run("migrate.undo", "--dry-run")
    assert refused.code == 8
    assert (
        "has no run that could be undone; what stands there was adopted by migrate.stamp (run " in refused.err
    )
