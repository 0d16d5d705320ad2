"""How much has to be said before something happens: a pure decision over the environment and the action."""

from __future__ import annotations

from enum import Enum

from pgops.environments import Environment
from pgops.errors import RefusedError


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
            hint=f"--confirm={environment.name}",
        )
    if yes and answer is Answer.NAME:
        why = "is protected" if environment.protected else "has hazards in this plan"
        raise RefusedError(
            f"--yes is not enough: {environment.name} {why}",
            untouched=f"{environment.name} was not touched",
            hint=f"--confirm={environment.name}",
        )
    return yes


def flag_for(environment: Environment, answer: Answer) -> str:
    """The exact flag that answers without a terminal."""
    return f"--confirm={environment.name}" if answer is Answer.NAME else "--yes"
