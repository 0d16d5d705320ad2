"""The data of a database container: where it lies, which major version made it, whose cluster it is.

Files are read through the engine's archive call, out of a container that is never started: no program of
another major version ever touches the data, and it works where the engine is on another machine.
"""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker.errors

from pgops.errors import ConfigurationError, RefusedError
from pgops.local.compose import Mount, ServiceSpec
from pgops.local.engine.client import Engine, speaking
from pgops.local.engine.containers import gone_is_fine
from pgops.local.engine.images import Image
from pgops.local.engine.request import image_name

_NEWEST = 40  # majors looked for below a mount of /var/lib/postgresql
_LOOKER = "pgops.looks-for"  # label of the container that only looks; its value is the project
_FILE_LIMIT = 1 << 20
_LOOK = "/pgops-look"  # away from the image's own volumes, which would be mounted inside


@dataclass(frozen=True, slots=True)
class DataPlace:
    """The mount that holds the cluster: a volume's name or a host path, and where it is in the container.

    ``kind`` is ``volume``, ``bind``, ``tmpfs``, or ``anonymous`` for a volume without a name of its own.
    """

    kind: str
    source: str
    target: str

    def __str__(self) -> str:
        return {"volume": f"volume {self.source}", "bind": f"directory {self.source}"}.get(
            self.kind, f"an {self.kind} volume" if self.kind == "anonymous" else self.kind
        )

    @property
    def lasts(self) -> bool:
        """Whether the data survives the container."""
        return self.kind in ("volume", "bind")


def data_place(spec: ServiceSpec, image: Image) -> DataPlace:
    """The mount under which the image keeps its data.

    :raises ConfigurationError: the service mounts a volume for PostgreSQL, and the data would not be in it.
    """
    inside = [volume for volume in image.volumes if _covers(volume, image.pgdata)]
    covering = [mount for mount in spec.volumes if _covers(mount.target, image.pgdata)]
    nearest = max(covering, key=lambda mount: len(mount.target), default=None)
    nearest_of_image = max(inside, key=len, default="")
    if nearest is not None and len(nearest.target) >= len(nearest_of_image):
        return _place(spec, nearest)
    if any(_covers(entry.partition(":")[0], image.pgdata) for entry in spec.tmpfs):
        return DataPlace("tmpfs", "", image.pgdata)
    beside = nearest or next((m for m in spec.volumes if m.target.startswith("/var/lib/postgresql")), None)
    if beside is not None:
        # the image's own volume would take the data: one that is anonymous and goes with the container
        raise ConfigurationError(
            f"{spec.project.config_files[0].name}: services.{spec.service}.volumes: {image_name(spec)} keeps its "
            f"data in {image.pgdata}, and the volume is mounted at {beside.target}: the data would not be in it",
            untouched="no container was touched",
            hint=f"mount it at {nearest_of_image or image.pgdata}",
        )
    return DataPlace("anonymous", "", nearest_of_image or image.pgdata)


def _covers(target: str, path: str) -> bool:
    return path == target or path.startswith(f"{target.rstrip('/')}/")


def _place(spec: ServiceSpec, mount: Mount) -> DataPlace:
    if mount.type == "volume" and mount.source:
        return DataPlace("volume", spec.declared_volumes[mount.source].name, mount.target)
    kind = "anonymous" if mount.type == "volume" else mount.type
    return DataPlace(kind, mount.source, mount.target)


def check_major(engine: Engine, spec: ServiceSpec, image: Image, place: DataPlace) -> None:
    """Refuse to start an image on data that another major version made.

    :raises RefusedError: with how to take the data out and load it.
    """
    if image.major is None or not place.lasts:
        return
    found = data_major(engine, spec.project.name, image, place)
    if found is None or found == image.major:
        return
    name, service = image_name(spec), spec.service
    raise RefusedError(
        f"{place} holds the data of PostgreSQL {found}, and {name} is PostgreSQL {image.major}, which can't read it",
        untouched="the data was only looked at",
        hint=f"set 'image' of {service} back to PostgreSQL {found}, invoke db.up backup, set it to {image.major}, "
        f"give {service} another volume, then invoke db.up restore",
    )


