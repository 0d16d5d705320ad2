"""The literal list of rule names is squawk's own, and that of pgops.migrations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pgops.environments.hazard_rules import HAZARD_RULES, SQUAWK_RULES
from pgops.migrations.hazards.rules import RULES

SQUAWK = Path(sys.executable).with_name("squawk")


def _squawk(*rules: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(SQUAWK), *(f"--exclude={rule}" for rule in rules)],
        input="select 1;",
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stderr


def test_squawk_knows_every_rule() -> None:
    code, said = _squawk("no-such-rule")
    assert code == 2 and "invalid rule name" in said, "this is how it would show"
    code, said = _squawk(*SQUAWK_RULES)
    assert code == 0, said


def test_pgops_reports_no_other_rule() -> None:
    assert sorted(HAZARD_RULES) == sorted(RULES)
