"""Reading revisions without a database: which, what of, and what is not known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgops.environments import load
from pgops.errors import ConfigurationError, UsageError
from pgops.migrations.hazards import ListedSizes
from pgops.migrations.lint.changed import changed_since
from pgops.migrations.lint.lint import Linted, lint
from pgops.migrations.lint.sizes import read_sizes
from tests.support.checkouts import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout.make(tmp_path / "checkout")


def read(checkout: Checkout, *, since: str | None = "main", sizes: Path | None = None) -> Linted:
    """Lint production's revisions."""
    environment = load(root=checkout.path).environment("production")
    known = ListedSizes(None if sizes is None else read_sizes(sizes))
    return lint(environment, known, since=since, sizes="" if sizes is None else str(sizes))


def levels(linted: Linted) -> dict[str, str]:
    """Rule -> level."""
    return {each.rule: each.level for each in linted.hazards}


def sizes(checkout: Checkout, rows: int, **more: object) -> Path:
    """A list of sizes with table orders."""
    table = {"schema": "public", "name": "orders", "rows": rows, "bytes": rows * 100, **more}
    return checkout.write("sizes.json", json.dumps({"tables": [table]}))


INDEX = 'op.create_index("by_email", "orders", ["email"])'


def test_only_what_the_branch_adds_or_edits_is_read(checkout: Checkout) -> None:
    checkout.git("checkout", "-q", "-b", "work")
    checkout.revision("two", "orders", "op.execute('SELECT 1')")
    checkout.commit("two")
    checkout.revision("three", "two", "op.execute('SELECT 1')")  # git does not know it yet
    assert [each.revision for each in read(checkout).revisions] == ["two", "three"]
    assert [each.revision for each in read(checkout, since="HEAD").revisions] == ["three"]
    assert [each.revision for each in read(checkout, since=None).revisions] == ["orders", "two", "three"]


def test_what_main_got_meanwhile_is_not_the_branchs(checkout: Checkout) -> None:
    checkout.git("checkout", "-q", "-b", "work")
    checkout.revision("two", "orders", "op.execute('SELECT 1')")
    checkout.commit("two")
    checkout.git("checkout", "-q", "main")
    checkout.revision("orders", None, "op.execute('SELECT 2')")
    checkout.commit("edited on main")
    checkout.git("checkout", "-q", "work")
    found = read(checkout)
    assert [each.revision for each in found.revisions] == ["two"]
    assert found.notes == ()


def test_an_edited_or_removed_revision_is_told(checkout: Checkout) -> None:
    checkout.revision("orders", None, "op.execute('SELECT 2')")
    checkout.revision("two", "orders", "pass")
    checkout.commit("two")
    found = read(checkout, since="HEAD~1")
    assert found.notes == (
        "migrations/versions/orders.py was there at HEAD~1 and is edited: a database that has it won't run it again",
    )
    checkout.git("rm", "-q", "migrations/versions/two.py")
    assert read(checkout, since="HEAD").notes == (
        "migrations/versions/two.py was there at HEAD and is gone: a database that has it is ahead of this code",
    )


def test_a_file_under_another_name_is_a_new_file(checkout: Checkout) -> None:
    checkout.git("checkout", "-q", "-b", "work")
    checkout.git("mv", "migrations/versions/orders.py", "migrations/versions/0001_orders.py")
    checkout.commit("another name")
    found = read(checkout)
    assert [each.revision for each in found.revisions] == ["orders"]
    assert "orders.py was there at main and is gone" in found.notes[0]


@pytest.mark.parametrize("ref", ["no-such", "--upload-pack=touch x", "-h", "main..HEAD", "main\nHEAD", ""])
def test_a_ref_that_is_none_is_refused(checkout: Checkout, ref: str) -> None:
    with pytest.raises(UsageError, match=r"^--since="):
        changed_since(ref, [checkout.path / "migrations/versions"])


def test_a_history_that_is_not_here_is_told(checkout: Checkout, tmp_path: Path) -> None:
    checkout.git("checkout", "-q", "--orphan", "other")
    checkout.commit("no ancestor of main")
    with pytest.raises(UsageError, match="history between it and HEAD is not in this checkout"):
        read(checkout)


def test_a_table_whose_size_nobody_knows_is_taken_for_large(checkout: Checkout) -> None:
    checkout.revision("two", "orders", INDEX)
    (found,) = read(checkout).hazards
    assert (found.rule, found.level) == ("require-concurrent-index-creation", "block")
    assert found.message == (
        "CREATE INDEX reads the whole of orders (its size is not known: taken for large); "
        "SHARE blocks writes for as long as that takes"
    )


@pytest.mark.parametrize(("rows", "level"), [(0, "note"), (10, "note"), (1_000_000, "block")])
def test_a_list_of_sizes_decides(checkout: Checkout, rows: int, level: str) -> None:
    checkout.revision("two", "orders", INDEX)
    found = read(checkout, since="HEAD", sizes=sizes(checkout, rows))
    assert levels(found)["require-concurrent-index-creation"] == level


