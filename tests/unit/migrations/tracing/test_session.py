"""Settings that are no longer what a run made them."""

from __future__ import annotations

from pgops.migrations.hazards.observed import Setting
from pgops.migrations.tracing.catalog import SETTINGS
from pgops.migrations.tracing.session import Session

NOW = ["2s", "5min", "0", "origin", "none", "app", '"$user", public', "on"]


def test_each_change_is_told_once() -> None:
    session = Session()
    other = [*NOW]
    other[SETTINGS.index("lock_timeout")] = "0"

    assert list(session.changed_settings(NOW)) == []
    assert list(session.changed_settings(other)) == [Setting("lock_timeout", "2s", "0")]
    assert list(session.changed_settings(other)) == []
    assert list(session.changed_settings(NOW)) == [Setting("lock_timeout", "0", "2s", restored=True)]
    assert list(session.changed_settings(NOW)) == []
