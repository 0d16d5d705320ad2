"""The hook of .pre-commit-hooks.yaml: as pre-commit would run it, and on request by pre-commit itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.checkouts import Checkout

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout with a dangerous revision that is staged."""
    found = Checkout.make(tmp_path / "checkout")
    found.revision("bye", "orders", "op.drop_table('orders')")
    found.git("add", "-A")
    return found


def test_the_hooks_command(checkout: Checkout) -> None:
    (hook,) = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    command = [*hook["entry"].split(), *hook["args"]]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    ran = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, "block ban-drop-table" in ran.stdout) == (7, True), ran.stderr
    checkout.commit("bye")
    ran = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def test_in_a_fresh_pre_commit(checkout: Checkout, tmp_path: Path) -> None:
    if not os.environ.get("PGOPS_TEST_PRE_COMMIT"):
        pytest.skip("on request: PGOPS_TEST_PRE_COMMIT=1 installs pre-commit, which installs pgops")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "pre-commit"], check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.strip()
    checkout.write(
        ".pre-commit-config.yaml",
        f"repos:\n  - repo: {REPOSITORY}\n    rev: {head}\n    hooks: [{{id: pgops-lint}}]\n",
    )
    checkout.git("add", "-A")
    command = [python, "-m", "pre_commit", "run"]
    environ = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "home")}
    ran = subprocess.run(command, cwd=checkout.path, env=environ, capture_output=True, text=True, timeout=290)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "- exit code: 7" in ran.stdout
    assert "block ban-drop-table" in ran.stdout
