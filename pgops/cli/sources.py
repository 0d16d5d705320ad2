"""What a project's env.py, and the modules it imports, read from outside: variables and ``-x`` arguments.

Read from the text, nothing is imported or run. A scan: it may miss what is put together at run time, and
``migrate.plan`` proves what it found.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pgops.cli.expressions import TAKE_A_URL, first_text, last_name, text_of, whole

_FILES = 300
_BYTES = 1_000_000

_DATABASE = r"(?:DB|DATABASE|POSTGRES|POSTGRESQL|PG|SQL|SQLALCHEMY|ALEMBIC|MIGRATIONS?)"
_URL = re.compile(rf"(?:^|_){_DATABASE}(?:_[A-Z0-9]+)*?_?(?:URL|URI|DSN|CONNECTION_STRING)$|^DSN$")
_PART = re.compile(
    r"(?P<prefix>[A-Z0-9_]*?)_?(?:(?P<host>HOST|HOSTNAME|SERVER)|(?P<port>PORT)|(?P<user>USER|USERNAME)"
    r"|(?P<password>PASSWORD|PASSWD|PASS)|(?P<dbname>DB|DATABASE|DBNAME|NAME))"
)
_OF_A_DATABASE = re.compile(rf"(?:^|_){_DATABASE}$")
# Functions of environs, decouple, starlette and django-environ that read one variable.
_READERS = {"env", "config", "getenv", "get_env", "env_str"}
# What takes a URL in libpq's form: a function of a driver's module, or a driver's pool whatever it is imported as.
_DRIVERS = {"psycopg", "psycopg2", "psycopg_pool", "asyncpg", "Connection", "AsyncConnection"}
_DRIVERS_TAKE_IT = {"connect", "create_pool"}
_POOLS = re.compile(r"(?:Async|Null|AsyncNull|Threaded|Simple)?ConnectionPool")
_X_URL = re.compile(r"(?:^|[_-])(?:db|database|sqlalchemy)?[_-]?(?:url|uri|dsn)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that says where the database is.

    ``role`` is ``url, host, port, user, password`` or ``dbname``; ``default`` what the code takes without it.
    ``plain``: it goes to a driver itself, which knows no ``postgresql+driver``.
    """

    name: str
    role: str
    default: str | None = None
    plain: bool = False


@dataclass(frozen=True, slots=True)
class XArgument:
    """An ``-x`` argument that env.py can't do without; ``value`` is one that it compares it with."""

    name: str
    value: str | None = None

    @property
    def role(self) -> str | None:
        """As a variable's role, where the name tells it."""
        if _X_URL.search(self.name):
            return "url"
        part = _PART.fullmatch(self.name.upper())
        return part.lastgroup if part is not None and not part["prefix"] else None


@dataclass
class Sources:
    """What was found, in the order in which it was found.

    ``plain_url``: the code puts a driver into the URL itself, so it wants one without.
    """

    variables: dict[str, Variable] = field(default_factory=dict)
    x: dict[str, XArgument] = field(default_factory=dict)
    plain_url: bool = False
    flask: bool = False
    files: list[Path] = field(default_factory=list)

    def role(self, role: str) -> list[Variable]:
        """The variables of a role."""
        return [each for each in self.variables.values() if each.role == role]


def read_sources(first: Sequence[Path], path: Sequence[Path], below: Path) -> Sources:
    """Read ``first`` and what they import, as far as it lies in ``below``.

    :param path: directories in which absolute imports are looked for.
    """
    found = Sources()
    waiting = [file.resolve() for file in first if file.is_file()]
    seen = set(waiting)
    reader = _Reader(found)
    while waiting and len(found.files) < _FILES:
        file = waiting.pop(0)
        tree = _parsed(file)
        if tree is None:
            continue
        found.files.append(file)
        reader.read(file, tree)
        for each in _imported(tree, file, path):
            resolved = each.resolve()
            if resolved not in seen and resolved.is_relative_to(below.resolve()):
                seen.add(resolved)
                waiting.append(resolved)
    found.variables = _with_roles(reader.reads, reader.urls, reader.plain())
    return found


def _parsed(file: Path) -> ast.Module | None:
    try:
        if file.stat().st_size > _BYTES:
            return None
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        # What can't be read says nothing; running it is Alembic's affair.
        return None


