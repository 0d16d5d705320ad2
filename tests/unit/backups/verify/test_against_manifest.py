"""What counts as a difference between a manifest and a database."""

from __future__ import annotations

import dataclasses

import pytest

from pgops.backups.manifest.manifest import Extension, File, InvalidIndex, Manifest, SequenceValue, Table
from pgops.backups.verify.against_manifest import Contents, differences, name_of
from tests.support.backups import manifest_for

BACKUP: Manifest = dataclasses.replace(
    manifest_for((File("dump/toc.dat", 1, "0" * 64),)),
    tables=(Table("public", "t", 3, 8192), Table("public", "far", None, 0)),
    sequences=(SequenceValue("public", "s", 10, True), SequenceValue("public", "down", -10, True)),
    large_objects=1,
    extensions=(Extension("citext", "1.6", "public"),),
    heads=("a", "b"),
)
SAME = Contents(
    counts={("public", "t"): 3},
    movable={},
    relations=frozenset([("public", "t"), ("public", "far")]),
    sequences={
        ("public", "s"): SequenceValue("public", "s", 10, True),
        ("public", "down"): SequenceValue("public", "down", -10, True),
    },
    descending=frozenset([("public", "down")]),
    cycling=frozenset(),
    large_objects=1,
    extensions={"citext": "1.6", "plpgsql": "1.0"},
    invalid_indexes=(),
    heads=("b", "a"),
)


def test_the_same_is_the_same() -> None:
    assert differences(BACKUP, SAME) == ([], [])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"counts": {("public", "t"): 2}}, "table public.t has 2 rows, the backup has 3"),
        ({"relations": frozenset([("public", "t")])}, "table public.far is missing"),
        ({"large_objects": 0}, "there are 0 large objects, the backup has 1"),
        ({"extensions": {}}, "extension citext is missing"),
        ({"invalid_indexes": (InvalidIndex("public", "i", False),)}, "index public.i is invalid"),
        ({"heads": ("a",)}, "Alembic heads are a, the backup has a, b"),
    ],
)
def test_each_difference_has_its_sentence(change: dict[str, object], problem: str) -> None:
    assert differences(BACKUP, dataclasses.replace(SAME, **change)) == ([problem], [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "problems"),
    [
        ((5, 0), []),
        ((2, 3), []),
        ((2, 2), ["the partitions of public.by_mood have 4 rows, in the backup they have 5"]),
    ],
)
def test_rows_may_have_moved_between_partitions_by_enum_but_not_away(
    counts: tuple[int, int], problems: list[str]
) -> None:
    parts = (("public", "mood_0"), ("public", "mood_1"))
    backup = dataclasses.replace(
        BACKUP,
        tables=(*BACKUP.tables, *(Table(*key, rows, 0) for key, rows in zip(parts, (1, 4), strict=True))),
    )
    found = dataclasses.replace(
        SAME,
        counts={**SAME.counts, **dict(zip(parts, counts, strict=True))},
        relations=SAME.relations | set(parts),
        movable=dict.fromkeys(parts, ("public", "by_mood")),
    )
    assert differences(backup, found) == (problems, [])


@pytest.mark.parametrize(
    ("name", "last", "called", "problems"),
    [
        ("s", 9, True, 1),
        ("s", 10, False, 1),
        ("s", 11, True, 0),
        ("down", -11, True, 0),
        ("down", -9, True, 1),
    ],
)
def test_a_sequence_may_have_gone_on_but_never_back(
    name: str, last: int, called: bool, problems: int
) -> None:
    moved = {**SAME.sequences, ("public", name): SequenceValue("public", name, last, called)}
    assert len(differences(BACKUP, dataclasses.replace(SAME, sequences=moved))[0]) == problems


ON_ONLY, GIVEN_UP = InvalidIndex("public", "i", True), InvalidIndex("public", "i", False)
AS_THERE = "index public.i is invalid here, as it was where it was backed up"
UNKNOWN = "index public.i is invalid: a partition lacks an index of its own"
PROBLEM = "index public.i is invalid"


@pytest.mark.parametrize(
    ("there", "here", "problems", "notes"),
    [
        ((ON_ONLY,), (ON_ONLY,), [], [AS_THERE]),
        ((ON_ONLY,), (), [], []),
        ((), (ON_ONLY,), [PROBLEM], []),
        ((InvalidIndex("other", "i", True),), (ON_ONLY,), [PROBLEM], []),
        # Older manifests don't say.
        (None, (ON_ONLY,), [], [UNKNOWN]),
        (None, (GIVEN_UP,), [PROBLEM], []),
    ],
)
def test_an_index_that_was_invalid_where_it_was_backed_up_is_a_note(
    there: tuple[InvalidIndex, ...] | None,
    here: tuple[InvalidIndex, ...],
    problems: list[str],
    notes: list[str],
) -> None:
    backup = dataclasses.replace(BACKUP, invalid_indexes=there)
    assert differences(backup, dataclasses.replace(SAME, invalid_indexes=here)) == (problems, notes)


def test_another_version_of_an_extension_is_a_note() -> None:
    assert differences(BACKUP, dataclasses.replace(SAME, extensions={"citext": "1.8"})) == (
        [],
        ["extension citext is 1.8 here, 1.6 where it was backed up"],
    )


def test_odd_names_stay_on_one_line() -> None:
    assert name_of("public", "plain") == "public.plain"
    assert name_of("My", 'a"\nb') == '"My"."a""\\nb"'
