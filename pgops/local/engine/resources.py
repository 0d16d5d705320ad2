"""The networks and volumes that a container needs before it can be made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker.errors
from docker.types import IPAMConfig, IPAMPool

from pgops.errors import ConfigurationError
from pgops.local.compose import ServiceSpec
from pgops.local.compose.spec import Network
from pgops.local.engine import request
from pgops.local.engine.client import Engine, Event, Report, explanation, speaking


class RaceError(Exception):
    """Somebody else is making the same container at this moment."""


def ensure_networks(engine: Engine, spec: ServiceSpec, made: list[str], report: Report) -> None:
    for key, network in spec.declared_networks.items():
        with speaking(f"look for network {network.name}"):
            found = [n for n in engine.api.networks(names=[network.name]) if n["Name"] == network.name]
        if found:
            continue
        if network.external:
            raise ConfigurationError(
                f"network {network.name} is external, and does not exist",
                untouched="no container was touched",
                hint=f"docker network create {network.name}",
            )
        report(Event("network", f"creating network {network.name}"))
        made.append(_create_network(engine, spec, key, network))


def _create_network(engine: Engine, spec: ServiceSpec, key: str, network: Network) -> str:
    ipam = request.network_ipam(network)
    pools = [
        IPAMPool(
            subnet=pool["Subnet"],
            iprange=pool["IPRange"],
            gateway=pool["Gateway"],
            aux_addresses=pool["AuxiliaryAddresses"],
        )
        for pool in (ipam or {}).get("Config", ())
    ]
    with speaking(f"create network {network.name}"), raced("already exists"):
        found: dict[str, Any] = engine.api.create_network(
            network.name,
            driver=network.driver or "bridge",
            options=dict(network.driver_opts) or None,
            ipam=IPAMConfig(driver=ipam["Driver"], pool_configs=pools) if ipam else None,
            check_duplicate=True,
            internal=network.internal,
            attachable=network.attachable or None,
            enable_ipv6=bool(network.enable_ipv6),
            labels=request.network_labels(spec, key, network),
        )
    return str(found["Id"])


@contextmanager
def raced(words: str) -> Iterator[None]:
    """What somebody else made between our look and our request is looked at again."""
    try:
        yield
    except docker.errors.APIError as error:
        if words in explanation(error):
            raise RaceError from error
        raise


def ensure_volumes(engine: Engine, spec: ServiceSpec, report: Report) -> None:
    for key, volume in spec.declared_volumes.items():
        with speaking(f"look for volume {volume.name}"):
            try:
                engine.api.inspect_volume(volume.name)
                continue
            except docker.errors.NotFound:
                pass
        if volume.external:
            raise ConfigurationError(
                f"volume {volume.name} is external, and does not exist",
                untouched="no container was touched",
                hint=f"docker volume create {volume.name}",
            )
        report(Event("volume", f"creating volume {volume.name}"))
        with speaking(f"create volume {volume.name}"):
            engine.api.create_volume(
                volume.name,
                driver=volume.driver or "local",
                driver_opts=dict(volume.driver_opts) or None,
                labels=request.volume_labels(spec, key, volume),
            )


def remove_network_again(engine: Engine, network: str) -> None:
    with speaking("remove the network made for the container"):
        try:
            engine.api.remove_network(network)
        except docker.errors.APIError as error:
            # somebody else's container has joined it meanwhile: then it is theirs
            if error.status_code not in (403, 404, 409):
                raise
