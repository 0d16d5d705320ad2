"""What is said where no TLS comes about."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.postgres import Target, tls


@pytest.mark.parametrize(
    "said", ["connection requires a valid client certificate", "private key file x", "else"]
)
def test_names_with_braces_are_told_as_they_are(said: str) -> None:
    target = Target("prod", "db", 5432, "app", "{user}", sslmode="verify-full", sslkey=Path("/{keys}/k"))

    message, hint = tls.explain(target, said)

    assert message.startswith("no TLS connection to db:5432 with sslmode=verify-full")
    assert said in hint or hint.endswith("name a certificate for '{user}'")
