"""Server settings for the connections that env.py opens."""

from __future__ import annotations

from pgops.environments import Environment


def look_settings(environment: Environment) -> dict[str, str]:
    """Server settings for the connections env.py opens during a look."""
    return {
        "application_name": "pgops look: env.py",
        "default_transaction_read_only": "on",
        "lock_timeout": milliseconds(environment.timeouts.lock),
        "statement_timeout": milliseconds(environment.timeouts.statement),
        "idle_in_transaction_session_timeout": milliseconds(environment.timeouts.idle_in_transaction),
    }


def milliseconds(seconds: float) -> str:
    """A duration as PostgreSQL's settings take it."""
    return f"{max(1, round(seconds * 1000))}ms"
