"""What is said when a server does not come up, and logs that stay small."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.local.embedded import log as server_log


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("", "it said nothing"),
        ("fixing permissions\nok\n", "ok"),
        (
            "initdb: error: invalid locale name\ninitdb: hint: try another\n",
            "initdb: error: invalid locale name",
        ),
        (
            "2026-01-02 10:00:00 UTC [7]  LOG:  could not bind IPv4 address\n"
            "2026-01-02 10:00:00 UTC [7]  FATAL:  could not create any TCP/IP sockets\n"
            "2026-01-02 10:00:00 UTC [7]  LOG:  database system is shut down\n",
            "FATAL:  could not create any TCP/IP sockets",
        ),
        (
            "FATAL:  could not write to file: No space left on device\nPANIC:  cannot abort transaction 1\n",
            "FATAL:  could not write to file: No space left on device",
        ),
    ],
)
def test_the_line_that_says_why_is_found(said: str, complaint: str) -> None:
    assert server_log.last_complaint(said) == complaint


def test_a_small_log_is_left_alone_and_a_large_one_keeps_its_end(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    server_log.shrink(log)
    assert not log.exists()

    log.write_text("line\n")
    server_log.shrink(log)
    assert log.read_text() == "line\n"

    log.write_bytes(b"x" * 9 * 2**20 + b"the end\n")
    server_log.shrink(log)
    kept = tmp_path / "server.log.1"
    assert log.stat().st_size == 0
    assert kept.stat().st_size == 2**20
    assert kept.read_bytes().endswith(b"the end\n")
    assert kept.stat().st_mode & 0o777 == 0o600
