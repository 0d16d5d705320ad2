"""The tables of docs/environments.md, made from the specification that the loader follows.

``python -m pgops.environments.reference docs/environments.md`` writes them anew between their marks;
a test holds the page to them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from pgops.environments.hazard_rules import OWN_RULES, SQUAWK_RULES
from pgops.environments.kinds import (
    BYTES,
    Boolean,
    Choice,
    Duration,
    Field,
    File,
    Integer,
    Items,
    Kind,
    Record,
    SecretKind,
    Size,
    Table,
    Text,
)
from pgops.environments.spec import BACKUPS, COMPOSE, DOCUMENT, ENVIRONMENT, KEEP, MONITORING, STORE, TIMEOUTS
from pgops.environments.spec_migrations import ALEMBIC, HAZARDS, REHEARSAL, REVERSIBLE
from pgops.environments.spec_values import ENVIRONMENT_NAME, SECRET_SOURCES, WORD
from pgops.units import SECONDS

_RECORDS = (
    DOCUMENT,
    ENVIRONMENT,
    COMPOSE,
    TIMEOUTS,
    BACKUPS,
    KEEP,
    ALEMBIC,
    HAZARDS,
    REHEARSAL,
    MONITORING,
    REVERSIBLE,
    STORE,
)

_SHORT: dict[Kind, str] = {ENVIRONMENT_NAME: "name", WORD: "text"}


def tables() -> dict[str, str]:
    """Every generated piece of the page by the name in its mark."""
    found = {record.name: _table(record.fields) for record in _RECORDS}
    found["secrets"] = _table(
        field._replace(required=False) for fields in SECRET_SOURCES.values() for field in fields
    )
    encrypt = STORE.get("encrypt")
    assert encrypt is not None and isinstance(encrypt.kind, Record)
    found["encrypt"] = _table(encrypt.kind.fields)
    found["units"] = f"Durations: {_codes(SECONDS)}. Sizes (powers of 1024): {_codes(BYTES)}.\n"
    found["rules"] = f"pgops' own: {_codes(OWN_RULES)}.\n\nsquawk's: {_codes(SQUAWK_RULES)}.\n"
    return found


def filled(page: str) -> str:
    """The page with every table between its marks written anew."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page


def _table(fields: Iterable[Field]) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for field in fields:
        default = "required" if field.required else f"`{field.default}`" if field.default else ""
        if " " in field.default:
            default = field.default
        rows.append(f"| `{field.name}` | {_kind(field.kind)} | {default} | {field.help} |")
    return "\n".join(rows).replace("http|", "http\\|") + "\n"


def _kind(kind: Kind) -> str:
    match kind:
        case Text() | File():
            return _SHORT.get(kind, kind.what.removeprefix("a ").removeprefix("an ").removeprefix("the "))
        case Choice(words=words):
            return _codes(words) if len(words) <= 10 else "names of rules"
        case Integer(minimum=minimum, maximum=maximum):
            return f"`{minimum}`" if minimum == maximum else f"number from {minimum}"
        case Boolean():
            return "`true`, `false`"
        case Duration():
            return "duration"
        case Size():
            return "size"
        case Items(item=item):
            return f"list of {_kind(item)}"
        case Table(value=value):
            return f"mapping of names to {_kind(value)}"
        case SecretKind(sources=sources):
            return f"secret: {_codes(sources)}"
        case Record(name=name):
            return f"mapping: {name}"


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
