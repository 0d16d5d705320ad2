"""Waits that always end: a server that stops answering is given up, and Ctrl-C is heard while a driver waits.

libpq waits for an answer as long as the kernel on the other side takes packets. That of a paused
container or of stopped processes does, so neither keepalives nor ``tcp_user_timeout`` end the wait; and
inside libpq Python runs no signal handler. Two threads stand by the connections of a task: one asks
their servers for a first byte now and then, one is woken by signals. Each ends a wait by shutting down
the socket beneath the driver, which then raises an ordinary error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
import time
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol

from pgops.errors import UnreachableError

# https://www.postgresql.org/docs/current/protocol-message-formats.html: SSLRequest
_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_TLS_FOLLOWS = b"S"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A task that is over in a second opens no further connections, not even for this.
_FIRST_LOOK = 1.0
_ANSWER_WITHIN = 5.0
_TICK = 0.05
# How long after the handler this thread may be woken.
_JUST_BEFORE = 0.2


class Watchable(Protocol):
    """A connection of any driver that waits on a socket of its own."""

    @property
    def closed(self) -> int | bool:
        """Whether it is."""

    def fileno(self) -> int:
        """The socket's descriptor."""


class _Server:
    """Who listens where a connection leads, and since when it has been silent."""

    def __init__(self, family: socket.AddressFamily, address: Any) -> None:
        self._family = family
        self._address = address
        self.has_answered_once = False
        self._silent_since: float | None = None
        self._answered_at = 0.0
        self.reason = ""
        self.lost_at = 0.0

    def __str__(self) -> str:
        address = self._address
        return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)

    def ask(self, timeout: float) -> None:
        """Ask for a first byte, whatever it says, and leave without a line in the server's log."""
        began = time.monotonic()
        try:
            with socket.socket(self._family, socket.SOCK_STREAM) as asking:
                asking.settimeout(timeout)
                asking.connect(self._address)
                asking.sendall(_SSL_REQUEST)
                answer = asking.recv(1)
                if answer == _TLS_FOLLOWS:
                    _leave_politely(asking)
        except (TimeoutError, BlockingIOError):
            answer = b""
        except OSError:
            # Refused or unreachable: TCP itself tells whoever waits there.
            return
        if answer:
            self.has_answered_once = True
            self.has_answered()
        elif self._silent_since is None:
            # What hangs up without a word may be a proxy before a server that is silent.
            self._silent_since = max(began, self._answered_at)

    def has_answered(self) -> None:
        """Something came back: it is not silent, however slow it is to let others in."""
        self._silent_since, self._answered_at, self.reason = None, time.monotonic(), ""

    def give_up(self, silence: float) -> None:
        """It was silent for too long; in seconds."""
        self.reason = f"{self} has not answered for {silence:.0f} s and was given up"
        self.lost_at = time.monotonic()

    def silence(self) -> float:
        """Seconds since it was first found silent; 0 while it answers."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since


def _leave_politely(connected: socket.socket) -> None:
    """Shake hands and say goodbye: a server logs a client that hangs up after asking for TLS."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError):
        # It has answered; nothing is sent over this.
        context.wrap_socket(connected).unwrap().close()


