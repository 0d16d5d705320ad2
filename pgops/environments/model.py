"""What environments.yaml means, as frozen values. Nothing here reads a file, a secret or the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pgops.errors import UsageError
from pgops.secrets.references import SecretRef

ServerKind = Literal["docker", "embedded", "auto"]
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting was given: its dotted path in the file (``defaults.timeouts.lock``) and the place of its key."""

    path: str
    position: Position


@dataclass(frozen=True, slots=True)
class ComposeConnection:
    """``compose: {service: db}``: everything else comes from docker-compose.yml."""

    service: str
    server: ServerKind = "auto"
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A program that leads to the server: ``ssh`` to a host, or a ``command``; exactly one of them.

    ``config`` is read by ssh instead of the person's own; ``timeout`` is in seconds, until the server answers.
    """

    ssh: str | None = None
    command: tuple[str, ...] = ()
    config: Path | None = None
    timeout: float = 30.0

    def __str__(self) -> str:
        return f"ssh {self.ssh}" if self.ssh is not None else " ".join(self.command[:2])


@dataclass(frozen=True, slots=True)
class HostConnection:
    """``host:`` and its neighbours, in libpq's words. A host that starts with ``/`` is a socket directory."""

    host: str
    dbname: str
    user: str
    port: int = 5432
    password: SecretRef | None = None
    sslmode: str = "prefer"
    sslrootcert: Path | None = None
    sslcert: Path | None = None
    sslkey: Path | None = None
    tunnel: Tunnel | None = None


@dataclass(frozen=True, slots=True)
class ServiceConnection:
    """``service: name``: a section of pg_service.conf; ``dbname`` and ``user`` may override it.

    ``servicefile`` is where the section is; ``None`` for libpq's own places.
    """

    service: str
    servicefile: Path | None = None
    dbname: str | None = None
    user: str | None = None
    password: SecretRef | None = None
    sslmode: str | None = None
    sslrootcert: Path | None = None
    tunnel: Tunnel | None = None


@dataclass(frozen=True, slots=True)
class UrlConnection:
    """``url: {env: DATABASE_URL}``: a whole libpq URL behind a secret reference."""

    url: SecretRef
    sslmode: str | None = None
    sslrootcert: Path | None = None
    tunnel: Tunnel | None = None


Connection = ComposeConnection | HostConnection | ServiceConnection | UrlConnection


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``lock``, ``statement`` and ``idle_in_transaction`` become server settings of a run."""

    connect: float = 5.0
    lock: float = 2.0
    statement: float = 900.0
    idle_in_transaction: float = 300.0


@dataclass(frozen=True, slots=True)
class Keep:
    """Retention policy in restic's words; ``None`` where not given. ``within`` in seconds."""

    last: int | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    within: float | None = None


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to reach an S3-compatible bucket; keys are secret references, else the SDK's own chain."""

    endpoint: str | None = None
    region: str | None = None
    access_key: SecretRef | None = None
    secret_key: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class Encryption:
    """age encryption of what is stored: public recipients, and where the identity is for reading back.

    ``staging`` is where dumps are made in clear; ``None`` is the user's cache directory.
    """

    recipients: tuple[str, ...]
    identity: SecretRef | None = None
    staging: Path | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """Where backups live: ``file:./backups`` or ``s3://bucket/prefix``; relative paths are already absolute.

    ``sign`` is the key of what is written there.
    """

    name: str
    url: str
    s3: S3Settings | None = None
    encrypt: Encryption | None = None
    sign: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class PgBackRest:
    """pgBackRest's backups of a cluster, and where it runs: by ``ssh``, in a ``container``, or on this machine.

    ``user`` is as whom it runs there, ``config`` its configuration file there, ``recovery`` the directory there
    that recovered clusters are made in; ``None`` for what follows from the rest.
    """

    stanza: str
    ssh: str | None = None
    container: str | None = None
    user: str | None = None
    config: str | None = None
    recovery: str | None = None


@dataclass(frozen=True, slots=True)
class BackupPolicy:
    """``jobs`` 0 means: as many as there are processors, at most 4.

    ``max_age``: how many seconds old the newest good backup may be; ``prove_every``: how many may have passed since one
    was proven by restoring it. ``None``: nobody looks. ``pgbackrest``: it takes the backups, not pg_dump.
    """

    store: Store
    keep: Keep = Keep()
    required_before: frozenset[str] = frozenset()
    jobs: int = 0
    max_age: float | None = None
    prove_every: float | None = None
    pgbackrest: PgBackRest | None = None


