"""What TAB offers behind a flag: from files alone, and nothing that a shell could take for more than a word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pgops.completion import SHELLS, remembered, script
from pgops.completion.values import VALUES, Line, candidates, joined, project_directory
from pgops.environments import load
from pgops.migrations.hazards.rules import CLAIMED
from tests.support.projects import AlembicProject

ENVIRONMENTS = """\
version: 1
default: dev
stores:
  local: {url: "file:./kept"}
  bucket: {url: "s3://bucket/x", region: eu-central-1}
defaults:
  backups: {store: local}
environments:
  dev: {aliases: [development], host: localhost, dbname: a, user: b, protected: false}
  production: {aliases: [live], host: localhost, dbname: c, user: d, backups: {store: bucket}}
"""
IDS = ["20260101T000000Z-aaaaaa", "20260102T000000Z-bbbbbb"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "environments.yaml").write_text(ENVIRONMENTS, encoding="utf-8")
    AlembicProject.make(tmp_path).chain("one", "two")
    for at, each in enumerate(IDS):
        home = tmp_path / "kept" / "dev" / each
        home.mkdir(parents=True)
        names = [("public", "book"), ("public", "$(id)"), ("other", "book"), ("other", f"only{at}")]
        tables = [{"schema": schema, "name": name} for schema, name in names]
        (home / "manifest.json").write_text(json.dumps({"tables": tables}), encoding="utf-8")
    (tmp_path / "kept" / "dev" / "20260103T000000Z-cccccc").mkdir()  # not a backup yet
    return tmp_path


def offered(root: Path, flag: str, *words: str) -> list[str]:
    return candidates(flag, Line(words, root, {"XDG_CACHE_HOME": str(root / "cache")}))


@pytest.mark.parametrize("flag", ["--env", "--from", "--on", "--sizes-of"])
def test_environments(shop: Path, flag: str) -> None:
    assert offered(shop, flag, "restore", flag) == ["dev", "development", "production", "live"]
    assert offered(shop, "--confirm", "restore", "--confirm") == ["dev", "production"]


def test_e_before_a_task_is_invokes(shop: Path) -> None:
    assert offered(shop, "-e", "-e") == []
    assert offered(shop, "-e", "restore", "-e") != []


def test_backups_newest_first(shop: Path) -> None:
    assert offered(shop, "--backup", "restore", "--backup") == ["latest", *reversed(IDS)]
    assert offered(shop, "--backup", "restore", "--env=live", "--from", "dev") == ["latest", *reversed(IDS)]


def test_what_a_bucket_holds_is_what_was_seen_last(shop: Path) -> None:
    words = ("restore", "--env=live", "--backup")
    assert offered(shop, "--backup", *words) == ["latest"]
    production = load(root=shop).environment("production")
    environ = {"XDG_CACHE_HOME": str(shop / "cache")}
    for kind, names in (
        ("backups", IDS),
        ("tables", ["public.a", "b.c"]),
        ("kept-databases", ["c__old_1"]),
        ("recoveries", ["r1"]),
    ):
        remembered.remember(production, kind, names, environ)
    assert offered(shop, "--backup", *words) == ["latest", *IDS]
    assert offered(shop, "--table", *words) == ["a", "c"]
    assert offered(shop, "--database", *words) == ["c__old_1"]
    assert offered(shop, "--recovery", "restore.hand-over", "--env=live") == ["r1"]
    assert offered(shop, "--database", "restore.undo") == []


def test_a_cache_that_cannot_be_written_costs_nothing(shop: Path) -> None:
    (shop / "cache").write_text("a file", encoding="utf-8")
    production = load(root=shop).environment("production")
    remembered.remember(production, "backups", IDS, {"XDG_CACHE_HOME": str(shop / "cache")})
    assert offered(shop, "--backup", "restore", "-e", "live") == ["latest"]


def test_tables_and_schemas_of_the_backup_that_is_meant(shop: Path) -> None:
    assert offered(shop, "--table", "restore") == ["public.book", "other.book", "only1"]
    assert offered(shop, "--table", "restore", f"--backup={IDS[0]}") == ["public.book", "other.book", "only0"]
    assert offered(shop, "--table", "restore", "--backup", "aaaaaa")[-1] == "only0"
    assert offered(shop, "--schema", "restore") == ["public", "other"]


def test_revisions(shop: Path) -> None:
    assert offered(shop, "--to", "migrate") == ["heads", "base", "one", "two"]
    assert offered(shop, "--since", "migrate.test") == ["one", "two"]
    assert offered(shop, "--since", "migrate.lint") == []


def test_words_as_bash_gives_them() -> None:
    assert joined(["restore", "--env", "=", "dev", "--yes"]) == ["restore", "--env=dev", "--yes"]
    assert joined(["restore", "--env=dev", "--table", "="]) == ["restore", "--env=dev", "--table="]


def test_words_of_pgops_own(shop: Path) -> None:
    assert offered(shop, "--accept-hazard") == list(CLAIMED)
    assert offered(shop, "--shell") == list(SHELLS)
    assert offered(shop, "--message") == []


@pytest.mark.parametrize("text", [None, "", "version: [", "version: 1\nenvironments: 5\n", "\x00"])
def test_what_cannot_be_told_is_not_offered(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "environments.yaml").write_text(text, encoding="utf-8")
    for flag in VALUES:
        assert all(isinstance(each, str) for each in offered(tmp_path, flag, "restore", flag))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_ask_for_the_flags_that_have_values(shell: str) -> None:
    text = re.sub(r"\\\n\s*", "", script(shell))
    line = re.search(r"^ *(?:case )?(--env [^\n)]*)", text, re.MULTILINE)
    assert line is not None
    assert set(line[1].replace("|", " ").split()) == set(VALUES)


def test_every_flag_with_values_is_a_flag_of_a_task() -> None:
    from pgops.tasks import namespace

    known = {
        f"-{name}" if len(name) == 1 else f"--{name}"
        for task in namespace.task_names
        for argument in namespace[task].get_arguments()
        for name in argument.names
    }
    assert set(VALUES) <= known


def test_the_project_is_that_of_the_nearest_tasks_above(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert project_directory(below) == below
    (tmp_path / "environments.yaml").touch()
    assert project_directory(below) == tmp_path
    (tmp_path / "a" / "tasks").mkdir()
    (tmp_path / "a" / "tasks" / "__init__.py").touch()
    assert project_directory(below) == tmp_path / "a"
