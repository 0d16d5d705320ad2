"""A TCP proxy as kubectl port-forward or a cloud's own is one: ``python tcp_proxy.py LISTEN HOST PORT [BYTES]``.

With BYTES it dies, as if killed, when so many have come back from the server.
"""

import contextlib
import os
import socket
import sys
import threading

LEFT = [int(sys.argv[4]) if len(sys.argv) > 4 else -1]


def pump(source: socket.socket, sink: socket.socket, *, counted: bool) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
            if counted and LEFT[0] >= 0:
                LEFT[0] -= len(data)
                if LEFT[0] < 0:
                    print("proxy: lost its upstream", file=sys.stderr, flush=True)
                    os._exit(9)
    except OSError:
        pass
    finally:
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((sys.argv[2], int(sys.argv[3])))
        threading.Thread(target=pump, args=(client, server), kwargs={"counted": False}, daemon=True).start()
        threading.Thread(target=pump, args=(server, client), kwargs={"counted": True}, daemon=True).start()


main()
