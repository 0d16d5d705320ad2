"""Growing, uneven pauses within a total."""

from __future__ import annotations

from pgops.migrations.run.retry import RetryPolicy


def test_pauses_grow_and_never_exceed_what_is_left() -> None:
    retries = RetryPolicy(1000)
    pauses = [retries.next_pause("a") or 0 for _ in range(8)]
    assert all(0.09 < pause <= 15 for pause in pauses)
    assert max(pauses[5:]) > max(pauses[:2])
    assert (retries.next_pause("another") or 0) <= 0.3
    assert RetryPolicy(0).next_pause("a") is None
