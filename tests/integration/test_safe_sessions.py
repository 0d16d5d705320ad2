"""No object and no setting of a database leads a statement of ours astray: every task, with a double of everything."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from pgops.errors import ExitCode
from pgops.local import embedded
from pgops.postgres import Target, connected, execute, fetch_all, fetch_value, identifier, libpq_url
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import ProjectDirectory, fresh_database
from tests.support.projects import STOCK_ENV, AlembicProject
from tests.support.traps import ServerLog, Trapped, set_traps

# Sessions that env.py opened: Alembic and SQLAlchemy find what the project's search path leads to, as without us.
# What pgops itself asks on them says so.
_OF_ENV_PY = ("pgops migration ", "pgops look: env.py", "pgops drift: env.py")
_OURS = "/* pgops */"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Path]]:
    """A server that logs every statement, with traps in every database that is there."""
    settings = {
        "log_statement": "all",
        "log_line_prefix": "[%a] ",
        "max_locks_per_transaction": "1024",
        # Once is enough: not again with each double that a statement calls.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    with embedded.scratch_server(tmp_path_factory.mktemp("logged"), settings=settings) as state:
        target = Target(
            environment="test",
            host=state.host,
            port=state.port,
            dbname="postgres",
            user=state.user,
            password=LiteralSecret(Secret(state.password)),
        )
        set_traps(target)
        set_traps(target.with_database("template1"))
        yield target, state.home / "server.log"


@pytest.fixture
def trapped(
    project: ProjectDirectory, logged: tuple[Target, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Target]:
    """A database with traps, and a project whose migrations and data make every task do all its work."""
    server, _log = logged
    secret = server.secret()
    assert secret is not None
    monkeypatch.setenv("TEST_PASSWORD", secret.reveal())
    with fresh_database(server, "trapped") as target:
        set_path = "SET search_path = public, evil, pg_catalog"
        with connected(server) as connection:
            execute(connection, f"ALTER DATABASE {identifier(target.dbname)} {set_path}")
        project.environment_yaml(dev=target)
        models = "from sqlalchemy import MetaData\n\ntarget_metadata = MetaData()"
        made = AlembicProject.make(project.path, env=STOCK_ENV.replace("target_metadata = None", models))
        made.chain("aa01", "aa02")
        made.revision(
            "aa03",
            "aa02",
            """
            op.execute("INSERT INTO t_aa01 SELECT i FROM pg_catalog.generate_series(1, 20) AS i")
            op.execute("ALTER TABLE t_aa01 ADD COLUMN note pg_catalog.text NOT NULL DEFAULT 'x'")
            op.create_check_constraint("t_note", "t_aa01", "note OPERATOR(pg_catalog.<>) ''")
            op.create_foreign_key("t_to", "t_aa02", "t_aa01", ["id"], ["id"])
            with op.get_context().autocommit_block():
                op.create_index("t_note_at", "t_aa01", ["note"], postgresql_concurrently=True)
            """,
            "op.drop_constraint('t_to', 't_aa02'); op.drop_column('t_aa01', 'note'); op.execute('DELETE FROM t_aa01')",
        )
        yield target
        with connected(server) as connection:
            for (name,) in fetch_all(
                connection, "SELECT datname FROM pg_database WHERE datname LIKE %s", (f"{target.dbname}%",)
            ):
                execute(connection, f"DROP DATABASE {identifier(name)} WITH (FORCE)")


def _strayed(found: list[Trapped]) -> set[tuple[str, str, str]]:
    return {
        (each.what, each.application, each.query[:160])
        for each in found
        if each.application.startswith("pgops")
        and (_OURS in each.query or not each.application.startswith(_OF_ENV_PY))
    }


_TASKS = [
    ["env.check"],
    ["migrate.plan"],
    ["migrate", "--yes"],
    ["migrate.status"],
    ["migrate.check"],
    ["migrate.log"],
    ["migrate.down", "--to=aa02", "--yes", "--confirm=dev"],
    ["migrate.plan"],
    ["migrate", "--confirm=dev"],
    ["migrate.stamp", "--to=aa03", "--reason=test", "--confirm=dev"],
    ["backup"],
    ["backup.list"],
    ["backup.show", "--backup=latest"],
    ["backup.verify"],
    ["backup.verify", "--restore"],
    ["restore", "--dry-run"],
    ["restore", "--table=public.t_aa01", "--yes"],
    ["restore", "--yes"],
    ["restore.status"],
    ["restore.undo", "--yes"],
    ["restore", "--in-place", "--yes"],
    ["status", "--drift"],
    ["metrics", "--to=."],
    ["report", "--html=page.html"],
    ["migrate.lint", "--sizes-of=dev"],
    ["db.reset", "--yes"],
]


@pytest.mark.timeout(600)
def test_no_statement_of_ours_is_led_astray(
    project: ProjectDirectory, trapped: Target, logged: tuple[Target, Path]
) -> None:
    log = ServerLog(logged[1])
    with connected(trapped, application_name="test") as connection:
        fetch_value(connection, "SELECT count(*) FROM pg_class")
    assert {"count", "relation pg_class"} <= {each.what for each in log.trapped()}, "the traps must work"
    for arguments in _TASKS:
        ran = project.run(*arguments, timeout=300)
        assert ran.code in {0, ExitCode.DRIFT}, ran
    assert _strayed(log.trapped()) == set()
    assert len(log.statements("pgops")) > 100


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_behind_a_proxy_too_and_nothing_stays_on_its_sessions(
    project: ProjectDirectory,
    trapped: Target,
    logged: tuple[Target, Path],
    pgbouncer: Callable[..., Target],
    mode: str,
) -> None:
    log = ServerLog(logged[1])
    through = pgbouncer(mode, server=logged[0]).with_database(trapped.dbname)
    project.environment_yaml(dev=through)
    refused = [["env.check"], ["migrate.plan"], ["migrate.check"]] if mode != "session" else []
    tasks = [*refused, ["migrate.status"], ["restore.status"], ["status"]]
    if mode == "session":
        tasks += [
            ["migrate.plan"],
            ["migrate", "--yes"],
            ["backup"],
            ["migrate.status"],
            ["backup.verify"],
            ["restore", "--dry-run"],
        ]
    for arguments in tasks:
        ran = project.run(*arguments)
        assert (ran.code != 0) is (arguments in refused), ran
    assert _strayed(log.trapped()) == set()
    # The next client of the same server sessions, without a reset between, finds nothing of ours on them.
    secret = through.secret()
    assert secret is not None
    url = libpq_url(through, password=secret.reveal())
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(
            "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> 'application_name'"
        )
        assert cursor.fetchall() == []
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() == ("public, evil, pg_catalog",)
