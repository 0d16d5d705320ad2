"""Whether somebody else could run their code through the version table.

Alembic writes it with the rights of whoever migrates, so a trigger or a rule on it runs with these. Whoever may create
in the schema can make the table first. Who owns the database or the schema could put another table in its place at any
time: that the table is theirs gives them nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from pgops.environments import Environment
from pgops.migrations.alembic_env.context import VersionTable
from pgops.postgres import Connection, UntrustedError, fetch_all, names, trusted_sql


def foreign(connection: Connection, table: VersionTable, trusted: Collection[str]) -> tuple[str, str] | None:
    """Who could run something through the table, and the statement that mends it; ``None`` where nobody could.

    :param trusted: roles that count besides this one's own (``trusted_owners``).
    """
    found = fetch_all(
        connection,
        f"""
        SELECT pg_get_userbyid(c.relowner)::text,
               {trusted_sql("c.relowner", trusted)} OR c.relowner IN (d.datdba, n.nspowner),
               quote_ident(current_user), NULL, NULL
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_database AS d ON d.datname = current_database()
         WHERE c.oid = to_regclass(%s)
         UNION ALL
        SELECT pg_get_userbyid(p.proowner)::text, false, NULL, t.tgname::text, quote_ident(t.tgname)
          FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
         WHERE t.tgrelid = to_regclass(%s) AND NOT t.tgisinternal AND NOT {trusted_sql("p.proowner", trusted)}
        """,
        (names.qualified(connection, table.as_sql()),) * 2,
    )
    for owner, is_trusted, ours, trigger, quoted in found:
        if is_trusted:
            continue
        if trigger is None:
            return f"{table} belongs to {owner}", f"ALTER TABLE {table.as_sql()} OWNER TO {ours}"
        return (
            f"trigger {trigger} on {table} runs a function of {owner}",
            f"DROP TRIGGER {quoted} ON {table.as_sql()}",
        )
    return None


def told(found: tuple[str, str]) -> str:
    """The note of a plan."""
    what, mends = found
    return f"{what}, who is not trusted and could run anything by it: a run is refused ({mends})"


def refuse_foreign(connection: Connection, table: VersionTable, environment: Environment) -> None:
    """Refuse to write a version table by which somebody else could run their code.

    :raises UntrustedError: with who could, and the statement that mends it.
    """
    if found := foreign(connection, table, environment.trusted_owners):
        what, mends = found
        raise UntrustedError(
            f"{environment.name}: {what}, who is not trusted: Alembic writes that table, so what they put on it would "
            "run with the rights of this role",
            untouched="no revision was applied",
            hint=f"where it is not yours: {mends}; where they are to be trusted: trusted_owners in environments.yaml",
        )
