"""Privileges, memberships, logins and settings of roles: one query, and what differs between two answers.

Privileges on schemas and tables are in :mod:`~pgops.migrations.tracing.catalog`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgops.migrations.hazards.observed import Change
from pgops.migrations.tracing.catalog import FIRST_USER_OID

GRANTS = f"""
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(kind, oid::int8, part, name, had, now))::text FROM (
    SELECT 'rights', d.oid, 0, 'database ' || pg_catalog.quote_ident(d.datname),
           pg_catalog.acldefault('d', d.datdba)::text, d.datacl::text
      FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database() AND d.datacl IS NOT NULL
    UNION ALL
    SELECT 'rights', c.oid, 0, 'sequence ' || c.oid::pg_catalog.regclass::text,
           pg_catalog.acldefault('s', c.relowner)::text, c.relacl::text
      FROM pg_catalog.pg_class AS c
     WHERE c.relkind = 'S' AND c.oid >= {FIRST_USER_OID}::oid AND c.relacl IS NOT NULL
    UNION ALL
    SELECT 'rights', p.oid, 0, 'function ' || p.oid::pg_catalog.regprocedure::text,
           pg_catalog.acldefault('f', p.proowner)::text, p.proacl::text
      FROM pg_catalog.pg_proc AS p WHERE p.oid >= {FIRST_USER_OID}::oid AND p.proacl IS NOT NULL
    UNION ALL
    SELECT 'rights', t.oid, 0, 'type ' || t.oid::pg_catalog.regtype::text,
           pg_catalog.acldefault('T', t.typowner)::text, t.typacl::text
      FROM pg_catalog.pg_type AS t WHERE t.oid >= {FIRST_USER_OID}::oid AND t.typacl IS NOT NULL
    UNION ALL
    SELECT 'rights', a.attrelid, a.attnum, 'column ' || pg_catalog.quote_ident(a.attname) || ' of ' || a.attrelid::pg_catalog.regclass::text,
           '', a.attacl::text
      FROM pg_catalog.pg_attribute AS a
     WHERE a.attacl IS NOT NULL AND a.attrelid >= {FIRST_USER_OID}::oid AND NOT a.attisdropped
    UNION ALL
    SELECT 'membership', m.oid, 0, m.rolname::text, g.rolname::text, 'member'
      FROM pg_catalog.pg_auth_members AS a JOIN pg_catalog.pg_roles AS g ON g.oid = a.roleid
      JOIN pg_catalog.pg_roles AS m ON m.oid = a.member WHERE m.oid >= {FIRST_USER_OID}::oid
    UNION ALL
    SELECT 'login', r.oid, 0, r.rolname::text, '', 'login' FROM pg_catalog.pg_roles AS r
     WHERE r.rolcanlogin AND r.rolconnlimit <> 0 AND coalesce(r.rolvaliduntil > now(), true)
       AND r.oid >= {FIRST_USER_OID}::oid
    UNION ALL
    SELECT 'login', d.oid, 0, 'whoever is no superuser', '', 'login' FROM pg_catalog.pg_database AS d
     WHERE d.datname = pg_catalog.current_database() AND d.datconnlimit <> 0
    UNION ALL
    SELECT 'read-only', coalesce(r.oid, 0), 0, coalesce(r.rolname::text, ''), (s.setdatabase <> 0)::text, 'on'
      FROM pg_catalog.pg_db_role_setting AS s LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
     CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting)
     WHERE c.setting ~* '^default_transaction_read_only=(on|true|yes|1)$'
    UNION ALL
    SELECT 'search-path', coalesce(r.oid, 0), 0, coalesce(r.rolname::text, ''), (s.setdatabase <> 0)::text, c.setting
      FROM pg_catalog.pg_db_role_setting AS s LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
     CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting) WHERE starts_with(c.setting, 'search_path=')
) AS found (kind, oid, part, name, had, now)
"""
"""Rights that are not PostgreSQL's defaults, memberships, roles that may log in, search paths, sessions that only read; one JSON text."""


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: str
    oid: int
    part: int
    name: str
    had: str
    now: str

    @property
    def key(self) -> tuple[str, int, int, str]:
        # How a session shows a name depends on its search path. A membership is of a group, a search path of a role in a
        # database or everywhere.
        return self.kind, self.oid, self.part, "" if self.kind == "rights" else self.had


class Grants:
    """The answers to :data:`GRANTS` through a plan. What is newer than the first one is nobody's loss."""

    def __init__(self, first: str | None, newest: int) -> None:
        self._now = _read(first)
        self._newest = newest

    def read(self, text: str | None) -> None:
        """Take note of an answer, whatever is different."""
        self._now = _read(text)

    def seen(self, text: str | None) -> Iterator[Change]:
        """What is different, which is taken note of."""
        before, self._now = self._now, _read(text)
        for key, entry in self._now.items():
            old = before.get(key)
            if entry.kind == "rights" and entry.oid <= self._newest:
                was = entry.had if old is None else old.now
                if was != entry.now:
                    yield Change("grants", "", entry.name, f"{was} -> {entry.now}")
            elif entry.kind == "read-only" and old is None:
                yield Change("read-only", "", entry.name)
            elif entry.kind == "search-path" and (old is None or old.now != entry.now):
                yield Change("search-path", "", entry.name, entry.now.partition("=")[2])
        for key, entry in before.items():
            if key in self._now:
                continue
            if entry.kind == "read-only":
                continue
            if entry.kind == "membership":
                yield Change("membership", "", entry.name, entry.had)
            elif entry.kind == "login":
                yield Change("login", "", entry.name)
            elif entry.kind == "search-path":
                yield Change("search-path", "", entry.name)
            elif entry.part:
                # Its last right is gone, and the list with it.
                yield Change("grants", "", entry.name, f"{entry.now} -> ")


def _read(text: str | None) -> Mapping[tuple[str, int, int, str], _Entry]:
    entries = [_Entry(*row) for row in json.loads(text or "null") or ()]
    return {entry.key: entry for entry in entries}
