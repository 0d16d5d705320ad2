"""The keys of a service that bring files into the container: volumes, secrets, configs, devices."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pgops.local.compose import values
from pgops.local.compose.document import Fields, Node, Scalar
from pgops.local.compose.reader import Reader, did_you_mean
from pgops.local.compose.spec import (
    BindOptions,
    Device,
    FileMount,
    Mount,
    TmpfsOptions,
    Volume,
    VolumeOptions,
)

_TYPES = ("volume", "bind", "tmpfs")
_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")


@dataclass(frozen=True, slots=True)
class Places:
    """What a relative path and ``~`` are relative to."""

    working_dir: Path
    variables: Mapping[str, str]

    def absolute(self, source: str) -> str:
        """A host path as compose hands it to Docker; an absolute one stays as written."""
        if source == "~" or source.startswith("~/"):
            home = self.variables.get("HOME") or str(Path.home())
            return os.path.normpath(home + source[1:])
        if source.startswith("/"):
            return source
        return os.path.normpath(self.working_dir / source)


def mounts(reader: Reader, node: Node | None, path: str, places: Places) -> tuple[Mount, ...]:
    """Entries of ``volumes``; of two with one target the later wins, in the place of the first."""
    found: dict[str, Mount] = {}
    for item, where in reader.items(node, path):
        mount = _long_mount(reader, item, where) if isinstance(item, Fields) else _short(reader, item, where)
        if mount is None:
            continue
        if mount.type == "bind":
            mount = replace(mount, source=places.absolute(mount.source))
        mount = replace(mount, target=posixpath.normpath(mount.target))
        if not mount.target.startswith("/"):
            reader.bad(item, where, f"target {mount.target!r} is not an absolute path")
        found[mount.target] = mount
    return tuple(found.values())


def _short(reader: Reader, node: Node, path: str) -> Mount | None:
    return reader.value(node, path, values.mount, None)


def _long_mount(reader: Reader, fields: Fields, path: str) -> Mount | None:
    reader.known(fields, path, ("type", "source", "target", "read_only", "consistency", *_TYPES))
    kind = reader.one_of(fields.get("type"), f"{path}.type", _TYPES)
    target = reader.text(fields.get("target"), f"{path}.target")
    source = reader.text(fields.get("source"), f"{path}.source")
    if not kind or not target:
        reader.bad(fields, path, f"needs a type ({', '.join(_TYPES)}) and a target")
        return None
    if (kind == "bind") != bool(source) and kind != "volume":
        reader.bad(fields, path, "a bind has a source" if kind == "bind" else "a tmpfs has no source")
        return None
    for other in _TYPES:
        if other != kind and fields.get(other) is not None:
            reader.bad(fields, f"{path}.{other}", f"stands beside type {kind!r}")
    return Mount(
        type=kind,
        target=target,
        source=source,
        read_only=bool(reader.flag(fields.get("read_only"), f"{path}.read_only")),
        consistency=reader.text(fields.get("consistency"), f"{path}.consistency"),
        bind=_bind(reader, fields.get("bind"), f"{path}.bind"),
        volume=_volume_options(reader, fields.get("volume"), f"{path}.volume"),
        tmpfs=_tmpfs(reader, fields.get("tmpfs"), f"{path}.tmpfs"),
    )


def _bind(reader: Reader, node: Node | None, path: str) -> BindOptions | None:
    fields = reader.fields(node, path)
    if fields is None:
        return None
    reader.known(fields, path, ("propagation", "create_host_path", "selinux"))
    create = reader.flag(fields.get("create_host_path"), f"{path}.create_host_path")
    if create is False and fields.get("selinux") is not None:
        reader.bad(fields, path, "Docker can't relabel (selinux) a path that it must not create")
    return BindOptions(
        selinux=reader.one_of(fields.get("selinux"), f"{path}.selinux", ("z", "Z")),
        propagation=reader.one_of(fields.get("propagation"), f"{path}.propagation", _PROPAGATIONS),
        create_host_path=create is not False,
    )


def _volume_options(reader: Reader, node: Node | None, path: str) -> VolumeOptions | None:
    fields = reader.fields(node, path)
    if fields is None:
        return None
    reader.known(fields, path, ("nocopy", "subpath"))
    return VolumeOptions(
        nocopy=bool(reader.flag(fields.get("nocopy"), f"{path}.nocopy")),
        subpath=reader.text(fields.get("subpath"), f"{path}.subpath"),
    )


def _tmpfs(reader: Reader, node: Node | None, path: str) -> TmpfsOptions | None:
    fields = reader.fields(node, path)
    if fields is None:
        return None
    reader.known(fields, path, ("size", "mode"))
    return TmpfsOptions(
        size=reader.size(fields.get("size"), f"{path}.size"),
        mode=reader.value(fields.get("mode"), f"{path}.mode", _mode, 0),
    )


def _mode(text: str) -> int:
    """Octal as YAML 1.2 (``0o700``) or as people write it (``0700``); other numbers are decimal in compose."""
    digits = text.removeprefix("0o") if text.startswith("0o") else text
    if (text.startswith("0") or text == "0") and digits.isascii() and digits.isdigit() and len(digits) < 8:
        return int(digits, 8)
    raise ValueError(f"{text!r} is not a file mode such as 0700")


def volume(reader: Reader, node: Node, path: str, key: str, project: str) -> Volume:
    """A top-level volume; without a name it is ``<project>_<key>``."""
    fields = reader.fields(node, path)
    if fields is None:
        return Volume(f"{project}_{key}")
    reader.known(fields, path, ("name", "external", "driver", "driver_opts", "labels"))
    external = bool(reader.flag(fields.get("external"), f"{path}.external"))
    name = reader.printed(fields.get("name"), f"{path}.name")
    return Volume(
        name=name or (key if external else f"{project}_{key}"),
        external=external,
        driver=reader.text(fields.get("driver"), f"{path}.driver"),
        driver_opts=reader.labels(fields.get("driver_opts"), f"{path}.driver_opts"),
        labels=reader.labels(fields.get("labels"), f"{path}.labels"),
    )


def devices(reader: Reader, node: Node, path: str) -> tuple[Device, ...]:
    found: list[Device] = []
    for item, where in reader.items(node, path):
        if isinstance(item, Fields):
            reader.known(item, where, ("source", "target", "permissions"))
            source = reader.text(item.get("source"), f"{where}.source")
            target = reader.text(item.get("target"), f"{where}.target")
            found.append(Device(source, target, reader.text(item.get("permissions"), f"{where}.permissions")))
            continue
        parts = reader.value(item, where, str, "").split(":")
        if "" in parts or len(parts) > 3:
            reader.bad(item, where, "is not source[:target[:permissions]]")
            continue
        found.append(
            Device(parts[0], parts[1] if len(parts) > 1 else parts[0], parts[2] if parts[2:] else "rwm")
        )
    return tuple(
        {device.target: device for device in found}.values()
    )  # the later of one target, in its place


def files(
    reader: Reader, node: Node | None, path: str, directory: str, declared: Fields | None, places: Places
) -> tuple[FileMount, ...]:
    """``secrets`` or ``configs`` that come from files; each is mounted read-only, as compose does."""
    found: list[FileMount] = []
    for item, where in reader.items(node, path):
        fields = item if isinstance(item, Fields) else None
        if fields is not None:
            reader.known(fields, where, ("source", "target", "uid", "gid", "mode"))
            for key in ("uid", "gid", "mode"):
                if (ignored := fields.get(key)) is not None:
                    reader.bad(
                        ignored, f"{where}.{key}", "can't be set on a mounted file; chmod the file itself"
                    )
        source = reader.text(fields.get("source") if fields else item, where)
        entry = declared.get(source) if declared else None
        if entry is None:
            names = [key.text for key, _ in declared or ()]
            reader.bad(
                item, where, f"{source!r} is not declared at the top level{did_you_mean(source, names)}"
            )
            continue
        file = _declared_file(reader, entry, f"{path.rsplit('.', 1)[-1]}.{source}", places)
        target = reader.text(fields.get("target"), f"{where}.target") if fields else ""
        if file is not None:
            found.append(FileMount(source, _file_target(target, source, directory), file))
    return tuple({mount.target or mount.source: mount for mount in found}.values())


def _file_target(target: str, source: str, directory: str) -> str:
    """As compose hashes it: secrets have their full path, configs stay unsaid."""
    if target:
        return target
    return f"{directory}{source}" if directory != "/" else ""


def _declared_file(reader: Reader, node: Node, path: str, places: Places) -> Path | None:
    fields = reader.fields(node, path)
    name = fields.get("file") if fields is not None else None
    if fields is None or not isinstance(name, Scalar) or len(fields.pairs) != 1 + _extensions(fields):
        reader.bad(node, path, "pgops mounts files only: {file: ./path}")
        return None
    return Path(places.absolute(name.text))


def _extensions(fields: Fields) -> int:
    return sum(1 for key, _ in fields if key.text.startswith("x-") or key.text == "name")
