"""People with SSH keys, a file of allowed signers, and signatures by ssh-keygen itself."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class People:
    """Keys below a directory, by the name of whoever has them."""

    directory: Path
    keys: dict[str, Path] = field(default_factory=dict)

    def key(self, name: str, kind: str = "ed25519") -> Path:
        """The private key of that name, made when it is first asked for."""
        if name not in self.keys:
            self.directory.mkdir(parents=True, exist_ok=True)
            file = self.directory / name
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", file], check=True)
            self.keys[name] = file
        return self.keys[name]

    def line(self, name: str, *, key: str | None = None, options: str = "") -> str:
        """A line of allowed signers."""
        public = Path(f"{self.key(key or name)}.pub").read_text(encoding="utf-8").strip()
        return " ".join(filter(None, [name, options, public]))

    def sign(self, document: bytes, key: str, namespace: str = "pgops") -> str:
        """What ``ssh-keygen -Y sign`` makes."""
        done = subprocess.run(
            ["ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", self.key(key)],
            input=document,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode("ascii")
