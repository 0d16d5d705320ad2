"""What belongs to a database beside its contents, as statements."""

from __future__ import annotations

import pytest

from pgops.backups.database.attributes import (
    Attributes,
    Grant,
    create_statement,
    differing_settings,
    grant_statements,
    merged,
    parse_acl,
    setting_statements,
    split_names,
)
from pgops.backups.manifest.manifest import Locale, Setting

HERE = Attributes(
    owner="app owner",
    encoding="UTF8",
    locale=Locale("libc", "de_DE.UTF-8", "C"),
    tablespace=None,
    settings=(Setting(None, "work_mem", "4MB"),),
    grants=None,
    connection_limit=50,
    comment="ours",
)
BACKUP = Attributes(
    owner="other",
    encoding="UTF8",
    locale=Locale("libc", "C", "C"),
    tablespace=None,
    settings=(Setting(None, "work_mem", "9MB"), Setting("app", "search_path", '"$user", public')),
    grants=(),
    connection_limit=-1,
    comment=None,
)


def test_the_place_keeps_its_own_and_gains_what_only_the_backup_has() -> None:
    found = merged(HERE, BACKUP)
    assert found.settings == (
        Setting(None, "work_mem", "4MB"),
        Setting("app", "search_path", '"$user", public'),
    )
    assert (found.owner, found.connection_limit, found.grants, found.comment) == (
        "app owner",
        50,
        None,
        "ours",
    )
    assert merged(None, BACKUP) == BACKUP
    assert differing_settings(HERE, BACKUP) == [
        (Setting(None, "work_mem", "4MB"), Setting(None, "work_mem", "9MB"))
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"$user", public', ["$user", "public"]),
        ('"odd, ""name""",  b', ['odd, "name"', "b"]),
        ("", []),
        ('""', []),
        ("a", ["a"]),
    ],
)
def test_lists_of_names_are_taken_apart(text: str, names: list[str]) -> None:
    assert split_names(text) == names


@pytest.mark.parametrize(
    ("items", "grants"),
    [
        (["=Tc/postgres"], [Grant(None, "TEMPORARY", False), Grant(None, "CONNECT", False)]),
        (["app=C*c/postgres"], [Grant("app", "CREATE", True), Grant("app", "CONNECT", False)]),
        (['"odd ""=/ name"=c/postgres'], [Grant('odd "=/ name', "CONNECT", False)]),
        (
            ['"a b"=CTc/"x y"'],
            [Grant("a b", "CREATE", False), Grant("a b", "TEMPORARY", False), Grant("a b", "CONNECT", False)],
        ),
        ([], []),
    ],
)
def test_acl_items_are_read(items: list[str], grants: list[Grant]) -> None:
    assert list(parse_acl(items)) == grants


def test_statements_quote_every_name_and_value() -> None:
    assert create_statement('a"b', HERE, server_major=17, connection_limit=3) == (
        'CREATE DATABASE "a""b" TEMPLATE template0 OWNER "app owner" ENCODING \'UTF8\' '
        "LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C' LOCALE_PROVIDER libc CONNECTION LIMIT 3"
    )
    assert "PROVIDER" not in create_statement("d", HERE, server_major=14, connection_limit=-1)
    odd = Attributes(
        owner="o",
        encoding="UTF8",
        locale=Locale("icu", "C", "C", "de-u-co-phonebk"),
        tablespace="fast disk",
        settings=(
            Setting(None, "search_path", '"it\'s", b'),
            Setting("r", "app.tenant", "x'; DROP"),
            Setting("gone", "work_mem", "1MB"),
        ),
        grants=(Grant(None, "CONNECT", False), Grant("r", "CREATE", True), Grant("gone", "CREATE", False)),
        connection_limit=-1,
        comment=None,
    )
    assert "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' TABLESPACE \"fast disk\"" in create_statement(
        "d", odd, server_major=17, connection_limit=-1
    )
    assert setting_statements("d", odd, roles=frozenset(["r"])) == [
        "ALTER DATABASE \"d\" SET \"search_path\" TO 'it''s', 'b'",
        'ALTER ROLE "r" IN DATABASE "d" SET "app"."tenant" TO \'x\'\'; DROP\'',
    ]
    assert grant_statements("d", odd, roles=frozenset(["r"])) == [
        'REVOKE ALL ON DATABASE "d" FROM PUBLIC',
        'REVOKE ALL ON DATABASE "d" FROM "o"',
        'GRANT CONNECT ON DATABASE "d" TO PUBLIC',
        'GRANT CREATE ON DATABASE "d" TO "r" WITH GRANT OPTION',
    ]
