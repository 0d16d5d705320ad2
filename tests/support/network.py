"""Network namespaces: an operator who reaches a jump host and nothing else, behind that a bastion, behind that the server."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

_numbers = itertools.count()


def _ip(*words: str, within: Sequence[str] = ()) -> None:
    subprocess.run([*within, "ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Network:
    """``operator`` and ``jump`` are words before a command that runs there; the rest is this machine's own namespace.

    ``jump_address`` is the jump host as the operator reaches it, ``bastion_address`` this machine as the jump host does.
    """

    operator: tuple[str, ...]
    jump: tuple[str, ...]
    jump_address: str
    bastion_address: str


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Three hosts in a row, for the block."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    name = f"pg{os.getpid() % 100000}{next(_numbers)}"
    operator, jump = f"{name}o", f"{name}j"
    within = {each: ("ip", "netns", "exec", each) for each in (operator, jump)}
    block = f"10.213.{os.getpid() % 250}"
    with contextlib.ExitStack() as stack:
        for each in (operator, jump):
            added = subprocess.run(["ip", "netns", "add", each], capture_output=True, text=True)
            if added.returncode != 0:
                pytest.skip(f"no network namespaces here: {added.stderr.strip()}")
            stack.callback(_ip, "netns", "del", each)
            _ip("link", "set", "lo", "up", within=within[each])
        _ip(
            "link",
            "add",
            f"{name}a",
            "netns",
            operator,
            "type",
            "veth",
            "peer",
            "name",
            f"{name}b",
            "netns",
            jump,
        )
        _ip("link", "add", f"{name}c", "netns", jump, "type", "veth", "peer", "name", f"{name}d")
        for link, address, where in (
            (f"{name}a", f"{block}.1/30", within[operator]),
            (f"{name}b", f"{block}.2/30", within[jump]),
            (f"{name}c", f"{block}.5/30", within[jump]),
            (f"{name}d", f"{block}.6/30", ()),
        ):
            _ip("addr", "add", address, "dev", link, within=where)
            _ip("link", "set", link, "up", within=where)
        yield Network(within[operator], within[jump], f"{block}.2", f"{block}.6")
