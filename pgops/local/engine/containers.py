"""The service's container as the engine has it now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors

from pgops.errors import RefusedError
from pgops.local.compose import ServiceSpec, config_hash
from pgops.local.engine.client import Engine, explanation, speaking
from pgops.local.engine.request import CONFIG_HASH, IMAGE, ONEOFF, PROJECT, SERVICE, WORKING_DIR


@dataclass(frozen=True, slots=True)
class Container:
    """``state`` is Docker's word: created, running, paused, restarting, exited, dead.

    ``volumes`` are its anonymous and named volumes, target -> name; ``health`` is ``""`` without a check.
    """

    id: str
    name: str
    state: str
    health: str
    exit_code: int
    started_at: str
    restarts: int
    out_of_memory: bool
    config_hash: str
    image_id: str
    working_dir: str
    environment: tuple[str, ...]
    volumes: dict[str, str]
    networks: tuple[str, ...]

    @property
    def running(self) -> bool:
        return self.state in ("running", "paused", "restarting")


def set_aside_name(container: str, name: str) -> str:
    """What a container is called while another takes its place; compose names it so as well."""
    return f"{container[:12]}_{name}"


def list_containers(engine: Engine, spec: ServiceSpec) -> dict[str, str]:
    """The service's containers by compose's labels, id -> name: names differ between its versions."""
    labels = [f"{PROJECT}={spec.project.name}", f"{SERVICE}={spec.service}", f"{ONEOFF}=False"]
    with speaking(f"list the containers of project {spec.project.name}"):
        found = engine.api.containers(all=True, filters={"label": labels})
    return {str(item["Id"]): str(item["Names"][0]).lstrip("/") for item in found if item.get("Names")}


def find_container(engine: Engine, spec: ServiceSpec) -> Container | None:
    """The service's container; one that a killed start had set aside does not count beside its heir.

    :raises RefusedError: there are several (``docker compose up --scale``).
    """
    every = list_containers(engine, spec)
    found = {
        key: name for key, name in every.items() if name != set_aside_name(key, spec.name_of_container)
    } or every
    with speaking(f"look at the container of {spec.service}"):
        if not found:
            return None
        if len(found) > 1:
            names = ", ".join(sorted(found.values()))
            raise RefusedError(
                f"service {spec.service} of project {spec.project.name} has {len(found)} containers: {names}",
                untouched="none of them was touched",
                hint=f"docker compose up -d --scale {spec.service}=1 {spec.service}",
            )
        try:
            return inspect(engine, next(iter(found)))
        except docker.errors.NotFound:
            return None  # removed between the two calls


def inspect(engine: Engine, container: str) -> Container:
    """One container's facts.

    :raises docker.errors.NotFound: it is gone.
    """
    found: dict[str, Any] = engine.api.inspect_container(container)
    state, config = found["State"], found["Config"]
    labels = config.get("Labels") or {}
    return Container(
        id=str(found["Id"]),
        name=str(found["Name"]).lstrip("/"),
        state=str(state.get("Status", "")),
        health=str((state.get("Health") or {}).get("Status", "")),
        exit_code=int(state.get("ExitCode") or 0),
        started_at=str(state.get("StartedAt", "")),
        restarts=int(found.get("RestartCount") or 0),
        out_of_memory=bool(state.get("OOMKilled")),
        config_hash=str(labels.get(CONFIG_HASH, "")),
        image_id=str(labels.get(IMAGE) or found.get("Image", "")),
        working_dir=str(labels.get(WORKING_DIR, "")),
        environment=tuple(config.get("Env") or ()),
        volumes={
            str(mount["Destination"]): str(mount["Name"])
            for mount in found.get("Mounts") or ()
            if mount.get("Type") == "volume"
        },
        networks=tuple((found.get("NetworkSettings") or {}).get("Networks") or ()),
    )


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """For removing a container that the engine may be removing already, for a start that was killed."""
    try:
        yield
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if "already in progress" not in explanation(error):
            raise


def check_checkout(spec: ServiceSpec, container: Container) -> None:
    """Refuse a container that another checkout with the same project name made.

    A directory that is gone was moved or deleted: its container is adopted, as compose does.

    :raises RefusedError: naming both checkouts.
    """
    theirs, ours = container.working_dir, spec.project.working_dir
    if not theirs or Path(theirs) == ours or not os.path.isdir(theirs):  # noqa: PTH112 - a label, not our path
        return
    if os.path.realpath(theirs) == os.path.realpath(ours):
        return
    raise RefusedError(
        f"container {container.name} belongs to the checkout in {theirs}, and this one in {ours} has the same "
        f"project name, {spec.project.name}: both would use one database",
        untouched="the container was not touched",
        hint=f"give this checkout a name of its own: echo COMPOSE_PROJECT_NAME={spec.project.name}-2 >> "
        f"{ours / '.env'} (and another published port), or docker compose down in {theirs}",
    )


def ours(engine: Engine, spec: ServiceSpec) -> Container | None:
    """The container, or ``None``; never another checkout's.

    :raises RefusedError: it is another checkout's, or there are several.
    """
    container = find_container(engine, spec)
    if container is not None:
        check_checkout(spec, container)
    return container


def difference(spec: ServiceSpec, container: Container, image_id: str) -> str:
    """Why compose would make the container anew, in words, or ``""``."""
    if container.config_hash != config_hash(spec):
        return "the compose file says something else than when it was made"
    if container.image_id != image_id:
        return "its image is no longer the one that is here under that name"
    return ""


def last_lines(engine: Engine, container: str, count: int = 20) -> str:
    """The end of the container's output."""
    with speaking("read the container's output"):
        output: bytes = engine.api.logs(container, tail=count, stdout=True, stderr=True)
    return output.decode("utf-8", "replace").strip()
