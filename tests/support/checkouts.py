"""A git repository with an Alembic project in it, for what a pull request adds."""

from __future__ import annotations

import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

_ENVIRONMENTS = """\
version: 1
environments:
  production:
    host: db.example.com
    dbname: app
    user: app
    sslmode: verify-full
"""

ORDERS = """\
op.create_table("orders", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("email", sa.Text))
"""


@dataclass(frozen=True)
class Checkout:
    """A repository whose branch ``main`` has one revision, ``orders``, that makes a table of that name."""

    path: Path

    @classmethod
    def make(cls, path: Path, *, below: str = "") -> Checkout:
        """A new one; the project is in ``below``."""
        checkout = cls(path / below)
        checkout.path.mkdir(parents=True, exist_ok=True)
        checkout.git("init", "-q", "-b", "main", str(path))
        checkout.write("environments.yaml", _ENVIRONMENTS)
        checkout.write("alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
        checkout.write("migrations/env.py", "raise SystemExit('a lint does not run env.py')\n")
        checkout.revision("orders", None, ORDERS)
        checkout.commit("main")
        return checkout

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def revision(
        self, name: str, down: str | None, body: str, *, message: str = "", before: str = ""
    ) -> Path:
        """A revision file: ``upgrade()`` does ``body``, ``before`` stands before it."""
        header = f'"""{message or name}"""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
        ids = f"revision = {name!r}\ndown_revision = {down!r}\n\n{before}\n"
        code = textwrap.indent(textwrap.dedent(body), "    ")
        return self.write(
            f"migrations/versions/{name}.py",
            f"{header}{ids}\ndef upgrade():\n{code}\n\ndef downgrade():\n    pass\n",
        )

    def commit(self, message: str) -> str:
        """Commit everything; the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        """Run git here."""
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.path, capture_output=True, text=True, check=True
        )
        return done.stdout
