"""Reading revision files without running them, and the arithmetic over their graph, against Alembic's own."""

from __future__ import annotations

import io
import os
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.runtime.migration import HeadMaintainer, MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pgops.environments import AlembicSettings
from pgops.errors import ConfigurationError, UsageError
from pgops.migrations.revisions.history import History, known_revision, read_history, resolve_dependencies
from pgops.migrations.revisions.location import locate
from pgops.migrations.revisions.revision import NotPlainError, Revision, file_hash, read_revision


def read(text: str) -> Revision:
    return read_revision("x.py", textwrap.dedent(text).encode())


def made(id_: str, *down: str, depends: tuple[str, ...] = (), labels: tuple[str, ...] = ()) -> Revision:
    return Revision(id=id_, down=down, depends=depends, labels=labels, path=f"{id_}.py", hash=id_)


def history(*revisions: Revision) -> History:
    return History({each.id: each for each in revisions})


PLAIN = {
    "stock": '''
        """message

        Revision ID: a1
        Revises: b1

        """
        from typing import Sequence, Union
        # revision identifiers, used by Alembic.
        revision: str = 'a1'
        down_revision: Union[str, Sequence[str], None] = 'b1'
        branch_labels: Union[str, Sequence[str], None] = None
        depends_on: Union[str, Sequence[str], None] = None
    ''',
    "double quotes and a comment": 'revision = "a1"  # ours\ndown_revision = "b1"\n',
    "tuple of one": "revision = 'a1'\ndown_revision = ('b1',)\n",
    "list": "revision = 'a1'\ndown_revision = ['b1']\n",
    "several lines": "revision = 'a1'\ndown_revision = (\n    'b1',\n)\n",
    "annotated oddly": "revision : 'str' = 'a1'\ndown_revision: 'str | None' = 'b1'\n",
    "a docstring that lies": '"""\nrevision = "zz"\n"""\nrevision = \'a1\'\ndown_revision = \'b1\'\n',
    "a string below that lies": 'revision = \'a1\'\ndown_revision = \'b1\'\nTEXT = """\ndepends_on = "zz"\n"""\n',
    "the word in SQL": "revision = 'a1'\ndown_revision = 'b1'\ndef upgrade():\n    op.execute('UPDATE revision SET x = 1')\n",
    "a local of the same name": "revision = 'a1'\ndown_revision = 'b1'\ndef upgrade():\n    revision = 'zz'\n",
    "assigned twice": "revision = 'zz'\nrevision = 'a1'\ndown_revision = 'b1'\n",
    "windows line ends": "revision = 'a1'\r\ndown_revision = 'b1'\r\n",
    "escapes": "revision = 'a\\x31'\ndown_revision = 'b1'\n",
}


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN.keys())
def test_plain_files_are_read(text: str) -> None:
    found = read(text)
    assert (found.id, found.down, found.depends) == ("a1", ("b1",), ())


NOT_PLAIN = {
    "computed": "import os\nrevision = os.environ['X']\ndown_revision = None\n",
    "concatenated": "revision = 'a' + '1'\ndown_revision = None\n",
    "formatted": "x = 1\nrevision = f'a{x}'\ndown_revision = None\n",
    "conditional": "revision = 'a1'\nif True:\n    revision = 'zz'\ndown_revision = None\n",
    "imported": "from somewhere import revision\nrevision = 'a1'\ndown_revision = None\n",
    "imported as": "import x as revision\nrevision = 'a1'\ndown_revision = None\n",
    "imported in brackets": "from x import (\n    a,\n    revision\n)\nrevision = 'a1'\ndown_revision = None\n",
    "star import after": "revision = 'a1'\ndown_revision = None\nfrom x import *\n",
    "unpacked": "revision, down_revision = 'a1', None\n",
    "loop": "revision = 'a1'\ndown_revision = None\nfor revision in ['zz']:\n    pass\n",
    "with": "revision = 'a1'\ndown_revision = None\nwith open('x') as revision:\n    pass\n",
    "walrus": "revision = 'a1'\ndown_revision = None\nprint(revision := 'zz')\n",
    "augmented": "revision = 'a1'\ndown_revision = None\nrevision += 'x'\n",
    "deleted": "revision = 'a1'\ndown_revision = None\ndel down_revision\n",
    "global": "revision = 'a1'\ndown_revision = None\ndef f():\n    global revision\n    revision = 'zz'\nf()\n",
    "globals()": "revision = 'a1'\ndown_revision = None\nglobals()['revision'] = 'zz'\n",
    "exec": "revision = 'a1'\ndown_revision = None\nexec('revision = 1')\n",
    "function": "revision = 'a1'\ndown_revision = None\ndef depends_on():\n    pass\n",
    "no identifiers": "x = 1\n",
    "no down_revision": "revision = 'a1'\n",
    "syntax error": "revision = 'a1'\ndown_revision = 'b1\n",
}


