"""ServiceSpec -> what the engine's API is sent. Pure: nothing here speaks to Docker.

The container is compose's own: its labels, its name, its network aliases and the bodies that compose 5.6
sends (seen by inspecting what it made).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from pgops import __version__
from pgops.local.compose import ServiceSpec, config_hash
from pgops.local.compose.spec import FileMount, Healthcheck, Mount, Network, NetworkAttachment, Volume

LABEL = "com.docker.compose."
PROJECT = LABEL + "project"
SERVICE = LABEL + "service"
ONEOFF = LABEL + "oneoff"
CONFIG_HASH = LABEL + "config-hash"
IMAGE = LABEL + "image"
WORKING_DIR = LABEL + "project.working_dir"
_VERSION = f"pgops {__version__}"
_RESTART = {"none": "no", "any": "always"}


def image_name(spec: ServiceSpec) -> str:
    """The image; one that compose builds without a name is called ``<project>-<service>``."""
    return spec.image or f"{spec.project.name}-{spec.service}"


def container_labels(spec: ServiceSpec, image_id: str) -> dict[str, str]:
    """The labels that make compose take the container for its own."""
    return {
        **spec.labels,
        PROJECT: spec.project.name,
        SERVICE: spec.service,
        ONEOFF: "False",
        LABEL + "container-number": "1",
        CONFIG_HASH: config_hash(spec),
        IMAGE: image_id,
        LABEL + "version": _VERSION,
        LABEL + "depends_on": "",
        WORKING_DIR: str(spec.project.working_dir),
        LABEL + "project.config_files": ",".join(map(str, spec.project.config_files)),
    }


def network_labels(spec: ServiceSpec, key: str, network: Network) -> dict[str, str]:
    """No config-hash: compose would take another hash for a reason to make the network anew."""
    return {
        **network.labels,
        PROJECT: spec.project.name,
        LABEL + "network": key,
        LABEL + "version": _VERSION,
    }


def volume_labels(spec: ServiceSpec, key: str, volume: Volume) -> dict[str, str]:
    """No config-hash: with another one ``docker compose up -y`` deletes the volume and the data in it."""
    return {
        **volume.labels,
        PROJECT: spec.project.name,
        LABEL + "volume": key,
        LABEL + "version": _VERSION,
    }


def network_ipam(network: Network) -> dict[str, Any] | None:
    if not network.ipam and not network.ipam_driver:
        return None
    pools = [
        {
            "Subnet": pool.subnet or None,
            "Gateway": pool.gateway or None,
            "IPRange": pool.ip_range or None,
            "AuxiliaryAddresses": dict(pool.aux_addresses) or None,
        }
        for pool in network.ipam
    ]
    return {"Driver": network.ipam_driver or "default", "Config": pools}


def container_body(
    spec: ServiceSpec, *, image_id: str, inherited: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The body of ``POST /containers/create``.

    :param image_id: of the image that is here now; compose compares it.
    :param inherited: anonymous volumes of the container that this one replaces, target -> volume.
    """
    ports: dict[str, dict[str, str]] = {f"{port.target}/{port.protocol}": {} for port in spec.ports}
    ports |= {port: {} for entry in spec.expose for port in _exposed(entry)}
    body: dict[str, Any] = {
        "Image": image_name(spec),
        "Env": [name if value is None else f"{name}={value}" for name, value in spec.environment.items()],
        "Labels": container_labels(spec, image_id),
        "ExposedPorts": ports,
        "Hostname": spec.hostname,
        "Domainname": spec.domainname,
        "User": spec.user,
        "WorkingDir": spec.working_dir,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin_open,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": _host_config(spec, inherited or {}),
    }
    if spec.command is not None:
        body["Cmd"] = list(spec.command)
    if spec.entrypoint is not None:
        body["Entrypoint"] = list(spec.entrypoint)
    if spec.stop_signal:
        body["StopSignal"] = spec.stop_signal
    if spec.stop_grace_period is not None:
        body["StopTimeout"] = stop_seconds(spec)
    if spec.healthcheck is not None:
        body["Healthcheck"] = _healthcheck(spec.healthcheck)
    if spec.networks:
        first = networks_by_priority(spec)[0]
        body["NetworkingConfig"] = {
            "EndpointsConfig": {spec.declared_networks[first].name: network_endpoint(spec, first)}
        }
    return body


