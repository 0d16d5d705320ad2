"""Fixtures every test may use: a real server, fresh databases, the Docker engine, a project to run tasks in.

Nothing of the developer's machine leaks in: PG* variables, pgops' own and secrets are scrubbed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from pgops import postgres
from pgops.local.memory import in_memory
from pgops.postgres import Connection, Target
from pgops.secrets.references import LiteralSecret, Secret
from tests.support import clusters
from tests.support.json_output import hold_to_schema
from tests.support.ports import free_port
from tests.support.preloaded import INVOKE, preloaded

REPOSITORY = Path(__file__).resolve().parent.parent
TESTS = str(Path(__file__).resolve().parent)
UNIT_TESTS = Path(TESTS) / "unit"
_SCRUBBED = ("PG", "PGOPS_ENVIRONMENTS", "DATABASE_URL", "COMPOSE_", "INVOKE_", "ALEMBIC_", "SSH_")
_KEPT = ("PGOPS_TEST_",)


def _is_leak(name: str) -> bool:
    return name.startswith(_SCRUBBED) and not name.startswith(_KEPT)


for _name in [name for name in os.environ if _is_leak(name)]:
    del os.environ[_name]
os.environ["NO_COLOR"] = "1"
# Hundreds of new interpreters, each of which would compile the whole of pgops.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell that starts us in the background lets us ignore Ctrl-C, nohup a lost terminal, and so would every process
# that a test starts.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


# Half of what the suite took was the kernel's work, and most of that files of databases that come and go.
_directory = in_memory(plenty=8 << 30)
if _directory is not None and not os.statvfs(_directory).f_flag & os.ST_NOEXEC:
    os.environ["TMPDIR"] = str(_directory)
    tempfile.tempdir = None


# Of the whole session: those of its workers, and what they start, find it named.
_clusters: Path | None = None
if clusters.NAMED_BY not in os.environ:
    _clusters = Path(tempfile.mkdtemp(prefix="pgops-clusters-"))
    _clusters.chmod(0o755)
    os.environ[clusters.NAMED_BY] = str(_clusters)
copied = clusters.Copied(Path(os.environ[clusters.NAMED_BY]))
copied.use()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A real PostgreSQL of this session's own: the superuser's target on its ``postgres`` database."""
    from pgops.local import embedded

    with embedded.scratch_server(tmp_path_factory.mktemp("server")) as state:
        target = Target(
            environment="test",
            host=state.host,
            port=state.port,
            dbname="postgres",
            user=state.user,
            password=LiteralSecret(Secret(state.password)) if state.password else None,
        )
        hash_password(target, rounds=1)
        yield target


def hash_password(server: Target, *, rounds: int) -> None:
    """Hash the superuser's password anew. Half of what a session costs is the 4,096 rounds that are usual."""
    secret = server.secret()
    if secret is None:
        return
    with postgres.connected(server) as connection:
        postgres.execute(connection, f"SET scram_iterations = {rounds}")
        postgres.execute(connection, f"ALTER ROLE {server.user} PASSWORD %s", (secret.reveal(),))


pin = Connection.pin
"""What pgops does to every session of its own; see below for those of tests."""


def _pin_unless_a_test_connects(connection: Connection, settings: Mapping[str, str]) -> None:
    """A session that a test itself opens is that of one of the project's people: it finds what they find.

    Those that pgops opens, called by a test or not, stay pinned. :data:`pin` pins one of a test.
    """
    pin(connection, settings)
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith(("pgops.postgres", "contextlib")):
        assert frame.f_back is not None
        frame = frame.f_back
    if not frame.f_code.co_filename.startswith(TESTS):
        return
    connection.pins = {"search_path": connection.search_path, **settings}
    if not connection.proxied:
        postgres.execute(connection, "RESET ALL")
        postgres.set_settings(connection, settings)


Connection.pin = _pin_unless_a_test_connects  # type: ignore[method-assign]


@contextlib.contextmanager
def fresh_database(server: Target, prefix: str = "test", *, encoding: str = "UTF8") -> Iterator[Target]:
    """An empty database, dropped afterwards together with whoever is still connected to it."""
    name = f"{prefix}_{secrets.token_hex(6)}"
    with postgres.connected(server) as connection:
        other = "" if encoding == "UTF8" else f" ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        if int(postgres.fetch_value(connection, "SELECT current_setting('server_version_num')")) >= 150000:
            other += " STRATEGY file_copy"  # half of the work of writing each page into the WAL
        postgres.execute(connection, f"CREATE DATABASE {postgres.identifier(name)}{other}")
    try:
        yield server.with_database(name)
    finally:
        with postgres.connected(server) as connection:
            postgres.execute(connection, f"DROP DATABASE IF EXISTS {postgres.identifier(name)} WITH (FORCE)")


@pytest.fixture
def database(server: Target) -> Iterator[Target]:
    """A fresh, empty database on the session's server."""
    with fresh_database(server) as target:
        yield target


