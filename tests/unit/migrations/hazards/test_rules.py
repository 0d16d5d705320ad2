"""The catalogue of rules: held equal to what environments.yaml knows and to the squawk that is installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pgops.environments.hazard_rules import HAZARD_RULES
from pgops.migrations.hazards.off import OFF
from pgops.migrations.hazards.rule import Cost
from pgops.migrations.hazards.rules import CLAIMED, FROM_SQUAWK, LIVE, RULES, STATEMENT_RULES, TRACED
from pgops.migrations.hazards.squawk import program
from pgops.migrations.hazards.traced_rules import READING, STATES


def test_environments_yaml_knows_every_rule_and_no_other() -> None:
    assert sorted(HAZARD_RULES) == list(RULES)


def test_a_rule_is_reported_or_off_with_a_reason_never_both() -> None:
    assert not set(CLAIMED) & set(OFF)
    assert all(reason.strip() for reason in OFF.values())


def test_squawk_has_every_rule_that_is_taken_from_it() -> None:
    names = [*(rule.name for rule in FROM_SQUAWK), *OFF]

    done = subprocess.run(
        [program(), *(f"--exclude={name}" for name in names)],
        input="SELECT 1;",
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("rule", STATEMENT_RULES.values(), ids=lambda rule: rule.name)
def test_every_fix_is_python_that_can_be_pasted(rule: object) -> None:
    names = (
        "sql_table",
        "args",
        "schema",
        "column",
        "constraint",
        "index",
        "other",
        "columns",
        "unique",
        "table",
        "parent",
        "partition",
    )
    facts = dict.fromkeys(names, "book") | {
        "args": '"book"',
        "schema": "",
        "unique": "",
        "columns": '"a"',
    }

    text = rule.fix.format(**facts)  # type: ignore[attr-defined]

    compile(text.replace("…", "..."), "fix", "exec")


def test_what_only_a_trace_tells_is_claimed_and_has_a_way_out() -> None:
    assert {READING.name, *STATES} == set(TRACED)
    assert all(meaning and fix for meaning, fix in STATES.values())


def test_a_larger_table_takes_longer_and_an_instant_is_an_instant() -> None:
    assert Cost.INDEX.seconds(3_000_000_000) == 100.0
    assert Cost.INSTANT.seconds(3_000_000_000) == 0.0
    assert Cost.SCAN.seconds(10**9) < Cost.REWRITE.seconds(10**9)


def test_the_documentation_names_every_rule_with_its_level_or_reason() -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "hazards.md").read_text(encoding="utf-8")

    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert set(rows) == set(RULES)
    for name, rule in STATEMENT_RULES.items():
        assert f"| {rule.lock} | {rule.small} |" in rows[name]
    for name, reason in {**LIVE, **OFF}.items():
        assert reason in rows[name]
    for name, (meaning, _) in STATES.items():
        assert meaning in rows[name]
