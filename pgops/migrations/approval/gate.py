"""The gate: a plan is carried out only with the signatures that it needs."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgops.errors import RefusedError, UsageError
from pgops.migrations import journal
from pgops.migrations.approval.document import Document, differences
from pgops.migrations.approval.openssh import LIMIT, SignatureError, signatures_in, signer_of
from pgops.migrations.approval.policy import InForce, Policy, in_force
from pgops.migrations.approval.signers import Signer
from pgops.migrations.plan.plan import Plan
from pgops.migrations.status.query import database_told
from pgops.postgres import read_only_session
from pgops.runtime.files import read_regular
from pgops.units import counted

_SKEW = dt.timedelta(minutes=5)


class UnsignedError(RefusedError):
    """The environment takes signed plans only, and this one is not."""

    code = "unsigned"


@dataclass(frozen=True, slots=True)
class Approved:
    """Who signed a plan, and who has to sign the next one."""

    document: Document
    signers: tuple[Signer, ...]
    policy: Policy | None

    def __str__(self) -> str:
        return "signed by " + ", ".join(f"{each.name} ({each.fingerprint})" for each in self.signers)

    def for_journal(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        return {
            "id": self.document.id,
            "plan_sha256": hashlib.sha256(self.document.raw).hexdigest(),
            "made_at": self.document.facts["made_at"],
            "expires_at": self.document.facts["expires_at"],
            "signers": [{"name": each.name, "key": each.fingerprint} for each in self.signers],
            "policy": None if self.policy is None else self.policy.as_dict(),
        }


def look(plans: Sequence[Plan], document: Document | None = None) -> InForce:
    """Who has to sign a plan of this environment.

    :param document: a plan's file that is to be carried out.
    :raises UsedApprovalError: it was already.
    """
    environment, target = plans[0].environment, plans[0].target
    with database_told(environment.name), read_only_session(target) as connection:
        if document is not None:
            for each in plans:
                journal.refuse_used(connection, document.id, str(each.version_table), environment.name)
        return in_force(connection, environment, None if document is None else document.id)


def signatures_from(files: Sequence[Path]) -> list[str]:
    """The signatures in files.

    :raises UsageError: a file can't be read.
    :raises SignatureError: a file holds none.
    """
    found: list[str] = []
    for file in files:
        try:
            text = read_regular(file, LIMIT).decode("ascii", errors="replace")
        except OSError as error:
            raise UsageError(
                f"the signatures can't be read: {file}: {error.strerror}",
                untouched="nothing was touched",
                hint="invoke migrate.approve plan.json writes plan.json.sig; another place: --signature=…",
            ) from error
        inside = signatures_in(text)
        if not inside:
            raise SignatureError(f"{file} holds no SSH signature", untouched="nothing was touched")
        found += inside
    return found


def check(
    plans: Sequence[Plan],
    document: Document | None,
    signatures: Sequence[Path],
    *,
    accepted: Collection[str] = (),
    overridden: bool = False,
) -> Approved | None:
    """Let a plan through that is what people signed, enough of them, in time and for the first time.

    :param plans: what would run now.
    :param document: the plan's file, ``None`` where none was given.
    :param signatures: files with signatures over it.
    :param accepted: rules that the operator accepts: those who signed have to have seen them.
    :param overridden: whether promotion is overridden: likewise.
    :returns: ``None`` where nobody has to sign.
    :raises UnsignedError: no file was given, and people have to sign.
    :raises SignatureError: the file, or a signature, is not what it has to be.
    :raises UsedApprovalError: it was carried out already.
    """
    name = plans[0].environment.name
    policies = look(plans, document)
    if document is None:
        if policies.all:
            raise _unsigned(plans, policies)
        return None
    problems = [
        *differences(document, plans),
        *_out_of_time(document, policies),
        *_other_signers(document, policies),
    ]
    if not problems and policies.all:
        if unseen := sorted({*accepted} - document.blocking):
            problems.append(f"it does not show that {', '.join(unseen)} blocks")
        if overridden and document.facts["promotion_granted"]:
            problems.append("it does not show that promotion is overridden")
    if problems:
        raise SignatureError(
            f"{document.file} is not what would run on {name} now: {'; '.join(problems)}",
            untouched=f"{name} was not touched",
            hint=f"make it anew, and let it be signed: invoke migrate.plan --env={name} --out={document.file}",
        )
    if not policies.all:
        return None
    try:
        signed = _signed(signatures_from(signatures), document, policies)
    except SignatureError as error:
        error.untouched = f"{name} was not touched"
        error.hint = error.hint or f"leave it out, or sign anew: invoke migrate.approve {document.file}"
        raise
    return Approved(document, signed, policies.now)


def _unsigned(plans: Sequence[Plan], policies: InForce) -> UnsignedError:
    name = plans[0].environment.name
    task = "migrate.plan" if plans[0].action == "upgrade" else "migrate.down"
    to = "" if task == "migrate.plan" else f" --to={', '.join(plans[0].to) or 'base'}"
    return UnsignedError(
        f"{name} takes signed plans only: {' and '.join(map(str, policies.all))} have to sign",
        untouched=f"{name} was not touched",
        hint=f"invoke {task} --env={name}{to} --out=plan.json; a person signs it: invoke migrate.approve plan.json",
    )


def _out_of_time(document: Document, policies: InForce) -> Iterator[str]:
    most = min((each.max_age for each in policies.all), default=None)
    if document.expires_at <= policies.at:
        yield f"it expired at {document.expires_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
    elif document.made_at > policies.at + _SKEW:
        yield "it was made in the future: a clock is wrong"
    elif most is not None and (document.expires_at - document.made_at).total_seconds() > most:
        yield "it would be good for longer than approvals.migrate.max_age"


def _other_signers(document: Document, policies: InForce) -> Iterator[str]:
    pairs = (("approvals", policies.now), ("approvals_before", policies.before))
    if any(document.facts[key] != (each.as_dict() if each else None) for key, each in pairs):
        yield "who has to sign changed since it was made"


def _signed(signatures: Sequence[str], document: Document, policies: InForce) -> tuple[Signer, ...]:
    """Who signed; each policy has to be satisfied, and no signature may be worthless."""
    counting: dict[Policy, dict[str, Signer]] = {each: {} for each in policies.all}
    for signature in signatures:
        failed: SignatureError | None = None
        counted_once = False
        for policy, people in counting.items():
            try:
                signer = signer_of(signature, document.raw, policy.signers, policies.at)
            except SignatureError as error:
                failed = error
                continue
            counted_once = True
            people.setdefault(signer.name, signer)
        if failed is not None and not counted_once:
            raise failed
    for policy, people in counting.items():
        if len(people) < policy.count:
            names = ", ".join(policy.signers.names)
            raise SignatureError(
                f"{document.facts['environment']} wants {counted(policy.count, 'signature')} (of {names}"
                f"{_whose(policy, policies)}), and {document.file.name} has {len(people) or 'none'}"
                + (f": {', '.join(people)}" if people else ""),
                hint=f"another of them signs: invoke migrate.approve {document.file}",
            )
    found = {each.name: each for people in counting.values() for each in people.values()}
    return tuple(found.values())


def _whose(policy: Policy, policies: InForce) -> str:
    if policy == policies.before and policies.before != policies.now:
        return ": the signers of the last run, who have to agree to other ones"
    return ""