@pytest.mark.parametrize("text", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_whatever_is_in_doubt_is_left_to_alembic(text: str) -> None:
    with pytest.raises(NotPlainError):
        read(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("revision = 1\ndown_revision = None\n", "revision is 1, "),
        ("revision = ''\ndown_revision = None\n", "revision is '', "),
        ("revision = 'a1'\ndown_revision = 3\n", "down_revision is 3, "),
        ("revision = 'a1'\ndown_revision = None\ndepends_on = ('b1', 2)\n", r"depends_on is \('b1', 2\), "),
    ],
)
def test_a_literal_that_is_no_name(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        read(text)


def test_bytes_that_are_no_text_are_left_to_alembic() -> None:
    with pytest.raises(NotPlainError):
        read_revision("x.py", b"revision = '\xff'\ndown_revision = None\n")


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"]
)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    location = alembic_project(tmp_path, {"a1": 'revision = "a1"\ndown_revision = None\n'})
    make(tmp_path / "migrations" / "versions" / "b2.py")
    with pytest.raises(
        ConfigurationError, match=r"b2\.py: this revision file can't be loaded: it is no file"
    ):
        read_history(location)


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    location = alembic_project(tmp_path, {"a1": 'revision = "a1"\ndown_revision = None\n'})
    (tmp_path / "migrations" / "versions" / "b2.py").symlink_to("nowhere.py")
    told = r"b2\.py \(a link to nowhere\.py\): this revision file can't be loaded: it can't be read: No such file"
    with pytest.raises(ConfigurationError, match=told):
        read_history(location)


def test_a_hash_does_not_depend_on_line_ends() -> None:
    text = b"revision = 'a1'\ndown_revision = None\n"
    windows = text.replace(b"\n", b"\r\n")
    assert read_revision("x", text).hash == read_revision("x", windows).hash == file_hash(windows)
    assert file_hash(text + b" ") != file_hash(text)


def test_pending_is_in_an_order_that_can_run() -> None:
    found = history(made("c", "b"), made("b", "a"), made("a"), made("x", depends=("b",)))
    order = found.pending(())
    assert set(order) == {"a", "b", "c", "x"}
    for revision in order:
        for parent in found.revisions[revision].parents:
            assert order.index(parent) < order.index(revision)
    assert found.pending(["c"]) == ("x",)
    assert found.pending(["c", "x"]) == ()
    assert found.heads == ("c", "x")
    assert found.unknown(["c", "zz"]) == ("zz",)


def test_a_missing_parent_is_told() -> None:
    with pytest.raises(ConfigurationError, match="revision a builds on gone"):
        history(made("a", "gone"))
    with pytest.raises(ConfigurationError, match="revision a depends on gone"):
        history(made("a", depends=("gone",)))


