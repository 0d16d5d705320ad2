"""The local server: start, stop, look, log in; and a shell on any environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, task

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgops.environments import Environment
    from pgops.local.server import LocalServer, LocalStatus
    from pgops.postgres import Connection, Target
    from pgops.terminal.console import Console


def _server(context: Context, env: str | None) -> tuple[Environment, LocalServer]:

    from pgops.local.server import choose
    from pgops.runtime.variables import inherited

    environment = load_environment(context, env)
    return environment, choose(environment, inherited())


def _as_json(status: LocalStatus) -> dict[str, object]:
    return {
        "server": {
            "provider": status.provider,
            "state": status.state,
            "host": status.target.host,
            "port": status.target.port,
            "database": status.target.dbname,
            "version": status.version,
            "place": status.place,
            "note": status.note,
        }
    }


@task(help={"timeout": "how long to wait until the server answers, such as 30s or 2min"})
def up(
    context: Context, console: Console, *, env: str | None = None, timeout: float = 60.0, json: bool = False
) -> None:
    """Start the local server and wait until it answers.

    It is the compose service where a Docker engine answers, else PostgreSQL from the embedded wheel.
    Nothing happens to one that runs already; data of an earlier time is used again.
    """
    import time

    environment, server = _server(context, env)
    kind = "Docker" if server.provider == "docker" else "embedded"
    console.say(f"{environment.name}: {kind} PostgreSQL on {server.target.place} ({server.reason})")
    begun = time.monotonic()
    with _progress(console, f"starting {environment.name}") as report:
        action = server.up(timeout, report)
    status = server.status()
    if status.note:
        console.warn(status.note)
    done = {"none": "was running already", "adopted": "was running already"}.get(action, action)
    console.say(
        f"{environment.name}: {console.style('ready', 'green')}, {done}; PostgreSQL {status.version}, "
        f"{time.monotonic() - begun:.1f} s; {status.place}"
    )
    console.result({**_as_json(status), "action": action})


class _progress:  # noqa: N801 - used as a context manager, like contextlib's own
    """A bar for what has a size (a pull), words for the rest."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._context = console.progress(title, None)

    def __enter__(self) -> Callable[[str, float, float], None]:
        from pgops.units import human_bytes

        ticker = self._context.__enter__()
        return lambda text, done, total: ticker.update(
            done, f"{text} {human_bytes(done)} of {human_bytes(total)}" if total else text
        )

    def __exit__(self, *raised: object) -> None:
        self._context.__exit__(None, None, None)


@task(help={"volumes": "delete its data as well; asks first"})
def down(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    yes: bool = False,
    confirm: str | None = None,
    volumes: bool = False,
    json: bool = False,
) -> None:
    """Stop the local server; its data stays unless --volumes says otherwise."""
    from pgops.terminal.confirmation import Effect

    environment, server = _server(context, env)
    before = server.status()
    if volumes:
        if before.running:
            from pgops.migrations.journal import honour_stamp

            if note := honour_stamp(environment, before.target):
                console.warn(note)
        console.say(f"{environment.name}: {before.target.place}, {before.state}, {before.place}")
        console.confirm(
            environment,
            Effect.DESTROYS,
            f"Delete all data of {environment.name} ({before.place}) for good?",
            yes=yes,
            confirm=confirm,
        )
    stopped = server.down()
    removed = server.remove_data() if volumes else ()
    for name in stopped:
        console.say(f"{environment.name}: stopped {name}")
    for name in removed:
        console.say(f"{environment.name}: deleted {name}")
    if not stopped and not removed:
        console.say(f"{environment.name}: nothing was running")
    elif not volumes:
        console.say(f"{environment.name}: the data stays; db.up brings it back")
    console.result({**_as_json(server.status()), "stopped": list(stopped), "deleted": list(removed)})


@task()
def status(context: Context, console: Console, *, env: str | None = None, json: bool = False) -> None:
    """Say whether the local server runs, which kind it is, and where its data is."""
    environment, server = _server(context, env)
    found = server.status()
    console.table(
        ["environment", "server", "state", "address", "version", "place"],
        [[environment.name, found.provider, found.state, found.target.place, found.version, found.place]],
    )
    if found.note:
        console.warn(found.note)
    console.result(_as_json(found))


@task(help={"follow": "go on as the log grows, until Ctrl-C", "tail": "lines from its end; 0 for all"})
def logs(
    context: Context, console: Console, *, env: str | None = None, follow: bool = False, tail: int = 100
) -> None:
    """Show the local server's log."""
    _, server = _server(context, env)
    for line in server.logs(tail or None, follow=follow):
        console.verbatim(line)
        if not console.has_reader:
            break


