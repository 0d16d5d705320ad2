"""Who holds a container's port: everybody but the engine."""

from __future__ import annotations

import pytest

from pgops.local.engine import ports
from pgops.local.listeners import Listener


def test_the_engines_own_programs_are_no_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    postgres, unseen = Listener("127.0.0.1", "postgres", 77), Listener("::")
    proxies = (Listener("127.0.0.1", "docker-proxy", 78), Listener("::1", "rootlesskit", 79))
    monkeypatch.setattr(ports, "listeners", lambda _port: (proxies[0], postgres, proxies[1], unseen))
    assert ports.strangers(5432) == [postgres, unseen]
