"""Where the data of an image lies, by what the service mounts; reading it is tested with a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.local.compose import load
from pgops.local.engine.data import DataPlace, data_place
from pgops.local.engine.images import Image

OLD = Image("i", "linux/amd64", 17, "/var/lib/postgresql/data", ("/var/lib/postgresql/data",))
# the official image from 18 on
NEW = Image("i", "linux/amd64", 18, "/var/lib/postgresql/18/docker", ("/var/lib/postgresql",))


def place(directory: Path, image: Image, lines: str, rest: str = "") -> DataPlace:
    text = "name: demo\nservices:\n  db:\n    image: postgres\n" + "".join(
        f"    {line}\n" for line in lines.splitlines()
    )
    (directory / "compose.yaml").write_text(text + rest, encoding="utf-8")
    return data_place(load(directory, service="db", environ={}), image)


@pytest.mark.parametrize(
    ("image", "lines", "expected"),
    [
        (OLD, "volumes: ['data:/var/lib/postgresql/data']", "volume demo_data"),
        (NEW, "volumes: ['data:/var/lib/postgresql']", "volume demo_data"),
        (NEW, "volumes: ['data:/var/lib/postgresql/18/docker']", "volume demo_data"),
        (OLD, "volumes: ['/host/pg:/var/lib/postgresql/data']", "directory /host/pg"),
        (OLD, "volumes: ['/var/lib/postgresql/data']", "an anonymous volume"),
        (OLD, "tty: false", "an anonymous volume"),
        (OLD, "tmpfs: ['/var/lib/postgresql/data:size=1g']", "tmpfs"),
        (OLD, "volumes: [{type: tmpfs, target: /var/lib/postgresql/data}]", "tmpfs"),
    ],
)
def test_places(tmp_path: Path, image: Image, lines: str, expected: str) -> None:
    found = place(tmp_path, image, lines, "volumes: {data: }\n")
    assert str(found) == expected
    assert found.lasts == expected.startswith(("volume", "directory"))


@pytest.mark.parametrize(
    ("image", "target", "wanted"),
    [
        (OLD, "/var/lib/postgresql", "/var/lib/postgresql/data"),
        (NEW, "/var/lib/postgresql/data", "/var/lib/postgresql"),
        (OLD, "/var/lib/postgresql/dta", "/var/lib/postgresql/data"),
    ],
)
def test_a_volume_that_the_data_would_miss(tmp_path: Path, image: Image, target: str, wanted: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        place(tmp_path, image, f"volumes: ['data:{target}']", "volumes: {data: }\n")
    assert caught.value.message == (
        f"compose.yaml: services.db.volumes: postgres keeps its data in {image.pgdata}, and the volume is mounted at "
        f"{target}: the data would not be in it"
    )
    assert caught.value.hint == f"mount it at {wanted}"
