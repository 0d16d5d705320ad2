"""What ``pgops init`` would write: environments.yaml and tasks.py for the project as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pgops.cli.alembic_config import AlembicConfig, Section
from pgops.cli.compose_service import ComposeService
from pgops.cli.sources import Sources, Variable
from pgops.errors import RefusedError

_LOOPBACK = {"", "localhost", "127.0.0.1", "::1"}
_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}
_ANY = "DATABASE_URL"

TASKS = '''\
"""The project's tasks: `invoke --list` or `pgops --list` shows them."""

from pgops.tasks import namespace

__all__ = ["namespace"]
'''

_EXAMPLE = """\

  # The real servers. What is not local is protected: its name is typed before anything changes.
  # production:
  #   aliases: [prod]
  #   host: db.example.com
  #   dbname: app
  #   user: app_migrator
  #   password: {env: PRODUCTION_DB_PASSWORD}
  #   sslmode: verify-full
"""


@dataclass(frozen=True)
class Survey:
    """What was found in the project.

    ``app`` and ``runner`` are the values of ``alembic: app:`` and ``runner:``; ``environ`` is what variables
    have now, ``dotenv`` what the project's ``.env`` gives them.
    """

    root: Path
    alembic: AlembicConfig
    sources: Sources
    compose: ComposeService | None
    environ: Mapping[str, str]
    dotenv: Mapping[str, str]
    drivers: Mapping[str, str]
    app: str | None = None
    runner: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """One environment: its lines in the file, and the variables that it wants (name: what goes in)."""

    name: str
    lines: tuple[str, ...]
    local: bool
    wants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Files by name, why they say what they say, and the commands that come next."""

    files: Mapping[str, str]
    found: tuple[str, ...]
    next: tuple[str, ...]


def propose(survey: Survey, x: Mapping[str, str]) -> Proposal:
    """What to write for a project.

    :param x: values of ``-x`` arguments that the user gave.
    :raises RefusedError: env.py wants an ``-x`` argument whose value can't be known.
    """
    servers = _servers(survey)
    default = next((each.name for each in servers if each.local), None)
    lines = [
        "# Where the databases are, and how Alembic reaches them. `pgops env.check` tries them.",
        "# No password stands here, only where it is.",
        "version: 1",
        *([f"default: {default}"] if default else []),
        "",
        "stores:",
        '  local: {url: "file:./backups"}',
        "defaults:",
        "  backups: {store: local}",
        "",
        "alembic:",
        *_alembic(survey, x),
        "",
        "environments:",
    ]
    for server in servers:
        lines += [f"  {server.name}:", *(f"    {line}" for line in server.lines)]
    files = {"environments.yaml": "\n".join(lines) + "\n" + (_EXAMPLE if len(servers) == 1 else "")}
    if not (survey.root / "tasks").is_dir():
        files["tasks.py"] = TASKS
    return Proposal(files, tuple(_found(survey, servers)), tuple(_next(survey, servers[0], default)))


# Alembic


def _alembic(survey: Survey, x: Mapping[str, str]) -> list[str]:
    config = survey.alembic
    lines = [f"  config: {_scalar(_relative(config.file, survey.root))}"]
    histories = _histories(config.sections)
    # Several servers name their sections themselves.
    several_servers = survey.compose is None and len(_named_servers(config)) > 1
    if not several_servers and len(histories) == 1 and histories[0].name is not None:
        lines.append(f"  name: {_scalar(histories[0].name)}")
    if survey.app is not None:
        lines.append(f"  app: {_scalar(survey.app)}")
    if survey.runner is not None:
        lines.append(f"  runner: {_scalar(survey.runner)}")
    arguments = _x(survey, x)
    if arguments:
        lines.append("  x:")
        lines += [f"    {_key(name)}: {_scalar(value)}" for name, value in arguments.items()]
    if survey.sources.variables:
        lines.append("  environ:")
        lines += [f"    {each.name}: {_template(each, survey)}" for each in survey.sources.variables.values()]
    if not several_servers and len(histories) > 1:
        lines.append("  histories:")
        lines += [f"    {_key(_section(each))}: {{name: {_scalar(_section(each))}}}" for each in histories]
    return lines


def _section(each: Section) -> str:
    return each.name or "alembic"


def _histories(sections: Sequence[Section]) -> list[Section]:
    """One section for each history; several sections over one are servers."""
    found: dict[object, Section] = {}
    for each in sections:
        kept = found.get(each.history)
        if kept is None or each.name is None:
            found[each.history] = each
    return list(found.values())


def _x(survey: Survey, given: Mapping[str, str]) -> dict[str, str]:
    found = dict(given)
    for each in survey.sources.x.values():
        if each.name in found:
            continue
        if each.role is not None:
            found[each.name] = "{url:psycopg2}" if each.role == "url" else f"{{{each.role}}}"
        elif each.value is not None:
            found[each.name] = each.value
        else:
            raise RefusedError(
                f"env.py wants the argument -x {each.name}=…, and what it should be can't be seen",
                untouched="nothing was written",
                hint=f"pgops init -x {each.name}=<value>",
            )
    return found


def _template(variable: Variable, survey: Survey) -> str:
    if variable.role != "url":
        return f'"{{{variable.role}}}"'
    if survey.sources.plain_url or variable.plain:
        return '"{url}"'
    return f'"{{url:{survey.drivers[variable.name]}}}"'


# servers


def _servers(survey: Survey) -> list[Server]:
    """The environments: the compose service, else what the project's own settings say."""
    if survey.compose is not None:
        lines = [f"compose: {{service: {_scalar(survey.compose.name)}}}"]
        return [Server("dev", tuple(lines), local=True)]
    named = _named_servers(survey.alembic)
    if len(named) > 1:
        return named
    urls = survey.sources.role("url")
    if urls:
        return [_by_variable(urls[0].name)]
    return named or [_by_parts(survey) or _by_variable(_ANY)]


def _by_variable(name: str) -> Server:
    return Server(
        "dev",
        (f"url: {{env: {name}}}", "protected: false"),
        local=True,
        wants={name: "'postgresql://…'"},
    )


def _named_servers(config: AlembicConfig) -> list[Server]:
    """A server for each address that the sections' own URLs have; several sections with one are its histories."""
    found: dict[_Address, list[Section]] = {}
    for section in config.sections:
        address = _address(section)
        if address is not None:
            found.setdefault(address, []).append(section)
    if len(found) == 1:
        ((address, sections),) = found.items()
        only = sections[0].name if len(_histories(config.sections)) == 1 else None
        return [_by_address(only or _place(address), address)]
    names = [
        (sections[0].name or _place(address)) if len(sections) == 1 else address.dbname
        for address, sections in found.items()
    ]
    if len(set(map(_key, names))) < len(names):
        return [_by_address(_place(address), address) for address in list(found)[:1]]
    servers = []
    for name, (address, sections) in zip(names, found.items(), strict=True):
        server = _by_address(_key(name), address)
        histories = _histories(sections)
        if len(histories) == 1:
            lines = [f"alembic: {{name: {_scalar(_section(histories[0]))}}}"]
        else:
            lines = ["alembic:", "  histories:"]
            lines += [
                f"    {_key(_section(each))}: {{name: {_scalar(_section(each))}}}" for each in histories
            ]
        servers.append(replace(server, lines=(*server.lines, *lines)))
    return servers


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a URL leads, and whether it has a password."""

    host: str
    port: int
    user: str
    dbname: str
    password: bool

    @property
    def local(self) -> bool:
        return self.host in _LOOPBACK


def _place(address: _Address) -> str:
    return "dev" if address.local else "production"


def _address(section: Section) -> _Address | None:
    try:
        url = urlsplit(section.location.url)
        host, port, user, dbname = url.hostname or "", url.port, url.username, url.path.lstrip("/")
    except ValueError:
        return None
    if url.scheme.split("+")[0] not in {"postgres", "postgresql"} or not user or not dbname:
        return None
    if re.search(r"[%$]\(|\$\{|\{\{", section.location.url) or (user, url.password, dbname) == _PLACEHOLDER:
        return None
    return _Address(host or "localhost", port or 5432, unquote(user), unquote(dbname), bool(url.password))


_PLACEHOLDER = ("user", "pass", "dbname")  # as alembic init writes it


def _by_address(name: str, address: _Address) -> Server:
    variable = re.sub(r"\W", "_", f"{name}_DB_PASSWORD").upper()
    lines = [
        f"host: {_scalar(address.host)}",
        f"port: {address.port}",
        f"dbname: {_scalar(address.dbname)}",
        f"user: {_scalar(address.user)}",
    ]
    if address.password:
        lines.append(f"password: {{env: {variable}}}")
    lines.append("protected: false" if address.local else "sslmode: verify-full")
    return Server(
        _key(name),
        tuple(lines),
        local=address.local,
        wants={variable: "…"} if address.password else {},
    )


def _by_parts(survey: Survey) -> Server | None:
    """The address that the parts have now: in the environment, in ``.env``, as the code's own defaults."""
    values: dict[str, str] = {}
    for role in ("host", "port", "user", "dbname"):
        for variable in survey.sources.role(role):
            value = survey.environ.get(variable.name) or survey.dotenv.get(variable.name) or variable.default
            if value:
                values.setdefault(role, value)
    if not {"host", "user", "dbname"} <= values.keys() or values["host"] not in _LOOPBACK:
        return None
    port = int(values["port"]) if values.get("port", "").isdecimal() else None
    passwords = survey.sources.role("password")
    lines = [f"host: {_scalar(values['host'])}", f"port: {port or 5432}"]
    lines += [f"dbname: {_scalar(values['dbname'])}", f"user: {_scalar(values['user'])}"]
    lines += [f"password: {{env: {passwords[0].name}}}"] if passwords else []
    return Server(
        "dev",
        (*lines, "protected: false"),
        local=True,
        wants={passwords[0].name: "…"} if passwords else {},
    )


# words


def _found(survey: Survey, servers: Sequence[Server]) -> list[str]:
    config = survey.alembic
    kind = "Flask-Migrate" if config.flask else "Alembic"
    found = [f"{kind}: {_relative(config.file, survey.root)}"]
    histories = _histories(config.sections)
    if len(histories) > 1 and len(servers) == 1:
        found[0] += f", {len(histories)} histories in one database: {', '.join(map(_section, histories))}"
    if survey.app is not None:
        found.append(f"application: {survey.app}")
    if survey.runner is not None:
        found.append(f"around env.py: {survey.runner}")
    if survey.compose is not None:
        found.append(f"server: service {survey.compose.name} of {survey.compose.file.name}")
    elif servers[0].lines[0].startswith("url:"):
        found.append(f"server: the URL in variable {next(iter(servers[0].wants))}")
    else:
        found.append(
            f"server: {', '.join(each.name for each in servers)}, from {_relative(config.file, survey.root)}"
        )
    if survey.sources.variables:
        found.append(f"variables that the code reads: {', '.join(survey.sources.variables)}")
    return found


def _next(survey: Survey, first: Server, default: str | None) -> list[str]:
    steps = []
    missing = {name: what for name, what in first.wants.items() if not survey.environ.get(name)}
    if missing and all(name in survey.dotenv for name in missing):
        steps.append("set -a; . ./.env; set +a")
    else:
        steps += [f"export {name}={what}" for name, what in missing.items()]
    up = "db.up " if survey.compose is not None else ""
    at = "" if default == first.name else f" --env={first.name}"
    return [*steps, f"pgops {up}migrate.plan{at}"]


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _key(name: str) -> str:
    """A section's name as a name of environments.yaml."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip("._-")[:63] or "alembic"


def _scalar(text: str) -> str:
    """A text in YAML, quoted where it might be read as something else."""
    return (
        text
        if _PLAIN.fullmatch(text) and text.lower() not in _WORDS
        else json.dumps(text, ensure_ascii=False)
    )


__all__ = ["Proposal", "Survey", "propose"]
