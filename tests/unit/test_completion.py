"""Where the completion goes, and that going there twice changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgops.completion import install, script, shell_of
from pgops.environments import spec
from pgops.errors import PgopsError, UsageError


@pytest.mark.parametrize(
    ("shell", "environ", "file", "start_up"),
    [
        ("bash", {}, ".local/share/bash-completion/completions/inv", ".bashrc"),
        ("bash", {"XDG_DATA_HOME": "HOME/data"}, "data/bash-completion/completions/inv", ".bashrc"),
        ("bash", {"BASH_COMPLETION_USER_DIR": "HOME/own"}, "own/completions/inv", ".bashrc"),
        ("zsh", {}, ".local/share/zsh/site-functions/_inv", ".zshrc"),
        ("fish", {}, ".config/fish/conf.d/pgops.fish", None),
        ("fish", {"XDG_CONFIG_HOME": "HOME/c"}, "c/fish/conf.d/pgops.fish", None),
        ("zsh", {"ZDOTDIR": "HOME/z"}, ".local/share/zsh/site-functions/_inv", "z/.zshrc"),
    ],
)
def test_places(tmp_path: Path, shell: str, environ: dict[str, str], file: str, start_up: str | None) -> None:
    environ = {key: value.replace("HOME", str(tmp_path)) for key, value in environ.items()}
    done = install(shell, home=tmp_path, environ=environ)
    assert done.written == (tmp_path / file, *([tmp_path / start_up] if start_up else []))
    assert (tmp_path / file).read_text(encoding="utf-8") == script(shell)
    again = install(shell, home=tmp_path, environ=environ)
    assert (again.written, again.unchanged) == ((), done.written)


def test_the_start_up_file_keeps_what_it_has(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "bashrc"
    real.parent.mkdir()
    real.write_text("export A=1", encoding="utf-8")
    real.chmod(0o640)
    (tmp_path / ".bashrc").symlink_to(real)
    install("bash", home=tmp_path, environ={})
    first, second = real.read_text(encoding="utf-8").splitlines()
    assert first == "export A=1" and second.endswith("# completion of invoke and pgops")
    assert (tmp_path / ".bashrc").is_symlink() and real.stat().st_mode & 0o777 == 0o640

    real.write_text(f"{first}\n{second}\nexport B=2\n{second}\n", encoding="utf-8")
    install(
        "bash",
        home=tmp_path,
        environ={"XDG_DATA_HOME": str(tmp_path / "else where")},
    )
    lines = real.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.endswith("pgops")] == ["export A=1", "export B=2"]
    assert lines[1].startswith(f"[ -r '{tmp_path}/else where/")
    assert len(lines) == 3


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file", encoding="utf-8")
    with pytest.raises(PgopsError, match="the completion cannot be installed") as caught:
        install("zsh", home=tmp_path, environ={})
    assert caught.value.hint == "source <(inv completion --shell=zsh)"


def test_shells() -> None:
    assert shell_of({"SHELL": "/usr/bin/zsh"}) == "zsh"
    with pytest.raises(UsageError, match="SHELL is ksh"):
        shell_of({"SHELL": "/usr/bin/ksh"})
    with pytest.raises(UsageError, match="SHELL is not set"):
        shell_of({})
    with pytest.raises(UsageError, match="there is no completion for 'ksh'"):
        script("ksh")


def test_names_of_environments_mean_nothing_to_a_shell() -> None:
    assert re.fullmatch(spec.NAME, "a-name.of_1")
