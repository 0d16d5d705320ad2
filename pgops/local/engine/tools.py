"""Client programs out of an image that is here already: the right major, with zstd, when the host has none.

Each program runs in a container of its own on the host's network, as our own user, with the directories it
needs mounted under their own paths; so its arguments are the same as on the host. The container lives as
long as its stdin, which is a connection that we hold: when we are killed, the engine closes it, the
program is ended, and the engine removes the container.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker.errors
from docker.types import Mount
from docker.utils.socket import frames_iter

from pgops.errors import ConfigurationError, UnreachableError
from pgops.local.engine import cache
from pgops.local.engine.client import Engine, EngineFacts, connect, explanation, reconnect, speaking
from pgops.pgtools import Child, Finished, Toolset, ability_probe, run, toolset_of
from pgops.runtime.variables import LIBPQ
from pgops.secrets.redaction import redact

LABEL = "pgops.tool"
# The shell gives a background program /dev/null as stdin, hence descriptor 3.
# The image's own variables, or those of who made it, may be libpq's: only what we give holds.
# Each stream's end is marked: they come in order, but not one beside the other.
_SCRIPT = """
umask 077
unset %s
exec 3<&0
"$@" </dev/null & tool=$!
(cat <&3 >/dev/null; kill -TERM "$tool") >/dev/null 2>&1 &
wait "$tool"; code=$?
printf '\\n%s%%s\\n' "$code" >&2
printf '%s'
exit "$code"
"""
_NO_SOURCE = "bind source path does not exist: "
_LIMIT = 64 * 1024
_SEEN = "seen"


def image_tools(wanted: int) -> Iterator[Toolset]:
    """A :data:`~pgops.pgtools.ToolSource`: images of PostgreSQL ``wanted`` that are here; none is pulled.

    Those that containers run now come first, the database's own among them. Only an engine on this very
    Linux can see our files; any other one gives nothing, and neither does none.
    """
    if sys.platform != "linux":
        return
    with contextlib.ExitStack() as stack:
        try:
            engine = stack.enter_context(connect(os.environ))
            images = (
                find_images(engine, wanted)
                if engine.facts.endpoint.url.startswith(("unix:", "http+unix:"))
                else {}
            )
        except (ConfigurationError, UnreachableError):
            return
        facts = engine.facts
    for image, name in images.items():
        found = _inspect(facts, image, name)
        if found is not None:
            yield found


def find_images(engine: Engine, wanted: int) -> dict[str, str]:
    """Ids and names of images whose PG_MAJOR is the wanted one, in order of preference."""
    with speaking("list images"):
        running = [str(each["ImageID"]) for each in engine.api.containers()]
        here = engine.api.images()
    tagged = {str(each["Id"]): list(each.get("RepoTags") or []) for each in here}
    likely = [
        image for image, tags in tagged.items() if any(re.search("postg|pg|timescale", tag) for tag in tags)
    ]
    exact = [image for image in likely if f"postgres:{wanted}" in tagged[image]]
    found: dict[str, str] = {}
    for image in dict.fromkeys([*running, *exact, *likely]):
        with speaking("inspect an image"):
            try:
                config = engine.untyped.inspect_image(image).get("Config") or {}
            except docker.errors.ImageNotFound:
                continue
        if f"PG_MAJOR={wanted}" in (config.get("Env") or []):
            tags = sorted(tagged.get(image, []), key=lambda tag: (f":{wanted}" not in tag, tag))
            found[image] = tags[0] if tags else image[:19]
    return found


@functools.cache
def _inspect(facts: EngineFacts, image: str, name: str) -> Toolset | None:
    """Ask an image's programs everything in one container, and whether it sees our files at all; once."""
    runner = ContainerRunner(facts, image)
    script = f'cat "$0" && {ability_probe()}'
    question = cache.key(facts.endpoint.url, image, script)
    answer = cache.recall(question, os.environ)
    if answer is None:
        with tempfile.TemporaryDirectory(prefix="pgops-") as directory:
            token = Path(directory) / "token"
            token.write_text(_SEEN)
            try:
                said = run(runner, ["sh", "-c", script, str(token)], paths=[token])
            except UnseenError:
                return None
        if said.exit_code != 0 or not said.stdout.startswith(_SEEN):
            return None
        answer = said.stdout.removeprefix(_SEEN)
    found = toolset_of(answer, runner=runner, origin=f"image {name}")
    if found is not None:
        cache.remember(question, answer, os.environ)
    return found


class UnseenError(UnreachableError):
    """The engine does not see a file or directory that a program needs."""


class ContainerRunner:
    """See :class:`pgops.pgtools.Runner`."""

    def __init__(self, facts: EngineFacts, image: str) -> None:
        self._facts = facts
        self._image = image

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        return _ContainerChild(self._facts, self._image, list(argv), {**environ, "LC_ALL": "C"}, paths)


