"""Where Alembic's files are, read without Alembic, compared with where Alembic looks."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from pgops.environments import AlembicSettings
from pgops.errors import ConfigurationError
from pgops.migrations.revisions.location import ScriptLocation, locate

INIS = {
    "here": "[alembic]\nscript_location = %(here)s/scripts\n",
    "relative": "[alembic]\nscript_location = scripts\n",
    "locations by os": "[alembic]\nscript_location = scripts\npath_separator = os\n"
    f"version_locations = %(here)s/one{os.pathsep}%(here)s/two\n",
    "locations by space": "[alembic]\nscript_location = scripts\npath_separator = space\n"
    "version_locations = %(here)s/one %(here)s/two\n",
    "locations by newline": "[alembic]\nscript_location = scripts\npath_separator = newline\n"
    "version_locations = %(here)s/one\n    %(here)s/two\n",
    "the old separator": "[alembic]\nscript_location = scripts\nversion_path_separator = :\n"
    "version_locations = %(here)s/one:%(here)s/two\n",
    "no separator": "[alembic]\nscript_location = scripts\nversion_locations = %(here)s/one, %(here)s/two\n",
    "recursive": "[alembic]\nscript_location = scripts\nrecursive_version_locations = true\n",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for directory in ("scripts/versions/deep/er", "one", "two"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / f"{directory.replace('/', '_')}.py").write_text("")
    (tmp_path / "scripts/versions/deep/deep.py").write_text("")
    (tmp_path / "scripts/versions/v.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def located(here: Path, name: str = "alembic.ini", section: str | None = None) -> ScriptLocation:
    return locate(AlembicSettings(here / name, name=section), here)


@pytest.mark.parametrize("text", INIS.values(), ids=INIS.keys())
def test_looks_where_alembic_looks(here: Path, text: str) -> None:
    (here / "alembic.ini").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = ScriptDirectory.from_config(Config("alembic.ini"))
        theirs = [Path(each).resolve() for each in script._version_locations]
    found = located(here)
    assert [each.resolve() for each in found.version_directories] == theirs
    assert found.recursive is script.recursive_version_locations
    expected = sorted(
        str(file.resolve()) for at in theirs for file in at.glob("**/*.py" if found.recursive else "*.py")
    )
    assert sorted(found.revision_files()) == expected


def test_pyproject_and_the_ini_that_wins_over_it(here: Path) -> None:
    (here / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/scripts"\nversion_locations = ["%(here)s/one"]\n'
    )
    assert located(here, "pyproject.toml").version_directories == (here / "one",)
    (here / "alembic.ini").write_text("[alembic]\nsqlalchemy.url = postgresql+asyncpg://u@h/d\n")
    found = located(here)
    assert (found.version_directories, found.url) == ((here / "one",), "postgresql+asyncpg://u@h/d")


@pytest.mark.parametrize(
    ("lines", "option", "url"),
    [
        ("db.url = postgresql+psycopg://u@h/d", "db.url", "postgresql+psycopg://u@h/d"),
        (
            "db.url = postgresql://h/d\nsqlalchemy.url = driver://user@localhost/db",
            "db.url",
            "postgresql://h/d",
        ),
        ("sqlalchemy.url = postgresql://h/d", "sqlalchemy.url", "postgresql://h/d"),
        (
            "old.url = postgresql://h/a\nsqlalchemy.url = postgresql://h/d",
            "sqlalchemy.url",
            "postgresql://h/d",
        ),
        ("old.url = postgresql://h/a\nnew.url = postgresql://h/b", "sqlalchemy.url", ""),
    ],
)
def test_the_option_that_holds_the_url(here: Path, lines: str, option: str, url: str) -> None:
    (here / "alembic.ini").write_text(f"[alembic]\nscript_location = scripts\n{lines}\n")
    found = located(here)
    assert (found.url_option, found.url) == (option, url)


def test_a_section_of_its_own(here: Path) -> None:
    (here / "alembic.ini").write_text(
        "[main]\nscript_location = scripts\n[other]\nscript_location = nowhere\n"
    )
    assert located(here, section="main").script_directory == here / "scripts"
    with pytest.raises(ConfigurationError, match="script_location 'nowhere' is not a directory"):
        located(here, section="other")
    with pytest.raises(ConfigurationError, match=r"there is no section \[alembic\]") as failure:
        located(here)
    assert failure.value.hint == "it has [main], [other]"


def test_a_package_is_found_without_being_imported(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = here / "src" / "application" / "sub"
    (package / "migrations").mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (here / "alembic.ini").write_text(
        "[alembic]\nscript_location = application.sub:migrations\nprepend_sys_path = src\n"
    )
    assert located(here).script_directory == package / "migrations"


def test_relative_to_where_a_person_would_stand(tmp_path: Path) -> None:
    (tmp_path / "db" / "scripts").mkdir(parents=True)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "alembic.ini").write_text("[alembic]\nscript_location = db/scripts\n")
    found = locate(AlembicSettings(tmp_path / "conf" / "alembic.ini"), tmp_path)
    assert (found.working_directory, found.script_directory) == (tmp_path, tmp_path / "db" / "scripts")


def test_relative_to_where_its_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages"
    (installed / "shop" / "migrations").mkdir(parents=True)
    ini = installed / "shop" / "migrations" / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = shop/migrations\n")
    with pytest.raises(ConfigurationError, match="is not a directory"):
        locate(AlembicSettings(ini), tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(installed)
    found = locate(AlembicSettings(ini), tmp_path / "elsewhere")
    assert (found.working_directory, found.script_directory) == (installed, ini.parent)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[alembic\n", "[alembic]\nscript_location = %(nothing)s\n", "[alembic]\n"]
)
def test_a_broken_configuration_is_told(here: Path, text: str) -> None:
    (here / "alembic.ini").write_text(text)
    with pytest.raises(ConfigurationError, match=r"alembic\.ini"):
        located(here)


@pytest.mark.parametrize(
    ("env", "settings", "unusual"),
    [
        ("context.configure(connection=c)", {}, False),
        ("context.configure(connection=c, version_table='x')", {}, True),
        ("context.configure(connection=c, **options)", {}, True),
        ("connection.execute('SET search_path TO x')\ncontext.configure(connection=c)", {}, True),
        ("from application import run\nrun()", {}, True),
        ("context.get_x_argument()\ncontext.configure(connection=c)", {}, False),
        ("context.get_x_argument()\ncontext.configure(connection=c)", {"tenant": "a"}, True),
    ],
)
def test_when_the_usual_version_table_may_not_be_it(
    here: Path, env: str, settings: dict[str, str], unusual: bool
) -> None:
    (here / "alembic.ini").write_text(INIS["here"])
    (here / "scripts" / "env.py").write_text(env)
    alembic = AlembicSettings(here / "alembic.ini", x=settings)
    assert (locate(alembic, here).unusual(alembic) is not None) is unusual


def test_a_separator_that_alembic_does_not_know_is_told(here: Path) -> None:
    text = "[alembic]\nscript_location = scripts\npath_separator = comma\nversion_locations = one,two\n"
    (here / "alembic.ini").write_text(text, encoding="utf-8")
    with pytest.raises(
        ConfigurationError, match="path_separator = comma: Alembic takes space, newline, os, :, ;"
    ):
        located(here)


def test_the_old_separator_is_of_the_versions_alone(here: Path) -> None:
    text = (
        "[alembic]\nscript_location = scripts\nversion_path_separator = newline\nprepend_sys_path = one:two\n"
    )
    (here / "alembic.ini").write_text(text, encoding="utf-8")
    assert located(here).import_path == (here / "one", here / "two")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"\xef\xbb\xbf[alembic]\n", "begins with a byte order mark, which Alembic does not read"),
        (b"script_location = x\n[alembic]\n", "line 1 stands before any"),
        ("# grün\n[alembic]\n".encode("latin-1"), "it is not UTF-8"),
    ],
)
def test_an_ini_that_can_not_be_read_is_told_with_the_line(here: Path, raw: bytes, told: str) -> None:
    (here / "alembic.ini").write_bytes(raw)
    with pytest.raises(ConfigurationError, match=told) as error:
        located(here)
    assert "\\n" not in error.value.message and "\n" not in error.value.message