@pytest.mark.parametrize(
    ("revisions", "told"),
    [
        ([made("a", "a")], "a -> a"),
        ([made("a", "b"), made("b", "a")], "a -> b -> a"),
        ([made("a", "b"), made("b", "a"), made("c", "b"), made("d", "c")], "a -> b -> a"),
        ([made("o"), made("a", "o", "b"), made("b", "a"), made("p", "o")], "a -> b -> a"),
        ([made("a"), made("b", "a", depends=("c",)), made("c", "b")], "b -> c -> b"),
    ],
    ids=["itself", "two", "with others on top", "with others below", "by depends_on"],
)
def test_a_cycle_is_told_wherever_the_database_stands(revisions: list[Revision], told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        history(*revisions)
    around = told.split(" -> ")[:-1]
    turned = [" -> ".join([*around[at:], *around[: at + 1]]) for at in range(len(around))]
    assert error.value.message in [f"the revisions form a cycle: {each}" for each in turned]


def test_depends_on_is_an_id_or_a_label_and_nothing_shorter() -> None:
    labelled = made("abcd12", labels=("side",))
    for needed, ok in (("abcd12", True), ("side", True), ("abcd", False), ("nothing", False)):
        found = {each.id: each for each in (labelled, made("x", depends=(needed,)))}
        if ok:
            assert resolve_dependencies(found)["x"].depends == ("abcd12",)
        else:
            with pytest.raises(ConfigurationError, match=f"revision x depends on {needed}"):
                resolve_dependencies(found)


def test_a_message_is_the_first_paragraph_of_the_docstring(tmp_path: Path) -> None:
    file = tmp_path / "a.py"

    def message(content: bytes) -> str:
        file.write_bytes(content)
        return Revision("a", (), (), (), str(file), "").message

    assert message(b'"""Make a\n  table\n\nRevision ID: a\n"""\n') == "Make a table"
    assert message(b"x = 1\n") == ""
    assert message("# coding: latin-1\n'é'\n".encode("latin-1")) == "é"
    with pytest.raises(ConfigurationError, match=r"a\.py:2: .*SyntaxError"):
        message(b"x = 1\nx = (\n")
    file.unlink()
    assert Revision("a", (), (), (), str(file), "").message == ""
    assert Revision("a", (), (), (), str(file) + "c", "").message == ""


def test_two_plain_files_with_one_revision_beside_one_that_is_not_plain(tmp_path: Path) -> None:
    computed = "import os\nrevision = os.environ['X']\ndown_revision = None\n"
    plain = "revision = 'a1'\ndown_revision = None\n"
    project = alembic_project(tmp_path, {"0": computed, "one": plain})
    with pytest.raises(NotPlainError):
        read_history(project)
    project = alembic_project(tmp_path, {"two": plain})
    with pytest.raises(ConfigurationError, match="two files have revision a1"):
        read_history(project)


def test_two_files_with_one_revision(tmp_path: Path) -> None:
    project = alembic_project(tmp_path, {})
    for name in ("one", "two"):
        (tmp_path / "migrations" / "versions" / f"{name}.py").write_text(
            "revision = 'a1'\ndown_revision = None\n"
        )
    with pytest.raises(ConfigurationError, match="two files have revision a1"):
        read_history(project)


@pytest.mark.parametrize(
    ("revisions", "split"),
    [
        ([made("a"), made("b", "a")], ()),
        ([made("a"), made("b", "a"), made("c", "a")], ("b", "c")),
        ([made("a"), made("b", "a"), made("c", "a", labels=("side",))], ()),
        ([made("a"), made("b")], ()),
        ([made("a"), made("b", "a"), made("c", "a"), made("m", "b", "c")], ()),
        ([made("a"), made("b", "a"), made("c", "a"), made("x")], ("b", "c")),
    ],
    ids=["one", "forgotten merge", "labelled", "two bases", "merged", "and another base"],
)
def test_heads_nobody_chose(revisions: list[Revision], split: tuple[str, ...]) -> None:
    assert history(*revisions).unintended_heads() == split


@pytest.mark.parametrize(
    "name", ["head", "heads", "base", "+1", "-2", "abcd", "abcd12+1", "side@head", "side@abcd12"]
)
def test_names_alembic_understands(name: str) -> None:
    known_revision(history(made("abcd12", labels=("side",))), name)


def test_a_name_nobody_knows() -> None:
    with pytest.raises(UsageError, match=r"there is no revision 'abcd13' .*did you mean abcd12\?"):
        known_revision(history(made("abcd12")), "abcd13")


def alembic_project(path: Path, files: dict[str, str]):  # type: ignore[no-untyped-def]
    versions = path / "migrations" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    for name, text in files.items():
        (versions / f"{name}.py").write_text(text)
    return locate(AlembicSettings(path / "alembic.ini"), path)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    names = [f"r{number:03}" for number in range(draw(st.integers(1, 9)))]
    found = []
    for at, name in enumerate(names):
        earlier = st.sampled_from(names[:at]) if at else st.nothing()
        down = draw(st.lists(earlier, max_size=2, unique=True)) if at else []
        depends = draw(st.lists(earlier, max_size=1, unique=True)) if at else []
        found.append((name, tuple(down), tuple(each for each in depends if each not in down)))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs(), data=st.data())
