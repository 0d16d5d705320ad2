"""Gates: pure decisions over a plan and what is known around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pgops.errors import BlockedError, UsageError
from pgops.migrations.plan.plan import PlannedRevision
from pgops.migrations.run.gates import Promotion, check_promotion, promotion
from pgops.postgres import Target
from tests.support.projects import AlembicProject


def planned(*names: str) -> list[PlannedRevision]:
    return [
        PlannedRevision(name, "", Path(f"{name}.py"), f"hash of {name}", "", None, (name,)) for name in names
    ]


def compared(
    pending: Sequence[PlannedRevision],
    there: frozenset[tuple[str, str, str, str | None]],
    *,
    version_table: str = "v",
    files: Mapping[str, str] | None = None,
) -> Promotion:
    known = {each.revision: each.hash for each in pending} if files is None else files
    return promotion("staging", pending, there, version_table=version_table, files=known)


def test_the_same_file_must_have_succeeded() -> None:
    seen = frozenset(
        {
            ("v", "a", "hash of a", None),
            ("v", "b", "another hash", None),
            ("v", "b", "yet another", "x"),
            ("of another project", "c", "hash of theirs", None),
        }
    )
    found = compared(planned("a", "b", "c"), seen)
    assert (found.missing, found.different, found.granted) == (("c",), ("b",), False)
    assert str(found) == "not yet applied in staging: c; applied in staging from another file: b"
    assert compared(planned("a"), seen).granted
    assert compared([], frozenset()).granted
    # A table of another name there is known by a file that was applied in it.
    elsewhere = compared(planned("a", "b", "c"), seen, version_table="w")
    assert (elsewhere.missing, elsewhere.different) == (("c",), ("b",))
    unknown = compared(planned("b"), seen, version_table="w", files={})
    assert (unknown.missing, unknown.different) == (("b",), ())


@pytest.mark.parametrize(
    ("here", "there", "granted"),
    [
        ("x", {"x"}, True),
        ("x", {"y"}, False),
        ("x", {"y", "x"}, True),
        ("x", {None}, True),
        ("x", {"y", None}, True),
        (None, {"y"}, True),
    ],
)
def test_so_must_its_sql_where_both_sides_know_it(
    here: str | None, there: set[str | None], *, granted: bool
) -> None:
    pending = [replace(each, sql_hash=here) for each in planned("a")]
    found = compared(pending, frozenset(("v", "a", "hash of a", sql) for sql in there))
    assert found.granted == granted
    if not granted:
        assert (found.missing, found.different, found.other_sql) == ((), (), ("a",))
        assert str(found).startswith(
            "emitted other SQL in staging: a (what the file reads or imports changed"
        )


def test_what_could_not_be_asked_is_not_granted() -> None:
    assert not Promotion("staging", unknown="nothing accepts connections").granted


def test_overriding_needs_a_reason(tmp_path: Path) -> None:
    environment = AlembicProject(tmp_path).environment(Target("p", "h", 1, "d", "u"), "production")
    state = Promotion("staging", missing=("a",))
    with pytest.raises(BlockedError, match="production takes a revision only after staging"):
        check_promotion(environment, state, override=False, reason=None)
    with pytest.raises(UsageError, match="needs a reason"):
        check_promotion(environment, state, override=True, reason=None)
    assert check_promotion(environment, state, override=True, reason="urgent")
    assert not check_promotion(environment, Promotion("staging"), override=True, reason="urgent")
    assert not check_promotion(environment, None, override=False, reason=None)
