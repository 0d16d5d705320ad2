"""The ``config-hash`` that compose would put on a container of this service.

Compose hashes (SHA-256) the JSON that Go writes for the normalised service: fields in the order of its
struct, map keys sorted, empty fields left out, ``command`` and ``entrypoint`` always there, sizes as
strings, durations as Go prints them, ``<``, ``>`` and ``&`` escaped. Measured against
``docker compose config --hash`` of 2.26 and 5.6. With another hash, ``docker compose up`` recreates the
container.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

from pgops.local.compose.spec import (
    Deploy,
    FileMount,
    Healthcheck,
    Mount,
    NetworkAttachment,
    Port,
    Resource,
    ServiceSpec,
    Ulimit,
)

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"))


def config_hash(spec: ServiceSpec) -> str:
    """The hash, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def canonical_json(spec: ServiceSpec) -> str:
    """The text that is hashed."""
    text = json.dumps(_service(spec), separators=(",", ":"), ensure_ascii=False)
    for char, escape in _ESCAPES.items():
        text = text.replace(char, escape)
    return text


def go_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: ``1m30s``, ``1h0m0s``, ``1.5s``, ``500ms``, ``0s``."""
    if nanoseconds < 0:
        return "-" + go_duration(-nanoseconds)
    if nanoseconds == 0:
        return "0s"
    for size, unit in ((1_000, "ns"), (1_000_000, "µs"), (1_000_000_000, "ms")):
        if nanoseconds < size:
            return _decimal(nanoseconds, size // 1_000) + unit
    found = ""
    rest = nanoseconds
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or found:
            found += f"{count}{unit}"
    return f"{found}{_decimal(rest, 1_000_000_000)}s"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0")


def go_float32(value: float) -> float | int:
    """``value`` as Go's ``float32`` would be written: the shortest number that reads back the same."""
    single = struct.unpack("f", struct.pack("f", value))[0]
    shortest = next(
        candidate
        for digits in range(1, 10)
        if struct.unpack("f", struct.pack("f", candidate := float(f"{single:.{digits}g}")))[0] == single
    )
    return int(shortest) if shortest.is_integer() else shortest


def _some(**fields: Any) -> dict[str, Any]:
    """``fields`` in their order without those that Go's ``omitempty`` leaves out."""
    return {key: value for key, value in fields.items() if value not in (None, "", 0, False, [], {}, ())}


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in sorted(values, key=str.encode)}


def _bytes(value: int) -> str | None:
    return str(value) if value else None


def _duration(value: int | None) -> str | None:
    return None if value is None else go_duration(value)


def _service(spec: ServiceSpec) -> dict[str, Any]:
    """In the order of compose-go's ServiceConfig; names are checked against it by the corpus test."""
    before = _some(
        annotations=_sorted(spec.annotations),
    )
    if spec.attach is not None:
        before["attach"] = spec.attach
    before |= _some(
        cap_add=spec.cap_add,
        cap_drop=spec.cap_drop,
        cgroup_parent=spec.cgroup_parent,
        cgroup=spec.cgroup,
        cpu_period=spec.cpu_period,
        cpu_quota=spec.cpu_quota,
        cpus=go_float32(spec.cpus),
        cpuset=spec.cpuset,
        cpu_shares=spec.cpu_shares,
    )
    before["command"] = spec.command
    before |= _some(configs=[_file(item) for item in spec.configs], container_name=spec.container_name)
    if spec.deploy is not None:
        before["deploy"] = _deploy(spec.deploy)
    before |= _some(
        device_cgroup_rules=spec.device_cgroup_rules,
        devices=[
            _some(source=item.source, target=item.target, permissions=item.permissions)
            for item in spec.devices
        ],
        dns=spec.dns,
        dns_opt=spec.dns_opt,
        dns_search=spec.dns_search,
        domainname=spec.domainname,
    )
    before["entrypoint"] = spec.entrypoint
    before |= _some(
        environment=_sorted(spec.environment),
        expose=spec.expose,
        extra_hosts=sorted(f"{host}={ip}" for host, every in spec.extra_hosts.items() for ip in every),
        group_add=spec.group_add,
        hostname=spec.hostname,
    )
    if spec.healthcheck is not None:
        before["healthcheck"] = _healthcheck(spec.healthcheck)
    before |= _some(image=spec.image)
    if spec.init is not None:
        before["init"] = spec.init
    return before | _service_rest(spec)


