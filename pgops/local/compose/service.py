"""One service of a compose file -> :class:`ServiceSpec`: every key honoured, or named as one that is not."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgops.local.compose import sections, storage, values
from pgops.local.compose.document import Fields, Node, Problems, Scalar
from pgops.local.compose.dotenv import DotenvError, parse_raw
from pgops.local.compose.project import LoadedProject, load_project, read_env_file, shown_name
from pgops.local.compose.reader import Reader, did_you_mean
from pgops.local.compose.spec import ServiceSpec

_Read = Callable[[Reader, Node, str], Any]


def _flag(reader: Reader, node: Node, path: str) -> bool:
    return bool(reader.flag(node, path))


def _cpus(reader: Reader, node: Node, path: str) -> float:
    return reader.value(node, path, values.decimal, 0.0)


def _namespace(reader: Reader, node: Node, path: str) -> str:
    found = reader.text(node, path)
    if found.startswith(("service:", "container:")):
        reader.bad(node, path, f"{found!r}: pgops starts this service alone, it can't join another container")
    return found


# keys that are one value, and how it is read; the name of the key is the name of the field
_PLAIN: Mapping[str, _Read] = {
    "annotations": Reader.labels,
    "attach": Reader.flag,
    "cap_add": Reader.texts,
    "cap_drop": Reader.texts,
    "cgroup": Reader.text,
    "cgroup_parent": Reader.text,
    "command": Reader.words,
    "container_name": Reader.text,
    "cpu_period": Reader.number,
    "cpu_quota": Reader.number,
    "cpu_shares": Reader.number,
    "cpus": _cpus,
    "cpuset": Reader.text,
    "deploy": sections.deploy,
    "device_cgroup_rules": Reader.texts,
    "devices": storage.devices,
    "dns": Reader.text_or_texts,
    "dns_opt": Reader.texts,
    "dns_search": Reader.text_or_texts,
    "domainname": Reader.text,
    "entrypoint": Reader.words,
    "expose": sections.expose,
    "extra_hosts": sections.extra_hosts,
    "group_add": Reader.texts,
    "healthcheck": sections.healthcheck,
    "hostname": Reader.text,
    "image": Reader.text,
    "init": Reader.flag,
    "ipc": _namespace,
    "labels": Reader.labels,
    "logging": sections.logging,
    "mem_limit": Reader.size,
    "mem_reservation": Reader.size,
    "mem_swappiness": Reader.size,
    "memswap_limit": Reader.size,
    "network_mode": _namespace,
    "oom_kill_disable": _flag,
    "oom_score_adj": Reader.number,
    "pid": _namespace,
    "pids_limit": Reader.number,
    "platform": Reader.text,
    "ports": sections.ports,
    "privileged": _flag,
    "pull_policy": sections.pull_policy,
    "read_only": _flag,
    "restart": sections.restart,
    "runtime": Reader.text,
    "security_opt": Reader.texts,
    "shm_size": Reader.size,
    "stdin_open": _flag,
    "stop_grace_period": Reader.duration,
    "stop_signal": Reader.text,
    "storage_opt": Reader.labels,
    "sysctls": Reader.labels,
    "tmpfs": Reader.text_or_texts,
    "tty": _flag,
    "ulimits": sections.ulimits,
    "user": Reader.text,
    "userns_mode": Reader.text,
    "uts": Reader.text,
    "working_dir": Reader.text,
}
# keys that need more than their own node
_WOVEN = ("build", "configs", "env_file", "environment", "networks", "secrets", "volumes")
# keys that change nothing about the container: compose leaves them out of its hash as well
_ABOUT_COMPOSE = ("develop", "profiles")
_LONELY = "pgops starts this service alone"
_REFUSED: Mapping[str, str] = {
    "blkio_config": "pgops does not set block I/O limits",
    "cpu_count": "is for Windows containers",
    "cpu_percent": "is for Windows containers",
    "cpu_rt_period": "pgops does not set real-time limits",
    "cpu_rt_runtime": "pgops does not set real-time limits",
    "credential_spec": "is for Windows containers",
    "depends_on": f"{_LONELY}; start the others with docker compose",
    "extends": "pgops does not follow it; write the keys here, or share them with an anchor (&name, <<: *name)",
    "external_links": f"{_LONELY}; use a network with aliases",
    "gpus": "pgops does not hand out GPUs",
    "isolation": "is for Windows containers",
    "label_file": "pgops does not read it; write labels",
    "links": f"{_LONELY}; use a network with aliases",
    "mac_address": "pgops does not set it",
    "models": "pgops does not start models",
    "post_start": "pgops does not run hooks",
    "pre_start": "pgops does not run hooks",
    "pre_stop": "pgops does not run hooks",
    "provider": "pgops does not run providers",
    "use_api_socket": "pgops does not hand out the engine's socket",
    "volumes_from": f"{_LONELY}; name the volume in both services",
}
_KNOWN = (*_PLAIN, *_WOVEN, *_ABOUT_COMPOSE, *_REFUSED, "scale")


def load(
    project_directory: Path,
    *,
    service: str,
    files: Sequence[Path] | None = None,
    environ: Mapping[str, str],
) -> ServiceSpec:
    """Read one service of the compose project in a directory.

    :param project_directory: where the files are looked for, and what ``files`` are relative to.
    :param service: the service's key.
    :param files: the files where somebody named them, the main one first; else compose's own search.
    :param environ: the process environment; ``.env`` is read beside it, as compose does.
    :raises ConfigurationError: with every mistake found, each as ``file:line:column: path: what``.
    """
    directory = Path(os.path.abspath(project_directory))  # noqa: PTH100 - resolve() would lose symbolic links
    loaded = load_project(directory, service=service, files=files, environ=environ)
    problems = Problems()
    spec = _Translation(loaded, service, directory, Reader(problems)).spec()
    problems.raise_if_any(loaded.shown)
    return spec


class _Translation:
    def __init__(self, loaded: LoadedProject, service: str, directory: Path, reader: Reader) -> None:
        self._loaded = loaded
        self._service = service
        self._directory = directory
        self._reader = reader
        self._node = loaded.service
        self._path = f"services.{service}"
        self._unset: dict[str, None] = {}

    def spec(self) -> ServiceSpec:
        found: dict[str, Any] = {}
        for key, value in self._node:
            read = _PLAIN.get(key.text)
            if read is not None and not (isinstance(value, Scalar) and value.is_null):
                found[key.text] = read(self._reader, value, f"{self._path}.{key.text}")
            elif read is None:
                self._not_plain(key, value)
        self._image(found)
        self._limits(found)
        found["environment"] = self._environment()
        networks = sections.service_networks(
            self._reader, self._node.get("networks"), f"{self._path}.networks", found.get("network_mode", "")
        )
        mounts = storage.mounts(
            self._reader,
            self._node.get("volumes"),
            f"{self._path}.volumes",
            storage.Places(self._loaded.project.working_dir, self._loaded.variables),
        )
        return ServiceSpec(
            project=self._loaded.project,
            service=self._service,
            networks=networks,
            declared_networks=self._declared(sections.network, "networks", networks),
            volumes=mounts,
            declared_volumes=self._declared(
                storage.volume,
                "volumes",
                {mount.source: mount for mount in mounts if mount.type == "volume" and mount.source},
            ),
            secrets=self._files("secrets", "/run/secrets/"),
            configs=self._files("configs", "/"),
            notes=(*self._loaded.notes, *self._empty_notes()),
            **found,
        )

    def _not_plain(self, key: Scalar, value: Node) -> None:
        path = f"{self._path}.{key.text}"
        if key.text in _REFUSED:
            if not _says_nothing(value):
                self._reader.bad(key, path, _REFUSED[key.text])
        elif key.text == "scale":
            if self._reader.number(value, path) != 1:
                self._reader.bad(value, path, "a database has one container; pgops starts exactly one")
        elif key.text not in _KNOWN and not key.text.startswith("x-"):
            self._reader.bad(key, path, f"is not a key of a service{did_you_mean(key.text, _KNOWN)}")

    def _image(self, found: dict[str, Any]) -> None:
        build = self._node.get("build")
        found["built"] = build is not None and not _says_nothing(build)
        # compose hashes the image's name only where the file gives it; the engine derives that of a build
        if not found.setdefault("image", "") and not found["built"]:
            self._reader.bad(self._node, self._path, "has no image")

    def _limits(self, found: Mapping[str, Any]) -> None:
        """Compose refuses a limit that is said twice with two values."""
        deploy = found.get("deploy")
        for key, said in (
            ("cpus", deploy and deploy.limits and deploy.limits.cpus),
            ("mem_limit", deploy and deploy.limits and deploy.limits.memory),
            ("pids_limit", deploy and deploy.limits and deploy.limits.pids),
            ("mem_reservation", deploy and deploy.reservations and deploy.reservations.memory),
        ):
            if said is not None and found.get(key) and found[key] != said:
                self._reader.bad(
                    self._node.get(key) or self._node,
                    f"{self._path}.{key}",
                    "says another limit than deploy.resources does; keep one of them",
                )

    def _environment(self) -> Mapping[str, str | None]:
        found: dict[str, str | None] = {}
        for item, where in self._env_files():
            found |= self._env_file(item, where, found)
        own = self._reader.pairs(self._node.get("environment"), f"{self._path}.environment")
        for name, value in own.items():
            found[name] = self._loaded.variables.get(name) if value is None else value
        return MappingProxyType(found)

    def _env_files(self) -> tuple[tuple[Node, str], ...]:
        node = self._node.get("env_file")
        path = f"{self._path}.env_file"
        if isinstance(node, Scalar) and not node.is_null:
            return ((node, path),)
        return self._reader.items(node, path)

    def _env_file(self, item: Node, where: str, so_far: Mapping[str, str | None]) -> Mapping[str, str]:
        required, form = True, ""
        name: Node | None = item
        if isinstance(item, Fields):
            self._reader.known(item, where, ("path", "required", "format"))
            name = item.get("path")
            required = self._reader.flag(item.get("required"), f"{where}.required") is not False
            form = self._reader.one_of(item.get("format"), f"{where}.format", ("raw",))
        text = self._reader.value(name, where, str, "")
        if not text:
            self._reader.bad(item, where, "names no file")
            return {}
        path = Path(os.path.normpath(self._loaded.project.working_dir / os.path.expanduser(text)))  # noqa: PTH111
        if not path.is_file():
            if required:
                self._reader.bad(item, where, f"file {path} does not exist")
            return {}
        if form == "raw":
            try:
                return parse_raw(path.read_text(encoding="utf-8"))
            except (DotenvError, OSError, UnicodeDecodeError) as error:
                self._reader.bad(item, where, f"file {path} can't be read: {error}")
                return {}
        earlier = {key: value for key, value in so_far.items() if value is not None}
        around = ChainMap(dict(self._loaded.variables), earlier)
        return read_env_file(path, shown_name(path, self._directory), around, self._unset)

    def _declared(
        self,
        read: Callable[[Reader, Node, str, str, str], Any],
        kind: str,
        used: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """The top-level entries of ``kind`` that the service uses, as ``read`` makes them."""
        declared = self._reader.fields(self._loaded.root.get(kind), kind)
        found: dict[str, Any] = {}
        for key in used:
            entry = declared.get(key) if declared else None
            if entry is None and key == "default" and kind == "networks":
                entry = Scalar("", self._node.mark)
            if entry is None:
                names = [name.text for name, _ in declared or ()]
                self._reader.bad(
                    self._node.get(kind) or self._node,
                    f"{self._path}.{kind}",
                    f"{key!r} is not declared under top-level '{kind}'{did_you_mean(key, names)}",
                )
                continue
            found[key] = read(self._reader, entry, f"{kind}.{key}", key, self._loaded.project.name)
        return MappingProxyType(found)

    def _files(self, kind: str, directory: str) -> Any:
        return storage.files(
            self._reader,
            self._node.get(kind),
            f"{self._path}.{kind}",
            directory,
            self._reader.fields(self._loaded.root.get(kind), kind),
            storage.Places(self._loaded.project.working_dir, self._loaded.variables),
        )

    def _empty_notes(self) -> list[str]:
        return [f"variable {name} has no value; it is taken as empty" for name in self._unset]


def _says_nothing(node: Node) -> bool:
    if isinstance(node, Scalar):
        return node.is_null or node.text == "false"
    return not (node.pairs if isinstance(node, Fields) else node.items)
