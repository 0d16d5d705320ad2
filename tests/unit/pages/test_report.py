"""The page over all environments, from values made up."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from pgops.backups.manifest.proof import Proof
from pgops.backups.repository import Backup
from pgops.overview.overview import Row
from pgops.overview.report import EnvironmentReport, Report
from pgops.pages.report import DAYS, as_html
from tests.support.backups import manifest_for
from tests.support.html import Elements
from tests.support.rehearsals import NASTY

NOW = dt.datetime(2026, 3, 15, 12, 0, tzinfo=dt.UTC)


def backup(days_ago: int, *proofs: Proof) -> Backup:
    made = NOW - dt.timedelta(days=days_ago)
    manifest = dataclasses.replace(manifest_for(()), started_at=made, finished_at=made)
    return Backup(manifest, "there", proofs)


def environment(*backups: Backup, **changes: object) -> EnvironmentReport:
    given: dict[str, object] = {
        "row": Row("staging", place="there", server="PostgreSQL 18.6"),
        "protected": False,
        "size": 5_000_000,
        "runs": (),
        "backups": backups,
        "gates": (),
        "problems": (),
    }
    return EnvironmentReport(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("proofs", "kind"),
    [
        ((), "made"),
        ((Proof("read", NOW, 1.0),), "read"),
        ((Proof("read", NOW, 1.0), Proof("restore", NOW, 2.0)), "restored"),
        ((Proof("restore", NOW, 2.0), Proof("read", NOW + dt.timedelta(hours=1), 1.0, ("torn",))), "damaged"),
    ],
)
def test_a_day_shows_how_its_backup_was_proven(proofs: tuple[Proof, ...], kind: str) -> None:
    days = [
        attributes
        for tag, attributes in Elements(as_html(Report(NOW, (environment(backup(1, *proofs)),)))).tags
        if tag == "i" and (attributes.get("title") or "").startswith("2026-")
    ]
    calendar = [each for each in days if each.get("class") in {"none", "made", "read", "restored", "damaged"}]
    assert len(calendar) == DAYS
    assert [each["class"] for each in calendar[-2:]] == [kind, "none"]


def test_text_of_others_is_text(tmp_path: Path) -> None:
    found = environment(
        row=Row(NASTY, place=NASTY, server=NASTY, problems=(NASTY,)), gates=(NASTY,), problems=(NASTY,)
    )
    page = Elements(as_html(Report(NOW, (found,))))
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags and "img" not in tags
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_an_environment_that_does_not_answer_has_its_place() -> None:
    found = environment(row=Row("prod", missing="unreachable", problems=("refused",)), size=None)
    shown = " ".join("".join(Elements(as_html(Report(NOW, (found,)))).text).split())
    assert "unreachable" in shown
    assert "refused" in shown
