"""A name that PgBouncer leads to a database of another name: nothing is dropped, renamed or made by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.backups.load.recreate import recreate_database
from pgops.backups.load.side_database import restore_lock
from pgops.backups.restore.plan import plan_restore
from pgops.errors import RefusedError
from pgops.postgres import Target, connected, fetch_value, identity, maintenance
from tests.support.restores import NOW, back_up, restorable, small_data
from tests.support.sql import value


@pytest.fixture
def named(server: Target) -> Iterator[tuple[Target, Target]]:
    """The database that is meant, and another one that has the name by which the proxy leads there."""
    with restorable(server, "meant") as meant, restorable(server, "other") as other:
        small_data(meant)
        small_data(other)
        yield meant, other


@pytest.mark.parametrize("there", [True, False])
def test_what_a_proxy_leads_elsewhere_is_not_changed_by_its_name(
    named: tuple[Target, Target], pgbouncer: Callable[..., Target], tmp_path: Path, there: bool
) -> None:
    meant, other = named
    name = other.dbname if there else "nowhere"
    _, backup = back_up(meant, tmp_path)
    through = pgbouncer("session", leads={name: meant.dbname}).with_database(name)
    with connected(through) as connection:
        assert identity(connection).database == meant.dbname, "it is led there"

    def lock() -> None:
        with restore_lock(maintenance(through), through, wait=1):
            pass

    for change in (lambda: recreate_database(through, now=NOW), lambda: plan_restore(through, backup), lock):
        with pytest.raises(RefusedError, match=f"{name} leads to database {meant.dbname} "):
            change()
    assert value(other, "SELECT count(*) FROM knowledge") == 500
    with connected(meant) as connection:
        assert fetch_value(connection, "SELECT count(*) FROM pg_database WHERE datname = 'nowhere'") == 0
