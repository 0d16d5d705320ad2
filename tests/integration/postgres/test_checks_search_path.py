"""``env.check`` names the schemas where somebody else can put what the project's sessions would run."""

from __future__ import annotations

from pgops.checks.report import Finding
from pgops.checks.search_path import search_path
from pgops.postgres import Target, connected, execute
from tests.support.roles import role
from tests.support.sql import run_sql


def found(target: Target, *trusted: str) -> list[Finding]:
    with connected(target) as connection:
        return list(search_path(connection, trusted))


def test_who_may_create_on_the_search_path(database: Target) -> None:
    assert found(database) == []
    with role(database, "app") as app:
        run_sql(database, f"GRANT CREATE ON SCHEMA public TO {app.user}", "CREATE SCHEMA other")
        run_sql(database, "GRANT CREATE ON SCHEMA other TO PUBLIC")
        (warning,) = found(database)
        assert warning.level == "warn"
        assert warning.text.startswith(
            f"{app.user} may create in schema public: functions made there can run"
        )
        assert warning.todo.startswith(f'REVOKE CREATE ON SCHEMA "public" FROM "{app.user}"')
        assert found(database, app.user) == []
        # What the role's own path has, and in its order.
        run_sql(database, f"ALTER DATABASE {database.dbname} SET search_path = other, public, absent")
        assert [each.text.partition(":")[0] for each in found(database)] == [
            "everybody may create in schema other",
            f"{app.user} may create in schema public",
        ]
        run_sql(
            database,
            f"REVOKE CREATE ON SCHEMA public FROM {app.user}",
            "REVOKE CREATE ON SCHEMA other FROM PUBLIC",
        )
        assert found(database) == []
        run_sql(database, f"ALTER DATABASE {database.dbname} OWNER TO {app.user}")
        assert [each.text.partition(":")[0] for each in found(database)] == [
            f"{app.user} may create in schema public"
        ]
        # To itself the owner is nobody else.
        assert found(app) == []
        with connected(database) as connection:
            execute(connection, f"ALTER DATABASE {database.dbname} OWNER TO {database.user}")
