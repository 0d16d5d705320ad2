"""Who has to sign: what environments.yaml says now, and what the journal remembers of the last signed run.

The file of signers stands in the repository, and who deploys can change the checkout. So each signed run leaves
the file's text in the target's journal, and the next plan needs signatures by those too: who adds a key, lowers
the count or takes `approvals` out needs the consent of the people that were named before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgops.environments import Environment
from pgops.errors import ConfigurationError
from pgops.migrations import journal
from pgops.migrations.approval.signers import Signers, parse_signers, read_signers
from pgops.postgres import Connection, fetch_value


@dataclass(frozen=True, slots=True)
class Policy:
    """``count`` of the people in ``signers`` have to sign; a plan may run for ``max_age`` seconds."""

    count: int
    max_age: float
    signers: Signers

    def __str__(self) -> str:
        of = self.signers.names
        return f"{self.count} of {len(of)} ({', '.join(of)}; signers {self.signers.hash[:12]})"

    def as_dict(self) -> dict[str, Any]:
        """As a plan and the journal hold it."""
        return {
            "count": self.count,
            "max_age": self.max_age,
            "signers": self.signers.text,
            "signers_hash": self.signers.hash,
        }


def policy_from(found: Mapping[str, Any] | None, where: str) -> Policy | None:
    """What :meth:`Policy.as_dict` gave.

    :param where: what holds it, for messages.
    :raises ConfigurationError: it does not make sense.
    """
    if found is None:
        return None
    try:
        return Policy(
            int(found["count"]), float(found["max_age"]), parse_signers(str(found["signers"]), where)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{where} does not say who has to sign: {error}", untouched="nothing was touched"
        ) from error


def policy_of(environment: Environment) -> Policy | None:
    """What environments.yaml and the file of signers say now; ``None`` where nobody has to sign.

    :raises ConfigurationError: the file is wrong, or names fewer people than have to sign.
    """
    given = environment.approval
    if given is None:
        return None
    signers = read_signers(given.keys)
    if len(signers.names) < given.count:
        raise ConfigurationError(
            f"{environment.name} wants {given.count} signatures, and {given.keys.name} names "
            f"{len(signers.names)} ({', '.join(signers.names)})",
            untouched="nothing was touched",
            hint="name more people, or a smaller approvals.migrate.count",
        )
    return Policy(given.count, given.max_age, signers)


@dataclass(frozen=True, slots=True)
class InForce:
    """``now`` is what the checkout says, ``before`` what the last signed run left; ``at`` the server's clock."""

    now: Policy | None
    before: Policy | None
    at: dt.datetime

    @property
    def all(self) -> tuple[Policy, ...]:
        """Each has to be satisfied; one where both are the same."""
        found = [each for each in (self.before, self.now) if each is not None]
        return tuple(dict.fromkeys(found))


def in_force(connection: Connection, environment: Environment, document: str | None = None) -> InForce:
    """Who has to sign a plan of this environment, by the checkout and by the target's journal.

    :param document: the id of the plan's file: what it brought itself, with a run that failed, is not from before it.
    :raises ConfigurationError: the file of signers is wrong.
    :raises UntrustedError: the journal is not to be believed.
    """
    last = journal.last_approval(
        connection, (environment.name, *environment.aliases), environment.trusted_owners, but=document
    )
    return InForce(
        now=policy_of(environment),
        before=policy_from(
            None if last is None else last.get("policy"), f"the journal of {environment.name}"
        ),
        at=fetch_value(connection, "SELECT pg_catalog.clock_timestamp()"),
    )
