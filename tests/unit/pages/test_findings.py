"""Hazards in the forms of others: each finding at its line, and nothing of a revision is read as markup or a command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pgops.environments import load
from pgops.migrations.hazards import ListedSizes
from pgops.migrations.lint.lint import Linted, lint
from pgops.pages.annotations import as_code_quality, as_workflow_commands
from pgops.pages.findings import Finding, findings_of_lint
from pgops.pages.plan import LONGEST, lint_markdown
from pgops.pages.sarif import as_sarif
from tests.support.checkouts import Checkout
from tests.support.sarif import read_sarif

HOSTILE = (
    "x\n::set-output name=hash::0\n::error::no\r::add-mask::a\n##[set-output name=hash;]0 | `a` ``` ~~~ <!-- pgops --> "
    "<img src=x onerror=alert(1)> [click](https://evil.example) @everyone \\ ${{ secrets.TOKEN }} {0} \x1b]0;t\x07"
)


def linted(checkout: Checkout) -> Linted:
    """What production's lint says of the branch."""
    environment = load(root=checkout.path).environment("production")
    return lint(environment, ListedSizes(None), since="main", sizes="none")


def findings(checkout: Checkout) -> tuple[Finding, ...]:
    return findings_of_lint([linted(checkout)])


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout.make(tmp_path / "checkout", below="shop")


def lines_of(checkout: Checkout, name: str, *texts: str) -> list[int]:
    """The lines of a revision file in which these texts stand."""
    text = (checkout.path / f"migrations/versions/{name}.py").read_text(encoding="utf-8")
    return [text[: text.index(each)].count("\n") + 1 for each in texts]


def test_each_finding_is_at_the_call_that_emits_its_statement(checkout: Checkout) -> None:
    body = """
        op.add_column("orders", sa.Column("note", sa.Text))
        op.create_index(
            "by_email",
            "orders",
            ["email"],
        )
        with op.batch_alter_table("orders") as batch:
            batch.drop_column("note")
        for name in ("id", "email"):
            op.drop_column("orders", name)
    """
    checkout.revision("two", "orders", body)
    index, drop, loop = lines_of(checkout, "two", "op.create_index", "with op.batch", "op.drop_column")
    found = findings(checkout)
    assert [(each.rule, each.first, each.last) for each in found] == [
        ("require-concurrent-index-creation", index, index + 4),
        ("ban-drop-column", drop, found[1].last),
        ("ban-drop-column", loop, loop),
        ("ban-drop-column", loop, loop),
    ]
    assert {each.file for each in found} == {"shop/migrations/versions/two.py"}
    assert len({each.fingerprint for each in found}) == 4


def test_a_helper_in_the_file_is_the_place_and_one_elsewhere_is_not(checkout: Checkout) -> None:
    checkout.write("helpers.py", "def drop(op):\n\n\n\n    op.drop_column('orders', 'email')\n")
    before = "from helpers import drop\n\ndef here():\n    op.drop_table('orders')\n"
    checkout.revision("two", "orders", "drop(op)\nhere()", before=before)
    assert [each.first for each in findings(checkout)] == lines_of(
        checkout, "two", "drop(op)", "op.drop_table"
    )


def test_a_finding_stays_the_same_while_other_lines_come(checkout: Checkout) -> None:
    checkout.revision("two", "orders", "op.drop_table('orders')")
    (before,) = findings(checkout)
    checkout.revision("two", "orders", "# a comment\nop.execute('SELECT 1')\nop.drop_table('orders')")
    (after,) = findings(checkout)
    assert (before.fingerprint, before.first + 2) == (after.fingerprint, after.first)


def test_where_a_revision_begins_to_read_data(checkout: Checkout) -> None:
    checkout.revision(
        "two", "orders", "op.execute('SELECT 1')\nrows = list(op.get_bind().execute(sa.text('SELECT 1')))"
    )
    (found,) = findings(checkout)
    assert (found.rule, [found.first]) == ("unseen-sql", lines_of(checkout, "two", "rows = "))


def test_a_file_that_can_not_be_run_is_told_at_the_line_that_keeps_it_from_that(checkout: Checkout) -> None:
    checkout.revision("two", "orders", "pass", before="import no_such_module_here")
    file = checkout.path / "migrations/versions/two.py"
    file.write_text(file.read_text(encoding="utf-8").replace("import no_such", "\nimport no_such"))
    (found,) = findings(checkout)
    assert [found.first] == lines_of(checkout, "two", "import no_such")


