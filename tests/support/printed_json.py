"""What a command printed with ``--json``."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import Ran


def parsed(ran: Ran) -> dict[str, Any]:
    """The one object; it says whether the command did what was asked."""
    found: dict[str, Any] = json.loads(ran.out)
    assert found["ok"] is (ran.code == 0), ran
    return found


def error(ran: Ran) -> dict[str, Any]:
    """The error in it; nothing of it is a traceback."""
    found: dict[str, Any] = parsed(ran)["error"]
    assert found["exit_code"] == ran.code
    assert "Traceback" not in ran.text
    return found
