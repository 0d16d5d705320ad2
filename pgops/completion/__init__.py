"""Shell completion: the scripts, and where a user's shell looks for them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pgops.errors import PgopsError, UsageError

SHELLS = ("bash", "zsh", "fish")
_MARK = "# completion of invoke and pgops"


@dataclass(frozen=True, slots=True)
class Installed:
    """``written`` and ``unchanged`` files; ``source`` is what makes it work in the shell that is open now."""

    shell: str
    written: tuple[Path, ...]
    unchanged: tuple[Path, ...]
    source: str


def shell_of(environ: Mapping[str, str]) -> str:
    """The user's shell, when it is one of ours.

    :raises UsageError: it is not.
    """
    name = Path(environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise UsageError(
            f"SHELL is {name or 'not set'}, for which there is no completion",
            untouched="nothing was written",
            hint=" or ".join(f"--shell={shell}" for shell in SHELLS),
        )
    return name


def script(shell: str) -> str:
    """The completion script of a shell.

    :raises UsageError: there is none.
    """
    if shell not in SHELLS:
        raise UsageError(
            f"there is no completion for {shell!r}",
            untouched="nothing was written",
            hint=" or ".join(f"--shell={each}" for each in SHELLS),
        )
    return (Path(__file__).parent / f"completion.{shell}").read_text(encoding="utf-8")


def install(shell: str, *, home: Path, environ: Mapping[str, str]) -> Installed:
    """Put the script where per-user completions live, and have the shell's start-up file read it.

    The start-up file gets one line with a mark; a second installation finds and replaces it. Fish reads a
    directory at its start, and needs no line.

    :raises PgopsError: a file cannot be written.
    """
    text = script(shell)
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    start_up: Path | None = None
    if shell == "bash":
        # Bash-completion, where it is active, finds a file by the command's name here.
        own = environ.get("BASH_COMPLETION_USER_DIR")
        path = (Path(own) if own else data / "bash-completion") / "completions" / "inv"
        start_up = home / ".bashrc"
    elif shell == "fish":
        path = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "conf.d" / "pgops.fish"
    else:
        path = data / "zsh" / "site-functions" / "_inv"
        start_up = Path(environ.get("ZDOTDIR") or home) / ".zshrc"
    quoted = shlex.quote(str(path))
    line = f"[ -r {quoted} ] && . {quoted}  {_MARK}"
    try:
        changes = {path: _write(path, text)}
        if start_up is not None:
            changes[start_up] = _write(start_up, _with_line(_read(start_up), line))
    except (OSError, UnicodeDecodeError) as error:
        raise PgopsError(
            f"the completion cannot be installed: {error}",
            hint=f"inv completion --shell={shell} | source"
            if shell == "fish"
            else f"source <(inv completion --shell={shell})",
        ) from error
    return Installed(
        shell,
        written=tuple(each for each, changed in changes.items() if changed),
        unchanged=tuple(each for each, changed in changes.items() if not changed),
        source=f"source {quoted}" if shell == "fish" else f". {quoted}",
    )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _with_line(text: str, line: str) -> str:
    """The start-up file with our one line in it: where it was, else at the end."""
    lines = text.splitlines(keepends=True)
    ours = [at for at, each in enumerate(lines) if each.rstrip("\n").endswith(_MARK)]
    if not ours:
        return (text if not text or text.endswith("\n") else text + "\n") + line + "\n"
    lines[ours[0]] = line + "\n"
    return "".join(each for at, each in enumerate(lines) if at not in ours[1:])


def _write(path: Path, text: str) -> bool:
    """Write where it differs; whole or not at all, through a symbolic link where there is one."""
    path = path.resolve()
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    if path.exists():
        partial.chmod(path.stat().st_mode & 0o777)
    partial.replace(path)
    return True
