"""``import alembic`` finds Alembic whatever lies in the project's directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("before", ["", "import alembic; assert not hasattr(alembic, '__version__');"])
def test_a_package_of_that_name_is_passed_over(tmp_path: Path, before: str) -> None:
    (tmp_path / "alembic").mkdir()
    (tmp_path / "alembic" / "__init__.py").write_text("", encoding="utf-8")
    program = f"{before}import pgops; from alembic import command, config; print(command.__file__)"
    # -c puts the current directory at the head of sys.path, as Invoke does with the project's.
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).is_relative_to(tmp_path)
