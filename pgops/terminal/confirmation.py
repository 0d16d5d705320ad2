"""How much has to be said before something happens: a pure decision over the environment and the action."""

from __future__ import annotations

from enum import Enum

from pgops.environments import Environment
from pgops.errors import RefusedError


class AgentError(RefusedError):
    """A coding agent is at the keyboard, where a person has to be."""

    code = "agent"


class Effect(Enum):
    """What an action does to an environment's data."""

    READS = "reads"
    CHANGES = "changes"
    RISKY_CHANGES = "changes with a hazard"
    DESTROYS = "destroys or replaces data"


class Answer(Enum):
    """What has to be answered first."""

    NOTHING = "nothing"
    YES = "y/N"
    NAME = "the environment's name, typed out"


def required_answer(environment: Environment, effect: Effect) -> Answer:
    """Decide what to ask.

    Reading asks nothing. A protected environment wants its name typed for everything else, and so
    does a risky change anywhere that is not local. A local environment is asked only before data is
    destroyed or replaced; every other one is asked y/N.
    """
    if effect is Effect.READS:
        return Answer.NOTHING
    if environment.protected:
        return Answer.NAME
    if effect is Effect.DESTROYS:
        return Answer.YES
    if environment.local:
        return Answer.NOTHING
    return Answer.NAME if effect is Effect.RISKY_CHANGES else Answer.YES


def answered_by_flags(environment: Environment, answer: Answer, *, yes: bool, confirm: str | None) -> bool:
    """Whether ``--yes`` or ``--confirm`` already gave the answer.

    :raises RefusedError: a flag that does not fit: ``--confirm`` names another environment, or
        ``--yes`` where the name is wanted.
    """
    if answer is Answer.NOTHING:
        return True
    if confirm is not None:
        if confirm == environment.name:
            return True
        raise RefusedError(
            f"--confirm={confirm} does not name the environment {environment.name!r}",
            untouched=f"{environment.name} was not touched",
            hint=next_step(environment, answer),
        )
    if yes and answer is Answer.NAME:
        why = "is protected" if environment.protected else "has hazards in this plan"
        raise RefusedError(
            f"--yes is not enough: {environment.name} {why}",
            untouched=f"{environment.name} was not touched",
            hint=next_step(environment, answer),
        )
    return yes


def next_step(environment: Environment, answer: Answer) -> str:
    """What is left to somebody who could not be asked.

    Of an unprotected environment the flag that answers; what lets a protected one go is told by no message, for a
    program that reads them would type it.
    """
    if environment.protected:
        return (
            f"on a terminal, type {environment.name} when asked; docs/approval.md says what a pipeline does"
        )
    return f"add --confirm={environment.name}" if answer is Answer.NAME else "add --yes"


def refuse_agent(environment: Environment, agent: str | None) -> None:
    """A protected environment takes its changes from people.

    :param agent: who is known to be at the keyboard, ``None`` where nobody is.
    :raises AgentError: it is a coding agent.
    """
    if environment.protected and agent is not None:
        raise AgentError(
            f"{environment.name} is protected, and a coding agent is at the keyboard: {agent}",
            untouched=f"{environment.name} was not touched",
            hint=f"hand over to a person; migrate.plan, migrate.rehearse and --dry-run work for {environment.name} as ever",
        )
