"""What the statements of a configuration of VELES may change that only Python runs: those values are unknown."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from runner.config.veles.translation import UNKNOWN

LOADER = "loader_name"
"""The key that marks a conf file as a dictionary of VELES."""
ROOT, COMMON = "root", "common"
Path = list[str | int]


def changed(statement: ast.stmt, aliases: Mapping[str, Path]) -> list[Path]:
    """Returns the keys below `root` that a statement may change, each as the way to it: an empty one, to all, if it names none.

    Args:
        statement: any statement.
        aliases: variables that stand for sections.
    """
    paths = (path_of(part, aliases) for node in ast.walk(statement) for part in _touched(node))
    is_definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return [path for path in paths if path is not None] or ([] if is_definition else [[]])


def path_of(node: ast.expr, aliases: Mapping[str, Path]) -> Path | None:
    """Returns the way to what an expression such as `root.mnist.layers[0]` names, as far as it is known."""
    path: Path = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        match node:
            case ast.Attribute(attr=name):
                path.insert(0, name)
            case ast.Subscript(slice=ast.Constant(value=str() | int() as key)):
                path.insert(0, key)
            case _:
                path.clear()  # any of what is there
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in (ROOT, *aliases):
        return None
    return path if node.id == ROOT else [*aliases[node.id], *path]


def _touched(node: ast.AST) -> Iterator[ast.expr]:
    """Yields the expressions that a piece of the source may change, or gives to what may."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from (part for target in targets for part in _parts(target))
            yield value
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            yield target
        case ast.Delete(targets=targets):
            yield from targets
        case ast.For(iter=items) | ast.comprehension(iter=items):
            yield items
        case ast.withitem(context_expr=given):
            yield given
        case ast.Call(func=function, args=given, keywords=words):
            if isinstance(function, ast.Attribute):
                yield function.value
            yield from (*given, *(word.value for word in words))


def _parts(target: ast.expr) -> list[ast.expr]:
    return [part for item in target.elts for part in _parts(item)] if isinstance(target, ast.Tuple | ast.List) else [target]


def forget(sections: dict[str, Any], path: Path) -> None:
    """Makes what a path leads to unknown; of a whole section its loader, so that its values can still be read."""
    if len(path) < 2:
        for name in map(str, path or sections):
            if name != COMMON and isinstance(sections.get(name), dict):
                sections[name][LOADER] = UNKNOWN
        return
    *way, last = path
    holder: Any = sections
    for key in way:
        below = _below(holder, key)
        if not isinstance(below, dict | list):
            last = key
            break
        holder = below
    if isinstance(holder, dict) or _below(holder, last) is not None:
        holder[last] = UNKNOWN


def _below(holder: Any, key: str | int) -> Any:
    if isinstance(holder, dict):
        return holder.get(key)
    return holder[key] if isinstance(key, int) and -len(holder) <= key < len(holder) else None