def _service_rest(spec: ServiceSpec) -> dict[str, Any]:
    found = _some(ipc=spec.ipc, labels=_sorted(spec.labels))
    if spec.logging is not None:
        found["logging"] = _some(driver=spec.logging.driver, options=_sorted(spec.logging.options))
    found |= _some(
        mem_limit=_bytes(spec.mem_limit),
        mem_reservation=_bytes(spec.mem_reservation),
        memswap_limit=_bytes(spec.memswap_limit),
        mem_swappiness=_bytes(spec.mem_swappiness),
        network_mode=spec.network_mode,
        networks={key: _attachment(value) for key, value in _sorted(spec.networks).items()},
        oom_kill_disable=spec.oom_kill_disable,
        oom_score_adj=spec.oom_score_adj,
        pid=spec.pid,
        pids_limit=spec.pids_limit,
        platform=spec.platform,
        ports=[_port(item) for item in spec.ports],
        privileged=spec.privileged,
        read_only=spec.read_only,
        restart=spec.restart,
        runtime=spec.runtime,
        secrets=[_file(item) for item in spec.secrets],
        security_opt=spec.security_opt,
        shm_size=_bytes(spec.shm_size),
        stdin_open=spec.stdin_open,
        stop_grace_period=_duration(spec.stop_grace_period),
        stop_signal=spec.stop_signal,
        storage_opt=_sorted(spec.storage_opt),
        sysctls=_sorted(spec.sysctls),
        tmpfs=spec.tmpfs,
        tty=spec.tty,
        ulimits={key: _ulimit(value) for key, value in _sorted(spec.ulimits).items()},
        user=spec.user,
        userns_mode=spec.userns_mode,
        uts=spec.uts,
        volumes=[_mount(item) for item in spec.volumes],
        working_dir=spec.working_dir,
    )
    return found


def _file(item: FileMount) -> dict[str, Any]:
    mode = None if item.mode is None else f"0{item.mode:o}"
    return _some(source=item.source, target=item.target, uid=item.uid, gid=item.gid, mode=mode)


def _deploy(deploy: Deploy) -> dict[str, Any]:
    resources = {}
    if deploy.limits is not None:
        resources["limits"] = _resource(deploy.limits)
    if deploy.reservations is not None:
        resources["reservations"] = _resource(deploy.reservations)
    found: dict[str, Any] = {"resources": resources}
    if deploy.restart_policy is not None:
        policy = deploy.restart_policy
        found["restart_policy"] = _some(condition=policy.condition, delay=_duration(policy.delay))
        if policy.max_attempts is not None:
            found["restart_policy"]["max_attempts"] = policy.max_attempts
        found["restart_policy"] |= _some(window=_duration(policy.window))
    found["placement"] = {}
    return found


def _resource(resource: Resource) -> dict[str, Any]:
    return _some(cpus=go_float32(resource.cpus), memory=_bytes(resource.memory), pids=resource.pids)


def _healthcheck(check: Healthcheck) -> dict[str, Any]:
    found = _some(test=check.test, timeout=_duration(check.timeout), interval=_duration(check.interval))
    if check.retries is not None:
        found["retries"] = check.retries
    return found | _some(
        start_period=_duration(check.start_period),
        start_interval=_duration(check.start_interval),
        disable=check.disable,
    )


def _attachment(attachment: NetworkAttachment | None) -> dict[str, Any] | None:
    if attachment is None:
        return None
    return _some(
        aliases=attachment.aliases,
        driver_opts=_sorted(attachment.driver_opts),
        ipv4_address=attachment.ipv4_address,
        ipv6_address=attachment.ipv6_address,
        link_local_ips=attachment.link_local_ips,
        priority=attachment.priority,
    )


def _port(port: Port) -> dict[str, Any]:
    return _some(
        name=port.name,
        mode=port.mode,
        host_ip=port.host_ip,
        target=port.target,
        published=port.published,
        protocol=port.protocol,
        app_protocol=port.app_protocol,
    )


def _ulimit(limit: Ulimit) -> int | dict[str, Any]:
    return limit.single or _some(soft=limit.soft, hard=limit.hard)


def _mount(mount: Mount) -> dict[str, Any]:
    found = _some(
        type=mount.type,
        source=mount.source,
        target=mount.target,
        read_only=mount.read_only,
        consistency=mount.consistency,
    )
    if mount.bind is not None:
        found["bind"] = _some(selinux=mount.bind.selinux, propagation=mount.bind.propagation)
        if not mount.bind.create_host_path:
            found["bind"]["create_host_path"] = False
    if mount.volume is not None:
        found["volume"] = _some(nocopy=mount.volume.nocopy, subpath=mount.volume.subpath)
    if mount.tmpfs is not None:
        found["tmpfs"] = _some(size=_bytes(mount.tmpfs.size), mode=mount.tmpfs.mode)
    return found