@task(
    help={
        "command": "run this SQL and end, instead of a prompt",
        "write": "allow writing on a protected environment; its name is asked for",
    }
)
def psql(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    command: str = "",
    write: bool = False,
    confirm: str | None = None,
) -> None:
    """Open psql on any environment; on a protected one it can only read, unless --write.

    So it can on a database that is stamped as another environment, which --write does not change (exit code 8).

    The password travels by a private passfile. psql's exit code is this task's.
    """
    from invoke.exceptions import Exit

    from pgops.pgtools.shell import run_psql
    from pgops.targets import target_for
    from pgops.terminal.confirmation import Effect

    environment = load_environment(context, env)
    target = target_for(environment)
    elsewhere = _stamped_as_another(console, environment, target, write=write)
    if environment.protected and write:
        console.confirm(
            environment,
            Effect.CHANGES,
            f"Open a shell that can write on {environment.name} ({target})?",
            confirm=confirm,
        )
    read_only = elsewhere or (environment.protected and not write)
    if console.interactive():
        console.say(
            f"{console.emphasised(environment)}: {target}{' (read-only; --write allows changes)' if read_only else ''}"
        )
    code = run_psql(
        target, command=command, settings={"default_transaction_read_only": "on"} if read_only else {}
    )
    if code:
        # Ended by a signal, `| head` being one: what a shell says of that.
        raise Exit(code=code if code > 0 else 128 - code)


def _stamped_as_another(console: Console, environment: Environment, target: Target, *, write: bool) -> bool:
    """Whether the database is stamped as another environment: a shell on it only reads. psql says why we can't look.

    :raises RefusedError: it is, and the shell is to write.
    """
    from pgops.errors import RefusedError, UnreachableError
    from pgops.migrations.journal import honour_stamp
    from pgops.postgres import UntrustedError

    try:
        honour_stamp(environment, target)
    except UnreachableError:
        return False
    except UntrustedError as error:
        console.warn(error.message)
    except RefusedError as error:
        if write:
            raise
        console.warn(f"{error.message}: this shell can only read")
        return True
    return False


@task()
def reset(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Drop the database, create it empty and migrate it; never on a protected environment."""
    import datetime as dt

    from pgops import postgres
    from pgops.backups.load.recreate import recreate_database
    from pgops.errors import RefusedError
    from pgops.targets import target_for
    from pgops.tasks.migrate.carry_out import bring_up
    from pgops.terminal.confirmation import Effect

    environment = load_environment(context, env)
    target = target_for(environment)
    if environment.protected:
        raise RefusedError(
            f"{environment.name} is protected: its database is never dropped by db.reset",
            untouched=f"{target.place} was not touched",
            hint=f"restore --env={environment.name} puts a backup in its place, and can be undone",
        )
    from pgops.migrations.alembic_env.pooling import refuse_shared_sessions
    from pgops.migrations.journal import honour_stamp

    if note := honour_stamp(environment, target):
        console.warn(note)
    with postgres.connected(target) as connection:
        # Else it would be dropped, and not be migrated afterwards.
        refuse_shared_sessions(target, connection)
        tables, size = _what_is_there(connection)
    from pgops.units import counted, human_bytes

    console.say(f"{environment.name}: {target.place} has {counted(tables, 'table')}, {human_bytes(size)}")
    if dry_run:
        console.say("dry run: it would be dropped, created empty and migrated; nothing was touched")
        console.result({"environment": environment.name, "dry_run": True})
        return
    console.confirm(
        environment,
        Effect.DESTROYS,
        f"Drop {target.place} with everything in it?",
        yes=yes,
        confirm=confirm,
    )
    recreate_database(target, now=dt.datetime.now(dt.UTC))
    console.say(f"{environment.name}: dropped and created {target.place}")
    applied = bring_up(console, environment, target)
    console.result({"environment": environment.name, "database": target.dbname, "applied": applied})


def _what_is_there(connection: Connection) -> tuple[int, int]:
    """How many tables of the project's own, and the bytes of the whole database."""
    from pgops.postgres import fetch_one

    row = fetch_one(
        connection,
        """
        SELECT (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                   AND n.nspname NOT LIKE 'pg_toast%'
                   AND n.nspname <> 'pgops' AND c.relname <> 'alembic_version'),
               pg_database_size(current_database())
        """,
    )
    assert row is not None
    return int(row[0]), int(row[1])


@task(help={"show_password": "print the password too"})
def url(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    show_password: bool = False,
    json: bool = False,
) -> None:
    """Print the environment's libpq URL; the password only when asked for."""
    from pgops.postgres import libpq_url
    from pgops.targets import target_for

    environment = load_environment(context, env)
    target = target_for(environment)
    secret = target.secret() if show_password else None
    text = libpq_url(target, password=secret.reveal() if secret else None)
    console.clear_result({"environment": environment.name, "url": text})
    if not json:
        console.raw(text + "\n")
