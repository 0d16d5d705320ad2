"""A gate before an S3 server: passes requests on until one that the test waits for, and kills the client just then.

The client is killed from outside and knows nothing of it, in the middle of a request where the test wants that.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO


class Moment(Enum):
    """When the client dies, seen from the request that was waited for."""

    BEFORE = "before the server sees any of it"
    HALF = "with half of it sent"
    UNANSWERED = "when the server has answered and the client has not heard"


@dataclass
class Gate:
    """Where clients connect to, and what they asked for so far: ``PUT some/key``, ``POST ?delete=``."""

    endpoint: str
    requests: list[str] = field(default_factory=list)
    struck: threading.Event = field(default_factory=threading.Event)
    _wanted: re.Pattern[str] | None = None
    _moment: Moment = Moment.BEFORE
    _strike: Callable[[], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, wanted: str, moment: Moment, strike: Callable[[], None]) -> None:
        """Call ``strike`` once, at that moment of the first request that matches the pattern."""
        with self._lock:
            self.struck.clear()
            self._wanted, self._moment, self._strike = re.compile(wanted), moment, strike

    def note(self, request: str) -> Moment | None:
        """Remember a request; the moment to strike in, if it is the one."""
        with self._lock:
            self.requests.append(request)
            if self._wanted is None or not self._wanted.search(request):
                return None
            self._wanted = None
            return self._moment

    def strike(self) -> None:
        """It is time."""
        assert self._strike is not None
        self._strike()
        self.struck.set()


@contextlib.contextmanager
def gate_before(endpoint: str) -> Iterator[Gate]:
    """A gate before the server at ``endpoint`` (``http://host:port``)."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    upstream = (host, int(port))

    class Handler(socketserver.StreamRequestHandler):
        rbufsize = 65536

        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(upstream) as server,
                server.makefile("rb") as answers,
            ):
                while _one_exchange(gate, self.rfile, self.connection, server, answers):
                    pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as listening:
        gate = Gate(f"http://127.0.0.1:{listening.server_address[1]}")
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield gate
        finally:
            listening.shutdown()


def _one_exchange(
    gate: Gate, requests: BinaryIO, client: socket.socket, server: socket.socket, answers: BinaryIO
) -> bool:
    """Pass one request and its answer; whether there may be another."""
    head = _head(requests)
    if not head:
        return False
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
    length = _length(head)
    moment = gate.note(f"{method} {target}")
    if moment is Moment.BEFORE:
        gate.strike()
        return False
    whole = head + requests.read(length) if moment else head
    if moment is Moment.HALF:
        server.sendall(whole[: len(whole) - max(1, length // 2)])
        gate.strike()
        return False
    server.sendall(whole)
    if moment is None:
        _copy(requests, server, length)
    answer = _head(answers)
    if moment is Moment.UNANSWERED:
        gate.strike()
        return False
    client.sendall(answer)
    if b"transfer-encoding: chunked" in answer.lower():
        _copy_chunks(answers, client)
    elif method != "HEAD":
        _copy(answers, client, _length(answer))
    return bool(answer)


def _head(stream: BinaryIO) -> bytes:
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _length(head: bytes) -> int:
    found = re.search(rb"(?im)^content-length: *(\d+)", head)
    return int(found[1]) if found else 0


def _copy(source: BinaryIO, to: socket.socket, length: int) -> None:
    while length > 0 and (piece := source.read(min(length, 65536))):
        to.sendall(piece)
        length -= len(piece)


def _copy_chunks(source: BinaryIO, to: socket.socket) -> None:
    while line := source.readline():
        size = int(line.strip() or b"0", 16)
        to.sendall(line)
        _copy(source, to, size + 2)
        if size == 0:
            return
