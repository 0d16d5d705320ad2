"""Who is asked what: the whole policy as one table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pgops.environments import (
    AlembicSettings,
    BackupPolicy,
    ComposeConnection,
    Environment,
    HazardSettings,
    HostConnection,
    Position,
    Store,
    Timeouts,
)
from pgops.errors import RefusedError
from pgops.terminal.confirmation import (
    AgentError,
    Answer,
    Effect,
    answered_by_flags,
    next_step,
    refuse_agent,
    required_answer,
)

LOCAL = Environment(
    name="dev",
    aliases=("development",),
    protected=False,
    connection=ComposeConnection(service="db"),
    timeouts=Timeouts(),
    backups=BackupPolicy(store=Store("local", "file:/nowhere")),
    alembic=AlembicSettings(config=Path("alembic.ini")),
    hazards=HazardSettings(),
    project=Path("/nowhere"),
    position=Position(Path("environments.yaml"), 1, 1),
)
STAGING = dataclasses.replace(LOCAL, name="staging", connection=HostConnection("db", "app", "app"))
PRODUCTION = dataclasses.replace(STAGING, name="production", protected=True, aliases=("live",))


@pytest.mark.parametrize(
    ("environment", "effect", "answer"),
    [
        (LOCAL, Effect.READS, Answer.NOTHING),
        (LOCAL, Effect.CHANGES, Answer.NOTHING),
        (LOCAL, Effect.RISKY_CHANGES, Answer.NOTHING),
        (LOCAL, Effect.DESTROYS, Answer.YES),
        (STAGING, Effect.READS, Answer.NOTHING),
        (STAGING, Effect.CHANGES, Answer.YES),
        (STAGING, Effect.RISKY_CHANGES, Answer.NAME),
        (STAGING, Effect.DESTROYS, Answer.YES),
        (PRODUCTION, Effect.READS, Answer.NOTHING),
        (PRODUCTION, Effect.CHANGES, Answer.NAME),
        (PRODUCTION, Effect.RISKY_CHANGES, Answer.NAME),
        (PRODUCTION, Effect.DESTROYS, Answer.NAME),
    ],
)
def test_policy(environment: Environment, effect: Effect, answer: Answer) -> None:
    assert required_answer(environment, effect) is answer


@pytest.mark.parametrize("answer", [Answer.YES, Answer.NAME])
def test_no_flag_answers_nothing(answer: Answer) -> None:
    assert not answered_by_flags(STAGING, answer, yes=False, confirm=None)


def test_yes_answers_a_plain_question_only() -> None:
    assert answered_by_flags(STAGING, Answer.YES, yes=True, confirm=None)
    with pytest.raises(RefusedError) as refused:
        answered_by_flags(PRODUCTION, Answer.NAME, yes=True, confirm=None)
    assert refused.value.message == "--yes is not enough: production is protected"
    assert refused.value.hint == next_step(PRODUCTION, Answer.NAME)


def test_yes_does_not_accept_a_hazard() -> None:
    with pytest.raises(RefusedError, match="staging has hazards in this plan"):
        answered_by_flags(STAGING, Answer.NAME, yes=True, confirm=None)


def test_confirm_must_name_this_environment() -> None:
    assert answered_by_flags(PRODUCTION, Answer.NAME, yes=False, confirm="production")
    for wrong in ("staging", "prod", "Production", ""):
        with pytest.raises(RefusedError, match="does not name the environment 'production'"):
            answered_by_flags(PRODUCTION, Answer.NAME, yes=True, confirm=wrong)


def test_the_next_step_names_the_flag_of_an_unprotected_environment_only() -> None:
    assert next_step(STAGING, Answer.YES) == "add --yes"
    assert next_step(STAGING, Answer.NAME) == "add --confirm=staging"
    told = next_step(PRODUCTION, Answer.NAME)
    assert (told.startswith("on a terminal, type production"), "--" in told) == (True, False)


def test_an_agent_is_refused_where_the_environment_is_protected() -> None:
    refuse_agent(STAGING, "claude-code (CLAUDECODE)")
    refuse_agent(PRODUCTION, None)
    with pytest.raises(AgentError, match="a coding agent is at the keyboard: claude-code"):
        refuse_agent(PRODUCTION, "claude-code (CLAUDECODE)")
