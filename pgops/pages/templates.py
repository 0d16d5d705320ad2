"""Jinja templates of pages: everything that is put into one is escaped, and nothing is left out in silence."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from pgops.runtime.clear_text import clear
from pgops.secrets.redaction import redact
from pgops.units import counted, human_age, human_bytes, human_seconds, human_time

_DIRECTORY = Path(__file__).parent / "templates"


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_DIRECTORY),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # What is no text is put in as it is shown; a text also loses what would reorder or hide its neighbours.
        finalize=_shown,
    )
    made.filters.update(
        seconds=human_seconds, size=human_bytes, moment=human_time, age=human_age, percent=_percent
    )
    made.globals.update(counted=counted)
    return made


def _shown(value: Any) -> Any:
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return clear(redact(value))
    return value


def _percent(part: float, whole: float) -> str:
    """For a style: ``12.34``; 0 to 100 whatever comes."""
    return f"{min(100.0, max(0.0, 100 * part / whole if whole > 0 else 0.0)):.2f}"


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """A template of this package, filled in.

    :param template: its name, such as ``rehearsal.html.j2``.
    """
    return _environment().get_template(template).render(**values)
