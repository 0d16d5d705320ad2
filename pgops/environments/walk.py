"""A tree of YAML nodes and the specification -> values that know where they came from; problems go to a list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pgops.environments.kinds import Items, Kind, Record, SecretKind, Table
from pgops.environments.scalars import is_null, read_scalar, what_is
from pgops.environments.spec_values import SECRET_SOURCES
from pgops.environments.tree import Mapping, Node, Place, Scalar, Sequence
from pgops.environments.words import did_you_mean, join, listed, shown
from pgops.secrets.references import (
    CommandSecret,
    EnvSecret,
    FileSecret,
    KeyringSecret,
    PassfileSecret,
    SecretRef,
)

# A piece of the file in a message, as repr() or JSON would write it.
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


class Problem(NamedTuple):
    """One mistake: where it stands, the dotted path of the setting, what is wrong."""

    place: Place
    path: str
    text: str


class Given(NamedTuple):
    """A value that stands in the file. A record or table holds ``dict[str, Given]``, a list a tuple of them.

    ``value`` is ``None`` for null: it unsets what an earlier layer gave.
    """

    value: Any
    place: Place
    path: str
    key_place: Place | None = None

    @property
    def at(self) -> Place:
        """Where its key stands, or itself where it has none."""
        return self.key_place or self.place


class Walker:
    """Checks nodes against the specification; ``directory`` is what relative paths are relative to.

    ``broken`` are the paths whose value could not be read: they were given, so they are not missing.
    """

    def __init__(self, directory: Path, root: Path) -> None:
        self.problems: list[Problem] = []
        self.broken: set[str] = set()
        self._directory = directory
        self._root = root

    def problem(self, place: Place, path: str, text: str) -> None:
        """Note one mistake."""
        self.problems.append(Problem(place, path, text))

    def walk(self, node: Node, kind: Kind, path: str) -> Given | None:
        """The value of a node, or ``None`` after noting why it has none."""
        match kind:
            case Record():
                return self._record(node, kind, path)
            case Table():
                return self._table(node, kind, path)
            case Items():
                return self._items(node, kind, path)
            case SecretKind():
                return self._secret(node, kind, path)
        if not isinstance(node, Scalar):
            self.problem(node.place, path, f"{_described(node)} stands where {what_is(kind)} belongs")
            return None
        value, wrong = read_scalar(node, kind, directory=self._directory, root=self._root)
        if wrong:
            self.problem(node.place, path, wrong)
            return None
        return Given(value, node.place, path)

    def require(self, place: Place, path: str, kind: Record, present: Iterable[str]) -> None:
        """Note each required field that is not there."""
        for field in kind.fields:
            if field.required and field.name not in present:
                self.problem(place, join(path, field.name), f"is missing: {field.help}")

    def _record(self, node: Node, kind: Record, path: str) -> Given | None:
        if not isinstance(node, Mapping):
            keys = listed(each.name for each in kind.fields)
            self.problem(
                node.place, path, f"{_described(node)} stands where a mapping belongs; its keys are {keys}"
            )
            return None
        found: dict[str, Given] = {}
        for key, value in node.entries:
            here = join(path, key.text)
            field = kind.get(key.text)
            if field is not None:
                self._entry(found, key, value, field.kind, here, layered=kind.layered)
            elif not (kind.free and key.text.startswith("x-")):
                self._unknown_key(key, kind, here)
        if not kind.layered:
            self.require(node.place, path, kind, {key.text for key, _ in node.entries})
        return Given(found, node.place, path)

    def _entry(
        self, found: dict[str, Given], key: Scalar, value: Node, kind: Kind, path: str, *, layered: bool
    ) -> None:
        if layered and is_null(value):
            found[key.text] = Given(None, value.place, path, key.place)
            return
        given = self.walk(value, kind, path)
        if given is None:
            self.broken.add(path)
        else:
            found[key.text] = Given(given.value, given.place, given.path, key.place)

    def _unknown_key(self, key: Scalar, kind: Record, path: str) -> None:
        if kind.name == "defaults" and key.text in {"aliases", "extends", "protected"}:
            self.problem(key.place, path, f"{key.text} belongs to one environment, not to defaults")
            return
        known = [each.name for each in kind.fields]
        meant = did_you_mean(key.text, known) or f"; known are {listed(known)}"
        self.problem(key.place, path, f"unknown key {shown(key.text)}{meant}")

    def _table(self, node: Node, kind: Table, path: str) -> Given | None:
        if not isinstance(node, Mapping):
            self.problem(node.place, path, f"{_described(node)} stands where a mapping belongs")
            return None
        found: dict[str, Given] = {}
        for key, value in node.entries:
            here = join(path, key.text)
            if not re.fullmatch(kind.key.pattern, key.text):
                self.problem(key.place, here, f"{shown(key.text)} is not {kind.key.what}")
                continue
            self._entry(found, key, value, kind.value, here, layered=kind.layered)
        if len(node.entries) < kind.at_least:
            self.problem(node.place, path, "is empty")
        return Given(found, node.place, path)

    def _items(self, node: Node, kind: Items, path: str) -> Given | None:
        if not isinstance(node, Sequence):
            self.problem(node.place, path, f"{_described(node)} stands where a list belongs")
            return None
        if len(node.items) < kind.at_least:
            self.problem(node.place, path, "is empty")
        found: list[Given] = []
        seen: set[str] = set()
        for at, item in enumerate(node.items):
            given = self.walk(item, kind.item, f"{path}[{at}]")
            if given is None:
                continue
            if kind.unique and given.value in seen:
                self.problem(item.place, given.path, f"{shown(given.value)} stands twice")
                continue
            seen.add(given.value)
            found.append(given)
        return Given(tuple(found), node.place, path)

    # secrets: no message shows what was written, it may be the secret itself

    def _secret(self, node: Node, kind: SecretKind, path: str) -> Given | None:
        ways = ", ".join(kind.sources)
        if not isinstance(node, Mapping):
            variable = re.sub(r"\W", "_", path.removeprefix("environments.")).upper()
            self.problem(
                node.place,
                path,
                f"a secret is never written here, only where it is: {{env: {variable}}}, or one of {ways}",
            )
            return None
        named = [key for key, _ in node.entries if key.text in SECRET_SOURCES]
        if len(named) != 1:
            what = " and ".join(key.text for key in named)
            said = (
                f"{what} are given; take exactly one of {ways}" if named else f"takes exactly one of {ways}"
            )
            self.problem(named[1].place if named else node.place, path, said)
            return None
        source = named[0].text
        if source not in kind.sources:
            why = "a passfile holds passwords only" if source == "passfile" else f"{source} does not go here"
            self.problem(named[0].place, path, f"{why}; take one of {ways}")
            return None
        noted = len(self.problems)
        options = Record(source, SECRET_SOURCES[source], layered=False)
        found: dict[str, Any] = {}
        for key, value in node.entries:
            field = options.get(key.text)
            if field is None:
                known = listed(each.name for each in options.fields)
                self.problem(key.place, path, f"unknown key beside {source}; known are {known}")
                continue
            walk = self._quietly if key.text == source else self.walk
            given = walk(value, field.kind, join(path, key.text))
            if given is not None:
                found[key.text] = given.value
        if len(self.problems) > noted or source not in found:
            return None
        return Given(self._reference(source, found), node.place, path)

    def _quietly(self, node: Node, kind: Kind, path: str) -> Given | None:
        """As :meth:`walk`, but no message shows what was written."""
        noted = len(self.problems)
        given = self.walk(node, kind, path)
        for at, problem in enumerate(self.problems[noted:], noted):
            written, meant, known = problem.text.partition("; did you mean")
            text = _QUOTED.sub("this value", written) + meant + known
            self.problems[at] = Problem(problem.place, path, text)
        return given

    def _reference(self, source: str, found: dict[str, Any]) -> SecretRef:
        match source:
            case "env":
                return EnvSecret(found["env"])
            case "file":
                return FileSecret(found["file"])
            case "passfile":
                return PassfileSecret(found["passfile"])
            case "keyring":
                entry = found["keyring"]
                return KeyringSecret(entry["service"].value, entry["username"].value)
            case _:
                program, *arguments = (each.value for each in found["command"])
                if "/" in program and not program.startswith("/"):
                    program = str(self._directory / program)
                limits = {key: found[key] for key in ("ttl", "timeout") if key in found}
                return CommandSecret((program, *arguments), **limits)


def _described(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    return "nothing" if is_null(node) else shown(node.text)
