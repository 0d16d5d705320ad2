"""How a plan's file looks to the person who is asked to sign it: all of it, nothing folded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pgops.units import human_seconds

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.migrations.approval.document import Document
    from pgops.terminal.console import Console

_LEVEL_STYLES = {"warning": "yellow", "block": "red"}


def show_document(console: Console, document: Document, environment: Environment, now: dt.datetime) -> None:
    """What a signature would be for."""
    facts = document.facts
    target = facts["target"]
    console.say(
        f"{console.emphasised(environment)}: {target['host']}:{target['port']}/{target['database']} "
        f"(server {target['system_identifier'] or 'unknown'})"
    )
    console.say(f"  made {facts['made_at']} by {facts['made_by']}")
    left = (document.expires_at - now).total_seconds()
    console.say(
        f"  good until {facts['expires_at']}"
        + (f", {human_seconds(left)} from now" if left > 0 else ", over")
    )
    for plan in facts["plans"]:
        _show_plan(console, plan, facts["action"], environment)
    if facts["backup_required"]:
        console.say("  a verified backup is taken first")
    for promotion in facts["promotion"]:
        console.say(f"  promotion: {promotion}")
    _show_signers(console, facts)
    console.say(f"  plan {facts['hash']}")


def _show_plan(console: Console, plan: Mapping[str, Any], action: str, environment: Environment) -> None:
    if plan["history"]:
        console.say(f"  history {plan['history']}:")
    for note in plan["notes"]:
        console.say(f"  note: {note}")
    console.say(f"  {', '.join(plan['current']) or 'base'} -> {', '.join(plan['to']) or 'base'}")
    for each in plan["pending"]:
        sign = "+" if action == "upgrade" else "-"
        console.say(
            f"  {sign} {console.style(each['revision'], 'cyan')}  {each['message'] or '(no message)'}  "
            f"({each['file']}{_of_checkout(each, environment)})"
        )
        if each["irreversible"]:
            console.say(
                f"      {'can not be undone' if action == 'upgrade' else 'undoes nothing'}: {each['irreversible']}"
            )
        if each["reads_data"]:
            console.say(f"      its SQL is not known before it runs: {each['reads_data']}")
        for line in each["sql"].splitlines():
            if line.strip():
                console.verbatim(console.style(f"      {line}", "dim"))
        _show_hazards(console, each["hazards"])
    _show_hazards(console, plan["hazards"])


def _of_checkout(revision: Mapping[str, Any], environment: Environment) -> str:
    """Whether who signs has the same file before them."""
    from pgops.migrations.revisions.revision import file_hash, text_now

    file = environment.project / revision["file"]
    if not file.is_file():
        return ", not in this checkout"
    return "" if file_hash(text_now(file)) == revision["file_hash"] else ", another one in this checkout"


def _show_hazards(console: Console, hazards: Sequence[Mapping[str, Any]]) -> None:
    for hazard in hazards:
        level = console.style(str(hazard["level"]), _LEVEL_STYLES.get(hazard["level"], "dim"))
        console.say(f"      {level} {hazard['rule']}: {hazard['message']}")


def _show_signers(console: Console, facts: Mapping[str, Any]) -> None:
    from pgops.migrations.approval.policy import policy_from

    now = policy_from(facts["approvals"], "the plan")
    before = policy_from(facts["approvals_before"], "the plan")
    if before is None:
        console.say(f"  to be signed by {now or 'nobody'}")
    elif before == now:
        console.say(f"  to be signed by {now}, as the last one")
    else:
        console.warn(
            f"who has to sign changes with this plan: until now {before}; from now on {now or 'nobody'}"
        )
