"""What the process remembers of secrets is put back after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgops.secrets import references


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What the process remembers is as before after each test: other tests' texts are redacted with it."""
    before = set(references._revealed)
    references._command_values.clear()
    yield
    references._command_values.clear()
    references._revealed.clear()
    references._revealed.update(before)
