"""env.list, env.show, env.check as a person and as a script meet them."""

from __future__ import annotations

import json

from pgops.postgres import Target
from tests.conftest import ProjectDirectory

THREE = """\
version: 1
default: dev
promotion: [dev, staging, production]
defaults: {timeouts: {lock: 3s}}
environments:
  dev:
    aliases: [development]
    compose: {service: db}
  staging:
    url: {env: STAGING_URL}
    protected: false
  production:
    aliases: [prod]
    host: db.example.com
    dbname: app
    user: app
    password: {command: [sh, -c, "echo hunter2"]}
"""


def test_list(project: ProjectDirectory) -> None:
    project.write("environments.yaml", THREE)
    ran = project.run("env.list")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "environment    aliases      server                                     protected  promoted from",
        "dev (default)  development  compose service db                         no         -",
        "staging        -            URL from environment variable STAGING_URL  no         dev",
        "production     prod         db.example.com:5432/app                    yes        staging",
    ]


def test_list_for_a_script(project: ProjectDirectory) -> None:
    project.write("environments.yaml", THREE)
    found = json.loads(project.run("env.list", "--json").out)
    assert found["ok"] is True
    assert [(each["name"], each["aliases"], each["protected"]) for each in found["environments"]] == [
        ("dev", ["development"], False),
        ("staging", [], False),
        ("production", ["prod"], True),
    ]


def test_show_by_alias_without_reading_the_secret(project: ProjectDirectory) -> None:
    project.write("environments.yaml", THREE)
    ran = project.run("env.show", "--env=prod")
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == f"production, {project.path / 'environments.yaml'}:12:3"
    assert "password command sh environments.production.password (line 17)" in lines
    assert "timeouts.lock 3s defaults.timeouts.lock (line 4)" in lines
    assert "sslmode verify-full built in" in lines
    assert "hunter2" not in ran.text


def test_show_for_a_script(project: ProjectDirectory) -> None:
    project.write("environments.yaml", THREE)
    found = json.loads(project.run("env.show", "-e", "development", "--json").out)
    assert (found["ok"], found["environment"]) == (True, "dev")
    settings = {each["setting"]: each for each in found["settings"]}
    assert settings["compose.service"] == {
        "setting": "compose.service", "value": "db", "given_in": "environments.dev.compose.service", "line": 8,
    }  # fmt: skip


def test_an_unknown_environment(project: ProjectDirectory) -> None:
    project.write("environments.yaml", THREE)
    ran = project.run("env.show", "--env=prodution")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "error: there is no environment 'prodution' in environments.yaml; did you mean 'production'?",
        "  untouched: nothing was touched",
        "  next: --env=<dev|staging|production>",
    ]


def test_mistakes_in_the_file(project: ProjectDirectory) -> None:
    project.write("environments.yaml", THREE.replace("lock: 3s", "lock: 3").replace("aliases", "alias"))
    ran = project.run("env.list")
    assert ran.code == 2
    assert ran.err.splitlines()[:4] == [
        "error: environments.yaml has 3 mistakes",
        "  environments.yaml:4:29: defaults.timeouts.lock: 3 has no unit; it is a duration such as 5s, "
        "with one of ms, s, min, h, d",
        "  environments.yaml:7:5: environments.dev.alias: unknown key 'alias'; did you mean 'aliases'?",
        "  environments.yaml:13:5: environments.production.alias: unknown key 'alias'; did you mean 'aliases'?",
    ]
    error = json.loads(project.run("env.list", "--json").out)
    assert (error["ok"], error["error"]["exit_code"], len(error["error"]["problems"])) == (False, 2, 3)


def test_check_a_server_that_answers(project: ProjectDirectory, database: Target) -> None:
    project.environment_yaml(one=database)
    project.write("alembic.ini", "[alembic]\n")
    ran = project.run("env.check", "--env=one")
    assert ran.code == 0, ran.text
    assert f"ok    target: {database}" in ran.out
    found = json.loads(project.run("env.check", "--json").out)
    assert found["ok"] is True
    (one,) = found["environments"]
    assert (one["environment"], one["ok"]) == ("one", True)
    assert {each["topic"] for each in one["checks"]} >= {"server", "TLS", "pooling", "may migrate", "tools"}


def test_check_all_with_one_out_of_reach(project: ProjectDirectory, database: Target) -> None:
    import dataclasses

    project.environment_yaml(one=database, two=dataclasses.replace(database, port=1))
    project.write("alembic.ini", "[alembic]\n")
    ran = project.run("env.check")
    assert ran.code == 3
    assert "two" in ran.err and "is unreachable" in ran.err
    assert f"ok    target: {database}" in ran.out, "the other is checked all the same"
    assert project.run("env.check", "--env=one").code == 0
    error = json.loads(project.run("env.check", "--json").out)
    assert (error["ok"], error["error"]["exit_code"]) == (False, 3)
    assert [each["ok"] for each in error["environments"]] == [True, False]
