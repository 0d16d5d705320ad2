"""What a URL demands of a connection, client programs demand too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops import postgres
from pgops.environments import UrlConnection
from pgops.errors import UnreachableError
from pgops.local import embedded
from pgops.pgtools import Runner, ToolError, check, embedded_tools, psql_command, restore_command, run
from pgops.pgtools.shell import run_psql
from pgops.postgres import Target, from_connection
from pgops.secrets.references import EnvSecret, LiteralSecret, Secret


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that asks nobody for a password, as one may that was put in the place of ours."""
    with embedded.scratch_server(tmp_path_factory.mktemp("trusting")) as state:
        password = LiteralSecret(Secret(state.password)) if state.password else None
        target = Target("test", state.host, state.port, "postgres", state.user, password)
        with postgres.connected(target) as connection:
            Path(postgres.fetch_value(connection, "SHOW hba_file")).write_text("host all all all trust\n")
            postgres.execute(connection, "SELECT pg_reload_conf()")
        postgres.wait_until_ready(dataclasses.replace(target, password=None), 10)
        yield target


@pytest.fixture
def runner() -> Runner:
    (tools,) = embedded_tools(0)
    return tools.runner


def by_url(target: Target, monkeypatch: pytest.MonkeyPatch, query: str) -> Target:
    """The same server by a URL that ends in ``query``."""
    monkeypatch.setenv("URL", f"postgresql://{target.user}:any@{target.host}:{target.port}/postgres?{query}")
    return from_connection("test", UrlConnection(EnvSecret("URL")), connect_timeout=5)


PROGRAMS = [
    ["pg_dump", "--schema-only", "--file=/dev/null"],
    ["pg_dumpall", "--globals-only", "--no-sync", "--file=/dev/null"],
    psql_command("postgres", arguments=["--command=SELECT 1"]),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program[0])
def test_a_server_that_does_not_prove_itself_is_refused_by_programs_as_by_pgops(
    trusting: Target, runner: Runner, monkeypatch: pytest.MonkeyPatch, program: list[str]
) -> None:
    check(run(runner, program, target=by_url(trusting, monkeypatch, "sslmode=disable")))
    strict = by_url(trusting, monkeypatch, "sslmode=disable&require_auth=scram-sha-256")
    with pytest.raises(UnreachableError, match="scram-sha-256"):
        postgres.connect(strict)
    with pytest.raises(ToolError, match='authentication method requirement "scram-sha-256" failed'):
        check(run(runner, program, target=strict))


def test_a_restore_refuses_it_too(
    trusting: Target, runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = by_url(trusting, monkeypatch, "sslmode=disable")
    archive = tmp_path / "archive"
    check(run(runner, ["pg_dump", "--format=directory", f"--file={archive}"], target=plain))
    # Its workers connect too, each for itself.
    restoring = restore_command(archive, database="postgres", jobs=2)
    check(run(runner, restoring, target=by_url(trusting, monkeypatch, "sslmode=disable&require_auth=none")))
    with pytest.raises(ToolError, match='authentication method requirement "scram-sha-256" failed'):
        check(run(runner, restoring, target=by_url(trusting, monkeypatch, "require_auth=scram-sha-256")))


def test_a_persons_psql_refuses_it_too(trusting: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_psql(by_url(trusting, monkeypatch, "sslmode=disable"), command="SELECT 1") == 0
    strict = by_url(trusting, monkeypatch, "sslmode=disable&require_auth=scram-sha-256")
    # One that is too old to know the parameter refuses the service file.
    assert run_psql(strict, command="SELECT 1") == 2


def test_a_program_that_does_not_know_a_parameter_does_not_connect_without_it(
    database: Target, runner: Runner
) -> None:
    later = dataclasses.replace(database, extra={"require_something_of_tomorrow": "yes"})
    with pytest.raises(ToolError, match="syntax error in service file") as caught:
        check(run(runner, PROGRAMS[-1], target=later))
    assert caught.value.hint.startswith("this program is older than a connection parameter of the URL")


def test_options_and_a_name_of_ones_own_arrive_as_before(database: Target, runner: Runner) -> None:
    odd = dataclasses.replace(
        database,
        extra={
            "options": "-c lock_timeout=1234ms",
            "application_name": "another",
            "client_encoding": "latin1",
            "keepalives_idle": "7",
        },
    )
    ask = "SELECT current_setting('lock_timeout'), current_setting('application_name'), current_setting('client_encoding')"
    command = psql_command(database.dbname, arguments=["--tuples-only", "--no-align", f"--command={ask}"])
    finished = check(run(runner, command, target=odd, application_name="pgops dump"))
    assert finished.stdout == "1234ms|pgops dump|UTF8\n"