def test_a_table_that_the_branch_makes_is_empty(checkout: Checkout) -> None:
    checkout.revision("two", "orders", "op.execute('CREATE TABLE new (email text)')")
    checkout.revision("three", "two", 'op.create_index("by_email", "new", ["email"])')
    assert set(levels(read(checkout)).values()) == {"note"}


def test_an_index_whose_table_nobody_knows(checkout: Checkout) -> None:
    checkout.revision("two", "orders", 'op.drop_index("by_email", "orders")')
    assert levels(read(checkout)) == {"require-concurrent-index-deletion": "block"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is no JSON"),
        ("[]", 'no list "tables"'),
        ('{"tables": [{"schema": "public", "name": "t", "rows": "1", "bytes": 2}]}', r"tables\[0\] is not"),
        ('{"tables": [{"schema": "public", "name": "t", "rows": -1, "bytes": 2}]}', r"tables\[0\] is not"),
    ],
)
def test_a_list_of_sizes_that_is_none(checkout: Checkout, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read_sizes(checkout.write("sizes.json", text))


def test_sizes_from_what_backup_show_prints(checkout: Checkout) -> None:
    tables = [{"schema": "shop", "name": "orders", "rows": 5, "bytes": 6}]
    file = checkout.write("sizes.json", json.dumps({"ok": True, "backup": {"tables": tables}}))
    (state,) = read_sizes(file).values()
    assert (state.name, state.rows, state.bytes) == ("shop.orders", 5, 6)


def test_a_file_that_can_not_be_run_is_told_and_spoils_no_other(checkout: Checkout) -> None:
    checkout.revision("two", "orders", "pass", before="import shop_models")
    checkout.revision("three", "two", INDEX)
    found = read(checkout)
    assert found.revisions[0].reads_data == "ModuleNotFoundError: No module named 'shop_models'"
    assert levels(found) == {"unseen-sql": "warning", "require-concurrent-index-creation": "block"}


@pytest.mark.parametrize(
    ("body", "before"),
    [("os._exit(0)", "import os"), ("pass", "import os\nos._exit(0)"), ("raise SystemExit", "")],
)
def test_a_file_that_ends_the_process_does_not_end_the_look(
    checkout: Checkout, body: str, before: str
) -> None:
    """With exit code 0 it would say that nothing hurts."""
    checkout.revision("two", "orders", body, before=before)
    checkout.revision("three", "two", INDEX)
    found = read(checkout)
    assert str(found.revisions[0].reads_data).startswith("SystemExit")
    assert levels(found)["require-concurrent-index-creation"] == "block"


def test_the_projects_own_modules_are_there_as_far_as_they_are_installed(checkout: Checkout) -> None:
    checkout.write("shop_types.py", "NAME = 'by_email'\n")
    checkout.revision(
        "two", "orders", 'op.create_index(shop_types.NAME, "orders", ["email"])', before="import shop_types"
    )
    assert "by_email" in read(checkout).revisions[0].sql


def test_a_block_that_the_file_accepts_with_a_reason_is_a_warning(checkout: Checkout) -> None:
    body = f"# pgops: accept require-concurrent-index-creation: a table of ten rows\n{INDEX}\nop.drop_column('orders', 'email')"
    checkout.revision("two", "orders", body)
    found = read(checkout)
    assert levels(found) == {"require-concurrent-index-creation": "warning", "ban-drop-column": "block"}
    assert found.hazards[0].message.endswith("; accepted in the file: a table of ten rows")


def test_without_a_reason_nothing_is_accepted(checkout: Checkout) -> None:
    checkout.revision("two", "orders", f"# pgops: accept require-concurrent-index-creation:\n{INDEX}")
    assert levels(read(checkout)) == {"require-concurrent-index-creation": "block"}


def test_two_heads_are_told(checkout: Checkout) -> None:
    checkout.revision("two", "orders", "pass")
    checkout.revision("three", "orders", "pass")
    with pytest.raises(UsageError, match="there are 2 heads"):
        read(checkout)


def test_revisions_that_only_env_py_knows_are_not_guessed(checkout: Checkout) -> None:
    checkout.write("migrations/env.py", "context.script.version_locations = []\n")
    with pytest.raises(ConfigurationError, match=r"can't be read without env\.py"):
        read(checkout)


def test_a_file_in_which_context_is_asked(checkout: Checkout) -> None:
    body = "from alembic import context\nassert context.is_offline_mode()\nop.execute(f'SELECT {context.get_context().dialect.name!r}')"
    checkout.revision("two", "orders", body)
    (found,) = read(checkout).revisions
    assert found.reads_data is None
    assert "SELECT 'postgresql'" in found.sql