class _Watchdog:
    def __init__(self, *, every: float, timeout: float, grace: float) -> None:
        self._every = every
        self._timeout = timeout
        self._grace = grace
        self._lock = threading.Lock()
        self._servers: dict[Any, _Server] = {}
        self._connections: weakref.WeakKeyDictionary[Watchable, _Server] = weakref.WeakKeyDictionary()
        self._reasons: weakref.WeakKeyDictionary[Watchable, str] = weakref.WeakKeyDictionary()
        self._asking: threading.Thread | None = None
        self._look_now = threading.Event()
        self.interrupted = False
        self._stopped = False
        self._newcomer = False
        self._hearing = False
        self._heard_at = 0.0
        self.users = 0
        self._subscribers: list[socket.socket] = []

    def watch(self, connection: Watchable) -> None:
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as own:
                family, address = own.family, own.getpeername()
        except OSError:
            # It has ended already, and who uses it is told.
            return
        info = getattr(connection, "info", None)
        if family == socket.AF_UNIX and info is not None:
            # The peer's name is the path as the server knows it, in a container perhaps.
            address = f"{info.host}/.s.PGSQL.{info.port}"
        with self._lock:
            if address not in self._servers:
                self._servers[address] = _Server(family, address)
                self._newcomer = True
                self._look_now.set()
            server = self._servers[address]
            server.has_answered()
            self._connections[connection] = server
            if self._asking is None:
                self._asking = threading.Thread(target=self._ask, name="pgops-watchdog", daemon=True)
                self._asking.start()

    def has_answered(self, connection: Watchable) -> None:
        if (server := self._connections.get(connection)) is not None:
            server.has_answered()

    def reason(self, connection: Watchable) -> str:
        return self._reasons.get(connection, "")

    def lost(self, since: float) -> str:
        found = (
            each.reason for each in list(self._servers.values()) if each.reason and each.lost_at >= since
        )
        return next(found, "")

    def stop(self) -> None:
        self._stopped = True
        self._look_now.set()

    def _ask(self) -> None:
        pause = self._every
        while not self._stopped:
            self._look_now.wait(pause)
            self._look_now.clear()
            if self._newcomer and not self.interrupted:
                self._newcomer = False
                pause = min(_FIRST_LOOK, self._every)
                continue
            pause = self._every
            for server in self._in_use():
                server.ask(min(_ANSWER_WITHIN, self._grace))
                if not (silence := server.silence()):
                    continue
                pause = min(_ANSWER_WITHIN, self._every)
                if self._is_too_long(server, silence):
                    server.give_up(silence)
                    self._hang_up(self._open(server), server.reason)

    def _is_too_long(self, server: _Server, silence: float) -> bool:
        if self.interrupted:
            return silence >= self._grace
        # Something in between that knows no SSLRequest never answers one: only who did once can fall silent.
        return server.has_answered_once and silence >= self._timeout

    def _in_use(self) -> list[_Server]:
        return [] if self._stopped else list({id(each): each for _, each in self._all_open()}.values())

    def _all_open(self) -> list[tuple[Watchable, _Server]]:
        with self._lock:
            return [(each, server) for each, server in self._connections.items() if not each.closed]

    def _open(self, server: _Server) -> list[Watchable]:
        return [each for each, its in self._all_open() if its is server]

    def _hang_up(self, connections: list[Watchable], reason: str) -> None:
        for each in connections:
            self._reasons[each] = reason
            hang_up(each)

    @contextlib.contextmanager
    def hearing(self) -> Iterator[None]:
        """Be woken by signals for the block; only in the main thread, where a block inside another adds nothing."""
        if self._hearing:
            yield
            return
        reader, writer = socket.socketpair()
        writer.settimeout(0)
        thread = threading.Thread(
            target=self._hear, args=(reader,), name="pgops-watchdog-signals", daemon=True
        )
        with reader, writer, self._handling():
            before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            self._hearing = True
            thread.start()
            try:
                yield
            finally:
                self._hearing = False
                signal.set_wakeup_fd(before)
                # Not by closing alone: a child that was forked meanwhile still has it open.
                writer.shutdown(socket.SHUT_RDWR)
                thread.join()

    @contextlib.contextmanager
    def _handling(self) -> Iterator[None]:
        """SIGTERM and SIGHUP unwind like Ctrl-C, so that children end and half-made things are put in order."""
        before = {each: signal.getsignal(each) for each in _SIGNALS}

        def interrupt(number: int, frame: FrameType | None) -> None:
            self._heard_at = time.monotonic()
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            else:
                raise KeyboardInterrupt

        # Who was started to ignore one (nohup, a shell's background job) goes on ignoring it.
        ours = [each for each, handler in before.items() if handler not in (signal.SIG_IGN, None)]
        for each in ours:
            signal.signal(each, interrupt)
        try:
            yield
        finally:
            for each in ours:
                signal.signal(each, before[each])

    def _hear(self, arrived: socket.socket) -> None:
        while numbers := arrived.recv(64):
            if not set(_SIGNALS) & set(numbers):
                continue
            self.interrupted = True
            self._look_now.set()
            for each in list(self._subscribers):
                with contextlib.suppress(OSError):
                    # Its reader has left meanwhile.
                    each.send(numbers)
            if not self._is_heard(time.monotonic()):
                self._hang_up(
                    [each for each, _ in self._all_open()], "the connection was given up: interrupted"
                )

    def _is_heard(self, since: float) -> bool:
        """Whether the main thread ran its handler; waits for that as long as it may take."""
        while self._hearing and time.monotonic() < since + self._grace:
            if self._heard_at > since - _JUST_BEFORE:
                return True
            time.sleep(_TICK)
        return not self._hearing

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[socket.socket]:
        reader, writer = socket.socketpair()
        with reader, writer:
            writer.settimeout(0)
            self._subscribers.append(writer)
            try:
                yield reader
            finally:
                self._subscribers.remove(writer)


