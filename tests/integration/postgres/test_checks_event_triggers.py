"""``env.check`` names the event triggers whose code somebody else can change: they run in every session, or in migrations."""

from __future__ import annotations

from pgops.checks.event_triggers import event_triggers
from pgops.checks.report import Finding
from pgops.postgres import Target, connected
from tests.conftest import pin
from tests.support.restores import run_sql
from tests.support.roles import role


def found(target: Target, *trusted: str) -> list[Finding]:
    with connected(target) as connection:
        pin(connection, {})
        return list(event_triggers(connection, trusted))


def test_event_triggers_of_somebody_else(database: Target) -> None:
    with connected(database) as connection:
        logins = connection.server_version >= 170000
    body = "() RETURNS event_trigger LANGUAGE plpgsql"
    run_sql(
        database,
        f"CREATE FUNCTION public.ours{body} AS 'BEGIN END'",
        "CREATE EVENT TRIGGER ours ON ddl_command_end EXECUTE FUNCTION public.ours()",
    )
    assert found(database) == []
    with role(database, "app") as app:
        run_sql(
            database,
            f"CREATE FUNCTION public.theirs{body} AS 'BEGIN END'",
            f"ALTER FUNCTION public.theirs OWNER TO {app.user}",
            'CREATE EVENT TRIGGER "on ddl" ON ddl_command_start EXECUTE FUNCTION public.theirs()',
            f"CREATE FUNCTION public.safe{body} SECURITY DEFINER AS 'BEGIN END'",
            f"ALTER FUNCTION public.safe OWNER TO {app.user}",
            "CREATE EVENT TRIGGER safe ON ddl_command_start EXECUTE FUNCTION public.safe()",
        )
        if logins:
            run_sql(database, "CREATE EVENT TRIGGER at_login ON login EXECUTE FUNCTION public.theirs()")
        warnings = found(database)
        assert [each.text.partition(",")[0] for each in warnings] == [
            *(["at_login runs public.theirs() at every login"] if logins else []),
            "on ddl runs public.theirs() at ddl_command_start",
        ]
        assert all(each.level == "warn" and f"{app.user} can change" in each.text for each in warnings)
        assert warnings[-1].todo.startswith('ALTER EVENT TRIGGER "on ddl" DISABLE')
        assert found(database, app.user) == []
        run_sql(database, 'ALTER EVENT TRIGGER "on ddl" DISABLE')
        assert len(found(database)) == int(logins)
        run_sql(
            database,
            *(["DROP EVENT TRIGGER at_login"] if logins else []),
            "DROP FUNCTION public.theirs CASCADE",
        )
