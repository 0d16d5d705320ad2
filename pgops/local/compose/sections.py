"""The keys of a service that have an inside: ports, networks, healthcheck, limits, logging."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType

from pgops.local.compose import values
from pgops.local.compose.document import Fields, Items, Node, Scalar
from pgops.local.compose.reader import Reader
from pgops.local.compose.spec import (
    EMPTY,
    AddressPool,
    Deploy,
    Healthcheck,
    Logging,
    Network,
    NetworkAttachment,
    Port,
    Resource,
    RestartPolicy,
    Ulimit,
)

_RESTART = re.compile(r"no|always|unless-stopped|on-failure(:[0-9]{1,9})?")
_PULL = ("always", "never", "missing", "if_not_present")
_SWARM = ("mode", "labels", "update_config", "rollback_config", "placement", "endpoint_mode")


def restart(reader: Reader, node: Node, path: str) -> str:
    found = reader.value(node, path, str, "")
    if found and not _RESTART.fullmatch(found):
        reader.bad(node, path, f"{found!r} is none of no, always, unless-stopped, on-failure[:times]")
    return found


def pull_policy(reader: Reader, node: Node, path: str) -> str:
    found = reader.value(node, path, str, "")
    if found == "build":
        reader.bad(
            node, path, "pgops does not build images; run 'docker compose build' and leave this key out"
        )
    elif found and found not in _PULL:
        reader.bad(node, path, f"{found!r} is none of {', '.join(_PULL)}")
    return found


def extra_hosts(reader: Reader, node: Node, path: str) -> Mapping[str, tuple[str, ...]]:
    """``{host: ip}``, ``{host: [ip, …]}`` or ``[host=ip, host:ip]``; brackets around an address are dropped."""
    found: dict[str, list[str]] = {}

    def add(host: str, address: str, at: Node, where: str) -> None:
        address = address.removeprefix("[").removesuffix("]")
        try:
            if address != "host-gateway":
                ipaddress.ip_address(address)
        except ValueError:
            reader.bad(at, where, f"{address!r} is not an IP address")
        found.setdefault(host, []).append(address)

    if isinstance(node, Fields):
        for key, value in node:
            where = f"{path}.{key.text}"
            for item in value.items if isinstance(value, Items) else (value,):
                add(key.text, reader.printed(item, where), item, where)
    else:
        for item, where in reader.items(node, path):
            text = reader.printed(item, where)
            separator = "=" if "=" in text else ":"
            host, given, address = text.partition(separator)
            if not given or not host:
                reader.bad(item, where, f"{text!r} is not host=address")
                continue
            add(host.strip(), address.strip(), item, where)
    return MappingProxyType({host: tuple(every) for host, every in found.items()})


def healthcheck(reader: Reader, node: Node, path: str) -> Healthcheck | None:
    fields = reader.fields(node, path)
    if fields is None:
        return None
    known = ("test", "timeout", "interval", "retries", "start_period", "start_interval", "disable")
    reader.known(fields, path, known)
    retries = fields.get("retries")
    return Healthcheck(
        test=_test(reader, fields.get("test"), f"{path}.test"),
        timeout=reader.duration(fields.get("timeout"), f"{path}.timeout"),
        interval=reader.duration(fields.get("interval"), f"{path}.interval"),
        retries=None if retries is None else reader.number(retries, f"{path}.retries"),
        start_period=reader.duration(fields.get("start_period"), f"{path}.start_period"),
        start_interval=reader.duration(fields.get("start_interval"), f"{path}.start_interval"),
        disable=bool(reader.flag(fields.get("disable"), f"{path}.disable")),
    )


def _test(reader: Reader, node: Node | None, path: str) -> tuple[str, ...]:
    if isinstance(node, Scalar) and not node.is_null:
        return ("CMD-SHELL", node.text)
    found = tuple(reader.printed(item, where) for item, where in reader.items(node, path))
    if found and found[0] not in ("NONE", "CMD", "CMD-SHELL"):
        assert node is not None
        reader.bad(node, path, f"a list begins with NONE, CMD or CMD-SHELL, not {found[0]!r}")
    return found


def logging(reader: Reader, node: Node, path: str) -> Logging | None:
    fields = reader.fields(node, path)
    if fields is None:
        return None
    reader.known(fields, path, ("driver", "options"))
    options = reader.labels(fields.get("options"), f"{path}.options")
    return Logging(driver=reader.text(fields.get("driver"), f"{path}.driver"), options=options)


def ulimits(reader: Reader, node: Node, path: str) -> Mapping[str, Ulimit]:
    found: dict[str, Ulimit] = {}
    for key, value in reader.fields(node, path) or ():
        where = f"{path}.{key.text}"
        if isinstance(value, Fields):
            reader.known(value, where, ("soft", "hard"))
            if value.get("soft") is None or value.get("hard") is None:
                reader.bad(value, where, "needs both soft and hard")
            soft = reader.number(value.get("soft"), f"{where}.soft")
            found[key.text] = Ulimit(soft=soft, hard=reader.number(value.get("hard"), f"{where}.hard"))
        else:
            found[key.text] = Ulimit(single=reader.number(value, where))
    return MappingProxyType(found)


def deploy(reader: Reader, node: Node, path: str) -> Deploy | None:
    """``resources`` and ``restart_policy``; what only Swarm reads is named, not skipped."""
    fields = reader.fields(node, path)
    if fields is None:
        return None
    for key, _ in fields:
        if key.text in _SWARM:
            reader.bad(
                key, f"{path}.{key.text}", "means something to Swarm only; docker compose ignores it too"
            )
    reader.known(fields, path, ("resources", "restart_policy", "replicas", *_SWARM))
    replicas = fields.get("replicas")
    if replicas is not None and reader.number(replicas, f"{path}.replicas") != 1:
        reader.bad(replicas, f"{path}.replicas", "a database has one container; pgops starts exactly one")
    resources = reader.fields(fields.get("resources"), f"{path}.resources")
    limits = reservations = None
    if resources is not None:
        reader.known(resources, f"{path}.resources", ("limits", "reservations"))
        limits = _resource(reader, resources.get("limits"), f"{path}.resources.limits")
        reservations = _resource(reader, resources.get("reservations"), f"{path}.resources.reservations")
    policy = _restart_policy(reader, fields.get("restart_policy"), f"{path}.restart_policy")
    return Deploy(limits, reservations, policy)


def _resource(reader: Reader, node: Node | None, path: str) -> Resource | None:
    fields = reader.fields(node, path)
    if fields is None:
        return None
    reader.known(fields, path, ("cpus", "memory", "pids"))
    return Resource(
        cpus=reader.value(fields.get("cpus"), f"{path}.cpus", values.decimal, 0.0),
        memory=reader.size(fields.get("memory"), f"{path}.memory"),
        pids=reader.number(fields.get("pids"), f"{path}.pids"),
    )


def _restart_policy(reader: Reader, node: Node | None, path: str) -> RestartPolicy | None:
    fields = reader.fields(node, path)
    if fields is None:
        return None
    for key, _ in fields:
        if key.text in ("delay", "window"):
            reader.bad(
                key, f"{path}.{key.text}", "means something to Swarm only; docker compose ignores it too"
            )
    reader.known(fields, path, ("condition", "max_attempts", "delay", "window"))
    conditions = ("none", "no", "on-failure", "any", "always", "unless-stopped")
    attempts = fields.get("max_attempts")
    return RestartPolicy(
        condition=reader.one_of(fields.get("condition"), f"{path}.condition", conditions),
        max_attempts=None if attempts is None else reader.number(attempts, f"{path}.max_attempts"),
    )


def ports(reader: Reader, node: Node, path: str) -> tuple[Port, ...]:
    found: list[Port] = []
    for item, where in reader.items(node, path):
        if isinstance(item, Fields):
            found.append(_long_port(reader, item, where))
        else:
            found += reader.value(item, where, values.ports, ())
    return tuple(dict.fromkeys(found))


def expose(reader: Reader, node: Node, path: str) -> tuple[str, ...]:
    found = (reader.value(item, where, values.exposed, "") for item, where in reader.items(node, path))
    return tuple(dict.fromkeys(entry for entry in found if entry))


def _long_port(reader: Reader, fields: Fields, path: str) -> Port:
    known = ("target", "published", "host_ip", "protocol", "mode", "name", "app_protocol")
    reader.known(fields, path, known)
    if fields.get("target") is None:
        reader.bad(fields, path, "has no target")
    return Port(
        target=reader.value(fields.get("target"), f"{path}.target", values.port_number, 1),
        published=reader.value(fields.get("published"), f"{path}.published", values.published_port, ""),
        host_ip=reader.value(fields.get("host_ip"), f"{path}.host_ip", values.host_ip, ""),
        protocol=reader.one_of(fields.get("protocol"), f"{path}.protocol", ("tcp", "udp", "sctp")) or "tcp",
        mode=reader.one_of(fields.get("mode"), f"{path}.mode", ("ingress", "host")) or "ingress",
        name=reader.text(fields.get("name"), f"{path}.name"),
        app_protocol=reader.text(fields.get("app_protocol"), f"{path}.app_protocol"),
    )


def service_networks(
    reader: Reader, node: Node | None, path: str, network_mode: str
) -> Mapping[str, NetworkAttachment | None]:
    """How the service joins its networks; the project's default one where nothing is said."""
    found: dict[str, NetworkAttachment | None] = {}
    if isinstance(node, Items):
        for item, where in reader.items(node, path):
            found[reader.value(item, where, str, "")] = None
    else:
        for key, value in reader.fields(node, path) or ():
            found[key.text] = _attachment(reader, value, f"{path}.{key.text}")
    if network_mode:
        if found:
            assert node is not None
            reader.bad(node, path, "can't stand beside network_mode")
        return EMPTY
    return MappingProxyType(found or {"default": None})