def test_agrees_with_alembic_on_any_graph(
    tmp_path_factory: pytest.TempPathFactory,
    graph: list[tuple[str, tuple[str, ...], tuple[str, ...]]],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("graph")
    location = alembic_project(
        path,
        {
            name: f"revision = {name!r}\ndown_revision = {down or None!r}\ndepends_on = {depends or None!r}\n"
            "def upgrade():\n    pass\n"
            for name, down, depends in graph
        },
    )
    ours = read_history(location)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = ScriptDirectory.from_config(Config(str(path / "alembic.ini")))
        assert set(ours.heads) == set(script.get_heads())
        everything = [step.revision.revision for step in script._upgrade_revs("heads", ())]  # type: ignore[arg-type,union-attr]
        assert set(ours.pending(())) == set(everything)
        # Any state Alembic itself can reach: the first steps of an upgrade.
        steps = everything[: data.draw(st.integers(0, len(everything)))]
        current = tuple(
            each for each in steps if not any(each in ours.ancestors([o]) for o in steps if o != each)
        )
        theirs = {step.revision.revision for step in script._upgrade_revs("heads", current)}  # type: ignore[arg-type,union-attr]
    assert set(ours.pending(current)) == theirs


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs(), data=st.data())
def test_what_is_undone_leads_back_to_the_heads_of_before_on_any_graph(
    tmp_path_factory: pytest.TempPathFactory,
    graph: list[tuple[str, tuple[str, ...], tuple[str, ...]]],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("graph")
    down_to = "def upgrade():\n    pass\ndef downgrade():\n    pass\n"
    location = alembic_project(
        path,
        {
            name: f"revision = {name!r}\ndown_revision = {down or None!r}\ndepends_on = {depends or None!r}\n{down_to}"
            for name, down, depends in graph
        },
    )
    ours = read_history(location)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = ScriptDirectory.from_config(Config(str(path / "alembic.ini")))
        table = HeadMaintainer(
            MigrationContext.configure(
                dialect_name="postgresql", opts={"as_sql": True, "output_buffer": io.StringIO()}
            ),
            (),
        )
        steps = list(script._upgrade_revs("heads", ()))  # type: ignore[arg-type]
        begun = data.draw(st.integers(0, len(steps)))
        try:
            for step in steps[:begun]:
                table.update_to_step(step)
            before = set(table.heads)
            for step in steps[begun:]:
                table.update_to_step(step)
        except KeyError:
            assume(False)  # Alembic itself can't go up a merge that depends on what is below it
        applied = [step.revision.revision for step in steps[begun:]]
        # What the journal does not know, since it was applied by other means, goes with what it builds on.
        known = [each for each in applied if not ours.revisions[each].parents or data.draw(st.booleans())]
        back = ours.undoing(tuple(table.heads), applied)
        assert set(ours.undoing(tuple(table.heads), known)) <= set(back) and set(back) == set(applied)
        for each in back:
            revision = script.revision_map.get_revision(each)
            table.update_to_step(RevisionStep(script.revision_map, revision, is_upgrade=False))  # type: ignore[arg-type]
    # Alembic may leave a row of what another row needs; it stands for the same.
    assert ours.ancestors(table.heads) == ours.ancestors(before)