@dataclass(frozen=True, slots=True)
class AlembicSettings:
    """How this team's Alembic is reached, without editing its env.py.

    ``histories``: several in one database, by name; each is whole settings of its own, with its name as ``history``.
    """

    config: Path
    name: str | None = None
    app: str | None = None
    runner: str | None = None
    x: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    history: str | None = None
    histories: Mapping[str, AlembicSettings] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class HazardSettings:
    """When a hazard blocks: a table of ``large_rows`` rows or ``large_bytes`` bytes is large.

    ``exclude`` names rules; ``trace`` (auto, always, never) says whether plans are tried on a bare schema.
    """

    large_rows: int = 100_000
    large_bytes: int = 100 * 1024 * 1024
    exclude: frozenset[str] = frozenset()
    trace: str = "auto"


@dataclass(frozen=True, slots=True)
class RehearsalPolicy:
    """What has to be rehearsed first (``migrate``), and how many seconds old a rehearsal and its backup may be."""

    required_before: frozenset[str] = frozenset()
    max_age: float = 86400.0


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """Who has to sign a plan: ``count`` of the people in the file ``keys``; it may run for ``max_age`` seconds."""

    keys: Path
    count: int = 1
    max_age: float = 86400.0


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Who is told of backups that run by themselves.

    ``metrics``: directory for a Prometheus textfile; ``notify``: references to Apprise addresses, by name; ``repeat``:
    seconds until the same trouble is told again; ``ping``: reference to a URL that is asked for after each success.
    """

    metrics: Path | None = None
    notify: Mapping[str, SecretRef] = field(default_factory=lambda: MappingProxyType({}))
    repeat: float = 86400.0
    ping: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """One named target. Nothing later than :meth:`Project.environment` knows an alias."""

    name: str
    aliases: tuple[str, ...]
    protected: bool
    connection: Connection
    timeouts: Timeouts
    backups: BackupPolicy
    alembic: AlembicSettings
    hazards: HazardSettings
    project: Path
    position: Position
    promoted_from: str | None = None
    trusted_owners: tuple[str, ...] = ()
    rehearsal: RehearsalPolicy = RehearsalPolicy()
    reversible_before: frozenset[str] = frozenset()
    approval: ApprovalPolicy | None = None
    monitoring: Monitoring = Monitoring()
    # Dotted setting -> where it was given; what stands nowhere is built in.
    origins: Mapping[str, Origin] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False
    )

    @property
    def local(self) -> bool:
        """A compose environment: its server is one that ``db.up`` starts."""
        return isinstance(self.connection, ComposeConnection)

    @property
    def flags(self) -> str:
        """How a task is told of it: ``--env=production``, and ``--history=jobs`` where it is one of several."""
        history = self.alembic.history
        return f"--env={self.name}" + ("" if history is None else f" --history={history}")

    def histories(self) -> tuple[Environment, ...]:
        """The environment once for each of its histories, in their order; itself where it has one only."""
        several = self.alembic.histories.values()
        return tuple(replace(self, alembic=each) for each in several) or (self,)

    def history(self, name: str) -> Environment:
        """The environment for one of its histories.

        :raises UsageError: there is no such history.
        """
        known = self.alembic.histories
        if name in known:
            return replace(self, alembic=known[name])
        if not known:
            raise UsageError(
                f"--history={name}: {self.name} has one history, and it has no name",
                untouched="nothing was touched",
                hint="leave --history out; several are named under alembic: histories: in environments.yaml",
            )
        import difflib

        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"{self.name} has no history {name!r}{meant}",
            untouched="nothing was touched",
            hint=f"--history=<{'|'.join(known)}>",
        )


@dataclass(frozen=True, slots=True)
class Project:
    """A whole environments.yaml: ``file`` is the file, ``root`` the directory of the project (of tasks.py)."""

    file: Path
    root: Path
    environments: Mapping[str, Environment]
    default: str | None
    promotion: tuple[str, ...]
    stores: Mapping[str, Store]

    def environment(self, name: str | None = None, *, flag: str = "--env") -> Environment:
        """The environment of that name or alias; the default one for ``None``.

        :param flag: how the name was typed, for who mistyped it.
        :raises UsageError: no such environment (with did-you-mean), or no default to fall back on.
        """
        if name is None:
            if self.default is None:
                raise UsageError(
                    f"{self.file.name} names no default environment",
                    untouched="nothing was touched",
                    hint=f"{flag}=<{'|'.join(self.environments)}>",
                )
            name = self.default
        for environment in self.environments.values():
            if name == environment.name or name in environment.aliases:
                return environment
        known = [known for each in self.environments.values() for known in (each.name, *each.aliases)]
        import difflib

        near = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"there is no environment {name!r} in {self.file.name}{meant}",
            untouched="nothing was touched",
            hint=f"{flag}=<{'|'.join(self.environments)}>",
        )

    def one_or_all(self, name: str | None) -> list[Environment]:
        """The environment of that name or alias; all of them where none is named.

        :raises UsageError: no such environment.
        """
        return [self.environment(name)] if name else list(self.environments.values())