def _imported(tree: ast.Module, file: Path, path: Sequence[Path]) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from module_files(name.name.split("."), path)
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            places = path
            if node.level:
                base = file.parent
                for _ in range(node.level - 1):
                    base = base.parent
                places = [base]
            yield from module_files(parts, places)
            for name in node.names:
                yield from module_files([*parts, name.name], places)


def module_files(parts: Sequence[str], places: Sequence[Path]) -> Iterator[Path]:
    """The files that importing a dotted name runs: each package's, then the module's."""
    for place in places:
        directory = place
        for at, part in enumerate(parts):
            package, module = directory / part / "__init__.py", directory / f"{part}.py"
            if package.is_file():
                yield package
            elif module.is_file() and at == len(parts) - 1:
                yield module
            directory = directory / part


class _Reader(ast.NodeVisitor):
    def __init__(self, found: Sources) -> None:
        self.reads: dict[str, str | None] = {}
        self.urls: set[str] = set()
        self._found = found
        self._is_env = False
        self._url_nodes: set[int] = set()
        self._plain_nodes: set[int] = set()
        self._plain_names: set[str] = set()
        self._read_at: dict[int, str] = {}
        self._holds: dict[str, list[ast.AST]] = {}
        self._trees: list[ast.Module] = []
        self._x_names: set[str] = set()
        self._loops: dict[str, list[str]] = {}

    def read(self, file: Path, tree: ast.Module) -> None:
        """Take in one file."""
        self._is_env = file.name == "env.py"
        # Kept: a node is known by its id, which is given again once it is gone.
        self._trees.append(tree)
        self.visit(tree)

    # variables

    def visit_Assign(self, node: ast.Assign) -> None:
        if self._is_env and _is_x_call(node.value):
            self._x_names |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        self._named(last_name(node.targets[0]), node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._named(last_name(node.target), node.value)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        self._named(node.arg or "", node.value)
        self.generic_visit(node)

    def _named(self, name: str, value: ast.expr | None) -> None:
        """What gets the name of a URL is one; its parts, in a text that is put together, are not."""
        if name and value is not None:
            self._holds.setdefault(name, []).append(value)
        if value is not None and _URL.search(name.upper()):
            self._url_nodes |= {id(each) for each in whole(value)}

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load):
            for key in self._texts(node.slice):
                if last_name(node.value) == "environ":
                    self._variable(node, key, None)
                elif self._is_x(node.value):
                    self._found.x.setdefault(key, XArgument(key))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = last_name(node.func)
        owner = last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        key = None
        for key in self._texts(node.args[0]) if node.args else ():
            if (called, owner) in {("get", "environ"), ("pop", "environ"), ("getenv", "os")} or (
                (called in _READERS and not owner) or owner == "env"
            ):
                self._variable(node, key, self._default(node))
            if called in {"replace", "startswith"} and re.match(r"postgres(ql)?:/*", key):
                self._found.plain_url = True
        if called == "Flask" or owner == "current_app":
            self._found.flask = True
        if called in TAKE_A_URL or (called == "set_main_option" and key == "sqlalchemy.url"):
            self._url_nodes |= {id(each) for argument in node.args for each in whole(argument)}
        if _POOLS.fullmatch(called) or (called in _DRIVERS_TAKE_IT and owner in _DRIVERS):
            for argument in [*node.args, *(each.value for each in node.keywords)]:
                for each in whole(argument):
                    self._url_nodes.add(id(each))
                    self._plain_nodes.add(id(each))
                    self._plain_names.add(last_name(each))
        self.generic_visit(node)

    def plain(self) -> set[str]:
        """The variables that go to a driver itself: read where it is called, or by a name that is given to it."""
        nodes = set(self._plain_nodes)
        for name in self._plain_names:
            nodes |= {id(each) for value in self._holds.get(name, ()) for each in whole(value)}
        return {name for node, name in self._read_at.items() if node in nodes}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "flask" and any(each.name == "current_app" for each in node.names):
            self._found.flask = self._found.flask or self._is_env

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(last_name(base).endswith("Settings") for base in node.bases):
            prefix = _env_prefix(node)
            for each in node.body:
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                    alias, default = _settings_field(each.value)
                    self._variable(each, alias or (prefix + each.target.id).upper(), default)
                    self._holds.setdefault(each.target.id, []).append(each)
        self.generic_visit(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node, node.generators)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node, node.generators)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node, node.generators)

    def _comprehension(self, node: ast.AST, generators: Sequence[ast.comprehension]) -> None:
        # What it loops over stands behind what it makes.
        for each in generators:
            self._loop(each.target, each.iter)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._loop(node.target, node.iter)
        self.generic_visit(node)

    def _loop(self, target: ast.expr, over: ast.expr) -> None:
        if isinstance(target, ast.Name) and isinstance(over, ast.Tuple | ast.List | ast.Set):
            self._loops[target.id] = [text for each in over.elts if (text := text_of(each)) is not None]

    def _texts(self, node: ast.AST) -> list[str]:
        """What an expression may be: a text, or one put together from a loop over texts."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.Name):
            return self._loops.get(node.id, [])
        if isinstance(node, ast.FormattedValue):
            return self._texts(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            inner = self._texts(node.func.value) if node.func.attr in {"upper", "lower"} else []
            return [getattr(text, node.func.attr)() for text in inner]
        if isinstance(node, ast.JoinedStr):
            parts = [self._texts(each) for each in node.values]
            return ["".join(each) for each in itertools.islice(itertools.product(*parts), 50)]
        return []

    def _default(self, node: ast.Call) -> str | None:
        given = node.args[1] if len(node.args) > 1 else None
        for each in node.keywords:
            if each.arg == "default":
                given = each.value
        return text_of(given) if given is not None else None

    def _variable(self, node: ast.AST, name: str, default: str | None) -> None:
        if self.reads.get(name) is None:
            self.reads[name] = default
        self._read_at[id(node)] = name
        if id(node) in self._url_nodes:
            self.urls.add(name)

    # -x arguments

    def _is_x(self, node: ast.expr) -> bool:
        return self._is_env and (
            _is_x_call(node) or (isinstance(node, ast.Name) and node.id in self._x_names)
        )

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for side in sides:
            key = None
            if isinstance(side, ast.Subscript) and self._is_x(side.value):
                key = text_of(side.slice)
            if key is not None:
                value = next(
                    (text for each in sides if each is not side and (text := first_text(each))), None
                )
                self._found.x[key] = XArgument(key, value)
        self.generic_visit(node)


def _with_roles(
    reads: Mapping[str, str | None], urls: Collection[str], plain: Collection[str]
) -> dict[str, Variable]:
    """The variables that say where a database is, among all that are read."""
    found: dict[str, Variable] = {}
    groups: dict[str, dict[str, str]] = {}
    for name, default in reads.items():
        if "TEST" in name.upper().split("_"):
            continue
        part = _PART.fullmatch(name.upper())
        if name in urls or _URL.search(name.upper()):
            found[name] = Variable(name, "url", default, plain=name in plain)
        elif part is not None and part.lastgroup:
            groups.setdefault(part["prefix"], {})[str(part.lastgroup)] = name
    for prefix, roles in groups.items():
        # Without a word for a database before them, they have to be a whole address; a mail server has a host too.
        whole = {"host", "dbname"} <= roles.keys() and not roles["dbname"].upper().endswith("NAME")
        if _OF_A_DATABASE.search(prefix) or (whole and roles.keys() & {"user", "password"}):
            found |= {name: Variable(name, role, reads[name]) for role, name in roles.items()}
    return {name: found[name] for name in reads if name in found}


def _is_x_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) == "get_x_argument"


def _env_prefix(node: ast.ClassDef) -> str:
    """pydantic-settings' ``env_prefix``, in either of its two places."""
    for each in ast.walk(node):
        if isinstance(each, ast.keyword) and each.arg == "env_prefix":
            return text_of(each.value) or ""
        if isinstance(each, ast.Assign) and last_name(each.targets[0]) == "env_prefix":
            return text_of(each.value) or ""
    return ""


def _settings_field(value: ast.expr | None) -> tuple[str | None, str | None]:
    """The variable that a field of pydantic's names itself, and its default."""
    if not isinstance(value, ast.Call):
        return None, text_of(value)
    given = {each.arg: text_of(each.value) for each in value.keywords}
    alias = given.get("validation_alias") or given.get("alias") or given.get("env")
    return alias, given.get("default") or (text_of(value.args[0]) if value.args else None)


__all__ = ["Sources", "Variable", "XArgument", "module_files", "read_sources"]
