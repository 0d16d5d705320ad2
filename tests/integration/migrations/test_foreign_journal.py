"""Schema ``pgops`` that somebody else made, or put something into: nothing of it runs, and nothing of it is believed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.environments import Environment
from pgops.migrations.journal.schema import _FIRST, _VERSIONS
from pgops.migrations.plan.make import make_plan
from pgops.migrations.run import gates
from pgops.migrations.run.stamp import stamp
from pgops.migrations.status.status import history_of, migration_status
from pgops.postgres import Target, UntrustedError
from tests.support.projects import AlembicProject, carry_out, heads, migrate
from tests.support.roles import role
from tests.support.sql import run_sql, value


@pytest.fixture
def app(database: Target) -> Iterator[Target]:
    """An application's role, which may create schemas in the database."""
    with role(database, "app") as found:
        run_sql(database, f"GRANT CREATE ON DATABASE {database.dbname} TO {found.user}")
        yield found


def forge(app: Target, environment: str, *applied: tuple[str, str]) -> None:
    """A journal exactly as ours, made by ``app``, in which revisions succeeded."""
    run_sql(app, _FIRST, *_VERSIONS)
    run_sql(
        app,
        f"INSERT INTO pgops.journal VALUES (true, {len(_VERSIONS)}, '{environment}', NULL, current_database(), now())",
        "INSERT INTO pgops.runs VALUES ('r', '"
        + environment
        + "', 'upgrade', '{}', '{}', '', now(), now(), 'succeeded', "
        "NULL, 'x', 'x', NULL, NULL, 'x', NULL, '{}', false, NULL, 'public.alembic_version', NULL, NULL)",
        *(
            "INSERT INTO pgops.revisions (run, revision, file, file_hash, message, version_table, outcome) "
            f"VALUES ('r', '{revision}', 'f', '{file_hash}', '', 'public.alembic_version', 'succeeded')"
            for revision, file_hash in applied
        ),
    )


def project_at(tmp_path: Path, target: Target, name: str = "test") -> Environment:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    return project.environment(target, name)


@contextlib.contextmanager
def refused(*texts: str) -> Iterator[None]:
    with pytest.raises(UntrustedError) as failure:
        yield
    assert failure.value.exit_code == 7
    for text in texts:
        assert text in f"{failure.value.message} {failure.value.hint}"