def data_major(engine: Engine, project: str, image: Image, place: DataPlace) -> int | None:
    """The major version that made the data, or ``None`` where there is none yet.

    :param project: the compose project that looks; what an earlier look of it left behind is removed.
    """
    if place.kind == "volume" and not _volume_exists(engine, place.source):
        return None
    with _reading(engine, project, image, place) as container:
        if container is None:
            return None
        for path in _candidates(image, place):
            text = read_file(engine, container, path)
            if text is not None:
                version = text.decode("ascii", "replace").strip().partition(".")[0]
                return int(version) if version.isdigit() else None
    return None


def _candidates(image: Image, place: DataPlace) -> list[str]:
    """Where a cluster's PG_VERSION may be: the image's own place first, then those of other majors."""
    below = image.pgdata[len(place.target.rstrip("/")) :]
    found = [below, "", "/data"]
    if below:
        found += [f"/{major}/docker" for major in range(_NEWEST, 12, -1)]
    return [f"{_LOOK}{directory}/PG_VERSION" for directory in dict.fromkeys(found)]


@contextmanager
def _reading(engine: Engine, project: str, image: Image, place: DataPlace) -> Iterator[str | None]:
    """A container that is made, never started, and removed: it only holds the mount for reading.

    ``None`` where the mount can't be made, as for a host directory that does not exist yet.
    """
    _remove_lookers(engine, project)
    mount: dict[str, Any] = {
        "Type": place.kind,
        "Source": place.source,
        "Target": _LOOK,
        "ReadOnly": True,
    }
    if place.kind == "volume":
        mount["VolumeOptions"] = {"NoCopy": True}
    body = {
        "Image": image.id,
        "Labels": {_LOOKER: project},
        "NetworkDisabled": True,
        "HostConfig": {"Mounts": [mount], "NetworkMode": "none"},
    }
    name = f"pgops-look-{secrets.token_hex(6)}"
    container = _create_reader(engine, place, body, name)
    if container is None:
        yield None
        return
    try:
        yield container
    finally:
        with speaking(f"remove the container {name} that only looked"), gone_is_fine():
            engine.api.remove_container(container, v=True, force=True)


def _remove_lookers(engine: Engine, project: str) -> None:
    """Those that a killed look of this project left; starts of one project run one at a time."""
    with speaking("remove a container that only looked"):
        for left in engine.api.containers(all=True, filters={"label": f"{_LOOKER}={project}"}):
            with gone_is_fine():
                engine.api.remove_container(left["Id"], v=True, force=True)


def _create_reader(engine: Engine, place: DataPlace, body: dict[str, Any], name: str) -> str | None:
    with speaking(f"look into {place}"):
        try:
            return str(engine.untyped.create_container_from_config(body, name)["Id"])
        except docker.errors.APIError as error:
            if place.kind == "bind" and "does not exist" in str(error):
                return None
            raise


def read_file(engine: Engine, container: str, path: str) -> bytes | None:
    """A small file out of a container, started or not; ``None`` where it does not exist."""
    with speaking(f"read {path}"):
        try:
            chunks, _ = engine.api.get_archive(container, path)
        except docker.errors.NotFound:
            return None
        data = bytearray()
        for chunk in chunks:
            data += chunk
            if len(data) > _FILE_LIMIT:
                return None
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                return file.read()
    return None


def system_identifier(engine: Engine, container: str, pgdata: str) -> str | None:
    """The cluster's own number: the first eight bytes of ``global/pg_control``.

    https://www.postgresql.org/docs/current/storage-file-layout.html; the field stands first in every
    version. Byte order is that of the server's machine, as good as always little-endian.
    """
    control = read_file(engine, container, f"{pgdata}/global/pg_control")
    return str(int.from_bytes(control[:8], "little")) if control and len(control) >= 8 else None


def _volume_exists(engine: Engine, name: str) -> bool:
    with speaking(f"look for volume {name}"):
        try:
            engine.api.inspect_volume(name)
        except docker.errors.NotFound:
            return False
    return True