def _exposed(entry: str) -> list[str]:
    """``8000-8002/udp`` as the three ports it means."""
    numbers, _, protocol = entry.partition("/")
    first, _, last = numbers.partition("-")
    return [f"{port}/{protocol or 'tcp'}" for port in range(int(first), int(last or first) + 1)]


def stop_seconds(spec: ServiceSpec) -> int:
    """How long a stop may take; Docker's own default is 10 s."""
    return 10 if spec.stop_grace_period is None else max(0, round(spec.stop_grace_period / 1e9))


def networks_by_priority(spec: ServiceSpec) -> list[str]:
    """Keys of the service's networks, the one it is created in first."""

    def order(key: str) -> tuple[int, str]:
        attachment = spec.networks[key]
        return (-(attachment.priority if attachment else 0), key)

    return sorted(spec.networks, key=order)


def network_endpoint(spec: ServiceSpec, key: str) -> dict[str, Any]:
    """How the container joins a network: under its own name, the service's, and its aliases."""
    attachment = spec.networks[key] or NetworkAttachment()
    found: dict[str, Any] = {"Aliases": [spec.name_of_container, spec.service, *attachment.aliases]}
    addresses = {
        "IPv4Address": attachment.ipv4_address,
        "IPv6Address": attachment.ipv6_address,
        "LinkLocalIPs": list(attachment.link_local_ips),
    }
    if any(addresses.values()):
        found["IPAMConfig"] = {name: value for name, value in addresses.items() if value}
    if attachment.driver_opts:
        found["DriverOpts"] = dict(attachment.driver_opts)
    return found


def _host_config(spec: ServiceSpec, inherited: Mapping[str, str]) -> dict[str, Any]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        bindings.setdefault(f"{port.target}/{port.protocol}", []).append(
            {"HostIp": port.host_ip, "HostPort": port.published}
        )
    mounted = [_mount(spec, mount) for mount in spec.volumes]
    files = [_file(item, "/run/secrets/") for item in spec.secrets]
    files += [_file(item, "/") for item in spec.configs]
    config: dict[str, Any] = {
        "Binds": [item for item in mounted if isinstance(item, str)]
        + [f"{volume}:{target}:rw" for target, volume in inherited.items()],
        "Mounts": [item for item in mounted if isinstance(item, dict)] + files,
        "PortBindings": bindings,
        "NetworkMode": _network_mode(spec),
        "RestartPolicy": _restart(spec),
        "ShmSize": spec.shm_size,
        "Tmpfs": dict(entry.partition(":")[::2] for entry in spec.tmpfs),
        "CapAdd": [_capability(name) for name in spec.cap_add],
        "CapDrop": [_capability(name) for name in spec.cap_drop],
        "SecurityOpt": [option for option in spec.security_opt if option != "systempaths=unconfined"],
        "GroupAdd": list(spec.group_add),
        "Dns": list(spec.dns),
        "DnsOptions": list(spec.dns_opt),
        "DnsSearch": list(spec.dns_search),
        "ExtraHosts": [f"{host}:{ip}" for host, every in spec.extra_hosts.items() for ip in every],
        "Sysctls": dict(spec.sysctls),
        "StorageOpt": dict(spec.storage_opt),
        "Annotations": dict(spec.annotations),
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.read_only,
        "IpcMode": spec.ipc,
        "PidMode": spec.pid,
        "UTSMode": spec.uts,
        "UsernsMode": spec.userns_mode,
        "CgroupnsMode": spec.cgroup,
        "Runtime": spec.runtime,
        "OomScoreAdj": spec.oom_score_adj,
    }
    config = {name: value for name, value in config.items() if value not in ("", 0, [], {})}
    if "systempaths=unconfined" in spec.security_opt:
        config |= {"MaskedPaths": [], "ReadonlyPaths": []}
    if spec.init is not None:
        config["Init"] = spec.init
    if spec.logging is not None:
        config["LogConfig"] = {"Type": spec.logging.driver, "Config": dict(spec.logging.options)}
    return config | _resources(spec)


def _capability(name: str) -> str:
    """The kernel's own name, as compose sends it."""
    name = name.upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _network_mode(spec: ServiceSpec) -> str:
    if spec.network_mode or not spec.networks:
        return spec.network_mode
    return spec.declared_networks[networks_by_priority(spec)[0]].name


