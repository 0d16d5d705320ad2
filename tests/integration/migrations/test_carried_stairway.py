"""The stairway through the journal's files: up with the checkout, down step by step without any of its revisions."""

from __future__ import annotations

import json
from pathlib import Path

from pgops.migrations.plan.make import make_plan
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.integration.test_two_checkouts import looks_like
from tests.support.projects import AlembicProject, carry_out, heads, migrate


def test_each_step_down_leads_to_what_was_there_before_the_step_up(tmp_path: Path, database: Target) -> None:
    alembic = AlembicProject.make(tmp_path)
    alembic.chain("aa01", "aa02")
    alembic.revision(
        "aa03",
        "aa02",
        "op.add_column('t_aa01', sa.Column('mail', sa.String(40)))\n"
        "op.create_unique_constraint('one_mail', 't_aa01', ['mail'])",
        "op.drop_constraint('one_mail', 't_aa01')\nop.drop_column('t_aa01', 'mail')",
    )
    alembic.revision(
        "aa04",
        "aa03",
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('by_mail', 't_aa01', ['mail'], postgresql_concurrently=True)",
        "with op.get_context().autocommit_block():\n"
        "    op.drop_index('by_mail', 't_aa01', postgresql_concurrently=True)",
    )
    environment = alembic.environment(database)
    stood: list[tuple[set[str], str]] = []
    for revision in ("aa01", "aa02", "aa03", "aa04"):
        stood.append((heads(database) if stood else set(), looks_like(database)))
        migrate(environment, database, to=revision)

    for file in (tmp_path / "migrations" / "versions").glob("*.py"):
        file.unlink()
    for step, (at, looked) in enumerate(reversed(stood)):
        plan = make_plan(environment, database, to="-1", action="downgrade")
        assert [each.kept is not None for each in plan.pending] == [True], step
        carry_out(plan)
        assert (heads(database), looks_like(database)) == (at, looked), step


def test_migrate_test_goes_down_by_lone_files(project: ProjectDirectory, database: Target) -> None:
    """What a revision reads beside itself an older checkout lacks: told, and the way down is tried all the same."""
    project.environment_yaml(staging=database)
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01")
    versions = project.path / "migrations" / "versions"
    for way, statement in (("up", "CREATE TABLE t2 (id integer)"), ("down", "DROP TABLE t2")):
        (versions / f"{way}.sql").write_text(statement, encoding="utf-8")
    reads = "import pathlib\nop.execute((pathlib.Path(__file__).parent / '{}.sql').read_text())"
    alembic.revision("aa02", "aa01", reads.format("up"), reads.format("down"))
    alembic.revision(
        "aa03",
        "aa02",
        "op.execute('CREATE TABLE t3 (id integer)')",
        "import pathlib\nassert pathlib.Path(__file__).parent.name != 'versions'\nop.execute('DROP TABLE t3')",
    )
    ran = project.run("migrate.test", "--json")
    assert ran.code == 0, ran.text
    found = json.loads(ran.out)["test"]
    assert [(each["revision"], each["problems"]) for each in found["revisions"]] == [
        ("aa01", []),
        ("aa02", []),
        ("aa03", []),
    ]
    (lacking,) = found["not_carried"]
    assert lacking.startswith(
        "aa02: an older checkout can't undo it by the journal's file: FileNotFoundError"
    )
    assert "'down.sql'" in lacking
    assert "an older checkout can't undo it" in project.run("migrate.test").err