def test_sarif_keeps_to_the_standard(checkout: Checkout) -> None:
    checkout.revision("two", "orders", "op.drop_table('orders')")
    found = findings(checkout)
    run = read_sarif(as_sarif(found, "plan/production"))
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("ban-drop-table", "error")
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "shop/migrations/versions/two.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": found[0].first, "endLine": found[0].last},
    }
    assert run["automationDetails"]["id"] == "pgops/plan/production/"
    assert read_sarif(as_sarif((), "lint"))["results"] == []


def test_a_finding_without_a_file_does_not_make_github_refuse_the_others(checkout: Checkout) -> None:
    checkout.revision("two", "orders", "op.drop_table('orders')")
    (found,) = findings(checkout)
    run = read_sarif(as_sarif([replace(found, file=None), found], "plan/production"))
    assert [
        each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in run["results"]
    ] == ["shop/environments.yaml", "shop/migrations/versions/two.py"]


def hostile(checkout: Checkout) -> None:
    """A revision whose message, table, column, SQL and error carry all that a reader may take for its own."""
    quoted = repr(HOSTILE)
    checkout.revision(
        "two",
        "orders",
        f"op.drop_column({quoted}, {quoted})\nop.execute('/*' + {quoted} + '*/ SELECT 1')\n"
        f"op.drop_table('orders')\nraise ValueError({quoted})",
        message=HOSTILE.replace("\\", "\\\\").replace("\x1b", "").replace("\x07", "").replace("\n", " "),
    )


def test_no_line_of_the_annotations_is_anything_else(checkout: Checkout) -> None:
    hostile(checkout)
    found = findings(checkout)
    text = as_workflow_commands(found)
    lines = text.split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(found) > 2
    assert "\r" not in text
    for line in lines:
        # What the runner reads: up to the first "::" properties, of which each is known.
        head, _, _ = line.removeprefix("::").partition("::")
        command, _, properties = head.partition(" ")
        assert command in {"error", "warning", "notice"}
        assert [each.partition("=")[0] for each in properties.split(",")] == [
            "file",
            "line",
            "endLine",
            "title",
        ]


def test_a_files_name_is_no_property() -> None:
    finding = Finding("r", "block", "m", "", "rev", None, "a,line=1:x%\n::error::.py", 3, 3, "f")
    assert as_workflow_commands([finding]) == (
        "::error file=a%2Cline=1%3Ax%25%0A%3A%3Aerror%3A%3A.py,line=3,endLine=3,title=pgops%3A r::m\n"
    )


def test_a_files_name_that_is_no_utf_8() -> None:
    finding = Finding("r", "block", "m", "", "rev", None, "a b\udcff#.py", 3, 3, "f")
    (result,) = read_sarif(as_sarif([finding], "lint"))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b%FF%23.py"
    assert "file=a b?#.py," in as_workflow_commands([finding])
    assert json.loads(as_code_quality([finding]))


def test_sarif_and_code_quality_of_a_hostile_revision(checkout: Checkout) -> None:
    hostile(checkout)
    found = findings(checkout)
    text = as_sarif(found, "lint")
    for each in read_sarif(text)["results"]:
        shown = each["message"]["text"]
        assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", shown), "a link"
        assert not re.search(r"(?<!\{)\{\d+\}(?!\})", shown), "a placeholder"
    assert "\x1b" not in text
    assert "\\u001b" not in text
    report = json.loads(as_code_quality(found))
    assert {each["severity"] for each in report} <= {"info", "minor", "major", "critical", "blocker"}
    assert len({each["fingerprint"] for each in report}) == len(report)
    assert all(
        set(each) == {"description", "check_name", "fingerprint", "severity", "location"} for each in report
    )


def test_markdown_of_a_hostile_revision_is_text(checkout: Checkout) -> None:
    hostile(checkout)
    text = lint_markdown([linted(checkout)])
    outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", text)
    spans = re.sub(r"(?s)(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    for mark in ("<img", "<!--", "](", "@everyone", "https://", "\x1b"):
        assert mark not in spans
    assert outside.count("<details>") == outside.count("</details>")
    for line in outside.splitlines():
        assert not line.startswith(("::", "##["))
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5


def test_a_comment_has_an_end(checkout: Checkout) -> None:
    down = "orders"
    for number in range(60):
        body = f"op.execute({'SELECT 1 -- ' + 'x' * 3000!r})\nop.drop_column('orders', 'c{number}')"
        checkout.revision(name := f"r{number:02}", down, body, message="m" * 500)
        down = name
    text = lint_markdown([linted(checkout)])
    assert len(text) <= LONGEST
    assert "## Lint of 60 revisions" in text
    assert text.count("<details>") == text.count("</details>")
    assert len(re.findall("(?m)^```", text)) % 2 == 0
    assert "The rest is left out" in text
