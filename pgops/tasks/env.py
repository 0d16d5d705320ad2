"""Look at the environments: their names, their settings, whether they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_project, task

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.terminal.console import Console


@task(name="list")
def list_(context: Context, console: Console, *, json: bool = False) -> None:
    """List the environments, their aliases, where they are, and whether they are protected."""
    from pgops.terminal.layout import Shortened

    project = load_project(context)
    rows = [
        [
            environment.name + (" (default)" if environment.name == project.default else ""),
            environment.aliases,
            _where(environment),
            "yes" if environment.protected else "no",
            environment.promoted_from,
        ]
        for environment in project.environments.values()
    ]
    console.table(["environment", "aliases", "server", "protected", Shortened("promoted from", "from")], rows)
    console.result(
        {
            "environments": [
                {
                    "name": environment.name,
                    "aliases": list(environment.aliases),
                    "protected": environment.protected,
                    "local": environment.local,
                    "default": environment.name == project.default,
                    "promoted_from": environment.promoted_from,
                    "server": _where(environment),
                }
                for environment in project.environments.values()
            ]
        }
    )


def _where(environment: Environment) -> str:
    """Where the file says the server is; nothing is read or asked for it."""
    from pgops.environments import ComposeConnection, HostConnection, ServiceConnection

    match environment.connection:
        case ComposeConnection(service=service):
            return f"compose service {service}"
        case HostConnection(host=host, port=port, dbname=dbname):
            return f"{f'[{host}]' if ':' in host else host}:{port}/{dbname}"
        case ServiceConnection(service=service):
            return f"pg_service {service}"
        case connection:
            return f"URL from {connection.url.describe()}"


@task()
def show(context: Context, console: Console, *, env: str | None = None, json: bool = False) -> None:
    """Show every setting of an environment and where it was given; secrets stay references."""
    from pgops.environments.settings import settings
    from pgops.terminal.layout import Shortened

    project = load_project(context)
    environment = project.environment(env)
    found = settings(environment)
    console.say(f"{environment.name}, {environment.position}")
    console.table(
        ["setting", "value", "given in"],
        [[each.name, each.value, Shortened(each.source, each.source_in_brief)] for each in found],
    )
    console.result(
        {
            "environment": environment.name,
            "file": str(project.file),
            "settings": [
                {
                    "setting": each.name,
                    "value": each.value,
                    "given_in": each.origin.path if each.origin else None,
                    "line": each.origin.position.line if each.origin else None,
                }
                for each in found
            ],
        }
    )


@task(help={"env": "environment (name or alias); all of them when not given"})
def check(context: Context, console: Console, *, env: str | None = None, json: bool = False) -> None:
    """Try one environment, or all: reachable, TLS, version, pooling, privileges, client tools."""
    from pgops.checks import FailedChecksError, check_all
    from pgops.local.tools import tool_sources

    project = load_project(context)
    chosen = project.one_or_all(env)
    checked = check_all(chosen, tool_sources())
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for each in checked:
        console.say(console.style(each.environment, "bold"))
        for finding in each.findings:
            level = console.style(f"{finding.level:<4}", colours[finding.level])
            console.say(f"  {level}  {finding.topic}: {finding.text.removeprefix(f'{each.environment}: ')}")
            if finding.todo:
                console.say(f"        {finding.todo}")
    failed = [each for each in checked if each.failed]
    if failed:
        raise FailedChecksError.of(checked)
    console.result({"environments": [each.as_dict() for each in checked]})
