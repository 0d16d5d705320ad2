"""docs/architecture.svg, drawn from the layers of pyproject.toml and the first line of each package.

``python -m tests.support.house_picture`` draws it anew; tests/test_docs.py holds the file to the code.
"""

from __future__ import annotations

import ast
import html
import re
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = REPOSITORY / "docs" / "architecture.svg"

WIDTH = 980
GAP = 10
LINE = 17
PAD = 12
OUTSIDE = 190  # the column on the right: programs and services that only this floor speaks to

# Which outside system is behind which door; the import contracts of pyproject.toml hold the packages to it.
DOORS = {
    "pgops.tasks": "Invoke",
    "pgops.terminal": "rich; the terminal",
    "pgops.migrations": "Alembic, SQLAlchemy, env.py; squawk",
    "pgops.backups": "obstore (S3), pyrage (age)",
    "pgops.local": "Docker engine; PostgreSQL wheel",
    "pgops.pgtools": "pg_dump, pg_restore, psql",
    "pgops.postgres": "psycopg2",
    "pgops.secrets": "keyring, passfiles, commands",
}

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .name { font-weight: 600; }
  .door { font-style: italic; fill: #57606a; }
  .floor { fill: #f6f8fa; stroke: #d0d7de; }
  .room { fill: #ffffff; stroke: #afb8c1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .door { fill: #9198a1; }
    .floor { fill: #161b22; stroke: #3d444d; }
    .room { fill: #0d1117; stroke: #6e7681; }
  }
"""


@dataclass(frozen=True)
class Room:
    """A package or module of the house: its name, what it is for, and the rooms inside, from the top floor down."""

    name: str
    purpose: str
    inside: tuple[Room, ...] = ()


def floors() -> list[list[Room]]:
    """The floors of the house from the top down, as import-linter's contracts have them."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    layers = [each for each in contracts if each["type"] == "layers"]
    (house,) = (each for each in layers if "containers" not in each)
    rooms = {
        container: [name.strip() for layer in each["layers"] for name in layer.split("|")]
        for each in layers
        for container in each.get("containers", ())
    }
    return [
        [
            Room(
                name.removeprefix("pgops."),
                purpose(name),
                tuple(Room(each, purpose(f"{name}.{each}")) for each in rooms.get(name, ())),
            )
            for name in (part.strip() for part in layer.split("|"))
        ]
        for layer in house["layers"]
    ]


def purpose(name: str) -> str:
    """The first sentence of a package's or module's docstring."""
    path = REPOSITORY.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first = text.split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")
    return re.sub(r":\w+:|`", "", first)


def draw() -> str:
    """The picture as SVG text."""
    parts: list[str] = []
    y = GAP
    for floor in floors():
        width = (WIDTH - OUTSIDE - GAP * (len(floor) + 1)) // len(floor)
        height = max(_height(room, width) for room in floor)
        doors = []
        for at, room in enumerate(floor):
            _room(parts, room, GAP + at * (width + GAP), y, width, height)
            if door := DOORS.get(f"pgops.{room.name}"):
                doors.append(f"{room.name}: {door}")
        lines = [line for door in doors for line in textwrap.wrap(door, 24)]
        for at, line in enumerate(lines):
            _text(parts, WIDTH - OUTSIDE + GAP, y + PAD + LINE * (at + 1) - 4, line, "door")
        y += max(height, PAD + LINE * len(lines)) + GAP
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" '
        f'aria-label="The packages of pgops, from the tasks down to the errors">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _lines(room: Room, width: int) -> list[str]:
    return textwrap.wrap(room.purpose, max(12, int((width - 2 * PAD) / 7.2)))


def _height(room: Room, width: int) -> int:
    own = PAD + LINE * (1 + len(_lines(room, width))) + PAD // 2
    return (
        own
        + sum(_height(each, width - 2 * PAD) + GAP // 2 for each in room.inside)
        + (PAD // 2 if room.inside else 0)
    )


def _room(parts: list[str], room: Room, x: int, y: int, width: int, height: int, kind: str = "floor") -> None:
    parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
    at = y + PAD + LINE - 4
    _text(parts, x + PAD, at, room.name, "name")
    for line in _lines(room, width):
        at += LINE
        _text(parts, x + PAD, at, line, "purpose")
    at += PAD // 2 + 4
    for each in room.inside:
        inner = _height(each, width - 2 * PAD)
        _room(parts, each, x + PAD, at, width - 2 * PAD, inner, "room")
        at += inner + GAP // 2


def _text(parts: list[str], x: int, y: int, text: str, kind: str) -> None:
    parts.append(f'<text class="{kind}" x="{x}" y="{y}">{html.escape(text)}</text>')


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
