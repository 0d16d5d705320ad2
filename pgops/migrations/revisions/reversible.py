"""Whether a revision can be undone by its own downgrade(), told from its text without running it."""

from __future__ import annotations

import ast
import re

_Function = ast.FunctionDef | ast.AsyncFunctionDef
# A downgrade() whose first line does something, as nearly every one begins: `op.drop_table(`, `with op.`, `conn = `.
_PLAINLY_DOES = re.compile(
    rb"^def downgrade\([^\n#]*\)[^\n#:]*:[ \t]*\n(?:[ \t]*(?:#[^\n]*|\"\"\"[^\"\n\\\\]*\"\"\"[ \t]*)?\n)*"
    rb"[ \t]+(?:(?:with|if|for|try)\b|(?!(?:raise|return|pass)\b)[A-Za-z_]\w*(?:[.(]| = ))",
    re.MULTILINE,
)


def irreversible(content: bytes) -> str | None:
    """Why a revision's downgrade() undoes nothing, or ``None``.

    A downgrade() that does nothing is right where upgrade() does nothing either: a merge. What can't be told from
    the text (a function that is imported, a body that decides by itself) counts as reversible.

    :param content: the revision file.
    """
    if _plainly_does_something(content):
        return None
    try:
        module = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return None
    functions = {each.name: each for each in module.body if isinstance(each, _Function)}
    if _binds_by_other_means(module):
        return None
    back = functions.get("downgrade")
    if back is None:
        return "it has no downgrade()"
    does = _statements(back)
    if does and isinstance(does[0], ast.Raise):
        return "its downgrade() raises"
    if not does and (forth := functions.get("upgrade")) is not None and _statements(forth):
        return "its downgrade() does nothing"
    return None


def _plainly_does_something(content: bytes) -> bool:
    """Whether that can be seen without parsing the file: a history may have a thousand of them, and each plan asks."""
    found = _PLAINLY_DOES.search(content)
    return (
        found is not None
        and content.count(b"def downgrade") == 1
        # Not inside of a string.
        and content.count(b'"""', 0, found.start()) % 2 == 0
        and content.count(b"'''", 0, found.start()) % 2 == 0
    )


def _statements(function: _Function) -> list[ast.stmt]:
    """What it does: without docstrings, ``pass`` and ``...``, and nothing behind a bare ``return``."""
    found: list[ast.stmt] = []
    for each in function.body:
        if isinstance(each, ast.Pass) or (
            isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
        ):
            continue
        if isinstance(each, ast.Return) and (each.value is None or isinstance(each.value, ast.Constant)):
            break
        found.append(each)
    return found


def _binds_by_other_means(module: ast.Module) -> bool:
    """Whether ``downgrade`` may be bound by an import or an assignment."""
    for each in module.body:
        match each:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                if any((name.asname or name.name) in {"downgrade", "*"} for name in names):
                    return True
            case ast.Assign(targets=targets):
                if any(isinstance(target, ast.Name) and target.id == "downgrade" for target in targets):
                    return True
    return False
