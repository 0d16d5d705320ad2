"""Whose textfile it is: two projects never write over each other's."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgops.errors import PgopsError, RefusedError
from pgops.overview.overview import Row
from pgops.overview.report import EnvironmentReport, Report
from pgops.pages.metrics import exposition, textfile, write_textfile

HOSTILE = 'a"b\\c\n# HELP x\u202e\x1b[31m{}'


def project(root: Path, *names: str) -> Path:
    made = root.joinpath(*names)
    made.mkdir(parents=True)
    return made


def put(directory: Path, project: Path, content: bytes, environment: str = "production") -> Path:
    file = textfile(directory, project, environment)
    write_textfile(file, content, project=project, environment=environment)
    return file


def test_projects_of_other_names_have_other_files(tmp_path: Path) -> None:
    one, two = project(tmp_path, "shop"), project(tmp_path, "Our Blog")
    assert put(tmp_path, one, b"1\n").name == "pgops-shop-production.prom"
    assert put(tmp_path, two, b"2\n").name == "pgops-our-blog-production.prom"
    assert len(list(tmp_path.glob("*.prom"))) == 2


@pytest.mark.parametrize(
    ("names", "other"), [(("a", "shop"), "production"), (("a-b",), "c"), (("b", "sho\np"), "production")]
)
def test_the_file_of_another_project_is_not_replaced(
    tmp_path: Path, names: tuple[str, ...], other: str
) -> None:
    one = project(tmp_path, *names)
    two = {"shop": ("z", "shop"), "a-b": ("a",), "sho\np": ("sho-p",)}[names[-1]]
    second, environment = project(tmp_path, *two), "b-c" if other == "c" else other
    file = put(tmp_path, one, b"1\n", other)
    before = file.read_bytes()
    with pytest.raises(RefusedError, match="not of this project"):
        put(tmp_path, second, b"2\n", environment)
    assert file.read_bytes() == before
    put(tmp_path, one, b"3\n", other)
    assert file.read_bytes().endswith(b"\n3\n"), "its own is replaced"
    assert file.read_bytes().count(b"\n") == 2


def test_a_project_that_moved_takes_its_file_along(tmp_path: Path) -> None:
    one = project(tmp_path, "a", "shop")
    file = put(tmp_path, one, b"1\n")
    one.rename(tmp_path / "shop")
    put(tmp_path, tmp_path / "shop", b"2\n")
    assert file.read_bytes().endswith(b"\n2\n")


@pytest.mark.parametrize("content", [b"", b"up 1\n", b"# pgops metrics of production of [1]\n", b"\xff\x00"])
def test_what_is_not_ours_stays(tmp_path: Path, content: bytes) -> None:
    one = project(tmp_path, "shop")
    file = textfile(tmp_path, one, "production")
    file.write_bytes(content)
    with pytest.raises(RefusedError):
        put(tmp_path, one, b"1\n")
    file.unlink()
    file.mkdir()
    with pytest.raises(PgopsError, match="can't be written"):
        put(tmp_path, one, b"1\n")


def test_a_name_makes_no_series_of_its_own() -> None:
    row = EnvironmentReport(Row(HOSTILE), False, 7, (), (), (), (), backups_known=False)
    text = exposition(Report(dt.datetime.now(dt.UTC), (row,)), {}, HOSTILE).decode()
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    assert {each.name for each in samples} == {"pgops_environment_reachable", "pgops_database_size_bytes"}
    assert all(each.labels == {"project": HOSTILE, "environment": HOSTILE} for each in samples)
