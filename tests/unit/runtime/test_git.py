"""git looks: nothing that a checkout's configuration names is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pgops.backups.dump.create import git_commit
from pgops.migrations.journal.provenance import git_state
from pgops.migrations.lint.changed import changed_since

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository whose configuration starts programs, and whose index git would like to write anew."""
    root = tmp_path / "checkout"
    root.mkdir()

    def git(*words: str) -> None:
        named = ("-c", "user.name=A", "-c", "user.email=a@example.com")
        subprocess.run(["git", *named, *words], cwd=root, check=True, capture_output=True)

    git("init", "--quiet")
    (root / "a.py").write_text("a\n", encoding="utf-8")
    git("add", "a.py")
    git("commit", "--quiet", "-m", "a")
    program = root / ".git" / "program"
    program.write_text(f"#!{sys.executable}\nopen({str(tmp_path / 'started')!r}, 'w')\n", encoding="utf-8")
    program.chmod(0o755)
    git("config", "core.fsmonitor", str(program))
    (root / ".git" / "hooks").mkdir(exist_ok=True)
    shutil.copy(program, root / ".git" / "hooks" / "post-index-change")
    git("config", "filter.own.clean", str(program))
    (root / ".git" / "info" / "attributes").write_text("*.py filter=own\n", encoding="utf-8")
    inner = tmp_path / "inner"
    shutil.copytree(root, inner)
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "inner")
    git("commit", "--quiet", "-m", "inner")
    git("-C", "inner", "config", "core.fsmonitor", str(program))
    (tmp_path / "started").unlink()
    os.utime(root / "a.py", (1, 1))
    os.utime(root / "inner" / "a.py", (1, 1))
    return root


def test_what_is_asked_starts_and_writes_nothing(checkout: Path, tmp_path: Path) -> None:
    before = (checkout / ".git" / "index").read_bytes()
    commit, changed = git_state(checkout)
    assert commit is not None and changed is False
    assert git_commit(checkout) == commit
    assert (checkout / ".git" / "index").read_bytes() == before
    # git diff writes the index whatever it is told.
    assert changed_since("HEAD", [checkout]).commit == commit
    assert not (tmp_path / "started").exists()
