"""Every setting has a form for people, and says where it was given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgops.environments import Environment, Project
from pgops.environments.settings import settings

One = Callable[[str], Environment]


@pytest.mark.parametrize(
    ("lines", "name", "value", "source"),
    [
        ("compose: {service: db}", "compose.service", "db", "environments.a.compose.service (line 4)"),
        ("compose: {service: db}", "server", "auto", "built in"),
        ("compose: {service: db}", "protected", "false", "built in"),
        ("url: {env: U}", "url", "environment variable U", "environments.a.url (line 4)"),
        ("url: {keyring: {service: s, username: u}}", "url", "keyring entry s/u", "environments.a.url (line 4)"),
        ("service: s\npassword: {passfile: /p}", "password", "passfile /p", "environments.a.password (line 5)"),
        ("compose: {service: db}\nhazards: {exclude: [ban-drop-table, ban-drop-column]}", "hazards.exclude",
         "ban-drop-column, ban-drop-table", "environments.a.hazards.exclude (line 5)"),
        ("compose: {service: db}\nbackups: {keep: {within: 7d}}", "backups.keep.within", "7d",
         "environments.a.backups.keep.within (line 5)"),
        ("compose: {service: db}\nalembic: {x: {tenant: main}}", "alembic.x.tenant", "main",
         "environments.a.alembic.x.tenant (line 5)"),
    ],
)  # fmt: skip
def test_one(one: One, lines: str, name: str, value: str, source: str) -> None:
    found = {each.name: each for each in settings(one(lines))}
    assert (found[name].value, found[name].source) == (value, source)


def test_every_origin_has_its_setting(read: Callable[[str], Project]) -> None:
    project = read(
        """\
version: 1
environments:
  a:
    aliases: [x]
    protected: true
    host: localhost
    port: 5433
    dbname: d
    user: u
    password: {env: P}
    sslmode: disable
    sslrootcert: r
    sslcert: c
    sslkey: k
    timeouts: {connect: 1s, lock: 1s, statement: 1s, idle_in_transaction: 1s}
    backups: {store: local, jobs: 2, required_before: [migrate], max_age: 1d, prove_every: 7d, keep: {last: 1, hourly: 1, daily: 1, weekly: 1, monthly: 1, yearly: 1, within: 1d}}
    alembic: {config: a.ini, name: n, x: {a: b}, environ: {A: b}}
    hazards: {large_rows: 1, large_bytes: 1B, exclude: [renaming-table], trace: never}
    rehearsal: {required_before: [migrate], max_age: 12h}
    reversible: {required_before: [migrate]}
    monitoring: {metrics: m, notify: {ops: {env: O}}, repeat: 1h, ping: {env: P}}
"""
    )
    environment = project.environment("a")
    assert {each.name for each in settings(environment)} == set(environment.origins)


@pytest.mark.parametrize(
    ("lines", "name", "shown"),
    [
        ("timeouts: {statement: 500ms}", "timeouts.statement", "500ms"),
        ("timeouts: {statement: 90s}", "timeouts.statement", "90s"),
        ("timeouts: {statement: 900s}", "timeouts.statement", "15min"),
        ("timeouts: {statement: 60min}", "timeouts.statement", "1h"),
        ("timeouts: {statement: 0s}", "timeouts.statement", "0s"),
        ("hazards: {large_bytes: 1024kB}", "hazards.large_bytes", "1MB"),
        ("hazards: {large_bytes: 1000B}", "hazards.large_bytes", "1000B"),
        ("hazards: {large_bytes: 1B}", "hazards.large_bytes", "1B"),
    ],
)
def test_a_quantity_is_shown_in_its_largest_whole_unit(one: One, lines: str, name: str, shown: str) -> None:
    found = {each.name: each.value for each in settings(one(f"compose: {{service: db}}\n{lines}"))}
    assert found[name] == shown
