"""A server for buckets, for the modules here that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.s3_servers import S3Server, signing_server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that checks signatures."""
    with signing_server(tmp_path_factory.mktemp("s3") / "data") as found:
        yield found