# At most one: the signals are the process's.
_current: list[_Watchdog] = []
_turn = threading.Lock()


@contextlib.contextmanager
def watching(*, every: float = 15.0, timeout: float = 60.0, grace: float = 5.0) -> Iterator[None]:
    """Watch all connections that are handed to :func:`watch` within the block; a block inside another adds nothing.

    In the main thread signals are heard too: SIGTERM and SIGHUP raise KeyboardInterrupt like SIGINT.

    :param every: seconds between two looks at a server.
    :param timeout: seconds of silence after which a server is given up.
    :param grace: seconds that the main thread has to hear a signal, and a server to answer after one.
    """
    with _turn:
        if not _current:
            _current.append(_Watchdog(every=every, timeout=timeout, grace=grace))
        watchdog = _current[0]
        watchdog.users += 1
    try:
        with contextlib.ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():
                stack.enter_context(watchdog.hearing())
            yield
    finally:
        with _turn:
            watchdog.users -= 1
            if not watchdog.users:
                _current.remove(watchdog)
                watchdog.stop()


def watch(connection: Watchable) -> None:
    """Stand by this connection until it is closed, where somebody is :func:`watching`."""
    for each in _current:
        each.watch(connection)


def has_answered(connection: Watchable) -> None:
    """A statement on it came to its end: its server lives."""
    for each in _current:
        each.has_answered(connection)


def reason(connection: Watchable) -> str:
    """Why the connection was given up; empty where it was not."""
    return next((why for each in _current if (why := each.reason(connection))), "")


def lost(*, since: float = 0.0) -> str:
    """Why a server of our connections was given up, and not heard of again; empty where none was.

    :param since: ``time.monotonic()`` of then; what was lost before is somebody else's.
    """
    return next((why for each in _current if (why := each.lost(since))), "")


def raise_if_lost(*, since: float) -> None:
    """For whoever waits for something that uses a server without being a connection of ours: a program.

    :raises UnreachableError: a server of our connections was given up.
    """
    if why := lost(since=since):
        raise UnreachableError(why, kind="timeout", hint="when it answers again: invoke status")


def interrupted() -> bool:
    """Whether a signal asked this process to end; said before any connection is given up for it."""
    return any(each.interrupted for each in _current)


def signals() -> contextlib.AbstractContextManager[socket.socket]:
    """A socket that becomes readable with the number of each signal, inside :func:`watching` in the main thread."""
    return _current[0].subscribed()


def hang_up(connection: Watchable) -> None:
    """Shut the socket down beneath the driver, which raises out of whatever it waits for; from any thread."""
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as own:
        # Fails only where its owner closes it at this very moment, which each driver says in its own way.
        own.shutdown(socket.SHUT_RDWR)
