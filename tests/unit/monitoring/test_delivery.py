"""Delivery: what receivers do with a connection never raises, never lasts, and never shows an address."""

from __future__ import annotations

import contextlib
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.monitoring.delivery import Notice, masked, ping, send
from pgops.secrets.references import LiteralSecret, Secret

NOTICE = Notice("trouble", "title", "body")


def literal(text: str) -> LiteralSecret:
    return LiteralSecret(Secret(text))


@contextlib.contextmanager
def server(handle: Callable[[socketserver.BaseRequestHandler], None]) -> Iterator[int]:
    """A TCP server on this machine that does ``handle`` with each connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                handle(self)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        made.block_on_close = False
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield int(made.server_address[1])
        made.shutdown()


def trickle(connection: socketserver.BaseRequestHandler) -> None:
    """One byte at a time, for ever: no single read is ever too late."""
    connection.request.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.request.sendall(b"a")
        time.sleep(0.05)


def silent(connection: socketserver.BaseRequestHandler) -> None:
    time.sleep(30)


def test_a_receiver_that_never_ends_does_not_keep_the_process() -> None:
    """What waits for it may be left behind, and must not be joined when Python ends."""
    script = (
        "import sys\n"
        "from pgops.monitoring.delivery import Notice, send\n"
        "from pgops.secrets.references import LiteralSecret, Secret\n"
        "url = LiteralSecret(Secret(sys.argv[1]))\n"
        "said = send({'it': url}, {'it': Notice('trouble', 'title', 'body')}, setting='here', timeout=2.5)\n"
        "print(said['it'])\n"
    )
    with server(trickle) as port:
        done = subprocess.run(
            [sys.executable, "-c", script, f"json://127.0.0.1:{port}/T0KEN"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.stdout == "no answer within 2.5 s\n", done.stderr


@pytest.mark.parametrize("behaviour", [trickle, silent])
def test_a_receiver_that_never_ends_is_given_up(
    behaviour: Callable[[socketserver.BaseRequestHandler], None],
) -> None:
    with server(behaviour) as port:
        url = literal(f"http://127.0.0.1:{port}/T0KEN")
        assert ping(url, setting="ping", timeout=0.5) == "no answer within 0.5 s"
        address = literal(f"json://127.0.0.1:{port}/T0KEN")
        said = send({"ops": address}, {"ops": NOTICE}, setting="notify", timeout=0.5)
    assert said == {"ops": "no answer within 0.5 s"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 500 T0KEN\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: ftp://T0KEN/\r\n\r\n",
    ],
)
def test_what_a_broken_receiver_answers_is_an_answer(answer: bytes) -> None:
    def broken(connection: socketserver.BaseRequestHandler) -> None:
        connection.request.recv(65536)
        connection.request.sendall(answer)

    with server(broken) as port:
        said = ping(literal(f"http://127.0.0.1:{port}/T0KEN"), setting="ping", timeout=20)
        assert said and "T0KEN" not in said
        address = literal(f"json://u:T0KENTOO@127.0.0.1:{port}/T0KEN")
        (told,) = send({"ops": address}, {"ops": NOTICE}, setting="notify", timeout=20).values()
        assert told and "T0KEN" not in told


@pytest.mark.parametrize(
    ("location", "told"),
    [("http://127.0.0.1:{port}/two", ""), ("http://localhost:{port}/two", "it led elsewhere"), ("/two", "")],
)
def test_a_ping_that_is_led_to_another_host_was_not_delivered(location: str, told: str) -> None:
    asked: list[bytes] = []

    def leads(connection: socketserver.BaseRequestHandler) -> None:
        asked.append(connection.request.recv(65536).split(b" ")[1])
        where = location.format(port=port).encode()
        first = b"HTTP/1.1 302 x\r\nContent-Length: 0\r\nConnection: close\r\nLocation: %b\r\n\r\n" % where
        connection.request.sendall(first if asked == [b"/one"] else b"HTTP/1.1 200 OK\r\n\r\n")

    with server(leads) as port:
        said = ping(literal(f"http://127.0.0.1:{port}/one"), setting="ping", timeout=20)
    assert said.startswith(told) and bool(said) == bool(told)
    assert asked == ([b"/one"] if told else [b"/one", b"/two"])


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://T0KEN/",
        "T0KEN",
        "http://",
        "http://[T0KEN",
        "https://T0KEN.invalid/x",
        "http://a b/T0KEN",
        "http://127.0.0.1:99999/T0KEN",
        "http://\u00fc\u2028/T0KEN",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    said = ping(literal(url), setting="ping", timeout=20)
    assert said and "T0KEN" not in said
    (told,) = send({"ops": literal(url)}, {"ops": NOTICE}, setting="notify", timeout=20).values()
    assert told and "T0KEN" not in told


def test_nothing_is_said_on_the_side(capfd: pytest.CaptureFixture[str]) -> None:
    send({"ops": literal("json://127.0.0.1:1/T0KEN")}, {"ops": NOTICE}, setting="notify", timeout=20)
    assert capfd.readouterr() == ("", "")


@given(st.text(min_size=4, alphabet=st.characters(categories=["L", "N"])))
def test_no_part_of_an_address_is_left(token: str) -> None:
    address = f"slack://{token}/AAAA1111/?key={token}x"
    for said in (f"could not reach {token}", f"{address} failed", f"at /{token}x/AAAA1111"):
        assert token not in masked(said, address)
