"""migrate.approve, and what migrate.plan, migrate and migrate.down have to do with signed plans."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, task

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.migrations.approval.document import Document
    from pgops.migrations.approval.gate import Approved
    from pgops.migrations.plan.plan import Plan
    from pgops.migrations.run.gates import Promotion
    from pgops.terminal.console import Console


def write_plan(
    console: Console, plans: Sequence[Plan], promotions: Sequence[Promotion | None], out: str
) -> dict[str, object]:
    """``--out``: the plan as a file that people sign; an existing file is not overwritten.

    :returns: what ``--json`` says of it.
    :raises UsageError: nothing is pending, or the file is there already.
    """
    from pgops.errors import UsageError
    from pgops.migrations.approval.document import encode, facts_of
    from pgops.migrations.approval.gate import look
    from pgops.migrations.journal.provenance import hostname, operator
    from pgops.migrations.run.gates import backup_required

    environment = plans[0].environment
    if not any(each.pending for each in plans):
        raise UsageError(
            f"nothing is pending on {environment.name}, so there is nothing to sign",
            untouched=f"{out} was not written",
        )
    policies = look(plans)
    facts = facts_of(
        plans,
        policies,
        promotions,
        backup=backup_required(environment),
        by=f"{operator()}@{hostname()}",
        now=dt.datetime.now(dt.UTC),
    )
    file = Path(out)
    try:
        with file.open("xb") as opened:
            opened.write(encode(facts))
    except OSError as error:
        raise UsageError(
            f"the plan can't be written: {out}: {error.strerror}",
            untouched=f"{environment.name} was only read",
            hint="another name, or remove what is there",
        ) from error
    expires = facts["expires_at"]
    console.say(f"{out}: plan {facts['hash']} of {environment.name}, good until {expires}")
    for policy in policies.all:
        console.say(f"to be signed by {policy}: invoke migrate.approve {out}")
    return {
        "out": out,
        "expires_at": expires,
        "approvals": [
            {"count": each.count, "signers": list(each.signers.names), "signers_hash": each.signers.hash}
            for each in policies.all
        ],
    }


def given_plan(plan: str | None) -> Document | None:
    """The file that ``--plan`` names; ``None`` where it is a hash, or was not given.

    :raises UsageError: there is no such file.
    :raises SignatureError: it is not as it was written.
    """
    if plan is None:
        return None
    from pgops.migrations.approval.document import is_file, read

    return read(Path(plan)) if is_file(plan) else None


def planned(
    document: Document | None, environment: Environment, history: str | None, to: str | None
) -> tuple[str | None, str | None]:
    """``--history`` and ``--to`` as a plan's file says them, where they were not given: what is in it is carried out."""
    if document is None:
        return history, to
    if history is None and document.history in environment.alembic.histories:
        history = document.history
    return history, document.to if to is None else to


@contextlib.contextmanager
def as_planned(document: Document | None, environment: Environment) -> Iterator[None]:
    """Work out the plan of a file: where this checkout lacks what the file names, it is another plan, and refused as one.

    :raises SignatureError: it does.
    """
    from pgops.errors import UsageError
    from pgops.migrations.approval.openssh import SignatureError

    try:
        yield
    except UsageError as error:
        if document is None:
            raise
        raise SignatureError(
            f"{document.file} is not what would run on {environment.name} now: {error.message}",
            untouched=f"{environment.name} was not touched",
            hint="check the commit out that it was made of, or make it anew and let it be signed",
        ) from error


def check_signed(
    console: Console,
    plans: Sequence[Plan],
    document: Document | None,
    signatures: Sequence[str] | None,
    *,
    accepted: Collection[str] = (),
    overridden: bool = False,
) -> Approved | None:
    """Let through what people signed, and say who did; see :func:`pgops.migrations.approval.gate.check`."""
    from pgops.migrations.approval.gate import check

    files = [Path(each) for each in signatures or ()]
    if document is not None and not files:
        files = [Path(f"{document.file}.sig")]
    found = check(plans, document, files, accepted=accepted, overridden=overridden)
    if found is not None:
        console.say(f"  {found}")
        after = "nobody" if found.policy is None else str(found.policy)
        console.say(f"  the next plan is signed by {after}")
    return found


