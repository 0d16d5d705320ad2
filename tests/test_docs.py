"""The documents say what the code does: every task and flag, every exit code, the recorded run, every link."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pgops import errors
from tests.support import recorded

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])


def read(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def tasks() -> dict[str, object]:
    from pgops.tasks import namespace

    return {
        name: namespace[name]
        for name in namespace.task_names
        if name not in {"test", "lint", "bench", "site"}
    }


def test_every_task_has_help_and_every_flag_is_explained() -> None:
    for name, task in tasks().items():
        assert task.__doc__, name  # type: ignore[attr-defined]
        for argument in task.get_arguments():  # type: ignore[attr-defined]
            assert argument.help, f"{name} --{argument.name} has no help"


def test_the_menu_fits() -> None:
    """The first sentence of a task is its line in the menu."""
    for name, task in tasks().items():
        first = (task.__doc__ or "").strip().split("\n\n")[0]  # type: ignore[attr-defined]
        assert len(" ".join(first.split())) <= 110, f"{name}: {first}"


def test_every_task_has_examples_that_can_be_typed() -> None:
    """Each is read as a command line is: a flag or a task that is renamed must be renamed there too."""
    import shlex

    from invoke.config import Config
    from invoke.program import Program

    from pgops.tasks import namespace
    from pgops.tasks._examples import EXAMPLES

    names = set(tasks())
    assert set(EXAMPLES) <= names
    for name in names:
        assert EXAMPLES.get(name), f"{name} has no example: pgops/tasks/_examples.py"
        for command, _ in EXAMPLES[name]:
            program = Program(namespace=namespace)
            program.config = Config()
            program.argv = ["invoke", *shlex.split(command.partition(" > ")[0])]
            program.parse_core_args()
            program.collection = namespace
            program.parse_tasks()
            assert name in [each.name for each in program.tasks], command


def test_the_reference_of_tasks_is_the_one_the_code_would_write() -> None:
    from tests.support.task_reference import reference

    assert read("docs/tasks.md") == reference(), (
        "python -m tests.support.task_reference writes docs/tasks.md anew"
    )


def test_every_task_shows_what_it_prints() -> None:
    """Recorded by a real run; tests/integration/test_recorded.py compares them with one."""
    recordable = set(tasks()) - recorded.BY_A_PERSON - recorded.OVER_PGBACKREST
    assert recordable == {name for name, _ in recorded.SESSION} == set(recorded.recorded_session())


def test_every_exit_code_is_documented() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| ([^|]*) \|", read("docs/exit-codes.md"), re.MULTILINE))
    assert sorted(map(int, rows)) == sorted(map(int, errors.ExitCode))
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.PgopsError):
            assert f"`{value.code}`" in rows[str(int(value.exit_code))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / link).exists(), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_documents_exist(document: Path) -> None:
    from pgops.tasks import namespace

    known = set(namespace.task_names) | {alias for value in namespace.task_names.values() for alias in value}
    known |= {"test", "lint", "bench", "site"}
    for line in re.findall(
        r"^\$ (?:\./inv|inv|invoke) (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE
    ):
        words = [word for word in line.split("#")[0].split("&&")[0].split() if not word.startswith("-")]
        named = [word for word in words if re.fullmatch(r"[a-z]+(\.[a-z_]+)?", word)]
        assert not named or named[0] in known, line


@pytest.mark.parametrize("tasks", recorded.recorded())
def test_the_recorded_run_is_what_happens(tasks: str, tmp_path: Path) -> None:
    shown = recorded.recorded()[tasks].split("\n", 1)[1]
    assert recorded.same(recorded.run(tasks, tmp_path)) == recorded.same(shown), (
        "python -m tests.support.recorded records it anew"
    )


def test_the_project_speaks_of_itself_alone() -> None:
    """No addresses of package registries and no paths of one person's machine in what is committed."""
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    wrong = re.compile(r"index-url|https?://[^\s]+/(?:simple|packages)/|/root/")
    for name in files.split("\0"):
        path = REPOSITORY / name
        if name and path.is_file() and path.name != "test_docs.py":
            found = wrong.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{name}: {found}"


def test_the_picture_of_the_house_is_the_house() -> None:
    from tests.support.house_picture import PICTURE, draw

    assert PICTURE.read_text(encoding="utf-8") == draw(), (
        "python -m tests.support.house_picture draws it anew"
    )


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_what_the_house_pages_name_is_there(page: str) -> None:
    """Each path in code marks is a file or directory: of the repository or of pgops."""
    roots = [REPOSITORY, REPOSITORY / "pgops"]
    named = re.findall(r"`([a-z_.]+(?:/[a-z_0-9.]+)+/?)`", read(page))
    assert named
    missing = [each for each in named if not any((root / each).exists() for root in roots)]
    assert not missing