def _resources(spec: ServiceSpec) -> dict[str, Any]:
    limits = spec.deploy.limits if spec.deploy else None
    reserved = spec.deploy.reservations if spec.deploy else None
    cpus = limits.cpus if limits and limits.cpus else spec.cpus
    found: dict[str, Any] = {
        "CgroupParent": spec.cgroup_parent,
        "Memory": limits.memory if limits and limits.memory else spec.mem_limit,
        "MemorySwap": spec.memswap_limit,
        "MemorySwappiness": spec.mem_swappiness,
        "MemoryReservation": reserved.memory if reserved and reserved.memory else spec.mem_reservation,
        "CpuPeriod": spec.cpu_period,
        "CpuQuota": spec.cpu_quota,
        "CpuShares": spec.cpu_shares,
        "CpusetCpus": spec.cpuset,
        "NanoCpus": _nano_cpus(cpus),
        "PidsLimit": limits.pids if limits and limits.pids else spec.pids_limit,
        "OomKillDisable": spec.oom_kill_disable,
        "DeviceCgroupRules": list(spec.device_cgroup_rules),
        "Devices": [
            {
                "PathOnHost": device.source,
                "PathInContainer": device.target,
                "CgroupPermissions": device.permissions,
            }
            for device in spec.devices
        ],
        "Ulimits": [
            {"Name": name, "Soft": limit.soft or limit.single, "Hard": limit.hard or limit.single}
            for name, limit in spec.ulimits.items()
        ],
    }
    return {name: value for name, value in found.items() if value not in ("", 0, False, [])}


def _nano_cpus(cpus: float) -> int:
    """As compose counts them: in single precision."""
    single = struct.unpack("f", struct.pack("f", cpus))[0]
    return int(struct.unpack("f", struct.pack("f", single * 1e9))[0])


def _restart(spec: ServiceSpec) -> dict[str, Any]:
    policy = spec.deploy.restart_policy if spec.deploy else None
    if policy is not None:
        name = _RESTART.get(policy.condition, policy.condition)
        return {"Name": name, "MaximumRetryCount": policy.max_attempts or 0}
    name, _, attempts = spec.restart.partition(":")
    return {"Name": name, "MaximumRetryCount": int(attempts or 0)} if name else {}


def _healthcheck(check: Healthcheck) -> dict[str, Any]:
    if check.disable:
        return {"Test": ["NONE"]}
    found: dict[str, Any] = {
        "Test": list(check.test),
        "Timeout": check.timeout,
        "Interval": check.interval,
        "Retries": check.retries,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    return {name: value for name, value in found.items() if value}


def _mount(spec: ServiceSpec, mount: Mount) -> str | dict[str, Any]:
    """``Binds`` where it can say it (it makes a missing directory, as compose does), else ``Mounts``."""
    if mount.type == "tmpfs":
        return _tmpfs(mount)
    options = ["ro" if mount.read_only else "rw"]
    if mount.type == "bind":
        if mount.bind is not None and not mount.bind.create_host_path:
            return _strict_bind(mount)
        if mount.bind is not None:
            options += [option for option in (mount.bind.selinux, mount.bind.propagation) if option]
        return f"{mount.source}:{mount.target}:{','.join(options)}"
    name = spec.declared_volumes[mount.source].name if mount.source else ""
    if not name or (mount.volume is not None and mount.volume.subpath):
        return _volume_mount(mount, name)
    if mount.volume is not None and mount.volume.nocopy:
        options.append("nocopy")
    return f"{name}:{mount.target}:{','.join(options)}"


def _tmpfs(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": "tmpfs", "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.tmpfs is not None:
        found["TmpfsOptions"] = {"SizeBytes": mount.tmpfs.size, "Mode": mount.tmpfs.mode}
    return found


def _strict_bind(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.bind is not None and mount.bind.propagation:
        found["BindOptions"] = {"Propagation": mount.bind.propagation}
    return found


def _volume_mount(mount: Mount, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": "volume", "Target": mount.target, "ReadOnly": mount.read_only}
    if name:
        found["Source"] = name
    if mount.volume is not None:
        options = {"NoCopy": mount.volume.nocopy, "Subpath": mount.volume.subpath}
        found["VolumeOptions"] = {key: value for key, value in options.items() if value}
    return found


def _file(item: FileMount, directory: str) -> dict[str, Any]:
    target = item.target or f"{directory}{item.source}"
    if not target.startswith("/"):
        target = directory + target
    return {"Type": "bind", "Source": str(item.file), "Target": target, "ReadOnly": True}
