"""Trying an environment: is it there, is it safe, may we do what we are for. Reads only, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgops.checks.event_triggers import event_triggers
from pgops.checks.privileges import may_back_up, may_migrate
from pgops.checks.report import Check, FailedChecksError, Finding, fail, failed, ok, warn
from pgops.checks.search_path import search_path
from pgops.checks.shell import shell_variables
from pgops.environments import Environment
from pgops.errors import ExitCode, PgopsError, UnreachableError
from pgops.pgtools import NoToolsError, ToolSource, choose_for_dump
from pgops.postgres import (
    Connection,
    DatabaseError,
    ServerFacts,
    Target,
    connected,
    server_facts,
    set_read_only,
    transaction_pooled,
)
from pgops.postgres.facts import behind_proxy
from pgops.runtime import variables
from pgops.runtime.threads import TooLateError, each_within
from pgops.secrets.references import PassfileSecret, check_private
from pgops.targets import stanza_for, target_for

__all__ = ["Check", "FailedChecksError", "Finding", "check", "check_all"]


def check_all(
    environments: Sequence[Environment], sources: Sequence[ToolSource], *, timeout: float = 60.0
) -> list[Check]:
    """Try several environments at once.

    :param timeout: seconds to wait for all of them; what takes longer is a failure of its own.
    """
    results = each_within(timeout, environments, lambda environment: check(environment, sources))
    return [
        result if isinstance(result, Check) else _not_checked(environment, result, timeout)
        for environment, result in zip(environments, results, strict=True)
    ]


def _not_checked(environment: Environment, error: Exception, timeout: float) -> Check:
    if not isinstance(error, TooLateError):
        raise error
    late = fail(
        "connection",
        f"no answer within {timeout:g} s: a name server or a credential program may hang",
        f"invoke env.check --env={environment.name}",
        ExitCode.UNREACHABLE,
    )
    return Check(environment.name, (late,))


def check(environment: Environment, sources: Sequence[ToolSource]) -> Check:
    """Try one environment; every failure becomes a finding."""
    return Check(environment.name, tuple(_findings(environment, sources)))


def _findings(environment: Environment, sources: Sequence[ToolSource]) -> Iterator[Finding]:
    yield from _files(environment)
    yield from _store(environment)
    try:
        target = target_for(environment)
    except PgopsError as error:
        yield failed("target", error)
        return
    yield ok("target", str(target))
    yield from shell_variables(environment, target)
    if environment.local:
        yield from _local(environment)
    try:
        yield from _password(target)
        with connected(target, application_name="pgops check") as connection:
            yield from _server(environment, target, connection, sources)
    except UnreachableError as error:
        yield failed("connection", error)
    except PgopsError as error:
        yield failed("password", error)
    except DatabaseError as error:
        yield fail("connection", f"the server broke off: {' '.join(str(error).split())}", "try again")


def _files(environment: Environment) -> Iterator[Finding]:
    for each in environment.histories():
        config, history = each.alembic.config, each.alembic.history
        name = "alembic" if history is None else f"alembic {history}"
        if config.is_file():
            section = f" [{each.alembic.name}]" if each.alembic.name else ""
            yield ok(name, f"{config}{section if history else ''}")
        else:
            yield fail(name, f"there is no {config}", "alembic.config in environments.yaml", ExitCode.USAGE)


def _store(environment: Environment) -> Iterator[Finding]:
    if environment.backups.pgbackrest is not None:
        yield _stanza(environment)
        return
    from pgops.backups.repository import open_repository

    try:
        repository = open_repository(environment)
        count = len(repository.ids())
    except PgopsError as error:
        yield failed("backups", error)
        return
    except OSError as error:
        where = environment.backups.store.url
        yield fail("backups", f"{where} cannot be read: {error.strerror}", f"ls -ld {where}")
        return
    yield ok("backups", f"{repository.url}, {count} of them")


def _stanza(environment: Environment) -> Finding:
    stanza = stanza_for(environment)
    try:
        found = stanza.info().backups
    except PgopsError as error:
        return failed("backups", error)
    if not found:
        return warn("backups", f"{stanza.url}, none yet", f"invoke backup --env={environment.name}")
    return ok("backups", f"{stanza.url}, {len(found)} of them; the newest is {found[-1].id}")


def _archiving(connection: Connection) -> Iterator[Finding]:
    from pgops.backups.pgbackrest.archiving import judge_archiving, read_archiving

    for each in judge_archiving(read_archiving(connection)):
        if each.level == "fail":
            yield fail("archiving", each.text, each.todo, ExitCode.VERIFICATION)
        else:
            yield (
                ok("archiving", each.text) if each.level == "ok" else warn("archiving", each.text, each.todo)
            )


def _local(environment: Environment) -> Iterator[Finding]:
    from pgops.local.server import choose

    try:
        server = choose(environment, variables.inherited())
        found = server.status()
    except PgopsError as error:
        yield failed("local server", error)
        return
    if found.running:
        yield ok("local server", f"{found.provider}, running")
    else:
        yield warn("local server", f"{found.provider} ({server.reason}), {found.state}", "invoke db.up")


def _password(target: Target) -> Iterator[Finding]:
    if target.password is None:
        yield ok("password", "none given; the server decides")
        return
    if isinstance(target.password, PassfileSecret):
        check_private(target.password.path, f"{target.environment}.password")
    target.secret()
    yield ok("password", f"from {target.password.describe()}")


def _server(
    environment: Environment, target: Target, connection: Connection, sources: Sequence[ToolSource]
) -> Iterator[Finding]:
    # Before the session is made read-only: whether it is anyway is one of the facts.
    facts = server_facts(connection)
    set_read_only(connection)
    yield ok("server", f"PostgreSQL {facts.version}, {facts.encoding}")
    if facts.in_recovery:
        yield fail("role", "is a replica: it can be read and backed up, not migrated", "name the primary")
    elif facts.read_only:
        yield warn(
            "role",
            "transactions are read-only by default",
            "ALTER ROLE … SET default_transaction_read_only = off",
        )
    if facts.encoding == "SQL_ASCII":
        yield warn("encoding", "SQL_ASCII checks no text", "make the database anew with UTF8")
    yield _tls(target, facts)
    yield _pooling(target, connection)
    yield from may_migrate(connection)
    yield from search_path(connection, environment.trusted_owners)
    yield from event_triggers(connection, environment.trusted_owners)
    yield from may_back_up(connection)
    if environment.backups.pgbackrest is not None:
        yield from _archiving(connection)
    yield from _tools(facts, sources)


def _tls(target: Target, facts: ServerFacts) -> Finding:
    if target.loopback:
        return ok("TLS", "in use" if facts.tls else "not needed: this machine")
    if not facts.tls:
        return warn("TLS", "not in use: passwords and data can be read on the way", "sslmode: verify-full")
    if target.sslmode != "verify-full":
        return warn(
            "TLS", f"in use, but sslmode {target.sslmode} does not prove who answers", "sslmode: verify-full"
        )
    return ok("TLS", "in use, and the server is proven (verify-full)")


def _pooling(target: Target, connection: Connection) -> Finding:
    if not behind_proxy(connection):
        return ok("pooling", "none: a session of its own")
    if transaction_pooled(connection, target):
        return fail(
            "pooling",
            "a proxy gives the session away between transactions: no lock would hold",
            "name the server's own host and port, or a pool with pool_mode = session",
        )
    return ok("pooling", "a proxy, but sessions are kept")


def _tools(facts: ServerFacts, sources: Sequence[ToolSource]) -> Iterator[Finding]:
    try:
        chosen = choose_for_dump(facts.major, tls=facts.tls, sources=sources)
    except NoToolsError as error:
        yield failed("tools", error)
        return
    tools = chosen.toolset
    text = f"pg_dump {tools.version} ({tools.origin}): {chosen.reason}"
    if not chosen.warnings:
        yield ok("tools", text)
    for warning in chosen.warnings:
        yield warn("tools", warning, f"install PostgreSQL {facts.major}'s client programs, with zstd")