def _attachment(reader: Reader, node: Node, path: str) -> NetworkAttachment | None:
    fields = reader.fields(node, path)
    if fields is None:
        return None
    known = ("aliases", "driver_opts", "ipv4_address", "ipv6_address", "link_local_ips", "priority")
    reader.known(fields, path, known)
    return NetworkAttachment(
        aliases=reader.texts(fields.get("aliases"), f"{path}.aliases"),
        driver_opts=reader.labels(fields.get("driver_opts"), f"{path}.driver_opts"),
        ipv4_address=reader.text(fields.get("ipv4_address"), f"{path}.ipv4_address"),
        ipv6_address=reader.text(fields.get("ipv6_address"), f"{path}.ipv6_address"),
        link_local_ips=reader.texts(fields.get("link_local_ips"), f"{path}.link_local_ips"),
        priority=reader.number(fields.get("priority"), f"{path}.priority"),
    )


def network(reader: Reader, node: Node, path: str, key: str, project: str) -> Network:
    """A top-level network; without a name it is ``<project>_<key>``."""
    fields = reader.fields(node, path)
    if fields is None:
        return Network(f"{project}_{key}")
    known = ("name", "external", "driver", "driver_opts", "ipam", "internal", "attachable")
    reader.known(fields, path, (*known, "labels", "enable_ipv6"))
    external = bool(reader.flag(fields.get("external"), f"{path}.external"))
    name = reader.printed(fields.get("name"), f"{path}.name")
    ipam_driver, pools = _ipam(reader, fields.get("ipam"), f"{path}.ipam")
    return Network(
        name=name or (key if external else f"{project}_{key}"),
        external=external,
        driver=reader.text(fields.get("driver"), f"{path}.driver"),
        driver_opts=reader.labels(fields.get("driver_opts"), f"{path}.driver_opts"),
        ipam_driver=ipam_driver,
        ipam=pools,
        internal=bool(reader.flag(fields.get("internal"), f"{path}.internal")),
        attachable=bool(reader.flag(fields.get("attachable"), f"{path}.attachable")),
        enable_ipv6=reader.flag(fields.get("enable_ipv6"), f"{path}.enable_ipv6"),
        labels=reader.labels(fields.get("labels"), f"{path}.labels"),
    )


def _ipam(reader: Reader, node: Node | None, path: str) -> tuple[str, tuple[AddressPool, ...]]:
    fields = reader.fields(node, path)
    if fields is None:
        return "", ()
    reader.known(fields, path, ("driver", "config"))
    pools: list[AddressPool] = []
    for item, where in reader.items(fields.get("config"), f"{path}.config"):
        pool = reader.fields(item, where)
        if pool is None:
            continue
        reader.known(pool, where, ("subnet", "gateway", "ip_range", "aux_addresses"))
        pools.append(
            AddressPool(
                subnet=reader.text(pool.get("subnet"), f"{where}.subnet"),
                gateway=reader.text(pool.get("gateway"), f"{where}.gateway"),
                ip_range=reader.text(pool.get("ip_range"), f"{where}.ip_range"),
                aux_addresses=reader.labels(pool.get("aux_addresses"), f"{where}.aux_addresses"),
            )
        )
    return reader.text(fields.get("driver"), f"{path}.driver"), tuple(pools)
