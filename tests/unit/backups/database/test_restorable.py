"""What a text of a function names, and collations of another version."""

from __future__ import annotations

from typing import Any

import pytest

from pgops.backups.database import restorable


def test_what_a_body_names_without_a_schema() -> None:
    names = restorable._Names(
        relations={"allowed": {"app"}, "log": {"app"}, "Odd": {"app"}},
        functions={"helper": {"app"}, "lower": {"app"}},
        built_in=frozenset(["lower", "count"]),
    )

    def named(body: str, *, has_path: bool = False) -> tuple[list[str], list[str]]:
        function = restorable._Function("app", "f", "", body, has_path)
        relations, unqualified, _schemas = restorable.named_by(function, names)
        return relations, unqualified

    assert named("SELECT count(*) FROM allowed") == (["allowed"], ["allowed"])
    assert named('select 1 from app.allowed join "Odd" on true') == (["allowed", "Odd"], ["Odd"])
    assert named("SELECT helper(1), app.helper(2), lower('x')") == ([], ["helper()"])
    assert named("-- FROM allowed\nSELECT 'FROM log' /* FROM log */") == ([], [])
    assert named("SELECT 1 FROM allowed", has_path=True) == (["allowed"], [])
    assert named("SELECT extract(day FROM now())") == ([], [])


def test_collations_of_another_version_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorable, "fetch_one", lambda *_: ("app", "2.36", "2.41"))
    rows: list[tuple[Any, ...]] = [("public.german", "153.120", "153.128"), ("public.same", "1", "1")]
    monkeypatch.setattr(restorable, "fetch_all", lambda *_: rows)
    database, collation = restorable._collations(None, 17)  # type: ignore[arg-type]
    assert database.startswith(
        "the database was made with version 2.36 of its collation, and this server has 2.41"
    )
    assert database.endswith('REINDEX DATABASE "app"; ALTER DATABASE "app" REFRESH COLLATION VERSION;')
    assert collation.startswith("collation public.german was made as version 153.120")
    assert collation.endswith("ALTER COLLATION public.german REFRESH VERSION;")
