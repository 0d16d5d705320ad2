"""What callers learn about the embedded server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgops.local.embedded.log import last_end
from pgops.local.embedded.process import State
from pgops.postgres import Target

Action = Literal["initialised", "started", "restarted", "adopted", "none"]


@dataclass(frozen=True, slots=True)
class EmbeddedState:
    """One look at an embedded server.

    ``target`` is how to connect to it (the password stays a reference), ``version`` the server's, for
    example ``18.6``; ``pid`` is there while it runs. ``action`` says what the call that gave this state
    had to do.
    """

    state: State
    target: Target
    version: str
    home: Path
    pid: int | None = None
    action: Action = "none"

    def why_it_ended(self) -> str:
        """What the server's log says of its end, ``""`` where it says nothing."""
        return last_end(self.log_file)

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def host(self) -> str:
        return self.target.host

    @property
    def port(self) -> int:
        return self.target.port

    @property
    def user(self) -> str:
        return self.target.user

    @property
    def database(self) -> str:
        return self.target.dbname

    @property
    def password(self) -> str | None:
        """In clear, for a connection only."""
        secret = self.target.secret()
        return None if secret is None else secret.reveal()

    @property
    def log_file(self) -> Path:
        return self.home / "server.log"
