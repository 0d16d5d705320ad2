"""What every session of ours is pinned to, so that nobody's objects or settings lead our statements astray.

A database's owner may say ``ALTER DATABASE … SET search_path``, and who may create in a schema that is on it may make
a function that fits a call of ours better than PostgreSQL's own. With ``pg_catalog`` alone to look in, neither is seen.
https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS

Behind a proxy a server session may be shared out by transaction: what is set for the session would then hold for
somebody else and not for us. There each statement carries the pins with it, for its own transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2.extensions

# standard_conforming_strings is none of them: the driver asks for it once, when it connects, and quotes by that.
SAFE: Mapping[str, str] = {
    # pg_temp last: named nowhere, it would be looked in first, and behind a proxy its tables may be another's.
    "search_path": "pg_catalog, pg_temp",
    # A policy's expression is its table's owner's code, run as us: refuse instead, as pg_dump does.
    "row_security": "off",
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "exit_on_error": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}

# A view where a table is expected would run its owner's functions as us (CVE-2024-7348). Minor releases that know the
# setting, by major; all from 17 on do.
_NO_VIEWS = {"restrict_nonsystem_relation_kind": "view, foreign-table"}
_NO_VIEWS_SINCE = {12: 20, 13: 16, 14: 13, 15: 8, 16: 4}

_QUERY = re.compile(r"\s*(?:SELECT|WITH|VALUES|TABLE|INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_BEGIN = re.compile(r"\s*(?:BEGIN|START\s+TRANSACTION)\b[^;]*$", re.IGNORECASE)


class Connection(psycopg2.extensions.connection):
    """A psycopg2 connection that knows what its session is pinned to.

    ``search_path`` is the project's own: what the role's and the database's settings say it should be.
    ``proxied`` is whether something like PgBouncer stands between.
    """

    proxied: bool = False
    search_path: str = ""
    pins: dict[str, str]

    def pin(self, settings: Mapping[str, str]) -> None:
        """Ask who answers, and pin the session: in one round trip, before any other statement.

        :param settings: beside :data:`SAFE`; they win over it.
        """
        self.pins = {**SAFE, **(_NO_VIEWS if _knows_no_views(self.server_version) else {}), **settings}
        # A proxy invents the pid that libpq was told. Every name is qualified: nothing is pinned yet.
        direct = f"pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {int(self.info.backend_pid)}"
        calls = ", ".join(
            [f"CASE WHEN {direct} THEN pg_catalog.set_config(%s, %s, false) END"] * len(self.pins)
        )
        with self.cursor() as cursor:
            cursor.execute(
                f"SELECT {direct}, pg_catalog.current_setting('search_path'), {calls}",
                [each for pair in self.pins.items() for each in pair],
            )
            found = cursor.fetchone()
            assert found is not None
            self.proxied, self.search_path = not found[0], found[1]
            if self.proxied:
                # The session may have another client's path; what it begins with is the role's and database's.
                cursor.execute(
                    self.safe("SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'")
                )
                found = cursor.fetchone()
                assert found is not None
                self.search_path = found[0]

    def repin(self, settings: Mapping[str, str]) -> None:
        """Set these for the rest of the session too."""
        self.pins.update(settings)
        if self.proxied and self.idle():
            return
        calls = ", ".join([f"pg_catalog.set_config(%s, %s, {self.proxied})"] * len(settings))
        with self.cursor() as cursor:
            cursor.execute(f"SELECT {calls}", [each for pair in settings.items() for each in pair])

    def idle(self) -> bool:
        """Whether no transaction is open."""
        return self.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE

    def failed(self) -> bool:
        """Whether the open transaction has failed, or the connection is lost."""
        return self.info.transaction_status in {
            psycopg2.extensions.TRANSACTION_STATUS_INERROR,
            psycopg2.extensions.TRANSACTION_STATUS_UNKNOWN,
        }

    def safe(self, sql: str, parameters: Sequence[Any] | None = None) -> str:
        """The statement as it can be sent: behind a proxy with the pins, which hold for its transaction."""
        if not self.proxied or not self.idle():
            return sql
        if _QUERY.match(sql):
            return f"{_local(self.pins, parameters)}; {sql}"
        if _BEGIN.match(sql):
            return f"{sql}; {_local(self.pins, parameters)}"
        return sql

    def on_search_path(self, sql: str, parameters: Sequence[Any] | None = None) -> str:
        """A query as it can be sent outside a transaction, the project's search path holding for it alone."""
        pins = {**(self.pins if self.proxied else {}), "search_path": self.search_path}
        return f"{_local(pins, parameters)}; {sql}"


def _knows_no_views(version: int) -> bool:
    major, minor = divmod(version, 10_000)
    return major > max(_NO_VIEWS_SINCE) or minor >= _NO_VIEWS_SINCE.get(major, minor + 1)


def _local(pins: Mapping[str, str], parameters: Sequence[Any] | None) -> str:
    """One statement that pins the transaction that is open, to stand beside one with these parameters."""
    found = [_of_transaction(*pin) for pin in pins.items()]
    calls = [
        f"pg_catalog.set_config({literal(name)}, {literal(value)}, true)" for name, value in found if name
    ]
    sql = f"SELECT {', '.join(calls)}"
    return sql if parameters is None else sql.replace("%", "%%")


def _of_transaction(name: str, value: str) -> tuple[str, str]:
    """A default for transactions says nothing of the one that has begun; it is read-only by another name."""
    if name == "default_transaction_read_only" and value == "on":
        return "transaction_read_only", value
    return ("", "") if name.startswith("default_transaction_") else (name, value)


def literal(text: str) -> str:
    """Quote a string for SQL text where a parameter can't stand; independent of standard_conforming_strings."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return " E" + quoted if "\\" in text else quoted
