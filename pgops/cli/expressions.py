"""What an expression of somebody's code says, read from its text: names, texts, the whole of a value."""

from __future__ import annotations

import ast
from collections.abc import Iterator

TAKE_A_URL = {"create_engine", "create_async_engine", "make_url"}


def last_name(node: ast.AST) -> str:
    """``b`` of ``a.b``, ``x`` of ``x``; of a subscript with a text, that text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return text_of(node.slice) or ""
    return ""


def whole(node: ast.AST) -> Iterator[ast.AST]:
    """An expression, and what may be its whole value: either side of ``or``, what ``.replace()`` is called on."""
    yield node
    if isinstance(node, ast.BoolOp):
        for each in node.values:
            yield from whole(each)
    elif isinstance(node, ast.IfExp):
        yield from whole(node.body)
        yield from whole(node.orelse)
    elif isinstance(node, ast.Call) and last_name(node.func) in {"str", "replace", *TAKE_A_URL}:
        for each in [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]:
            yield from whole(each)


def text_of(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def first_text(node: ast.expr) -> str | None:
    """A text, or the first of a list of texts."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return next((text for each in node.elts if (text := text_of(each))), None)
    return text_of(node)


__all__ = ["TAKE_A_URL", "first_text", "last_name", "text_of", "whole"]
