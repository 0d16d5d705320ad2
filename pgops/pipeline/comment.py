"""One comment for each kind of look, kept up to date; and the hash of the plan that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pgops.pipeline.forge import Comment, Forge

HASH = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_LONGEST = 65_000


def keep_up_to_date(
    forge: Forge, kind: str, name: str, plan_hash: str, body: str
) -> Literal["created", "updated", "unchanged"]:
    """Write the comment, or write it anew where it is there; nobody else's comment is taken for it.

    :param kind: ``lint`` or ``plan``; with ``name`` (the environment) it tells comments apart.
    :param plan_hash: of the plan that ``body`` shows, or ``""``.
    :raises ValueError: ``name`` or ``plan_hash`` is none.
    :raises ForgeError: the API refuses.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an environment")
    if plan_hash and not HASH.fullmatch(plan_hash):
        raise ValueError(f"{plan_hash!r} is no hash of a plan")
    first = f"{_mark(kind, name)}{f' hash={plan_hash}' if plan_hash else ''} -->"
    text = f"{first}\n{body}"
    if len(text) > _LONGEST:
        text = f"{first}\nWhat is to be shown here is longer than a comment may be: see the job's log.\n"
    before = next(iter(_ours(forge, kind, name)), None)
    if before is None:
        forge.create(text)
        return "created"
    if before.body.replace("\r\n", "\n").strip() == text.strip():
        return "unchanged"
    forge.update(before, text)
    return "updated"


def reviewed_hash(forge: Forge, name: str) -> str | None:
    """The hash of the plan that was shown last for an environment; ``None`` where there is none."""
    for comment in _ours(forge, "plan", name):
        found = re.match(
            rf"{re.escape(_mark('plan', name))} hash=([0-9a-f]{{16}}) -->(?:\r?\n|$)", comment.body
        )
        if found:
            return found[1]
    return None


def _mark(kind: str, name: str) -> str:
    return f"<!-- pgops {kind} {name}"


def _ours(forge: Forge, kind: str, name: str) -> Iterator[Comment]:
    # The first line only: what stands below it is shown text, and may say anything.
    mark = re.compile(rf"{re.escape(_mark(kind, name))}(?: hash=[0-9a-f]{{16}})? -->(?:\r?\n|$)")
    author = forge.author()
    return (each for each in forge.comments() if each.author == author and mark.match(each.body))
