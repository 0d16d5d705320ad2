"""Every mistake has its line: file, position, path, what is wrong, what was meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.environments import load
from pgops.errors import ConfigurationError

Wrong = Callable[[str], list[str]]
Mistakes = Callable[[str], list[str]]

COMPOSE = "compose: {service: db}\n"
HOST = "host: h\ndbname: d\nuser: u\nprotected: false\n"
SECRET = "hunter2"


def test_the_line_of_the_design(directory: Path) -> None:
    lines = ["# comment"] * 35 + [
        "version: 1", "environments:", "  production:", "    sslmode: verfy-full", "    host: h",
        "    dbname: d", "    user: u",
    ]  # fmt: skip
    (directory / "environments.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(environ={})
    assert caught.value.message == "environments.yaml has 1 mistake"
    assert caught.value.problems == (
        "environments.yaml:39:14: environments.production.sslmode: 'verfy-full' is not one of disable, "
        "allow, prefer, require, verify-ca, verify-full; did you mean 'verify-full'?",
    )


def test_a_file_elsewhere_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    file = tmp_path / "environments.yaml"
    file.write_text("version: 2\nenvironments: {a: {compose: {service: db}}}\n", encoding="utf-8")
    monkeypatch.chdir(os.fspath(tmp_path / ".."))
    with pytest.raises(ConfigurationError) as below:
        load(file, environ={})
    assert below.value.problems == (f"{tmp_path.name}/environments.yaml:1:10: version: 2 is not 1",)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError) as beside:
        load(file, environ={})
    assert beside.value.problems == (f"{file}:1:10: version: 2 is not 1",)


def test_all_mistakes_at_once_in_order(mistakes: Mistakes) -> None:
    found = mistakes(
        """\
version: 1
defalt: dev
defaults:
  timeouts: {connect: 5}
environments:
  dev:
    compose: {service: db}
    timeouts: {lock: 15m}
  staging:
    host: h
    user: u
    password: hunter2
