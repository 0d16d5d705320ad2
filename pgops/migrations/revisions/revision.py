"""One revision, read from its file without running it.

A revision file is *plain* when ``revision``, ``down_revision``, ``depends_on`` and ``branch_labels``
are literals at module level. Reading a plain file is a search for four lines; whatever is not
plain beyond doubt is left to Alembic (:class:`NotPlainError`), which runs the file.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pgops.migrations.revisions import mistakes
from pgops.runtime.files import open_regular

_NAMES = "down_revision|revision|branch_labels|depends_on"
_ASSIGNMENT = re.compile(rf"^({_NAMES})[ \t]*(?::[^=\n]*)?=[ \t]*([^\n]*)$", re.MULTILINE)
# Every way to bind one of the names that the pattern above would miss sends the file to the slow reader.
_BINDING = re.compile(
    rf"(?:(?:\b(?:as|for|def|class|global|import|del)\s+|[,(]\s*)(?:{_NAMES})\b)|\b(?:{_NAMES})\b\s*(?:[:,)]|(?:[-+*/%@&|^:]|//|\*\*|<<|>>)?=(?!=))"
)
_STAR = re.compile(r"import[ \t(]*\*")
_DYNAMIC = ("globals", "exec(", "setattr", "vars(", "__dict__")
_STOCK_COMMENT = "# revision identifiers, used by Alembic."
_STRING = r"(?:'[^'\\\n{}]*'|\"[^\"\\\n{}]*\")"
_VALUE = re.compile(
    rf"(?:None|{_STRING}|[(\[]\s*(?:{_STRING}\s*(?:,\s*{_STRING}\s*)*,?\s*)?[)\]])\s*(?:\#.*)?$"
)


class NotPlainError(Exception):
    """These revision files can't be understood without running them; Alembic has to."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision file. ``hash`` is the SHA-256 of its text with line ends as ``\\n``."""

    id: str
    down: tuple[str, ...]
    depends: tuple[str, ...]
    labels: tuple[str, ...]
    path: str
    hash: str

    @property
    def file(self) -> Path:
        """Where it is. Made on demand: a thousand Paths cost as much as reading the files."""
        return Path(self.path)

    @property
    def parents(self) -> tuple[str, ...]:
        """What has to be applied before: down revisions and dependencies."""
        return (*self.down, *self.depends)

    @property
    def message(self) -> str:
        """First paragraph of the file's docstring, in one line; ``""`` where only a compiled file is there.

        :raises ConfigurationError: it is no Python.
        """
        if not self.path.endswith(".py"):
            return ""
        try:
            content = self.file.read_bytes()
        except OSError:
            return ""
        try:
            doc = ast.get_docstring(ast.parse(content)) or ""
        except (SyntaxError, ValueError, RecursionError) as error:
            raise mistakes.not_python(self.path, content, error) from error
        return first_paragraph(doc)


def first_paragraph(doc: str) -> str:
    """What a docstring begins with, in one line."""
    return " ".join(doc.split("\n\n", 1)[0].split())


def open_file(file: str) -> int:
    """Open a revision file for reading.

    :raises ConfigurationError: it is no file, leads nowhere, or may not be read.
    """
    try:
        return open_regular(file)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise mistakes.unreadable(file, error) from error
        raise mistakes.no_file(file) from error


def read_revision(file: str, content: bytes) -> Revision:
    """Read one revision file's identifiers.

    :raises NotPlainError: they are not literals.
    """
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotPlainError(f"{file}: not UTF-8") from error
    values = _quick(text) or _thorough(file, text)
    if not {"revision", "down_revision"} <= values.keys():
        raise NotPlainError(f"{file}: no literal revision and down_revision")
    if not isinstance(values["revision"], str) or not values["revision"]:
        raise mistakes.not_a_name(file, "revision", values["revision"])
    return Revision(
        id=str(values["revision"]),
        down=_names(file, "down_revision", values["down_revision"]),
        depends=_names(file, "depends_on", values.get("depends_on")),
        labels=_names(file, "branch_labels", values.get("branch_labels")),
        path=file,
        hash=hashlib.sha256(content).hexdigest(),
    )


