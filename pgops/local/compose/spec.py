"""What one compose service asks of Docker, as frozen values.

The fields carry compose's own names and are complete enough to be written back as the text that compose
hashes (:mod:`pgops.local.compose.confighash`) and as what the engine is asked for
(:mod:`pgops.local.engine.request`). ``None`` and empty mean "not said". Sizes are bytes, durations nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return EMPTY


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """The project a service belongs to: its name and where it was read."""

    name: str
    working_dir: Path
    config_files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """One entry of ``ports``. ``published`` is ``""`` (Docker chooses), a number, or a range as text."""

    target: int
    published: str = ""
    host_ip: str = ""
    protocol: str = "tcp"
    mode: str = "ingress"
    name: str = ""
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class BindOptions:
    selinux: str = ""
    propagation: str = ""
    create_host_path: bool = True


@dataclass(frozen=True, slots=True)
class VolumeOptions:
    nocopy: bool = False
    subpath: str = ""


@dataclass(frozen=True, slots=True)
class TmpfsOptions:
    size: int = 0
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Mount:
    """One entry of ``volumes``; ``source`` is a host path, a volume's key in the file, or ``""``."""

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    consistency: str = ""
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None
    tmpfs: TmpfsOptions | None = None


@dataclass(frozen=True, slots=True)
class FileMount:
    """A file-based ``secret`` or ``config``: ``file`` on this machine appears at ``target``."""

    source: str
    target: str
    file: Path
    uid: str = ""
    gid: str = ""
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Healthcheck:
    test: tuple[str, ...] = ()
    timeout: int | None = None
    interval: int | None = None
    retries: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    disable: bool = False


@dataclass(frozen=True, slots=True)
class Ulimit:
    """``single`` where one number was given, otherwise ``soft`` and ``hard``."""

    single: int = 0
    soft: int = 0
    hard: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    source: str
    target: str
    permissions: str


@dataclass(frozen=True, slots=True)
class Logging:
    driver: str = ""
    options: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True)
class Resource:
    cpus: float = 0.0
    memory: int = 0
    pids: int = 0


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    condition: str = ""
    delay: int | None = None
    max_attempts: int | None = None
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Deploy:
    limits: Resource | None = None
    reservations: Resource | None = None
    restart_policy: RestartPolicy | None = None


@dataclass(frozen=True, slots=True)
class NetworkAttachment:
    """How the service joins a network: ``aliases``, fixed addresses, ``priority``."""

    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = field(default_factory=_empty)
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    priority: int = 0


@dataclass(frozen=True, slots=True)
class AddressPool:
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    aux_addresses: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True)
class Network:
    """A top-level network; ``name`` is what Docker calls it."""

    name: str
    external: bool = False
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=_empty)
    ipam_driver: str = ""
    ipam: tuple[AddressPool, ...] = ()
    internal: bool = False
    attachable: bool = False
    enable_ipv6: bool | None = None
    labels: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True)
class Volume:
    """A top-level volume; ``name`` is what Docker calls it."""

    name: str
    external: bool = False
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=_empty)
    labels: Mapping[str, str] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service of a compose project, everything resolved.

    ``networks`` maps a network's key to how the service joins it, ``declared_networks`` and
    ``declared_volumes`` hold those top-level entries that the service uses. ``built`` is true where the
    image is one that ``docker compose build`` makes. ``notes`` are for people: variables without a value,
    several candidate files. ``environment`` is kept out of ``repr``: it holds passwords.
    """

    project: ComposeProject
    service: str
    image: str
    built: bool = False
    container_name: str = ""
    notes: tuple[str, ...] = ()

    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(default_factory=_empty, repr=False)
    labels: Mapping[str, str] = field(default_factory=_empty)
    annotations: Mapping[str, str] = field(default_factory=_empty)
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    volumes: tuple[Mount, ...] = ()
    secrets: tuple[FileMount, ...] = ()
    configs: tuple[FileMount, ...] = ()
    networks: Mapping[str, NetworkAttachment | None] = field(default_factory=_empty)
    network_mode: str = ""
    declared_networks: Mapping[str, Network] = field(default_factory=_empty)
    declared_volumes: Mapping[str, Volume] = field(default_factory=_empty)

    healthcheck: Healthcheck | None = None
    restart: str = ""
    stop_grace_period: int | None = None
    stop_signal: str = ""
    init: bool | None = None
    attach: bool | None = None
    logging: Logging | None = None
    pull_policy: str = ""
    platform: str = ""
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    domainname: str = ""
    extra_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=_empty)
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()

    deploy: Deploy | None = None
    shm_size: int = 0
    mem_limit: int = 0
    mem_reservation: int = 0
    memswap_limit: int = 0
    mem_swappiness: int = 0
    cpus: float = 0.0
    cpuset: str = ""
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    pids_limit: int = 0
    oom_kill_disable: bool = False
    oom_score_adj: int = 0
    ulimits: Mapping[str, Ulimit] = field(default_factory=_empty)
    tmpfs: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    storage_opt: Mapping[str, str] = field(default_factory=_empty)
    sysctls: Mapping[str, str] = field(default_factory=_empty)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    privileged: bool = False
    read_only: bool = False
    stdin_open: bool = False
    tty: bool = False
    ipc: str = ""
    pid: str = ""
    uts: str = ""
    userns_mode: str = ""
    cgroup: str = ""
    cgroup_parent: str = ""
    runtime: str = ""

    @property
    def name_of_container(self) -> str:
        """What compose would call the first container of this service."""
        return self.container_name or f"{self.project.name}-{self.service}-1"