@pytest.fixture
def make_database(server: Target) -> Iterator[Callable[[], Target]]:
    """As many fresh databases as a test asks for."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(fresh_database(server))


@pytest.fixture(scope="session")
def docker_engine() -> str:
    """The Docker engine's version; skips with the reason where none answers.

    With PGOPS_TEST_REQUIRE_DOCKER=1 (CI) an engine that does not answer is a failure.
    """
    import docker
    import docker.errors

    try:
        client = docker.from_env(timeout=10)
        with contextlib.closing(client):
            return str(client.version()["Version"])
    except docker.errors.DockerException as error:
        reason = f"no Docker engine answers: {error}"
    # docker leaves the socket it could not connect to the collector, who would warn in the middle of another test.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()
    if os.environ.get("PGOPS_TEST_REQUIRE_DOCKER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def pgbouncer(server: Target, tmp_path: Path) -> Iterator[Callable[..., Target]]:
    """A real PgBouncer before the session's server: call it with a pool mode (and size), get the target through it.

    ``leads`` says which names lead to a database of another name, ``ignored`` what of a client's start-up is lost,
    ``authentication`` how clients prove themselves.
    """
    program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        reason = "pgbouncer is not installed (Debian package pgbouncer)"
        if os.environ.get("PGOPS_TEST_REQUIRE_DOCKER"):
            pytest.fail(reason)
        pytest.skip(reason)
    started: list[subprocess.Popen[bytes]] = []

    session_server = server

    def start(
        pool_mode: str,
        size: int = 5,
        *,
        server: Target = session_server,
        leads: Mapping[str, str] = MappingProxyType({}),
        ignored: str = "extra_float_digits",
        authentication: Sequence[str] = ("auth_type = plain",),
    ) -> Target:
        port = free_port()
        secret = server.secret()
        password = secret.reveal() if secret else ""
        directory = tmp_path / f"pgbouncer-{port}"
        directory.mkdir()
        (directory / "users.txt").write_text(f'"{server.user}" "{password}"\n', encoding="utf-8")
        lines = [
            "[databases]",
            *(f"{name} = host={server.host} port={server.port} dbname={to}" for name, to in leads.items()),
            f"* = host={server.host} port={server.port}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "unix_socket_dir =",
            *authentication,
            f"auth_file = {directory / 'users.txt'}",
            f"pool_mode = {pool_mode}",
            f"default_pool_size = {size}",
            f"ignore_startup_parameters = {ignored}",
        ]
        (directory / "pgbouncer.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
        argv = [program, str(directory / "pgbouncer.ini")]
        if os.geteuid() == 0:
            # PgBouncer refuses to run as root; pytest's own directories are root's alone.
            for path in [directory, *directory.iterdir()]:
                shutil.chown(path, "nobody")
            for parent in directory.parents:
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
            argv[1:1] = ["-u", "nobody"]
        started.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        target = dataclasses.replace(server, host="127.0.0.1", port=port)
        postgres.wait_until_ready(target, 20)
        return target

    yield start
    for process in started:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams, for a look at everything a person saw."""
        return self.out + self.err


@dataclass(frozen=True)
class ProjectDirectory:
    """A directory with tasks.py and environments.yaml to run real ``invoke`` commands in."""

    path: Path

    def write(self, name: str, text: str) -> Path:
        """Write a file below the directory, its parents made."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def environment_yaml(self, **targets: Target) -> None:
        """environments.yaml with one unprotected environment for each target; passwords by environment variable."""
        lines = [
            "version: 1",
            f"default: {next(iter(targets))}",
            "stores:",
            '  local: {url: "file:./backups"}',
        ]
        lines += ["defaults:", "  backups: {store: local}", "environments:"]
        for name, target in targets.items():
            lines += [
                f"  {name}:",
                f"    host: {target.host}",
                f"    port: {target.port}",
                f"    dbname: {target.dbname}",
                f"    user: {target.user}",
                "    protected: false",
            ]
            if target.password is not None:
                lines.append("    password: {env: TEST_PASSWORD}")
        self.write("environments.yaml", "\n".join(lines) + "\n")

    def run(
        self,
        *arguments: str,
        stdin: str | None = None,
        environ: dict[str, str] | None = None,
        timeout: float = 120,
    ) -> Ran:
        """Run ``invoke ARGUMENTS`` here as a real process without a terminal."""
        whole = {**os.environ, **(environ or {})}
        done = preloaded.run(
            [str(INVOKE), *arguments], cwd=self.path, environ=whole, stdin=stdin or "", timeout=timeout
        )
        hold_to_schema(arguments, done.stdout)
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin ``invoke ARGUMENTS`` here, in a process group of its own: to be looked at and disturbed."""
        return subprocess.Popen(
            [str(INVOKE), *arguments],
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def project(tmp_path: Path, server: Target, monkeypatch: pytest.MonkeyPatch) -> ProjectDirectory:
    """An empty project: tasks.py with pgops' namespace; TEST_PASSWORD is the test server's password."""
    if (secret := server.secret()) is not None:
        monkeypatch.setenv("TEST_PASSWORD", secret.reveal())
    directory = ProjectDirectory(tmp_path / "project")
    directory.write("tasks.py", "from pgops.tasks import namespace\n\n__all__ = ['namespace']\n")
    return directory


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every worker's share begins with whole projects, goes on with servers and commands, and ends with unit tests.

    xdist gives each worker a run of neighbours, as many as another, and who is done takes from the end of a share. What
    is left then is short: nobody has the last minute for himself, and what waits runs beside what works.
    """
    items.sort(key=lambda item: item.get_closest_marker("projects") is None)
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    units = [path for path in modules if path.is_relative_to(UNIT_TESTS)]
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for path in modules:
        if path not in units:
            min(shares, key=len).extend(modules[path])
    for path in units:
        min(shares, key=len).extend(modules[path])
    items[:] = [item for share in shares for item in share]


def pytest_collection_finish() -> None:
    """Thousands of tests and their modules stay to the end: no collection of garbage need look at them."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """What was skipped and why is the last thing a run prints, after pytest's own closing line."""
    preloaded.close()
    if _clusters is not None:
        shutil.rmtree(_clusters)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not isinstance(reporter, pytest.TerminalReporter) or hasattr(config, "workerinput"):
        return
    reasons = Counter(
        (report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)).removeprefix(
            "Skipped: "
        )
        for report in reporter.stats.get("skipped", [])
    )
    reporter.line("nothing was skipped" if not reasons else "skipped, and why:")
    for reason, count in sorted(reasons.items()):
        reporter.line(f"  {count} × {reason}")