def text_now(file: Path | str) -> bytes:
    """What a revision file holds by now; nothing where it can't be read any more."""
    try:
        with FileIO(file) as stream:
            return stream.readall()
    except OSError:
        return b""


def file_hash(content: bytes) -> str:
    """SHA-256 of a revision file with line ends as ``\\n``: a checkout on Windows is the same file."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def _quick(text: str) -> dict[str, object] | None:
    """The four values where four plain lines hold them and nothing else could bind the names."""
    found: dict[str, object] = {}
    end = 0
    for match in _ASSIGNMENT.finditer(text):
        name, value = match[1], match[2]
        if name in found or not _VALUE.match(value):
            return None
        if _quotes_are_open(text, end, match.start()):
            return None
        found[name] = ast.literal_eval(value) if value[0] in "([" else _scalar(value)
        end = match.end()
    if not {"revision", "down_revision"} <= found.keys():
        return None
    if not _nothing_else_binds(text, end, found) or ("*" in text and _STAR.search(text)):
        return None
    return None if any(word in text for word in _DYNAMIC) else found


def _quotes_are_open(text: str, start: int, end: int) -> bool:
    """Whether a triple-quoted string may still be open at ``end``, when none is at ``start``."""
    return bool(text.count('"""', start, end) % 2 or text.count("'''", start, end) % 2)


def _nothing_else_binds(text: str, end: int, found: dict[str, object]) -> bool:
    """Whether the four assignments, the last of which ends at ``end``, are the only places that bind the names."""
    rest_is_silent = (
        text.find("revision", end) < 0
        and text.find("branch_labels", end) < 0
        and text.find("depends_on", end) < 0
    )
    if not rest_is_silent:
        return sum(1 for _ in _BINDING.finditer(text)) == len(found)
    # In a file from Alembic's own template each word stands once where it is assigned: counting is enough.
    start = text.find('"""', 3) + 3 if text.startswith('"""') else 0
    words = text.count("revision", start, end) - text.count(_STOCK_COMMENT, start, end)
    if (
        words == 2
        and text.count("branch_labels", start, end) == ("branch_labels" in found)
        and text.count("depends_on", start, end) == ("depends_on" in found)
    ):
        return True
    return sum(1 for _ in _BINDING.finditer(text[:end])) == len(found)


def _scalar(value: str) -> str | None:
    if value.startswith("None"):
        return None
    return value[1 : value.index(value[0], 1)]


def _thorough(file: str, text: str) -> dict[str, object]:
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise NotPlainError(f"{file}: {error}") from error
    names = set(_NAMES.split("|"))
    found: dict[str, object] = {}
    plain: set[ast.AST] = set()
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name) as target], value=value) if name in names:
                found[name] = _literal(file, value)
                plain.add(target)
            case ast.AnnAssign(target=ast.Name(id=name) as target, value=ast.expr() as value) if (
                name in names
            ):
                found[name] = _literal(file, value)
                plain.add(target)
    for node in _module_level(module):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in names and node not in plain:
                raise NotPlainError(f"{file}: {name} is computed")
            case ast.alias(name=imported, asname=asname) if imported == "*" or (asname or imported) in names:
                raise NotPlainError(f"{file}: imports may bind its identifiers")
            case ast.Call(func=ast.Name(id="globals" | "exec" | "setattr" | "vars")):
                raise NotPlainError(f"{file}: it writes its own names")
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if name in names:
                raise NotPlainError(f"{file}: {name} is not a literal")
    return found


def _module_level(module: ast.Module) -> Iterable[ast.AST]:
    """Every node outside function and class bodies; a ``global`` inside one gives the function away."""
    waiting: list[ast.AST] = list(module.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Global):
                    yield from (ast.Name(id=name, ctx=ast.Store()) for name in inner.names)
            continue
        waiting.extend(ast.iter_child_nodes(node))


def _literal(file: str, value: ast.expr) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError) as error:
        raise NotPlainError(f"{file}: an identifier is computed") from error


def _names(file: str, name: str, value: object) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple | set) and all(isinstance(each, str) for each in value):
        return tuple(sorted(value) if isinstance(value, set) else value)
    raise mistakes.not_a_name(file, name, value)
