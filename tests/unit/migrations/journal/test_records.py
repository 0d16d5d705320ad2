"""Whether a database may be touched as an environment: the stamp."""

from __future__ import annotations

import datetime as dt

import pytest

from pgops.errors import RefusedError
from pgops.migrations.journal import Stamp, check_stamp, new_run_id
from pgops.postgres import Identity

HERE = Identity("7", "app", 5)


def check(stamp: Stamp | None, name: str = "staging", *aliases: str) -> str | None:
    return check_stamp(stamp, name, aliases, HERE, "db:5432/app")


def test_no_stamp_and_our_own_are_fine() -> None:
    assert check(None) is None
    assert check(Stamp("staging", "7", "app")) is None
    assert check(Stamp("staging", "8", "moved")) is None


def test_another_environments_database_is_refused_with_both_names() -> None:
    with pytest.raises(RefusedError) as refusal:
        check(Stamp("production", "7", "app"))
    assert refusal.value.message == (
        "db:5432/app is stamped as environment 'production', and this run is for 'staging'"
    )
    # A server that hides its identifier can't prove that this is a copy.
    with pytest.raises(RefusedError):
        check(Stamp("production", None, "app"))


def test_a_copy_and_a_renamed_environment_are_said() -> None:
    assert check(Stamp("production", "8", "app")) == (
        "this database is a copy of production's; from now on it is stamped staging"
    )
    assert check(Stamp("stage", "7", "app"), "staging", "stage") == "stage is now called staging"


def test_run_ids_sort_by_time() -> None:
    first = new_run_id(dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC))
    assert first.startswith("20260102T030405-")
    assert first < new_run_id(dt.datetime(2026, 1, 2, 3, 4, 6, tzinfo=dt.UTC))
