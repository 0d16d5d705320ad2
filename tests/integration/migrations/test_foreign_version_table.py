"""A version table that somebody else made first, or put a trigger on: Alembic would run it with our rights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.migrations.plan.make import make_plan
from pgops.migrations.run.stamp import stamp
from pgops.postgres import Target, UntrustedError
from tests.support.projects import AlembicProject, carry_out, heads, migrate
from tests.support.roles import role
from tests.support.sql import run_sql, value


@pytest.fixture
def app(database: Target) -> Iterator[Target]:
    """An application's role, which may create in schema public."""
    with role(database, "app") as found:
        run_sql(database, f"GRANT CREATE ON SCHEMA public TO {found.user}")
        yield found


def grab(app: Target) -> str:
    return (
        "CREATE FUNCTION public.grab() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN EXECUTE 'ALTER ROLE {app.user} SUPERUSER'; RETURN NEW; END $$"
    )


def is_superuser(database: Target, app: Target) -> bool:
    return bool(value(database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{app.user}'"))


ON_IT = "CREATE TRIGGER grab BEFORE INSERT OR UPDATE ON public.alembic_version FOR EACH ROW EXECUTE FUNCTION public.grab()"


def test_one_that_was_made_before_the_first_revision(tmp_path: Path, database: Target, app: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    environment = project.environment(database)
    run_sql(
        app, "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)", grab(app), ON_IT
    )
    plan = make_plan(environment, database)
    (note,) = [each for each in plan.notes if "not trusted" in each]
    assert note.startswith(f"alembic_version belongs to {app.user}")
    for act in (
        lambda: carry_out(plan),
        lambda: stamp(environment, database, "aa01", lock_wait=1.0, reason=None),
    ):
        with pytest.raises(UntrustedError, match=f"alembic_version belongs to {app.user}") as refused:
            act()
        assert refused.value.exit_code == 7
        assert "ALTER TABLE" in refused.value.hint
    assert not is_superuser(database, app)
    assert heads(database) == set()
    # The one whom environments.yaml names is believed, with all that follows.
    run_sql(app, "DROP TRIGGER grab ON public.alembic_version")
    migrate(dataclasses.replace(environment, trusted_owners=(app.user,)), database)
    assert heads(database) == {"aa01"}


def test_a_trigger_on_ours_by_one_who_may_make_triggers(
    tmp_path: Path, database: Target, app: Target
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    environment = project.environment(database)
    migrate(environment, database, to="aa01")
    run_sql(database, f"GRANT TRIGGER ON public.alembic_version TO {app.user}")
    run_sql(app, grab(app), ON_IT)
    with pytest.raises(UntrustedError, match="trigger grab on alembic_version runs a function of"):
        migrate(environment, database)
    assert not is_superuser(database, app)
    assert heads(database) == {"aa01"}
    run_sql(database, "DROP TRIGGER grab ON public.alembic_version")
    migrate(environment, database)
    assert heads(database) == {"aa02"}


def test_the_owner_of_the_project_may_be_another_role(tmp_path: Path, database: Target, app: Target) -> None:
    """Whose member works: nothing is gained by what such a table runs. And a superuser's own triggers stay."""
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    run_sql(
        database,
        "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)",
        "CREATE FUNCTION public.harmless() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        ON_IT.replace("grab()", "harmless()"),
        f"GRANT ALL ON public.alembic_version TO {app.user}",
        f"GRANT CREATE ON DATABASE {database.dbname} TO {app.user}",
    )
    migrate(project.environment(app), app)
    assert heads(database) == {"aa01"}


@pytest.mark.parametrize("what", ["DATABASE {}", "SCHEMA public"])
def test_the_owner_of_the_database_or_of_its_schema_is_no_stranger(
    tmp_path: Path, database: Target, app: Target, what: str
) -> None:
    """An application made its tables by its own role, and the release is migrated by the superuser."""
    run_sql(database, f"ALTER {what.format(database.dbname)} OWNER TO {app.user}")
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    run_sql(app, "CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)")

    plan = make_plan(project.environment(database), database)
    assert not [each for each in plan.notes if "not trusted" in each]
    carry_out(plan)

    assert heads(database) == {"aa01"}
    run_sql(app, grab(app), ON_IT)
    project.chain("aa01", "aa02")
    with pytest.raises(UntrustedError, match="trigger grab on alembic_version"):
        migrate(project.environment(database), database)
    assert not is_superuser(database, app)
