"""A project whose path holds what a shell would stumble over, and its server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.local.embedded import EmbeddedSpec, installation, process
from pgops.secrets.references import LiteralSecret, Secret
from tests.integration.local.embedded_server.server import PASSWORD
from tests.support.ports import free_port


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """initdb syncs a thousand files; that is the disk's work and not ours to test."""
    real = process.initialise
    monkeypatch.setattr(
        process, "initialise", lambda *given, **named: real(*given, **{**named, "durable": False})
    )


@pytest.fixture
def checkouts() -> Iterator[Path]:
    """A directory that the server's user can reach; every server below it is stopped in the end."""
    directory = Path(tempfile.mkdtemp(prefix="pgops-test-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        for marker in directory.rglob(installation.MARKER):
            process.stop(installation.Cluster(marker.parent, installation.server_user()), 5)
        shutil.rmtree(directory)


@pytest.fixture
def spec(checkouts: Path) -> EmbeddedSpec:
    """A project whose path holds what a shell would stumble over."""
    project = checkouts / "it's a $HOME `checkout`"
    project.mkdir()
    return EmbeddedSpec(
        project_directory=project,
        port=free_port(),
        user="app user",
        password=LiteralSecret(Secret(PASSWORD)),
        database='develop"ment',
        settings={"fsync": "off"},
    )
