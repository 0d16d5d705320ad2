"""The embedded server as root and as an ordinary user: who it runs as, where it lies, and nothing widened."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgops import postgres
from pgops.errors import PgopsError
from pgops.local import embedded
from pgops.local.embedded import EmbeddedSpec, installation, process
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands in for /var/lib/pgops."""
    directory = Path(tempfile.mkdtemp(prefix="pgops-test-shared-", dir="/var/tmp"))
    directory.chmod(0o755)
    monkeypatch.setattr(installation, "SHARED_ROOTS", (directory / "pgops",))
    try:
        yield directory / "pgops"
    finally:
        for marker in directory.rglob(installation.MARKER):
            process.stop(installation.Cluster(marker.parent, installation.server_user()), 5)
        shutil.rmtree(directory)


@pytest.fixture
def private() -> Iterator[Path]:
    """Like /root: nobody but its owner gets through."""
    with tempfile.TemporaryDirectory(prefix="pgops-test-private-", dir="/tmp") as name:
        yield Path(name)


def a_spec(project: Path) -> EmbeddedSpec:
    return EmbeddedSpec(project, free_port(), "postgres", LiteralSecret(Secret("postgres")), "development")


def owner_of(pid: int | None) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def as_nobody(work: Callable[[], object]) -> str:
    """Run ``work`` in a child that has given root up; gives its result or its error as text."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # fork beside threads: the child only execs and exits
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
            said = str(work())
        except PgopsError as error:
            said = f"{error.message} | {error.hint}"
        except BaseException:  # noqa: BLE001  # a child must not return into pytest
            said = traceback.format_exc()
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode()
    os.waitpid(child, 0)
    return said


def test_in_a_private_home_roots_server_lies_elsewhere_and_the_home_stays_private(
    private: Path, shared: Path
) -> None:
    project = private / "project"
    project.mkdir()
    spec = a_spec(project)

    state = embedded.up(spec)

    assert state.home.parent == shared
    assert (project / ".pgops" / installation.POINTER).read_text().strip() == str(state.home)
    assert owner_of(state.pid) == (state.home / "data").stat().st_uid == NOBODY.pw_uid
    assert (state.home / "data").stat().st_mode & 0o777 == 0o700
    assert state.home.stat().st_uid == shared.stat().st_uid == 0
    assert private.stat().st_mode & 0o777 == 0o700
    assert embedded.up(spec).action == "adopted"

    moved = replace(spec, project_directory=private / "moved")
    project.rename(moved.project_directory)
    assert embedded.up(moved).action == "adopted"

    copied = replace(spec, project_directory=private / "copied")
    shutil.copytree(moved.project_directory, copied.project_directory)
    with pytest.raises(PgopsError, match="is the database of the checkout"):
        embedded.up(copied)

    assert embedded.destroy(moved) == state.home
    assert list(shared.iterdir()) == []


def test_programs_in_a_private_home_are_copied_once_and_work(
    private: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = embedded.bindir().parents[1]
    for part in (package, package.with_name(package.name + ".libs")):
        shutil.copytree(part, private / "site-packages" / part.name)
    monkeypatch.setattr(
        installation, "bindir", lambda: private / "site-packages" / package.name / "pginstall" / "bin"
    )
    project = private / "project"
    project.mkdir()

    state = embedded.up(a_spec(project))

    programs = installation.programs_for(installation.server_user())
    assert programs.is_relative_to(shared / "servers")
    assert Path(f"/proc/{state.pid}/exe").readlink() == programs / "postgres"
    for path in (programs / "postgres", *programs.parents):
        assert not path.stat().st_mode & 0o002 or path in (Path("/var/tmp"), Path("/tmp")), path
    assert subprocess.run([programs / "psql", "--version"], capture_output=True).returncode == 0
    made = programs.stat().st_ctime_ns
    assert installation.programs_for(installation.server_user()).stat().st_ctime_ns == made
    embedded.stop(a_spec(project))


def test_a_shared_root_that_others_may_write_to_is_not_used(shared: Path) -> None:
    user = installation.server_user()
    assert user is not None
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(PgopsError, match="is not root's alone"):
        installation.shared_root(user)

    shared.rmdir()
    elsewhere = shared.with_name("elsewhere")
    elsewhere.mkdir()
    shared.symlink_to(elsewhere)
    with pytest.raises(PgopsError, match="is not root's alone"):
        installation.shared_root(user)


def test_an_ordinary_user_runs_it_as_itself_and_root_goes_on_as_that_user(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with tempfile.TemporaryDirectory(prefix="pgops-test-", dir="/tmp") as name:
        project = Path(name)
        shutil.chown(project, NOBODY.pw_uid, NOBODY.pw_gid)
        project.chmod(0o755)
        spec = a_spec(project)

        assert as_nobody(lambda: embedded.up(spec).action) == "initialised"
        home = project / ".pgops" / "embedded"
        assert home.stat().st_mode & 0o777 == 0o700
        assert json.loads((home / installation.MARKER).read_text())["project"] == str(project)
        with postgres.connected(spec.target) as connection:
            assert postgres.fetch_value(connection, "SELECT 1") == 1
        assert as_nobody(lambda: embedded.stop(spec).state) == "stopped"

        state = embedded.up(spec)
        assert (state.action, owner_of(state.pid)) == ("started", NOBODY.pw_uid)
        assert as_nobody(lambda: embedded.up(spec).action) == "adopted"
        assert as_nobody(lambda: embedded.destroy(spec)) == str(home)


def test_an_ordinary_user_is_told_that_the_data_is_roots(shared: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="pgops-test-", dir="/tmp") as name:
        project = Path(name)
        project.chmod(0o755)
        spec = a_spec(project)
        state = embedded.up(spec)
        try:
            # Everything is owned by root and its stand-in; another user may look but not touch.
            other = pwd.getpwnam("daemon")
            refused = _as(other, lambda: embedded.up(spec))
            assert "run as that user, or use a checkout of your own" in refused, refused
            assert "Traceback" not in refused
            assert "belongs to user nobody | run as nobody" in _as(other, lambda: embedded.status(spec))
        finally:
            embedded.destroy(spec)
        assert state.running


def test_roots_server_is_seen_with_the_few_capabilities_of_a_container() -> None:
    """Without CAP_SYS_PTRACE root may not look into the processes of another user, its own server's included."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed")
    with tempfile.TemporaryDirectory(prefix="pgops-test-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        spec = a_spec(Path(name))
        script = f"""
import os, signal
from pathlib import Path
from pgops.local import embedded
from pgops.secrets.references import LiteralSecret, Secret
spec = embedded.EmbeddedSpec(Path({name!r}), {spec.port}, "postgres", LiteralSecret(Secret("postgres")), "app")
try:
    Path("/proc/1/cwd").readlink()
    print("not restricted")
except PermissionError:
    pass
state = embedded.up(spec, timeout=20)
print(state.action, embedded.up(spec).action)
os.kill(state.pid, signal.SIGKILL)
print(embedded.up(spec, timeout=20).running, embedded.stop(spec).state)
"""
        # What Docker leaves to root by default: https://docs.docker.com/engine/security/#linux-kernel-capabilities
        few = "-all,+chown,+dac_override,+fsetid,+fowner,+kill,+setgid,+setuid,+setpcap,+net_bind_service"
        done = subprocess.run(
            [setpriv, f"--bounding-set={few}", f"--inh-caps={few}", sys.executable, "-c", script],
            cwd=Path(__file__).resolve().parents[3],
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == ("initialised adopted\nTrue stopped\n", "")


def _as(entry: pwd.struct_passwd, work: Callable[[], object]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "NOBODY", entry)
        return as_nobody(work)