def test_a_trigger_on_a_journal_made_beforehand_never_fires(
    tmp_path: Path, database: Target, app: Target
) -> None:
    environment = project_at(tmp_path, database)
    forge(app, "test")
    run_sql(
        app,
        "CREATE FUNCTION pgops.grab() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN EXECUTE 'ALTER ROLE {app.user} SUPERUSER'; RETURN NEW; END $$",
        "CREATE TRIGGER grab BEFORE INSERT OR UPDATE ON pgops.journal FOR EACH ROW EXECUTE FUNCTION pgops.grab()",
        "CREATE TRIGGER grab BEFORE INSERT OR UPDATE ON pgops.runs FOR EACH ROW EXECUTE FUNCTION pgops.grab()",
    )
    with refused(f"schema pgops belongs to {app.user}", "ALTER SCHEMA pgops RENAME TO"):
        migrate(environment, database)
    with refused():
        stamp(environment, database, "heads", lock_wait=1, reason=None)
    assert value(database, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{app.user}'") is False
    assert value(database, "SELECT to_regclass('alembic_version')") is None
    run_sql(database, "ALTER SCHEMA pgops RENAME TO pgops_not_ours")
    migrate(environment, database)
    assert heads(database) == {"aa02"}


def test_a_view_or_a_policy_as_journal_runs_nothing_in_a_look(
    tmp_path: Path, database: Target, app: Target
) -> None:
    environment = project_at(tmp_path, database)
    run_sql(
        app,
        "CREATE SCHEMA pgops",
        "CREATE FUNCTION pgops.grab() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it ran'; END $$",
        "CREATE VIEW pgops.journal AS SELECT pgops.grab() AS environment, ''::text AS system_identifier, ''::text AS database",
        "CREATE TABLE pgops.runs (id int)",
        "CREATE TABLE pgops.revisions (id int)",
    )
    history = history_of(environment)
    with refused("pgops.journal is not a plain table"):
        migration_status(environment, database, history)
    with refused():
        make_plan(environment, database)


def test_forged_rows_do_not_open_the_gate_of_the_next_environment(
    tmp_path: Path, database: Target, app: Target
) -> None:
    environment = project_at(tmp_path, database)
    plan = make_plan(environment, database)
    forge(app, "staging", *((each.revision, each.hash) for each in plan.pending))
    staging = dataclasses.replace(environment, name="staging")
    answer = gates.ask_promotion(staging, database, plan)
    assert not answer.granted
    assert answer.unknown is not None and f"belongs to {app.user}" in answer.unknown


def test_a_stamp_is_no_success_for_the_next_environment(tmp_path: Path, database: Target) -> None:
    environment = project_at(tmp_path, database)
    plan = make_plan(environment, database)
    stamp(environment, database, "heads", lock_wait=1, reason=None)
    assert heads(database) == {"aa02"}
    answer = gates.ask_promotion(environment, database, plan)
    assert not answer.granted
    assert answer.missing == ("aa01", "aa02")


@pytest.mark.parametrize(
    ("planted", "said", "repair"),
    [
        (
            "CREATE TRIGGER t BEFORE INSERT ON pgops.runs FOR EACH ROW EXECUTE FUNCTION planted.f()",
            "pgops.runs has trigger t",
            "DROP TRIGGER t ON pgops.runs",
        ),
        (
            "CREATE RULE r AS ON INSERT TO pgops.revisions DO ALSO SELECT 1",
            "pgops.revisions has rule r",
            "DROP RULE r ON pgops.revisions",
        ),
        (
            "ALTER TABLE pgops.journal ENABLE ROW LEVEL SECURITY",
            "pgops.journal has row security",
            "ALTER TABLE pgops.journal DISABLE ROW LEVEL SECURITY",
        ),
        (
            "ALTER TABLE pgops.runs ALTER COLUMN id SET DEFAULT planted.g()",
            "pgops.runs uses function planted.g()",
            "ALTER SCHEMA pgops RENAME",
        ),
        (
            "ALTER TABLE pgops.runs ADD CHECK (planted.g() <> id)",
            "pgops.runs uses function planted.g()",
            "ALTER SCHEMA pgops RENAME",
        ),
        (
            "CREATE INDEX ON pgops.runs (planted.g(id))",
            "pgops.runs uses function planted.g(text)",
            "ALTER SCHEMA pgops RENAME",
        ),
        (
            "CREATE TABLE planted.more () INHERITS (pgops.revisions)",
            "pgops.revisions inherits, or is inherited from",
            "ALTER SCHEMA pgops RENAME",
        ),
        (
            "CREATE TABLE planted.child (run text REFERENCES pgops.runs (id) ON UPDATE CASCADE)",
            "pgops.runs is referenced by planted.child",
            "ALTER TABLE planted.child DROP CONSTRAINT child_run_fkey",
        ),
        (
            "GRANT CREATE ON SCHEMA pgops TO PUBLIC",
            "everybody may create in schema pgops",
            "REVOKE CREATE ON SCHEMA pgops FROM PUBLIC",
        ),
        (
            "GRANT USAGE ON SCHEMA pgops TO {app}; GRANT INSERT, UPDATE ON pgops.revisions TO {app}",
            "{app} may write to pgops.revisions",
            "REVOKE INSERT, UPDATE ON pgops.revisions FROM {app}",
        ),
        (
            "GRANT USAGE ON SCHEMA pgops TO {app}; GRANT INSERT (outcome) ON pgops.runs TO PUBLIC",
            "everybody may write to pgops.runs",
            "REVOKE INSERT ON pgops.runs FROM PUBLIC",
        ),
        ("ALTER TABLE pgops.runs OWNER TO {app}", "pgops.runs belongs to {app}", "ALTER SCHEMA pgops RENAME"),
    ],
)
def test_what_is_put_into_a_journal_of_ours_is_found(
    tmp_path: Path, database: Target, app: Target, planted: str, said: str, repair: str
) -> None:
    environment = project_at(tmp_path, database)
    migrate(environment, database)
    run_sql(
        database,
        "CREATE SCHEMA planted",
        "CREATE FUNCTION planted.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE FUNCTION planted.g() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '-' $$",
        "CREATE FUNCTION planted.g(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '-' $$",
        planted.format(app=app.user),
    )
    texts = [text.format(app=app.user) for text in (said, repair)]
    with refused(*texts):
        make_plan(environment, database)
    with refused(*texts):
        migration_status(environment, database, history_of(environment))
    if not repair.startswith("ALTER SCHEMA"):
        run_sql(database, repair.format(app=app.user))
        assert make_plan(environment, database).pending == ()


def test_somebody_who_may_only_read_is_no_danger(tmp_path: Path, database: Target, app: Target) -> None:
    environment = project_at(tmp_path, database)
    migrate(environment, database)
    run_sql(
        database,
        f"GRANT USAGE ON SCHEMA pgops TO {app.user}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA pgops TO {app.user}",
    )
    assert make_plan(environment, database).pending == ()


def test_default_privileges_give_nobody_the_right_to_write_the_journal(
    tmp_path: Path, database: Target, app: Target
) -> None:
    environment = project_at(tmp_path, database)
    run_sql(
        database,
        f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {app.user}",
        f"ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {app.user}",
    )
    migrate(environment, database)
    assert make_plan(environment, database).pending == ()
    assert value(database, f"SELECT has_table_privilege('{app.user}', 'pgops.runs', 'INSERT')") is False
    assert value(database, f"SELECT has_table_privilege('{app.user}', 'pgops.runs', 'SELECT')") is True


def test_whose_journal_counts(tmp_path: Path, database: Target) -> None:
    """A superuser's and the role's own; a group's only for those who work as the group, or name it."""
    environment = project_at(tmp_path, database)
    with role(database, "migrator") as migrator, role(database, "colleague") as colleague:
        run_sql(
            database,
            f"GRANT CREATE ON DATABASE {database.dbname} TO {migrator.user}",
            f"GRANT ALL ON SCHEMA public TO {migrator.user}, {colleague.user}",
        )
        theirs = dataclasses.replace(environment, connection=dataclasses.replace(environment.connection))
        migrate(theirs, migrator)
        assert make_plan(theirs, migrator).pending == ()
        # The superuser was not told that the migrator is to be trusted with a superuser's rights …
        with refused(f"schema pgops belongs to {migrator.user}"):
            make_plan(environment, database)
        # … until environments.yaml says so.
        trusting = dataclasses.replace(environment, trusted_owners=(migrator.user,))
        assert make_plan(trusting, database).pending == ()
        # A colleague who merely is a member of the owner gains rights by that, but gives none.
        run_sql(database, f"GRANT {migrator.user} TO {colleague.user}")
        with refused():
            make_plan(environment, colleague)
        run_sql(database, f"ALTER ROLE {colleague.user} SET role = '{migrator.user}'")
        assert make_plan(environment, colleague).pending == ()


def test_a_plan_of_before_does_not_run_on_a_journal_planted_since(
    tmp_path: Path, database: Target, app: Target
) -> None:
    environment = project_at(tmp_path, database)
    plan = make_plan(environment, database)
    forge(app, "test")
    with refused():
        carry_out(plan)
    assert value(database, "SELECT to_regclass('alembic_version')") is None
