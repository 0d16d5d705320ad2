"""What belongs to a database but is not inside it: owner, encoding, locale, settings, privileges, limits.

A plain restore drops these; a swap would too, because they hang on the database's oid. They are read
from the target where it exists and from the manifest where it does not, and given to the new database
before it takes the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pgops.backups.manifest.manifest import Locale, Manifest, Setting
from pgops.postgres import Connection, fetch_all, fetch_one, fetch_value, identifier, literal

# Settings whose value is a list of names: each name is quoted by itself, or the list becomes one odd name.
# src/bin/pg_dump/dumputils.c keeps the same list (variable_is_guc_list_quote).
_LISTS = frozenset(
    [
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    ]
)


@dataclass(frozen=True, slots=True)
class Grant:
    """One privilege on the database; ``role`` ``None`` is PUBLIC."""

    role: str | None
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True)
class Attributes:
    """Everything a database has beside its contents.

    ``grants`` is ``None`` where nobody ever changed the default privileges; ``connection_limit`` -1
    means no limit.
    """

    owner: str
    encoding: str
    locale: Locale
    tablespace: str | None
    settings: tuple[Setting, ...]
    grants: tuple[Grant, ...] | None
    connection_limit: int
    comment: str | None
    is_template: bool = False


def read_attributes(connection: Connection, database: str) -> Attributes | None:
    """The attributes of ``database``; ``None`` when there is none of that name.

    Readable from any database of the server.
    """
    row = fetch_one(
        connection,
        """
        SELECT d.oid::bigint, pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding),
               d.datcollate, d.datctype, t.spcname, d.datconnlimit, shobj_description(d.oid, 'pg_database'),
               to_jsonb(d) ->> 'datlocprovider',
               coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
               d.datacl IS NULL, d.datistemplate
          FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = d.dattablespace
         WHERE d.datname = %s
        """,
        (database,),
    )
    if row is None:
        return None
    (
        oid,
        owner,
        encoding,
        collate,
        ctype,
        tablespace,
        limit,
        comment,
        provider,
        locale,
        default_acl,
        template,
    ) = row
    return Attributes(
        owner=owner,
        encoding=encoding,
        locale=Locale({"i": "icu", "b": "builtin"}.get(provider, "libc"), collate, ctype, locale),
        tablespace=None if tablespace == "pg_default" else tablespace,
        settings=_settings(connection, oid),
        grants=None if default_acl else _grants(connection, oid),
        connection_limit=limit,
        comment=comment,
        is_template=template,
    )


def _settings(connection: Connection, oid: int) -> tuple[Setting, ...]:
    rows = fetch_all(
        connection,
        """
        SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END,
               split_part(one, '=', 1), substr(one, strpos(one, '=') + 1)
          FROM pg_db_role_setting AS s, unnest(s.setconfig) AS one
         WHERE s.setdatabase = %s ORDER BY 1 NULLS FIRST, 2
        """,
        (oid,),
    )
    return tuple(Setting(*row) for row in rows)


def _grants(connection: Connection, oid: int) -> tuple[Grant, ...]:
    rows = fetch_all(
        connection,
        """
        SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
          FROM pg_database AS d, aclexplode(d.datacl) AS a WHERE d.oid = %s ORDER BY 1 NULLS FIRST, 2
        """,
        (oid,),
    )
    return tuple(Grant(*row) for row in rows)


def attributes_of(manifest: Manifest) -> Attributes:
    """What the backup says about the database it was taken from."""
    return Attributes(
        owner=manifest.owner,
        encoding=manifest.encoding,
        locale=manifest.locale,
        tablespace=None,
        settings=manifest.settings,
        grants=None if manifest.acl is None else parse_acl(manifest.acl),
        connection_limit=-1,
        comment=None,
    )


_PRIVILEGES = {"C": "CREATE", "T": "TEMPORARY", "c": "CONNECT"}


def parse_acl(items: Iterable[str]) -> tuple[Grant, ...]:
    """``aclitem`` texts, ``grantee=privileges/grantor``, as grants. Roles with odd names are quoted in them.

    https://www.postgresql.org/docs/current/ddl-priv.html
    """
    found: list[Grant] = []
    for item in items:
        role, rest = _acl_role(item)
        letters = rest.partition("/")[0]
        for at, letter in enumerate(letters):
            if letter in _PRIVILEGES:
                found.append(Grant(role, _PRIVILEGES[letter], letters[at + 1 : at + 2] == "*"))
    return tuple(found)


def _acl_role(item: str) -> tuple[str | None, str]:
    if item.startswith('"'):
        name, at = "", 1
        while at < len(item):
            if item[at] == '"':
                if item[at + 1 : at + 2] != '"':
                    break
                at += 1
            name += item[at]
            at += 1
        return name, item[at + 1 :].removeprefix("=")
    role, _, rest = item.partition("=")
    return role or None, rest


def merged(here: Attributes | None, backup: Attributes) -> Attributes:
    """The new database's attributes: the target's own where it exists, settings it lacks from the backup.

    Limits, privileges and settings are the place's: a restore must not loosen what was tightened since.
    A setting that only the backup has (a search_path the application needs) comes back with it.
    """
    if here is None:
        return backup
    known = {(each.role, each.name) for each in here.settings}
    added = tuple(each for each in backup.settings if (each.role, each.name) not in known)
    return replace(here, settings=here.settings + added)


def differing_settings(here: Attributes, backup: Attributes) -> list[tuple[Setting, Setting]]:
    """Settings that both have with different values: (the target's, which stays; the backup's)."""
    theirs = {(each.role, each.name): each for each in backup.settings}
    pairs = ((each, theirs.get((each.role, each.name))) for each in here.settings)
    return [(mine, other) for mine, other in pairs if other is not None and other.value != mine.value]


def create_statement(name: str, attributes: Attributes, *, server_major: int, connection_limit: int) -> str:
    """``CREATE DATABASE`` from template0 with this owner, encoding and locale."""
    locale = attributes.locale
    parts = [
        f"CREATE DATABASE {identifier(name)} TEMPLATE template0",
        f"OWNER {identifier(attributes.owner)}",
        f"ENCODING {literal(attributes.encoding)}",
        f"LC_COLLATE {literal(locale.collate)} LC_CTYPE {literal(locale.ctype)}",
    ]
    if server_major >= 15:
        # Said always: template0 may have another one than the database had.
        parts.append(f"LOCALE_PROVIDER {locale.provider}")
        if locale.locale is not None:
            key = "ICU_LOCALE" if locale.provider == "icu" else "BUILTIN_LOCALE"
            parts.append(f"{key} {literal(locale.locale)}")
    if attributes.tablespace is not None:
        parts.append(f"TABLESPACE {identifier(attributes.tablespace)}")
    parts.append(f"CONNECTION LIMIT {connection_limit}")
    return " ".join(parts)


def setting_statements(name: str, attributes: Attributes, *, roles: frozenset[str]) -> list[str]:
    """``ALTER DATABASE … SET`` for the new database; what belongs to a role that is not here is left out."""
    return [
        setting_statement(name, each)
        for each in attributes.settings
        if each.role is None or each.role in roles
    ]


def changing_statements(name: str, old: Attributes, new: Attributes, *, roles: frozenset[str]) -> list[str]:
    """What turns owner and settings of a database that has the old attributes into the new ones."""
    database = identifier(name)
    statements = []
    if new.owner != old.owner:
        statements.append(f"ALTER DATABASE {database} OWNER TO {identifier(new.owner)}")
    if new.settings != old.settings:
        statements.append(f"ALTER DATABASE {database} RESET ALL")
        statements += [
            f"ALTER ROLE {identifier(role)} IN DATABASE {database} RESET ALL"
            for role in sorted({each.role for each in old.settings if each.role in roles and each.role})
        ]
        statements += setting_statements(name, new, roles=roles)
    return statements


def grant_statements(name: str, attributes: Attributes, *, roles: frozenset[str]) -> list[str]:
    """Privileges on the new database; those of a role that is not here are left out."""
    if attributes.grants is None:
        return []
    database = identifier(name)
    statements = [
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        f"REVOKE ALL ON DATABASE {database} FROM {identifier(attributes.owner)}",
    ]
    for grant in attributes.grants:
        if grant.role is None:
            statements.append(f"GRANT {grant.privilege} ON DATABASE {database} TO PUBLIC")
        elif grant.role in roles:
            option = " WITH GRANT OPTION" if grant.grantable else ""
            statements.append(
                f"GRANT {grant.privilege} ON DATABASE {database} TO {identifier(grant.role)}{option}"
            )
    return statements


def setting_statement(name: str, setting: Setting) -> str:
    """``ALTER DATABASE … SET``, or ``ALTER ROLE … IN DATABASE … SET``, for the database called ``name``."""
    head = f"ALTER DATABASE {identifier(name)}"
    if setting.role is not None:
        head = f"ALTER ROLE {identifier(setting.role)} IN DATABASE {identifier(name)}"
    if setting.name.lower() in _LISTS:
        value = ", ".join(literal(each) for each in split_names(setting.value)) or "''"
    else:
        value = literal(setting.value)
    # A custom setting is called extension.name; both halves are names of their own.
    return f"{head} SET {identifier(*setting.name.split('.'))} TO {value}"


def split_names(text: str) -> list[str]:
    """``"$user", public`` -> ``["$user", "public"]``; a doubled quote inside quotes is one."""
    found: list[str] = []
    current, quoted, at = "", False, 0
    while at < len(text):
        character = text[at]
        if character == '"' and quoted and text[at + 1 : at + 2] == '"':
            current += '"'
            at += 1
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            found.append(current)
            current = ""
        elif quoted or not character.isspace():
            current += character
        at += 1
    return [each for each in [*found, current] if each]


def unsettable(connection: Connection, settings: Sequence[Setting]) -> tuple[Setting, ...]:
    """Those of ``settings`` that our role may not give to a database of its own; of roles that are here.

    The rules are those of ``validate_option_array_item`` (guc.c) and ``AlterRoleSet`` (user.c): a name that the
    server does not know, as an extension's or the application's own, is the superuser's.
    """
    version = connection.server_version
    granted = "has_parameter_privilege(w.name, 'SET')" if version >= 150000 else "false"
    administers = "pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION')" if version >= 160000 else "true"
    rows = fetch_all(
        connection,
        f"""
        SELECT w.at
          FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS w(role, name, at)
          JOIN pg_roles AS me ON me.rolname = current_user AND NOT me.rolsuper
          LEFT JOIN pg_roles AS r ON r.rolname = w.role
          LEFT JOIN pg_settings AS s ON lower(s.name) = lower(w.name)
         WHERE (w.role IS NULL OR r.oid IS NOT NULL)
           AND NOT (
                 -- pg_settings does not show this one.
                 (lower(w.name) = 'role' OR coalesce(s.context IN ('user', 'backend'), false) OR {granted})
             AND (w.role IS NULL OR r.oid = me.oid OR me.rolcreaterole AND NOT r.rolsuper AND {administers})
           )
         ORDER BY w.at
        """,
        ([each.role for each in settings], [each.name for each in settings]),
    )
    return tuple(settings[at - 1] for (at,) in rows)


def shown_value(setting: Setting) -> str:
    """A setting's value for people. One of the application's own (``app.jwt_secret``) can be a secret: it is not shown."""
    return "another value, not shown" if setting.may_be_secret else repr(setting.value)


def existing_roles(connection: Connection, wanted: Sequence[str]) -> frozenset[str]:
    """Those of the wanted roles that this server has."""
    rows = fetch_value(
        connection, "SELECT array_agg(rolname::text) FROM pg_roles WHERE rolname = ANY(%s)", (list(wanted),)
    )
    return frozenset(rows or ())