@task(
    help={
        "plan": "the file that migrate.plan --out wrote",
        "key": "your SSH key; the one in ssh-agent or ~/.ssh that an allowed signer has, when not given",
        "signature": "where the signature is added; the plan's name and .sig when not given",
    },
    positional=("plan",),
)
def approve(
    context: Context,
    console: Console,
    *,
    plan: str,
    key: str | None = None,
    signature: str | None = None,
    json: bool = False,
) -> None:
    """Show a plan that migrate.plan --out wrote, and sign it with your SSH key. Asks; a person has to answer."""
    from pgops.errors import RefusedError
    from pgops.migrations.approval.document import read
    from pgops.migrations.approval.keys import choose_key
    from pgops.migrations.approval.openssh import sign, signer_of
    from pgops.migrations.approval.policy import policy_from
    from pgops.terminal.agents import agent_at_the_keyboard
    from pgops.terminal.confirmation import Answer, refuse_agent
    from pgops.terminal.messages.approval import show_document

    document = read(Path(plan))
    environment = load_environment(context, document.facts["environment"])
    policies = [
        found
        for found in (
            policy_from(document.facts["approvals_before"], str(document.file)),
            policy_from(document.facts["approvals"], str(document.file)),
        )
        if found is not None
    ]
    now = dt.datetime.now(dt.UTC)
    show_document(console, document, environment, now)
    _check_for_signing(document, environment, now)
    if not policies:
        raise RefusedError(
            f"{environment.name} wants no signatures, and {plan} was made without",
            untouched="nothing was signed",
            hint="approvals: {migrate: {keys: allowed_signers}} in environments.yaml, then make the plan anew",
        )
    refuse_agent(environment, agent := agent_at_the_keyboard())
    if agent is not None or not console.interactive():
        raise RefusedError(
            f"a person signs: {agent or 'there is no terminal to ask on'}",
            untouched="nothing was signed",
            hint=f"on a terminal: invoke migrate.approve {plan}",
        )
    with choose_key(policies, key) as (signer, file):
        console.ask(
            environment,
            Answer.NAME,
            f"sign this plan for {environment.name} as {signer.name} with {signer.fingerprint}?",
        )
        made = sign(document.raw, file)
    for policy in policies:
        if policy.signers.by_fingerprint(signer.fingerprint) is not None:
            signer_of(made, document.raw, policy.signers, now)
    out = Path(signature or f"{plan}.sig")
    with out.open("a", encoding="ascii") as opened:
        opened.write(made if made.endswith("\n") else f"{made}\n")
    console.say(
        f"signed by {signer.name}; added to {out}. It is carried out with: "
        f"invoke migrate{'' if document.facts['action'] == 'upgrade' else '.down'} --env={environment.name} --plan={plan}"
    )
    console.result(
        {
            "approval": {
                "plan": plan,
                "hash": document.facts["hash"],
                "environment": environment.name,
                "signer": signer.name,
                "key": signer.fingerprint,
                "signature": str(out),
                "expires_at": document.facts["expires_at"],
            }
        }
    )


def _check_for_signing(document: Document, environment: Environment, now: dt.datetime) -> None:
    from pgops.migrations.approval.openssh import SignatureError
    from pgops.migrations.approval.policy import policy_of

    policy = policy_of(environment)
    problem = None
    if document.expires_at <= now:
        problem = f"it expired at {document.expires_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
    elif document.facts["approvals"] != (policy.as_dict() if policy else None):
        problem = f"it says other signers than {environment.name} has in this checkout"
    if problem is not None:
        raise SignatureError(
            f"{document.file} is not to be signed: {problem}",
            untouched="nothing was signed",
            hint=f"make it anew: invoke migrate.plan --env={environment.name} --out=plan.json",
        )