"""
    )
    assert found == [
        "2:1: defalt: unknown key 'defalt'; did you mean 'default'?",
        "4:23: defaults.timeouts.connect: 5 has no unit; it is a duration such as 5s, with one of ms, s, min, h, d",
        "8:22: environments.dev.timeouts.lock: '15m' has no unit of ms, s, min, h, d; did you mean '15min'?",
        "9:3: environments.staging.dbname: is missing: host needs it",
        "12:15: environments.staging.password: a secret is never written here, only where it is: "
        "{env: STAGING_PASSWORD}, or one of env, file, command, keyring, passfile",
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        # keys and shapes
        (COMPOSE + "hots: h", "5:5: environments.a.hots: unknown key 'hots'; did you mean 'host'?"),
        (COMPOSE + "protected: true\nprotected: true", "6:5: key 'protected' stands twice; first in line 5"),
        (COMPOSE + "timeouts: 5s", "5:15: environments.a.timeouts: '5s' stands where a mapping belongs; its keys are connect, lock, statement, idle_in_transaction"),
        (COMPOSE + "aliases: b", "5:14: environments.a.aliases: 'b' stands where a list belongs"),
        (COMPOSE + "aliases: [b, b]", "5:18: environments.a.aliases[1]: 'b' stands twice"),
        (COMPOSE + "aliases: [b c]", "5:15: environments.a.aliases[0]: 'b c' is not a name of letters, digits, '.', '_' and '-', at most 63"),
        (COMPOSE + "aliases: [a]", "5:15: environments.a.aliases[0]: alias 'a' is the name of an environment"),
        (COMPOSE + "server: podman", "5:13: environments.a.server: 'podman' is not one of docker, embedded, auto"),
        (COMPOSE + "<<: {port: 1}", "5:5: merge keys (<<) are not read here; use defaults: or extends:"),
        (COMPOSE + "? [a]\n: b", "5:7: a key is a word, not a list or a mapping"),
        # values
        (HOST + "port: '5432'", "8:11: environments.a.port: '5432' is not a whole number; leave the quotes out"),
        (HOST + "port: 0", "8:11: environments.a.port: 0 is not between 1 and 65535"),
        (HOST + "port: 22:22", "8:11: environments.a.port: '22:22' is not a whole number"),
        (HOST + "port: 0x10", "8:11: environments.a.port: '0x10' is not a whole number"),
        (HOST + "port: [1]", "8:11: environments.a.port: a list stands where a whole number belongs"),
        (COMPOSE + "protected: yes", "5:16: environments.a.protected: 'yes' is not true or false; did you mean true?"),
        (COMPOSE + "protected: Off", "5:16: environments.a.protected: 'Off' is not true or false; did you mean false?"),
        (COMPOSE + "protected: 'true'", "5:16: environments.a.protected: 'true' is not true or false; did you mean true?"),
        ("host: h\nuser: u\ndbname: 2024-01-01x\nprotected: 1", "7:16: environments.a.protected: '1' is not true or false"),
        ("host: h\nuser: u\nprotected: false\ndbname: 010", "7:13: environments.a.dbname: '010' is not a text to every reader of YAML; write it in quotes: \"010\""),
        ("host: h\nuser: u\nprotected: false\ndbname: True", "7:13: environments.a.dbname: 'True' is not a text to every reader of YAML; write it in quotes: \"True\""),
        ("compose: {service: db, file: ~nobody-here/x}", "4:34: environments.a.compose.file: '~nobody-here/x': there is no such home directory"),
        (COMPOSE + "timeouts: {lock: 0s}", "5:22: environments.a.timeouts.lock: '0s' leaves no time at all"),
        (COMPOSE + "timeouts: {statement: 30d}", "5:27: environments.a.timeouts.statement: '30d' is more than 24d"),
        (COMPOSE + "timeouts: {lock: 1.5s}", "5:22: environments.a.timeouts.lock: '1.5s' is not a duration such as 5s; units are ms, s, min, h, d"),
        (COMPOSE + "hazards: {large_bytes: 10mb}", "5:28: environments.a.hazards.large_bytes: '10mb' has no unit of B, kB, MB, GB, TB; did you mean '10MB'?"),
        (COMPOSE + "hazards: {exclude: [ban-drop-colum]}", "5:25: environments.a.hazards.exclude[0]: 'ban-drop-colum' is not one of adding-column-with-check, attaching-partition, changing-session, disarming-run, dropping-view, ending-sessions, failing-statement, hiding-rows, …; did you mean 'ban-drop-column'?"),
        (COMPOSE + "backups: {required_before: [migrat]}", "5:33: environments.a.backups.required_before[0]: 'migrat' is not one of migrate, restore; did you mean 'migrate'?"),
        (COMPOSE + "backups: {store: lokal}", "5:22: environments.a.backups.store: there is no store 'lokal'; did you mean 'local'?"),
        (COMPOSE + "backups: {keep: {last: 0}}", "5:28: environments.a.backups.keep.last: 0 is not between 1 and 9007199254740992"),
        # where the server is
        ("protected: true", "3:3: environments.a: says nowhere where the server is: exactly one of compose, host, service, url is needed"),
        (COMPOSE + "service: s", "5:5: environments.a: compose and service are given; exactly one of compose, host, service, url says where the server is"),
        ("compose: {}", "4:14: environments.a.compose.service: is missing: service in the compose file"),
        (COMPOSE + "user: u", "5:5: environments.a.user: does not go with compose, only with host or service"),
        ("service: s\nserver: auto", "5:5: environments.a.server: does not go with service, only with compose"),
        (HOST + "sslcert: c", "8:5: environments.a.sslcert: needs sslkey beside it"),
        (HOST.replace("h\n", "h:5433\n", 1), "4:11: environments.a.host: 'h:5433' is a host and a port; write port: 5433 beside it"),
        (HOST.replace("h\n", "h1,h2\n", 1), "4:11: environments.a.host: is several hosts; those belong into pg_service.conf: service: …"),
        (HOST.replace("h\n", "a b\n", 1), "4:11: environments.a.host: 'a b' is not a host name, an address or a socket directory"),
        (HOST + "tunnel: {}", "8:5: environments.a.tunnel: needs exactly one of ssh and command"),
        (HOST + "tunnel: {ssh: b, command: [c]}", "8:5: environments.a.tunnel: needs exactly one of ssh and command"),
        (HOST + "tunnel: {command: [c]}", "8:5: environments.a.tunnel: has a command that is not told where to listen: {local_port} is in none of its words"),
        (HOST + "tunnel: {command: ['{local_port}'], config: f}", "8:5: environments.a.tunnel: has a config, which is ssh's, and no ssh"),
        (HOST + "tunnel: {ssh: -oProxyCommand=id}", "8:19: environments.a.tunnel.ssh: '-oProxyCommand=id' is not a host as ssh takes it"),
        (HOST.replace("h\n", "/run/pg\n", 1) + "tunnel: {ssh: b}", "8:5: environments.a.tunnel: leads to a host and a port, and host is a socket directory"),
        (COMPOSE + "tunnel: {ssh: b}", "5:5: environments.a.tunnel: does not go with compose, only with host or service or url"),
        # TLS
        (HOST.replace("false", "true") + "sslmode: verify-ca", "8:14: environments.a.sslmode: 'verify-ca' does not prove who answers, and this environment is protected; write verify-full"),
        ("service: s\nsslmode: require", "5:14: environments.a.sslmode: 'require' does not prove who answers, and this environment, as everything that is not local, is protected; write verify-full"),
        # secrets
        (HOST + "password: {env: A, file: b}", "8:24: environments.a.password: env and file are given; take exactly one of env, file, command, keyring, passfile"),
        (HOST + "password: {}", "8:15: environments.a.password: takes exactly one of env, file, command, keyring, passfile"),
        (HOST + "password: {env: A, ttl: 1s}", "8:24: environments.a.password: unknown key beside env; known are env"),
        (HOST + "password: {command: aws}", "8:25: environments.a.password.command: this value stands where a list belongs"),
        (HOST + "password: {command: []}", "8:25: environments.a.password.command: is empty"),
        (HOST + "password: {command: [a], ttl: 10}", "8:35: environments.a.password.ttl: 10 has no unit; it is a duration such as 5s, with one of ms, s, min, h, d"),
        (HOST + "password: {keyring: {service: s}}", "8:25: environments.a.password.keyring: is missing: name of the entry"),
        ("url: {passfile: p}", "4:11: environments.a.url: a passfile holds passwords only; take one of env, file, command, keyring"),
        # Alembic
        (COMPOSE + "alembic: {environ: {1A: x}}", "5:25: environments.a.alembic.environ.1A: '1A' is not the name of an environment variable"),
        (COMPOSE + "alembic: {x: {tenant: 1}}", "5:27: environments.a.alembic.x.tenant: '1' is not a text to every reader of YAML; write it in quotes: \"1\""),
        (COMPOSE + "alembic: {environ: {A: 'x{ulr}'}}", "5:28: environments.a.alembic.environ.A: '{ulr}' is not filled in; did you mean 'url'?"),
        (HOST + "password: {command: [a, '{hots}']}", "8:29: environments.a.password.command: this value is not filled in; did you mean 'host'?"),
        # inheritance
        (COMPOSE + "extends: b", "5:14: environments.a.extends: there is no environment 'b'; known are a"),
        (COMPOSE + "extends: a", "5:14: environments.a.extends: goes in a circle: a -> a"),
    ],
)  # fmt: skip
def test_one_environment(wrong: Wrong, lines: str, said: str) -> None:
    assert wrong(lines) == [said]


AROUND = "environments: {a: {compose: {service: db}}, p: {url: {env: X}, aliases: [q]}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["1:1: is empty; it begins with version: 1"]),
        ("# only words\n", ["1:1: is empty; it begins with version: 1"]),
        ("- 1\n", ["1:1: a list stands where a mapping belongs; its keys are version, default, promotion, defaults, stores, alembic, environments"]),
        (AROUND, ["1:1: version: is missing: version of this format: 1"]),
        ("version: 1\n", ["1:1: environments: is missing: the targets, by name"]),
        ("version: 1\nenvironments: {}\n", ["2:15: environments: is empty"]),
        ("version: 1\nenvironments: {a: }\n", ["2:19: environments.a: nothing stands where a mapping belongs; its keys are aliases, extends, protected, compose, server, host, port, dbname, …"]),
        ("version: 1\nenvironments:\n  'a b': {compose: {service: db}}\n", ["3:3: environments.'a b': 'a b' is not a name of letters, digits, '.', '_' and '-', at most 63"]),
        ("version: 1\ndefault: p\n" + AROUND, ["2:10: default: p is protected; a protected environment is always named on the command line"]),
        ("version: 1\ndefault: q\n" + AROUND, ["2:10: default: p is protected; a protected environment is always named on the command line"]),
        ("version: 1\ndefault: b\n" + AROUND, ["2:10: default: there is no environment 'b'; known are a, p, q"]),
        ("version: 1\npromotion: [a, p, q]\n" + AROUND, ["2:19: promotion[2]: p stands twice"]),
        ("version: 1\npromotion: [a, pp]\n" + AROUND, ["2:16: promotion[1]: there is no environment 'pp'; did you mean 'p'?"]),
        ("version: 1\ndefaults: {aliases: [x], protected: false}\n" + AROUND, ["2:12: defaults.aliases: aliases belongs to one environment, not to defaults", "2:26: defaults.protected: protected belongs to one environment, not to defaults"]),
        ("version: 1\nstores: {}\n" + AROUND, ["2:9: stores: is empty"]),
        ("version: 1\nstores: {a: {url: /b}}\n" + AROUND, ["2:19: stores.a.url: '/b' is not file:PATH or s3://BUCKET/PREFIX"]),
        ("version: 1\nstores: {a: {url: 'file://host/b'}}\n" + AROUND, ["2:19: stores.a.url: names a host; write file:/… or file:./…"]),
        ("version: 1\nstores: {a: {url: 'file:b', region: x}}\n" + AROUND, ["2:29: stores.a.region: goes with an s3:// url only"]),
        ("version: 1\nstores: {a: {url: 's3://b', access_key: {env: A}}}\n" + AROUND, ["2:29: stores.a.access_key: access_key and secret_key go together"]),
        ("version: 1\nstores: {a: {url: 's3://b', encrypt: {recipients: [x]}}}\n" + AROUND, ["2:52: stores.a.encrypt.recipients[0]: 'x' is not a public key of age or ssh"]),
        ("version: 1\nstores: {a: {url: 'file:a'}, b: {url: 'file:b'}}\nenvironments:\n  e: {compose: {service: db}}\n", ["4:3: environments.e.backups.store: is missing: which of a, b?"]),
        ("version: 1\nenvironments:\n  a: {compose: {service: x}}\n  A: {compose: {service: y}}\n", ["4:3: environments.A: 'a' and 'A' differ in case only"]),
        ("version: 1\nenvironments:\n  a: {compose: {service: x}, aliases: [z]}\n  b: {compose: {service: y}, aliases: [Z]}\n", ["4:40: environments.b.aliases[0]: alias 'Z' already belongs to a"]),
        ("version: 1\nenvironments:\n  a: {extends: b, compose: {service: x}}\n  b: {extends: c}\n  c: {extends: a}\n", ["3:16: environments.a.extends: goes in a circle: b -> c -> a -> b", "4:16: environments.b.extends: goes in a circle: c -> a -> b -> c", "5:16: environments.c.extends: goes in a circle: a -> b -> c -> a"]),
        ("version: 1\nenvironments:\n  a: {host: h, dbname: d, user: u, protected: false}\n  b: {extends: a, compose: {service: y}}\n", ["4:19: environments.b: compose and host are given; exactly one of compose, host, service, url says where the server is; take an inherited one away with host: null"]),
        # what was given wrongly is not also missing
        ("version: 1\ndefault: a\nenvironments:\n  a: [1]\n", ["4:6: environments.a: a list stands where a mapping belongs; its keys are aliases, extends, protected, compose, server, host, port, dbname, …"]),
        ("version: 1\ndefaults: {host: 1}\nenvironments:\n  a: {dbname: 1, user: u}\n", ["2:18: defaults.host: '1' is not a text to every reader of YAML; write it in quotes: \"1\"", "4:15: environments.a.dbname: '1' is not a text to every reader of YAML; write it in quotes: \"1\""]),
        ("version: 1\nstores: {s: {url: 1}}\nenvironments:\n  a: {compose: {service: db}, backups: {store: s}}\n", ["2:19: stores.s.url: '1' is not a text to every reader of YAML; write it in quotes: \"1\""]),
    ],
)  # fmt: skip
def test_whole_files(mistakes: Mistakes, text: str, said: list[str]) -> None:
    assert mistakes(text) == said


def test_case_matters_not_where_names_meet_file_systems(mistakes: Mistakes) -> None:
    assert len(mistakes("version: 1\nenvironments:\n  a: {compose: {service: x}, aliases: [A]}\n")) == 1


@pytest.mark.parametrize(
    "lines",
    [
        f"password: {SECRET}",
        f"password: '{SECRET}'",
        f"password: [{SECRET}]",
        f"password: {{{SECRET}}}",
        f"password: {{{SECRET}: x}}",
        f"password: !{SECRET}",
        f"password: *{SECRET}",
        f"password: {{env: '{SECRET}-'}}",
        f"password: {{env: [{SECRET}]}}",
        f"password: {{env: {{{SECRET}: x}}}}",
        f"password: {{env: A, {SECRET}: b}}",
        f"password: {{command: '{SECRET}'}}",
        f"password: {{command: [{{a: {SECRET}}}]}}",
        f"password: {{keyring: {SECRET}}}",
        f"password: {{keyring: {{{SECRET}: x}}}}",
        f"password: {{file: '{SECRET}\\0'}}".replace("'", '"'),
    ],
)
def test_a_secret_that_stands_where_none_belongs_is_not_repeated(wrong: Wrong, lines: str) -> None:
    found = wrong(HOST + lines)
    assert found and SECRET not in "\n".join(found)


def test_a_url_with_a_password_is_not_repeated(wrong: Wrong) -> None:
    for line in (
        f"url: postgresql://u:{SECRET}@h/d",
        f"host: postgresql://u:{SECRET}@h/d\ndbname: d\nuser: u",
    ):
        found = wrong(line)
        assert found and SECRET not in "\n".join(found)


def test_pgbackrest_and_what_goes_with_it(wrong: Wrong) -> None:
    assert wrong(HOST + "backups: {engine: pgbackrest}\n") == [
        "8:15: environments.a.backups.engine: pgbackrest needs `stanza`, its name of the cluster, beside it"
    ]
    assert wrong(HOST + "backups: {stanza: app}\n") == [
        "8:15: environments.a.backups.stanza: goes with engine: pgbackrest only"
    ]
    both = "reach: {ssh: db.example.com, container: db-1}"
    assert wrong(HOST + f"backups: {{engine: pgbackrest, stanza: app, {both}}}\n") == [
        "8:56: environments.a.backups.reach.ssh: ssh and container do not go together"
    ]
    # An option of ssh is no destination.
    assert (
        len(wrong(HOST + "backups: {engine: pgbackrest, stanza: app, reach: {ssh: -oProxyCommand=x}}\n")) == 1
    )
