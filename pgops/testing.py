"""What a project's own tests may use: the checks of ``migrate.test`` as plain assertions.

    import pgops.testing

    def test_migrations():
        pgops.testing.assert_single_head()
        pgops.testing.assert_upgrades_from_empty()
        pgops.testing.assert_up_down_up()
        pgops.testing.assert_models_match()

Each takes ``environment=`` (a name or alias from environments.yaml, its default when not given: whose
Alembic settings count) and ``root=`` (the project's directory, the working directory when not given).
No environment's own database is touched: a scratch database is made and removed. Works with pytest and
without.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pgops.environments import Environment, load
from pgops.errors import UnreachableError, UsageError
from pgops.postgres import Target, connected

if TYPE_CHECKING:
    from pgops.migrations.round_trip.result import Base, RoundTrip, Step

ServerChoice = Literal["auto", "embedded", "local"]
SERVER_CHOICES: tuple[ServerChoice, ...] = ("auto", "embedded", "local")


@contextlib.contextmanager
def scratch_database(
    environment: str | None = None, *, root: Path | None = None, server: ServerChoice = "auto"
) -> Iterator[Target]:
    """An empty database for the length of the block; host, port, user and so on are the Target's fields.

    :param server: ``local``: on the environment's own local server, never on another or a protected
        one; ``embedded``: on a server from the wheel, started for the block; ``auto``: the local one
        where it runs, else the embedded one.
    :raises PgopsError: neither can be had.
    """
    from pgops.migrations.round_trip.database import scratch_database as made

    with scratch_server(_environment(environment, root), server) as admin, made(admin) as target:
        yield target


def assert_single_head(environment: str | None = None, *, root: Path | None = None) -> None:
    """The revisions have exactly one head, of several histories each: nobody forgot to merge."""
    from pgops.migrations.revisions.history import read_history
    from pgops.migrations.revisions.location import locate
    from pgops.migrations.revisions.revision import NotPlainError

    for found in _environment(environment, root).histories():
        try:
            heads = read_history(locate(found.alembic, found.project)).heads
        except NotPlainError:
            heads = round_trip(found, up_and_down=False).heads
        of = f"history {found.alembic.history}: " if found.alembic.history else ""
        assert len(heads) == 1, f"{of}{len(heads)} heads: {', '.join(heads) or 'none'}"


def assert_upgrades_from_empty(environment: str | None = None, *, root: Path | None = None) -> None:
    """Every revision applies, one after the other, to an empty database."""
    result = round_trip(_environment(environment, root), up_and_down=False)
    _assert_none(_of_steps(result))


def assert_up_down_up(
    environment: str | None = None,
    *,
    root: Path | None = None,
    data: Path | None = None,
    since: str | None = None,
) -> None:
    """Every revision goes up, down and up again, and the schema is the same each time; rows survive.

    :param data: the project's rows, see docs/adopting.md; ``tests/migration_data.py`` where it exists.
    :param since: what this revision builds on only goes up.
    """
    result = round_trip(_environment(environment, root), data=data, since=since)
    _assert_none(_of_steps(result))


def assert_models_match(environment: str | None = None, *, root: Path | None = None) -> None:
    """Autogenerate finds nothing to do after all migrations have run on an empty database."""
    result = round_trip(_environment(environment, root), up_and_down=False)
    _assert_none(
        [*_of_steps(result), *result.differences, *(line for line in result.remarks if "models" in line)]
    )


def round_trip(
    environment: Environment,
    *,
    server: ServerChoice = "auto",
    data: Path | None = None,
    base: Base | None = None,
    up_and_down: bool = True,
    since: str | None = None,
    on_step: Callable[[Step], None] = lambda _step: None,
    on_server: Callable[[Target], None] = lambda _target: None,
) -> RoundTrip:
    """Try a project's whole history out; what ``migrate.test`` does, as a value.

    :param data: as for :func:`assert_up_down_up`, and ``since`` too.
    :param base: where a history starts that does not start from an empty database.
    :param on_step: told after each revision.
    :param on_server: told which server was chosen.
    :raises PgopsError: it could not be tried at all.
    """
    from pgops.migrations.round_trip.data import DEFAULT_FILE
    from pgops.migrations.round_trip.database import scratch_database as made
    from pgops.migrations.round_trip.histories import run_round_trips

    usual = environment.project / DEFAULT_FILE
    if data is None and usual.is_file():
        data = usual
    with scratch_server(environment, server) as admin, made(admin) as scratch:
        on_server(scratch)
        return run_round_trips(
            environment,
            scratch,
            data=data,
            base=base,
            up_and_down=up_and_down,
            since=since,
            on_step=on_step,
        )


@contextlib.contextmanager
def scratch_server(environment: Environment, server: ServerChoice) -> Iterator[Target]:
    """A server that scratch databases may be made on, see :func:`scratch_database`.

    :raises UsageError: ``local`` for an environment that is not local, or is protected.
    :raises UnreachableError: nothing to make one on.
    """
    from pgops.local.scratch import scratch_server as made

    if server != "embedded":
        target = _local(environment, server)
        if target is not None:
            yield target
            return
    with made() as found:
        # "prefer" needs no word in a URL: an env.py that turns one driver's URL into another's would not
        # translate it.
        yield dataclasses.replace(found.target, sslmode="prefer")


def _local(environment: Environment, server: ServerChoice) -> Target | None:
    from pgops.targets import target_for

    if not environment.local or environment.protected:
        if server == "auto":
            return None
        raise UsageError(
            f"{environment.name} is not an unprotected local environment: no scratch database is made on its server",
            untouched=f"{environment.name} was not touched",
            hint="--server=embedded",
        )
    target = target_for(environment)
    try:
        with connected(target):
            return target
    except UnreachableError:
        if server == "auto":
            return None
        raise


def _environment(name: str | None, root: Path | None) -> Environment:
    return load(root=root).environment(name)


def _of_steps(result: RoundTrip) -> list[str]:
    found = [f"revision {step.revision}: {problem}" for step in result.steps for problem in step.problems]
    return [*found, *(line for line in result.remarks if "not tried" in line)]


def _assert_none(problems: list[str]) -> None:
    assert not problems, "\n".join(problems)


__all__ = [
    "SERVER_CHOICES",
    "assert_models_match",
    "assert_single_head",
    "assert_up_down_up",
    "assert_upgrades_from_empty",
    "round_trip",
    "scratch_database",
    "scratch_server",
]
