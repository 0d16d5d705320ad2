"""References give values at the moment of use, and say what is wrong without saying what they found."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import pytest

from pgops.errors import SecretError
from pgops.secrets import references
from pgops.secrets.references import (
    CommandSecret,
    EnvSecret,
    FileSecret,
    KeyringSecret,
    LiteralSecret,
    PassfileSecret,
    Secret,
    SecretRef,
    check_private,
    known_secrets,
    resolve,
)

VALUE = "S3cr3t-Value"
WHAT = "production.password"


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """A real program of one shell script."""

    def program(script: str) -> str:
        path = tmp_path / f"program-{len(list(tmp_path.iterdir()))}"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o700)
        return str(path)

    return program


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def failure(reference: SecretRef) -> SecretError:
    """The failure of a reference, after a look that neither it nor its traceback holds the value."""
    with pytest.raises(SecretError) as caught:
        resolve(reference, what=WHAT)
    error = caught.value
    printed = "".join(traceback.format_exception(error)) + repr(error.as_dict()) + repr(vars(error))
    assert VALUE not in printed
    assert error.exit_code == 2
    assert error.message.startswith(f"{WHAT}: ")
    assert error.hint
    return error


def test_a_secret_does_not_print_itself() -> None:
    secret = Secret(VALUE)
    printed = (
        f"{secret} {secret!r} {secret!s} {[secret]} {LiteralSecret(secret)!r} {{'a': {secret}}} %s" % secret
    )
    assert VALUE not in printed and "***" in printed
    assert secret.reveal() == VALUE
    assert secret == Secret(VALUE) and secret != Secret("other") and secret != VALUE
    assert VALUE in known_secrets()
    with pytest.raises(TypeError):
        vars(secret)


def test_an_empty_secret_is_not_remembered() -> None:
    Secret("")
    assert "" not in known_secrets()


@pytest.mark.parametrize(
    ("reference", "described"),
    [
        (EnvSecret("APP"), "environment variable APP"),
        (FileSecret(Path("/a")), "file /a"),
        (CommandSecret(("aws", VALUE)), "command aws"),
        (KeyringSecret("s", "u"), "keyring entry s/u"),
        (PassfileSecret(Path("/p")), "passfile /p"),
        (LiteralSecret(Secret(VALUE)), "docker-compose.yml"),
    ],
)
def test_references_describe_where_not_what(reference: SecretRef, described: str) -> None:
    assert reference.describe() == described


# environment variables


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PASSWORD", f" {VALUE} ")
    assert resolve(EnvSecret("APP_PASSWORD"), what=WHAT).reveal() == f" {VALUE} "


@pytest.mark.parametrize(("value", "state"), [(None, "not set"), ("", "empty")])
def test_env_without_value(monkeypatch: pytest.MonkeyPatch, value: str | None, state: str) -> None:
    monkeypatch.delenv("APP_PASSWORD", raising=False)
    if value is not None:
        monkeypatch.setenv("APP_PASSWORD", value)
    error = failure(EnvSecret("APP_PASSWORD"))
    assert error.message == f"{WHAT}: environment variable APP_PASSWORD is {state}"
    assert error.hint.startswith("export APP_PASSWORD=…")


# files


@pytest.mark.parametrize("content", [f"{VALUE}\n", VALUE, f"{VALUE}\r\n", f"{VALUE}\nsecond line\n"])
def test_file(tmp_path: Path, content: str) -> None:
    path = private(tmp_path / "secret", content.encode())
    assert resolve(FileSecret(path), what=WHAT).reveal() == VALUE


def test_file_keeps_spaces(tmp_path: Path) -> None:
    assert resolve(FileSecret(private(tmp_path / "s", b" a b \n")), what=WHAT).reveal() == " a b "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644, 0o601, 0o610, 0o4640])
def test_a_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "secret", VALUE.encode())
    path.chmod(mode)
    error = failure(FileSecret(path))
    assert error.message == f"{WHAT}: {path} can be read by others (mode {mode:04o})"
    assert error.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_ones_own(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "secret", VALUE.encode())
    path.chmod(mode)
    check_private(path, WHAT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the first line of {path} is empty"),
        (b"\nS3cr3t-Value\n", "the first line of {path} is empty"),
        (b"S3cr3t-Value\xff", "{path} is not UTF-8 text"),
        (b"S3cr3t-Value\x00x", "the value from file {path} has a NUL byte in it, which no password can have"),
    ],
)
def test_a_file_without_a_secret(tmp_path: Path, content: bytes, said: str) -> None:
    path = private(tmp_path / "secret", content)
    assert failure(FileSecret(path)).message == f"{WHAT}: {said.format(path=path)}"


def test_no_file(tmp_path: Path) -> None:
    assert failure(FileSecret(tmp_path / "gone")).message == (
        f"{WHAT}: {tmp_path / 'gone'}: No such file or directory"
    )
    assert failure(FileSecret(tmp_path)).message == f"{WHAT}: {tmp_path} is not a regular file"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert failure(FileSecret(pipe)).message == f"{WHAT}: {pipe} is not a regular file"


def test_a_symbolic_link_is_judged_by_its_target(tmp_path: Path) -> None:
    target = private(tmp_path / "target", VALUE.encode())
    link = tmp_path / "link"
    link.symlink_to(target)
    assert resolve(FileSecret(link), what=WHAT).reveal() == VALUE
    target.chmod(0o644)
    assert "can be read by others" in failure(FileSecret(link)).message


# commands


def test_command(program: Callable[[str], str]) -> None:
    path = program('echo "  $1:$2:$3:$4  "; echo second')
    argv = (path, "{host}", "{port}", "--user={user}", "{dbname}{other}")
    fill = {"host": "h", "port": "5432", "user": "u u", "dbname": "$(id)"}
    assert resolve(CommandSecret(argv), what=WHAT, fill=fill).reveal() == "h:5432:--user=u u:$(id){other}"


def test_command_has_no_shell_and_no_stdin(program: Callable[[str], str]) -> None:
    assert resolve(CommandSecret(("echo", "$HOME; id")), what=WHAT).reveal() == "$HOME; id"
    assert resolve(CommandSecret((program("cat; echo done"),)), what=WHAT).reveal() == "done"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo S3cr3t-Value; echo first >&2; echo no session >&2; exit 3", "ended with 3: first; no session"),
        ("echo S3cr3t-Value; exit 1", "ended with 1: it said nothing"),
        ("true", "printed nothing"),
        ("echo; echo S3cr3t-Value", "printed nothing"),
        (r"printf 'S3cr3t-Value\377\n'", "printed something that is not text"),
        (r"printf 'S3cr3t-Value\0\n'", None),
    ],
)
def test_a_command_without_a_secret(program: Callable[[str], str], script: str, said: str | None) -> None:
    path = program(script)
    error = failure(CommandSecret((path,)))
    if said is None:
        assert error.message.endswith("has a NUL byte in it, which no password can have")
    else:
        assert error.message == f"{WHAT}: command {path} {said}"


def test_no_such_command(tmp_path: Path) -> None:
    error = failure(CommandSecret(("no-such-program-here",)))
    assert error.message == f"{WHAT}: command no-such-program-here was not found"
    plain = private(tmp_path / "plain", b"no program")
    assert failure(CommandSecret((str(plain),))).message == f"{WHAT}: command {plain} may not be run"
    plain.chmod(0o700)
    assert failure(CommandSecret((str(plain),))).message == (
        f"{WHAT}: command {plain} could not be run: [Errno 8] Exec format error: '{plain}'"
    )


def test_a_command_that_hangs(program: Callable[[str], str]) -> None:
    # The grandchild holds the pipes open: it must not keep us waiting either.
    path = program('echo S3cr3t-Value\nsleep 60 & echo $! > "$0.pid"\nwait')
    error = failure(CommandSecret((path,), timeout=0.5))
    assert error.message == f"{WHAT}: command {path} gave nothing in 0.5 s"
    os.kill(int(Path(f"{path}.pid").read_text(encoding="ascii")), 9)


def test_ttl_within_the_process(program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = program('echo x >> "$0.calls"; wc -l < "$0.calls"')
    now = 1000.0
    monkeypatch.setattr(references.time, "monotonic", lambda: now)
    kept = CommandSecret((path, "{host}"), ttl=60)

    def ask(host: str) -> str:
        return resolve(kept, what=WHAT, fill={"host": host}).reveal()

    assert [ask("a"), ask("a")] == ["1", "1"]
    assert ask("b") == "2", "another host is another token"
    now += 61
    assert ask("a") == "3"
    fresh = CommandSecret((path,))
    assert [resolve(fresh, what=WHAT).reveal() for _ in range(2)] == ["4", "5"]


# keyring: real backends through keyring's own API


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A backend that keeps entries in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def use_keyring() -> Iterator[Callable[[keyring.backend.KeyringBackend], None]]:
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


ENTRY = KeyringSecret("pgops", "app")


def test_keyring(use_keyring: Callable[[keyring.backend.KeyringBackend], None]) -> None:
    use_keyring(MemoryKeyring())
    keyring.set_password("pgops", "app", VALUE)
    assert resolve(ENTRY, what=WHAT).reveal() == VALUE


def test_keyring_without_the_entry(use_keyring: Callable[[keyring.backend.KeyringBackend], None]) -> None:
    use_keyring(keyring.backends.null.Keyring())
    error = failure(ENTRY)
    assert (error.message, error.hint) == (
        f"{WHAT}: the keyring has no entry pgops/app",
        "keyring set pgops app",
    )


def test_no_keyring(use_keyring: Callable[[keyring.backend.KeyringBackend], None]) -> None:
    use_keyring(keyring.backends.fail.Keyring())
    assert failure(ENTRY).message.startswith(f"{WHAT}: the keyring did not answer: No recommended backend")


def test_keyring_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(
            self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
        ) -> importlib.machinery.ModuleSpec | None:
            if name.partition(".")[0] == "keyring":
                raise ModuleNotFoundError(name)
            return None

    for name in [name for name in sys.modules if name.partition(".")[0] == "keyring"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    error = failure(ENTRY)
    assert (error.message, error.hint) == (
        f"{WHAT}: the keyring needs the extra 'keyring'",
        "pip install keyring",
    )


# the others


def test_a_literal_came_with_another_file() -> None:
    assert resolve(LiteralSecret(Secret(VALUE)), what=WHAT).reveal() == VALUE


def test_a_passfile_is_read_by_libpq() -> None:
    assert failure(PassfileSecret(Path("/p"))).message == (
        f"{WHAT}: a passfile is read by libpq and holds a password only"
    )


def test_many_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PASSWORD", VALUE)
    found: list[int] = []

    def ask(number: int) -> None:
        for each in range(200):
            Secret(f"{number}-{each}")
            found.append(len(known_secrets()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1600
    assert f"{7}-{199}" in known_secrets()
