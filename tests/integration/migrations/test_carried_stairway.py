"""The stairway through the journal's files: up with the checkout, down step by step without any of its revisions."""

from __future__ import annotations

from pathlib import Path

from pgops.migrations.plan.make import make_plan
from pgops.postgres import Target
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
