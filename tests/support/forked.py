# ruff: noqa: PTH109, PTH120
"""A program of Python's, as whoever starts it sees it: asks a preloaded parent for a fork, and ends as that ends.

Copies lie in a directory beside the parent's socket, under the names that they stand for; imports nothing that takes time.
"""

import os
import sys
from _json import encode_basestring_ascii as quoted
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket

here, name = os.path.split(__file__)
program = sys.executable if name.startswith("python") else os.path.dirname(sys.executable) + "/" + name
mask = os.umask(0o077)
os.umask(mask)
argv = ", ".join(quoted(each) for each in [program, *sys.argv[1:]])
environ = ", ".join(f"{quoted(name)}: {quoted(value)}" for name, value in os.environ.items())
request = f'{{"argv": [{argv}], "cwd": {quoted(os.getcwd())}, "environ": {{{environ}}}, "umask": {mask}}}'
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
answers = socket(AF_UNIX, SOCK_SEQPACKET)
answers.connect(os.path.dirname(here) + "/socket")
answers.sendmsg([request.encode()], [(SOL_SOCKET, SCM_RIGHTS, streams)])
answers.recv(64)  # its pid
code = int(answers.recv(64))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
