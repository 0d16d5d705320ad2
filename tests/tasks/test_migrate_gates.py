"""What stands before a run: promotion, a backup, hazards, the name of a protected environment."""

from __future__ import annotations

from collections.abc import Callable

from pgops.postgres import Target, connected, execute
from tests.conftest import ProjectDirectory
from tests.support.printed_json import error, parsed
from tests.support.projects import AlembicProject, heads, tables


def three_environments(project: ProjectDirectory, make_database: Callable[[], Target]) -> dict[str, Target]:
    """staging, unprotected; production after it, protected; each with a database."""
    targets = {"staging": make_database(), "production": make_database()}
    project.environment_yaml(**targets)
    file = project.path / "environments.yaml"
    text = file.read_text(encoding="utf-8").replace(
        "version: 1", "version: 1\npromotion: [staging, production]"
    )
    head, _, tail = text.partition("  production:")
    tail = tail.replace("protected: false", "protected: true\n    aliases: [prod]")
    file.write_text(head + "  production:" + tail, encoding="utf-8")
    return targets


def test_a_protected_environment_wants_its_name(
    project: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    targets = three_environments(project, make_database)
    AlembicProject.make(project.path).chain("aa01")
    assert project.run("migrate", "--env=staging", "--yes").code == 0
    ran = project.run("migrate", "--env=prod", "--yes", "--json")
    assert (ran.code, "--confirm" in error(ran)["hint"]) == (8, False)
    assert project.run("migrate", "--env=prod", "--confirm=prod").code == 8
    assert tables(targets["production"]) == set()
    assert project.run("migrate", "--env=prod", "--confirm=production").code == 0
    assert heads(targets["production"]) == {"aa01"}


def test_promotion_by_file_hash(project: ProjectDirectory, make_database: Callable[[], Target]) -> None:
    targets = three_environments(project, make_database)
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01")
    ran = project.run("migrate", "--env=prod", "--confirm=production", "--json")
    assert ran.code == 7
    assert "not yet applied in staging: aa01" in error(ran)["message"]
    assert error(ran)["hint"] == "invoke migrate --env=staging"
    assert project.run("migrate", "--env=staging", "--yes").code == 0
    file = alembic.path / "migrations" / "versions" / "aa01_.py"
    file.write_text(file.read_text() + "# edited after staging\n")
    ran = project.run("migrate", "--env=prod", "--confirm=production", "--json")
    assert (ran.code, "applied in staging from another file: aa01" in error(ran)["message"]) == (7, True)
    assert tables(targets["production"]) == set()
    ran = project.run("migrate", "--env=prod", "--confirm=production", "--override-promotion", "--json")
    assert (ran.code, error(ran)["code"]) == (2, "usage")
    ran = project.run(
        "migrate", "--env=prod", "--confirm=production", "--override-promotion", "--reason=urgent fix"
    )
    assert ran.code == 0, ran
    (run,) = parsed(project.run("migrate.log", "--env=prod", "--json"))["runs"]
    assert (run["promotion_overridden"], run["reason"]) == (True, "urgent fix")
    # What was edited after it was applied is reported where it was applied.
    rows = parsed(project.run("migrate.status", "--json"))["environments"]
    assert [row["edited"] for row in rows] == [["aa01"], []]


def test_promotion_by_the_sql_that_a_file_emits(
    project: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    targets = three_environments(project, make_database)
    alembic = AlembicProject.make(project.path)
    alembic.revision("aa01", None, "from helper import NAME; op.execute(f'CREATE TABLE {NAME} (id int)')")
    helper = project.path / "helper.py"
    helper.write_text("NAME = 'tried'\n")
    assert project.run("migrate", "--env=staging", "--yes").code == 0
    helper.write_text("NAME = 'untried'\n")
    assert parsed(project.run("migrate.plan", "--env=prod", "--json"))["promotion"]["other_sql"] == ["aa01"]
    ran = project.run("migrate", "--env=prod", "--confirm=production", "--json")
    assert (ran.code, "emitted other SQL in staging: aa01" in error(ran)["message"]) == (7, True)
    assert tables(targets["production"]) == set()
    helper.write_text("NAME = 'tried'\n")
    assert project.run("migrate", "--env=prod", "--confirm=production").code == 0
    assert "tried" in tables(targets["production"])


def test_required_backup_is_taken_first_and_recorded(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    file = project.path / "environments.yaml"
    file.write_text(
        file.read_text().replace(
            "backups: {store: local}", "backups: {store: local, required_before: [migrate]}"
        )
    )
    ran = project.run("migrate", "--yes", "--json")
    run = parsed(ran)["run"]
    assert run["backup"]
    backups = parsed(project.run("backup.list", "--json"))["backups"]
    assert [each["id"] for each in backups] == [run["backup"]]
    assert parsed(project.run("migrate.log", "--json"))["runs"][0]["backup"] == run["backup"]
    alembic.revision("bad1", "aa03", "op.execute('SELECT nothing FROM nowhere')")
    failed = error(project.run("migrate", "--yes", "--json"))
    assert "or go back: invoke restore --env=staging --backup=" in failed["hint"]


def test_a_backup_that_fails_stops_the_run(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    file = project.path / "environments.yaml"
    file.write_text(
        file.read_text().replace(
            "backups: {store: local}", "backups: {store: local, required_before: [migrate]}"
        )
    )
    (project.path / "backups").write_text("a file where the repository should be")
    ran = project.run("migrate", "--yes")
    assert ran.code != 0
    assert tables(database) == set()


def test_hazards_block_until_accepted_with_a_reason(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    assert project.run("migrate", "--yes").code == 0
    with connected(database) as connection:
        execute(connection, "INSERT INTO t_aa01 SELECT generate_series(1, 150000); ANALYZE t_aa01")
    alembic.revision("ix04", "aa03", "op.create_index('ix', 't_aa01', ['id'])")
    ran = project.run("migrate", "--yes", "--json")
    assert ran.code == 7
    rule = "require-concurrent-index-creation"
    assert rule in error(ran)["message"]
    assert project.run("migrate", "--yes", f"--accept-hazard={rule}").code == 2
    ran = project.run("migrate", "--yes", f"--accept-hazard={rule}x", "--reason=r", "--json")
    assert (ran.code, f"did you mean {rule}" in error(ran)["message"]) == (2, True)
    # Hazardous: y/N is not enough any more.
    ran = project.run("migrate", "--yes", f"--accept-hazard={rule}", "--reason=quiet hour", "--json")
    assert (ran.code, error(ran)["hint"]) == (8, "add --confirm=staging")
    ran = project.run("migrate", "--confirm=staging", f"--accept-hazard={rule}", "--reason=quiet hour")
    assert ran.code == 0, ran
    run = parsed(project.run("migrate.log", "--json"))["runs"][0]
    assert (run["hazards_accepted"], run["reason"]) == ([rule], "quiet hour")
