"""psql for a person: in the foreground, with the terminal, and the password in a private passfile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

from pgops.errors import RefusedError, UnreachableError, UsageError
from pgops.pgtools.runner import HostRunner
from pgops.pgtools.toolset import embedded_tools
from pgops.postgres import (
    Target,
    child_environment,
    connected,
    fetch_all,
    passfile,
    service_file,
    with_options,
)
from pgops.runtime.variables import LIBPQ

_TLS_MODES = frozenset(["require", "verify-ca", "verify-full"])


def find_psql(target: Target) -> str:
    """The person's own psql from ``PATH``, else the wheel's, which speaks no TLS.

    :raises UsageError: there is none that can reach this target.
    """
    own = shutil.which("psql")
    if own is not None:
        return own
    for tools in embedded_tools(0):
        if isinstance(tools.runner, HostRunner) and (tools.tls or target.sslmode not in _TLS_MODES):
            return str(tools.runner.directory / "psql")
    raise UsageError(
        f"there is no psql here that can reach {target.place} with sslmode={target.sslmode}",
        untouched="no connection was made",
        hint="install PostgreSQL's client programs (Debian: apt install postgresql-client)",
    )


def psql_arguments(program: str, command: str) -> list[str]:
    """argv for psql: a prompt, or one command whose failure is psql's exit code."""
    return [program, "--set=ON_ERROR_STOP=1", "--command", command] if command else [program]


def psql_environment(
    target: Target, settings: Mapping[str, str], inherited: Mapping[str, str]
) -> dict[str, str]:
    """Variables for psql: the person's own (pager, editor, psqlrc), the target's, server settings as PGOPTIONS.

    None of libpq's that the person has set is among them.
    """
    environ = {key: value for key, value in inherited.items() if key not in LIBPQ}
    environ |= child_environment(target)
    options = [environ["PGOPTIONS"]] if "PGOPTIONS" in environ else []
    options += [f"-c {key}={value}" for key, value in settings.items()]
    if options:
        environ["PGOPTIONS"] = " ".join(options)
    environ["PGAPPNAME"] = "pgops psql"
    return environ


def _refuse_lost(target: Target, settings: Mapping[str, str]) -> None:
    options = " ".join(f"-c {key}={value}" for key, value in settings.items())
    try:
        with connected(with_options(target, options), application_name="pgops psql: look") as connection:
            rows = fetch_all(
                connection, "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)", (list(settings),)
            )
            proxied = connection.proxied
    except UnreachableError:
        # psql is not let in either, and says why.
        return
    lost = [name for name, value in rows if proxied and settings[name] != value]
    if lost:
        raise RefusedError(
            f"a proxy at {target.host}:{target.port} loses {', '.join(lost)}, so that a shell there could write",
            untouched="no shell was opened",
            hint=f"give {target.environment} the server's own port, or the proxy no options in "
            "ignore_startup_parameters; --write opens a shell that writes",
        )


def run_psql(target: Target, *, command: str = "", settings: Mapping[str, str] | None = None) -> int:
    """Run psql on ``target`` with this process's terminal; returns its exit code.

    :param settings: server settings of the session; a proxy such as PgBouncer may refuse them, which psql says.
    :raises RefusedError: a proxy loses one of them without a word.
    :raises UsageError: there is no psql.
    :raises SecretError: the password's reference gives no value.
    :raises ConfigurationError: a connection parameter can't be given to psql.
    """
    argv: Sequence[str] = psql_arguments(find_psql(target), command)
    if settings:
        _refuse_lost(target, settings)
    with passfile(target) as secret, service_file(target) as service:
        environ = {**psql_environment(target, settings or {}, os.environ), **secret, **service}
        # Ctrl-C belongs to psql, which sets a handler of its own: it cancels the query there, and must not
        # end the shell around it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return subprocess.run(argv, env=environ, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)
