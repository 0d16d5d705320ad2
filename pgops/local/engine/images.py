"""The image of a service: is it here, is it of the right kind, and pulling it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import docker.errors
import requests

from pgops.errors import UnreachableError
from pgops.local.compose import ServiceSpec, image_major
from pgops.local.engine.client import Engine, Event, Report, explanation, speaking
from pgops.local.engine.request import image_name

_UNTOUCHED = "no container was touched"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here. ``major`` is its PostgreSQL's, ``pgdata`` where it keeps its data."""

    id: str
    platform: str
    major: int | None
    pgdata: str
    volumes: tuple[str, ...]


def ensure_image(engine: Engine, spec: ServiceSpec, report: Report) -> Image:
    """The service's image, pulled when it is not here (or when ``pull_policy`` is ``always``).

    :raises UnreachableError: it is not here and can't be had, or it is made for another platform.
    """
    found = None if spec.pull_policy == "always" else find_image(engine, spec)
    if found is None or not _fits(found, spec):
        _refuse_pull(spec, found)
        _pull(engine, spec, report)
        found = find_image(engine, spec)
    if found is None or not _fits(found, spec):
        raise _wrong_platform(spec, found)
    own = f"{engine.facts.system}/{engine.facts.architecture}"
    if not spec.platform and found.platform and not found.platform.startswith(own):
        report(Event("image", f"{image_name(spec)} is made for {found.platform}, this engine is {own}"))
    return found


def find_image(engine: Engine, spec: ServiceSpec) -> Image | None:
    """The image as it is here now, or ``None``; nothing is pulled."""
    with speaking(f"look for image {image_name(spec)}"):
        try:
            found = engine.untyped.inspect_image(image_name(spec))
        except docker.errors.ImageNotFound:
            return None
    return _image(spec, found)


def _image(spec: ServiceSpec, found: dict[str, Any]) -> Image:
    config = found.get("Config") or {}
    environ = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    major = environ.get("PG_MAJOR", "").partition(".")[0]
    variant = found.get("Variant")
    platform = f"{found.get('Os', '')}/{found.get('Architecture', '')}"
    return Image(
        id=str(found["Id"]),
        platform=f"{platform}/{variant}" if variant else platform,
        major=int(major) if major.isdigit() else image_major(spec),
        pgdata=spec.environment.get("PGDATA") or environ.get("PGDATA") or "/var/lib/postgresql/data",
        volumes=tuple(config.get("Volumes") or ()),
    )


def _fits(image: Image, spec: ServiceSpec) -> bool:
    return not spec.platform or f"{image.platform}/".startswith(f"{spec.platform}/")


def _refuse_pull(spec: ServiceSpec, found: Image | None) -> None:
    name = image_name(spec)
    if found is not None and spec.pull_policy == "never":
        raise _wrong_platform(spec, found)
    if spec.built and found is None and not spec.image:
        raise UnreachableError(
            f"image {name} has not been built yet",
            kind="image",
            untouched=_UNTOUCHED,
            hint=f"docker compose build {spec.service}",
        )
    if spec.pull_policy == "never":
        raise UnreachableError(
            f"image {name} is not here, and pull_policy is never",
            kind="image",
            untouched=_UNTOUCHED,
            hint=f"docker pull {name}",
        )


def _wrong_platform(spec: ServiceSpec, found: Image | None) -> UnreachableError:
    what = found.platform if found else "no platform that this engine has"
    return UnreachableError(
        f"image {image_name(spec)} is made for {what}, services.{spec.service}.platform asks for {spec.platform}",
        kind="image",
        untouched=_UNTOUCHED,
        hint=f"docker pull --platform {spec.platform} {image_name(spec)}, or leave 'platform' out",
    )


def _pull(engine: Engine, spec: ServiceSpec, report: Report) -> None:
    name = image_name(spec)
    report(Event("pull", f"pulling {name}"))
    repository, tag = _split(name)
    try:
        lines = engine.api.pull(repository, tag=tag, stream=True, decode=True, platform=spec.platform or None)
        _follow(name, lines, report)
    except docker.errors.APIError as error:
        raise _not_pulled(spec, explanation(error)) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise _not_pulled(spec, re.sub(r"\s+", " ", str(error))) from error
    except _PullError as error:
        raise _not_pulled(spec, str(error)) from error


class _PullError(Exception):
    """The engine's progress stream ended with an error."""


def _follow(name: str, lines: Iterable[dict[str, Any]], report: Report) -> None:
    """Sum the layers' progress; the engine sends one line per step of a layer."""
    layers: dict[str, tuple[int, int]] = {}
    for line in lines:
        if line.get("error"):
            raise _PullError(re.sub(r"\s+", " ", str(line["error"])).strip())
        detail = line.get("progressDetail") or {}
        if line.get("id") and line.get("status") == "Downloading" and detail.get("total"):
            layers[line["id"]] = (int(detail.get("current", 0)), int(detail["total"]))
        elif line.get("id") in layers and line.get("status") in ("Download complete", "Pull complete"):
            total = layers[line["id"]][1]
            layers[line["id"]] = (total, total)
        if layers:
            done, total = (sum(layer[place] for layer in layers.values()) for place in (0, 1))
            report(Event("pull", f"pulling {name}", done, total))


def _split(name: str) -> tuple[str, str | None]:
    """Repository and tag, or digest; the SDK would pull every tag where none is given."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository.rpartition(":")[0] or repository, digest
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")


def _not_pulled(spec: ServiceSpec, said: str) -> UnreachableError:
    name = image_name(spec)
    return UnreachableError(
        f"image {name} is not here and could not be pulled: {said}",
        kind="image",
        untouched=_UNTOUCHED,
        hint=f"check 'image' in {spec.project.config_files[0].name} and the network, then: docker pull {name}",
    )
