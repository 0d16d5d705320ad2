"""What stands in the way of a restore: one rule, one sentence, one next step."""

from __future__ import annotations

import dataclasses

import pytest

from pgops.backups.database.attributes import Attributes
from pgops.backups.load.preflight import obstacles, refuse
from pgops.backups.load.surroundings import Available, Surroundings
from pgops.backups.manifest.manifest import Extension, File, Locale, Manifest, Table
from pgops.errors import BlockedError
from pgops.postgres import Identity, ServerFacts
from tests.support.backups import manifest_for

BACKUP: Manifest = dataclasses.replace(
    manifest_for((File("dump/toc.dat", 1, "0" * 64),)),
    server_version_num=170002,
    extensions=(Extension("citext", "1.6", "public"),),
    tables=(Table("public", "t", 1, 1_000_000),),
    roles=("app", "reader"),
    named_roles=("reader",),
    tablespaces=("fast",),
    owner="app",
    encoding="UTF8",
)
FACTS = ServerFacts("17.2", 170002, Identity("1", "postgres", 5), "UTF8", False, False, False, True)
HERE = Attributes("app", "UTF8", Locale("libc", "C", "C"), None, (), None, -1, None)
FINE = Surroundings(
    facts=FACTS,
    oid=16384,
    here=HERE,
    size=1,
    createdb=True,
    owner="app",
    member_of_owner=True,
    slots=(),
    subscriptions=(),
    prepared=(),
    foreign_sessions=(),
    extensions={"citext": Available(frozenset(["1.6"]), True, True)},
    roles=frozenset(["app", "reader"]),
    tablespaces=frozenset(["fast", "pg_default"]),
    free=None,
    side_databases=(),
    unmarked=(),
)


def facts(**changed: object) -> ServerFacts:
    return dataclasses.replace(FACTS, **changed)  # type: ignore[arg-type]


def test_nothing_stands_in_the_way_of_a_plain_restore() -> None:
    assert obstacles(FINE, BACKUP, with_owners=True, with_tablespaces=True, beside=True) == []


@pytest.mark.parametrize(
    ("change", "what", "hint"),
    [
        ({"facts": facts(in_recovery=True)}, "a replica", "the primary"),
        (
            {"facts": facts(version="16.4", version_num=160004)},
            "can't go back a major version",
            "version 17 or later",
        ),
        (
            {"here": dataclasses.replace(HERE, encoding="LATIN1")},
            "the backup is UTF8, the target database LATIN1",
            "drop",
        ),
        ({"free": 1_100_000}, "has 1.1 MB free, the restored database needs about 1.2 MB", "free some disk"),
        ({"extensions": {}}, "extension citext 1.6 is not available", "install"),
        (
            {"extensions": {"citext": Available(frozenset(), True, False)}, "facts": facts(superuser=False)},
            "only be created by a superuser",
            "superuser",
        ),
        ({"roles": frozenset()}, "name roles that this server lacks: app, reader", "--no-owner"),
        (
            {"tablespaces": frozenset(["pg_default"])},
            "or that the user may not create in: fast",
            "--no-tablespaces",
        ),
        ({"here": None, "oid": None, "member_of_owner": False}, "can't act as app", "--no-owner"),
        (
            {"slots": ("s1", "s2")},
            "replication slots belong to this database: s1, s2",
            "pg_drop_replication_slot",
        ),
        ({"subscriptions": ("sub",)}, "subscribes to others: sub", "DROP SUBSCRIPTION"),
        ({"prepared": ("p",)}, "prepared transactions are open in this database: p", "ROLLBACK PREPARED"),
        ({"createdb": False}, "may not create databases", "--in-place"),
        ({"member_of_owner": False}, "belongs to app", "GRANT that role"),
        ({"strangers": ("an other",)}, "roles that the user can't act as", 'GRANT "an other" to the user'),
        ({"foreign_sessions": ("boss",)}, "may not end are in the target: boss", "pg_signal_backend"),
    ],
)
def test_each_obstacle_has_its_sentence_and_its_way_out(
    change: dict[str, object], what: str, hint: str
) -> None:
    (found,) = obstacles(
        dataclasses.replace(FINE, **change), BACKUP, with_owners=True, with_tablespaces=True, beside=True
    )  # type: ignore[arg-type]
    assert what in found.what
    assert hint in found.hint


def test_without_owners_no_role_is_missed_and_in_place_no_database_is_made() -> None:
    poor = dataclasses.replace(
        FINE,
        roles=frozenset(["reader"]),
        tablespaces=frozenset(),
        createdb=False,
        foreign_sessions=("boss",),
        strangers=("an other",),
    )
    assert obstacles(poor, BACKUP, with_owners=False, with_tablespaces=False, beside=False) == []


def test_without_owners_the_roles_of_policies_are_still_needed() -> None:
    poor = dataclasses.replace(FINE, roles=frozenset(["app"]))
    (found,) = obstacles(poor, BACKUP, with_owners=False, with_tablespaces=True, beside=True)
    assert found.what == "policies and user mappings of the backup name roles that this server lacks: reader"
    assert "NOLOGIN" in found.hint


def test_a_utf8_target_takes_a_backup_of_any_encoding() -> None:
    latin = dataclasses.replace(BACKUP, encoding="LATIN1")
    assert obstacles(FINE, latin, with_owners=True, with_tablespaces=True, beside=True) == []


def test_everything_is_said_at_once() -> None:
    found = obstacles(
        dataclasses.replace(FINE, slots=("s",), prepared=("p",)),
        BACKUP,
        with_owners=True,
        with_tablespaces=True,
        beside=True,
    )
    with pytest.raises(BlockedError) as caught:
        refuse(found, what="restoring it", untouched="nothing was touched")
    assert "slots" in caught.value.message
    assert "prepared transactions" in caught.value.message
    refuse([], what="", untouched="")
