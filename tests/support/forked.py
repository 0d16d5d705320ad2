"""The interpreter, as far as a program sees that starts it: asks a preloaded parent for a fork, and ends as that ends.

A copy of it lies beside the parent's socket; imports nothing that takes time.
"""

import os
import sys
from _json import encode_basestring_ascii as quoted
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket

mask = os.umask(0o077)
os.umask(mask)
argv = ", ".join(quoted(each) for each in [sys.executable, *sys.argv[1:]])
environ = ", ".join(f"{quoted(name)}: {quoted(value)}" for name, value in os.environ.items())
request = f'{{"argv": [{argv}], "cwd": {quoted(os.getcwd())}, "environ": {{{environ}}}, "umask": {mask}}}'  # noqa: PTH109
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
answers = socket(AF_UNIX, SOCK_SEQPACKET)
answers.connect(os.path.dirname(__file__) + "/socket")  # noqa: PTH120
answers.sendmsg([request.encode()], [(SOL_SOCKET, SCM_RIGHTS, streams)])
answers.recv(64)  # its pid
code = int(answers.recv(64))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
