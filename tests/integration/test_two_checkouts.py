"""Two checkouts of one project: the older one undoes what the newer one applied, and the database is what it was.

Two projects always, each once; every project, cut at each of its revisions, with PGOPS_TEST_ROUNDS=all.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.environments import load
from pgops.migrations.revisions.history import History
from pgops.migrations.revisions.revision import NotPlainError
from pgops.migrations.status.status import history_of
from pgops.postgres import Target, connected, execute, fetch_value
from tests.conftest import ProjectDirectory
from tests.support.adopted import PROJECTS, Adopted

ALL = os.environ.get("PGOPS_TEST_ROUNDS") == "all"
ALWAYS = ("depends_on", "heads_and_branches")
# What they show is that pgops refuses them, that there is nothing to migrate, or how they are set up by a tool.
NOT_TO_BE_MIGRATED = {
    "asks_which_command": "it writes down what it is asked, and is tested by that",
    "flask_migrate": "its migrations are made by flask db",
    "flask_migrate_multidb": "it is refused: several databases in one go",
    "many_schemas": "one command migrates several version tables, of which the journal knows one",
    "no_revision_where_the_configuration_says": "it has no revisions",
    "password_apart": "it wants a role of its own, and its revisions are those of others",
    "percent_in_the_password": "it wants a role of its own, and its revisions are those of others",
    "real": "on request, by adopt.py",
    "url_hard_coded_elsewhere": "it is refused: another database",
}
BEFORE = {"engine_with_a_search_path": "CREATE SCHEMA library"}
EVERY = tuple(sorted(each.name for each in PROJECTS.iterdir() if each.name not in NOT_TO_BE_MIGRATED))

_LOOKS_LIKE = """
SELECT coalesce(string_agg(line, E'\n' ORDER BY line), '') FROM (
    SELECT concat_ws(' ', table_schema, table_name, column_name, data_type, is_nullable, column_default) AS line
      FROM information_schema.columns
     WHERE table_schema NOT IN ('pgops', 'information_schema') AND table_schema !~ '^pg_'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname NOT IN ('pgops') AND schemaname !~ '^pg_'
    UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
     WHERE connamespace::regnamespace::text !~ '^(pg_|pgops|information_schema)'
) AS everything WHERE line !~ 'alembic_version|_version'
"""


def looks_like(target: Target) -> str:
    with connected(target) as connection:
        return str(fetch_value(connection, _LOOKS_LIKE))


def files_of(directory: Path) -> dict[str | None, list[Path]]:
    """The revision files of each history, parents before children."""
    found: dict[str | None, list[Path]] = {}
    environment = load(root=directory, file=directory / "environments.yaml").environment("here")
    for each in environment.histories():
        name = each.alembic.history
        try:
            found[name] = order(history_of(each))
        except NotPlainError:
            # Where they are is known to env.py alone; their names tell the order.
            found[name] = sorted((directory / name if name else directory).rglob("00*.py"))
    return found


def order(history: History) -> list[Path]:
    """The files of a history, parents before children."""
    return [history.revisions[each].file for each in history.pending(())]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", EVERY if ALL else ALWAYS)
def test_the_older_checkout_undoes_what_the_newer_one_applied(
    name: str, project: ProjectDirectory, make_database: Callable[[], Target], tmp_path: Path
) -> None:
    if not ALL:
        print("two projects, each cut once; all of them with PGOPS_TEST_ROUNDS=all")
    shutil.copytree(PROJECTS / name, project.path, dirs_exist_ok=True)
    known = files_of(project.path)
    longest = max(map(len, known.values()))
    assert longest, name
    for lacking in range(1, longest + 1) if ALL else (2,):
        older = tmp_path / f"older-{lacking}"
        shutil.copytree(project.path, older)
        for files in known.values():
            for file in files[-lacking:]:
                (older / file.relative_to(project.path)).unlink()
        undone_from_the_older(name, project, older, make_database(), tuple(known))


def undone_from_the_older(
    name: str,
    newer: ProjectDirectory,
    older: Path,
    database: Target,
    known: tuple[str | None, ...],
) -> None:
    new, old = Adopted(newer, database), Adopted(dataclasses.replace(newer, path=older), database)
    if name in BEFORE:
        with connected(database) as connection:
            execute(connection, BEFORE[name])
    first = old.run("migrate", "--to=heads", "--json", "--yes")
    assert first.code == 0, first.text
    was = looks_like(database)
    second = new.run("migrate", "--to=heads", "--json", "--yes", "--confirm=here")
    assert second.code == 0, second.text
    assert json.loads(second.out)["run"]["applied"], second.text
    became = looks_like(database)

    (status,) = old.answers("migrate.status", "--json")
    assert status["environments"][0]["unknown"], status
    for history in reversed(known):
        of = [f"--history={history}"] if history else []
        shown = old.run("migrate.undo", *of, "--dry-run")
        assert shown.code == 0, shown.text
        assert "from the journal: " in shown.text
        assert looks_like(database) == became or history != known[-1]
        undone = old.run("migrate.undo", *of, "--json", "--yes", "--confirm=here")
        assert undone.code == 0, undone.text
    assert looks_like(database) == was
    (status,) = old.answers("migrate.status", "--json")
    (here,) = status["environments"]
    assert (here["unknown"], here["pending"]) == ([], []), here
    # And the newer one goes on from there.
    again = new.run("migrate", "--to=heads", "--json", "--yes", "--confirm=here")
    assert again.code == 0, again.text
    assert looks_like(database) == became