def _remove_unstarted(engine: Engine) -> None:
    """Remove what a process of this machine left that was killed after it made a container and before it started it.

    One that runs ends by itself when the process that reads from it is gone; one that never ran has nothing to end.
    """
    for each in engine.untyped.containers(all=True, filters={"label": LABEL, "status": "created"}):
        host, _, pid = each["Labels"][LABEL].rpartition(":")
        if host == socket.gethostname() and not _lives(int(pid)):
            with contextlib.suppress(docker.errors.NotFound):
                engine.untyped.remove_container(each["Id"], v=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


class Said:
    """What a program in a container has said so far; of stderr the end. Only our shell knows the marks that end both."""

    def __init__(self) -> None:
        self.end, self.whole = (f"pgops {secrets.token_hex(8)}: {each} " for each in ("exit code", "end"))
        self._streams = {1: bytearray(), 2: bytearray()}

    def take(self, stream: int, data: bytes) -> None:
        """The next piece of stdout (1) or stderr (2)."""
        kept = self._streams[stream]
        kept += data
        if stream == 2:
            del kept[:-_LIMIT]

    def is_whole(self) -> bool:
        """Both streams have come to their ends: either may be first."""
        if not self._streams[1].endswith(self.whole.encode()):
            return False
        _, mark, code = self.last_words()
        return bool(mark) and code.endswith("\n")

    def out(self) -> str:
        """Its stdout."""
        return self._streams[1].decode("utf-8", "replace").removesuffix(self.whole)

    def last_words(self) -> tuple[str, str, str]:
        """Its stderr, our shell's mark that it ended by itself (else empty), and its exit code."""
        return self._streams[2].decode("utf-8", "replace").rpartition(f"\n{self.end}")


class _ContainerChild:
    def __init__(
        self,
        facts: EngineFacts,
        image: str,
        argv: list[str],
        environ: dict[str, str],
        paths: Sequence[Path],
    ) -> None:
        self._argv = argv
        self._said = Said()
        self._lost = ""
        self._container = ""
        self._socket: Any = None
        self._reader: threading.Thread | None = None
        with contextlib.ExitStack() as stack:
            self._engine = stack.enter_context(reconnect(facts))
            stack.callback(self._remove)
            with speaking(f"run {argv[0]} in a container"):
                self._begin(image, environ, paths)
            self._close = stack.pop_all().close

    def _begin(self, image: str, environ: dict[str, str], paths: Sequence[Path]) -> None:
        api = self._engine.untyped
        _remove_unstarted(self._engine)
        script = _SCRIPT % (" ".join(sorted(LIBPQ - environ.keys())), self._said.end, self._said.whole)
        host = api.create_host_config(
            network_mode="host",
            auto_remove=True,
            # Not as binds: what is missing would be made, as a directory of root.
            mounts=[Mount(target=each, source=each, type="bind") for each in dict.fromkeys(map(str, paths))],
        )
        try:
            self._container = api.create_container(
                image,
                entrypoint=["/bin/sh", "-c", script, "sh"],
                command=self._argv,
                environment=environ,
                user=f"{os.getuid()}:{os.getgid()}",
                labels={LABEL: f"{socket.gethostname()}:{os.getpid()}"},
                stdin_open=True,
                host_config=host,
            )["Id"]
        except docker.errors.APIError as error:
            _, missing, path = explanation(error).partition(_NO_SOURCE)
            if not missing:
                raise
            raise UnseenError(
                f"{self._argv[0]} was not started in a container: there is no {path} where the Docker engine looks",
                untouched="nothing was made there",
                hint="it was removed meanwhile, or the engine sees another disk than we do",
            ) from error
        attached = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._socket = api.attach_socket(self._container, params=attached)
        api.start(self._container)
        self._reader = threading.Thread(target=self._read, name="pgops-container", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for stream, data in self._frames():
                self._said.take(stream, data)
                if self._said.is_whole():
                    # What is left is the engine's tidying: a program that comes next need not wait for that.
                    return
        except (OSError, ValueError) as error:
            # The connection ended without the container's last words; finished() says what was seen.
            self._lost = str(error)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        frames: Any = frames_iter
        return frames(self._socket, tty=False)  # type: ignore[no-any-return]

    def poll(self) -> int | None:
        assert self._reader is not None
        return None if self._reader.is_alive() else self._ended()[0]

    def stop(self) -> None:
        self._close()

    def finished(self) -> Finished:
        code, said = self._ended()
        return Finished(tuple(self._argv), code, self._said.out(), redact(said))

    def _ended(self) -> tuple[int, str]:
        """Exit code and stderr; a program that left no last words was killed with its container."""
        said, mark, code = self._said.last_words()
        if not mark:
            return -9, f"{code}\nthe container ended early {self._lost}".strip() + "\n"
        number = int(code.split()[0])
        return (128 - number if number > 128 else number), said

    def _remove(self) -> None:
        if not self._container:
            return
        if not self._said.last_words()[1]:
            self._end()
        if self._reader is not None:
            self._reader.join()
        if self._socket is not None:
            # The SDK hands out a stream over the socket; closing that alone leaves the socket open.
            beneath = getattr(self._socket, "_sock", None)
            self._socket.close()
            if beneath is not None:
                beneath.close()

    def _end(self) -> None:
        """Remove the container with what runs in it. One that has ended by itself the engine removes."""
        with speaking("remove the container of a program"), contextlib.suppress(docker.errors.NotFound):
            try:
                self._engine.untyped.remove_container(self._container, v=True, force=True)
            except docker.errors.APIError as error:
                # 409: the engine is removing it already.
                if error.status_code != 409:
                    raise
