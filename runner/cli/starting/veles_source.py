"""Reads a configuration of VELES, which is Python, without executing it: assignments to `root.NAME` and calls of its `update`.

What is not a value that stands there, such as a call of a function, becomes `???`, with which nothing runs.
"""

from __future__ import annotations

import ast
import operator
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runner.cli.starting import veles_changes
from runner.cli.starting.veles_changes import ROOT
from runner.config.veles.translation import UNKNOWN
from runner.errors import ConfigError
from runner.text import shown

DATASETS = ("root.common.dirs.datasets", "root.common.datasets_root", "root.common.test_dataset_root")
"""What VELES calls the folder of all data."""
TUNED = ("Range", "Tune")
"""What VELES's genetic search varies; the first argument is the value without it."""
LONGEST = 100
"""Characters of a piece of the source in a message."""
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
LARGEST_POWER, LONGEST_TEXT = 64, 100_000
MOST_COPIES = 100_000
"""Values that variables may stand for, all together: `x = [x, x]` doubles them each time."""


@dataclass(frozen=True)
class Left:
    """A piece of the source that was not turned.

    Attributes:
        line: where it begins.
        key: the key whose value it is; empty if it is a statement.
        what: the piece, and why.
    """

    line: int
    key: str
    what: str


@dataclass
class VelesSource:
    """What a configuration says.

    Attributes:
        sections: what `root` holds, as nested dictionaries.
        left: what was not turned, in the order of the source.
    """

    sections: dict[str, Any] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)


class _UnknownError(Exception):
    """A value that only Python could tell."""


def read(file: str, datasets: str | None) -> VelesSource:
    """Reads a configuration.

    Args:
        file: the file.
        datasets: the folder of all data; None: unknown.

    Raises:
        ConfigError: it cannot be read, or is not Python.
    """
    path = Path(file)
    try:
        tree = ast.parse(path.read_bytes(), filename=file)
    except OSError as error:
        raise ConfigError(f"import: {shown(path)} cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        raise ConfigError(f"{shown(path)}:{error.lineno or 1}: it is not Python 3: {error.msg}") from error
    except ValueError as error:
        raise ConfigError(f"{shown(path)} is not Python: {error}") from error
    except (RecursionError, MemoryError) as error:  # the parser's, of which not each version of Python says what it is
        raise ConfigError(f"{shown(path)} is nested too deeply") from error
    reader = _Reader(datasets)
    try:
        reader.take(tree)
    except RecursionError as error:
        raise ConfigError(f"{shown(path)} is nested too deeply") from error
    return reader.found


class _Reader:
    """Goes through the statements from top to bottom, as Python would."""

    def __init__(self, datasets: str | None) -> None:
        self.found = VelesSource()
        self._names: dict[str, Any] = {}  # the values of variables; an _UnknownError where only Python could tell
        self._aliases: dict[str, veles_changes.Path] = {}
        self._datasets = datasets
        self._copies = 0

    def take(self, tree: ast.Module) -> None:
        unknown = []
        for statement in tree.body:
            if not self._is_taken(statement):
                unknown += veles_changes.changed(statement, self._aliases)
                self._forget(statement)
                self.found.left.append(Left(statement.lineno, "", f"{_piece(statement)}: only Python runs such a statement"))
        for path in unknown:  # at the end: what comes later may be below it
            veles_changes.forget(self.found.sections, path)

    def _is_taken(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
                return True
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
                return True
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._names[name] = self._value_or_error(value)
                self._aliases.pop(name, None)
                path = veles_changes.path_of(value, self._aliases)
                if path is not None and isinstance(self._names[name], _UnknownError | list):
                    self._aliases[name] = path
                return True
            case ast.Assign(targets=[ast.Attribute() as target], value=value) if keys := _keys(target):
                self._put(keys, self._value(".".join(keys), value), merge=False)
                return True
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=target, attr="update"), args=[value], keywords=[])):
                keys = _keys(target)
                given = None if keys is None else self._value(".".join(keys), value)
                if keys is None or not isinstance(given, dict):
                    return False
                self._put(keys, given, merge=True)
                return True
        return False

    def _forget(self, statement: ast.stmt) -> None:
        """Makes variables unknown that a statement may change."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                self._names[node.id] = _UnknownError(
                    f"{node.id}, which line {statement.lineno} may change: only Python knows it"
                )

    def _value_or_error(self, node: ast.expr) -> Any:
        try:
            return self._plain(node)
        except _UnknownError as error:
            return error

    def _put(self, keys: list[str], value: Any, *, merge: bool) -> None:
        *sections, name = [ROOT, *keys]
        holder: dict[str, Any] = {ROOT: self.found.sections}
        for section in sections:
            below = holder.get(section)
            holder[section] = holder = below if isinstance(below, dict) else {}
        if merge and isinstance(holder.get(name), dict):
            _merge(holder[name], value)
        elif name == ROOT:
            self.found.sections = value
        else:
            holder[name] = value

    def _value(self, key: str, node: ast.expr) -> Any:
        """Returns the value of an expression, in which `???` stands for each part that is unknown."""
        if isinstance(node, ast.Dict) and all(_is_name(name) for name in node.keys):
            names = [str(name.value) for name in node.keys if isinstance(name, ast.Constant)]
            return {
                name: self._value(f"{key}.{name}" if key else name, value)
                for name, value in zip(names, node.values, strict=True)
            }
        if (
            isinstance(node, ast.Call)
            and _name(node.func) == "dict"
            and not node.args
            and all(word.arg for word in node.keywords)
        ):
            return {
                str(word.arg): self._value(f"{key}.{word.arg}" if key else str(word.arg), word.value) for word in node.keywords
            }
        if isinstance(node, ast.List | ast.Tuple) and any(isinstance(item, ast.Dict) for item in node.elts):
            return [self._value(f"{key}[{number}]", item) for number, item in enumerate(node.elts)]
        try:
            return self._plain(node)
        except _UnknownError as error:
            self.found.left.append(Left(node.lineno, key, str(error)))
            return UNKNOWN

    def _plain(self, node: ast.expr) -> Any:
        """Returns the value of an expression without unknown parts."""
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
                return value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._plain(item) for item in items]
            case ast.Dict(keys=names, values=values) if all(map(_is_name, names)):
                return {name.value: self._plain(value) for name, value in zip(names, values, strict=True)}  # type: ignore[union-attr]
            case ast.UnaryOp(op=ast.USub(), operand=operand) if _is_numeric(number := self._plain(operand)):
                return -number
            case ast.BinOp(left=left, op=op, right=right):
                return _computed(node, op, self._plain(left), self._plain(right))
            case ast.Name(id=name) if name in self._names:
                if isinstance(value := self._names[name], _UnknownError):
                    raise value
                return self._copied(value)
            case ast.Call(func=function, args=[first, *_]) if (_name(function) or "").rpartition(".")[2] in TUNED:
                return self._plain(first)
            case ast.Call(func=function, args=parts, keywords=[]) if _name(function) == "os.path.join" and parts:
                words = [self._plain(part) for part in parts]
                if all(isinstance(word, str) for word in words):
                    return posixpath.join(*words)
        return self._known(node)

    def _copied(self, value: Any) -> Any:
        self._copies += 1
        if self._copies > MOST_COPIES:
            raise ConfigError(f"import: the variables of the configuration stand for more than {MOST_COPIES:,} values")
        if isinstance(value, dict):
            return {name: self._copied(item) for name, item in value.items()}
        return [self._copied(item) for item in value] if isinstance(value, list) else value

    def _known(self, node: ast.expr) -> Any:
        """Returns what a name stands for that VELES or numpy give a meaning, or that the file has set itself."""
        name = _name(node) or ""
        if name in DATASETS and self._datasets is not None:
            return self._datasets
        if (limit := _limit(node)) is not None:
            return limit
        held: Any = {ROOT: self.found.sections}
        for part in name.split("."):
            held = held.get(part) if isinstance(held, dict) else None
        if held is not None and not isinstance(held, dict):
            return held
        hint = "; --datasets FOLDER says what it is" if any(word in ast.unparse(node) for word in DATASETS) else ""
        raise _UnknownError(f"{_piece(node)}: only Python knows its value{hint}")


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _keys(node: ast.expr) -> list[str] | None:
    """Returns the keys below `root` that an expression such as `root.mnist.loader` names."""
    first, *keys = (_name(node) or "").split(".")
    return keys if first == ROOT else None


def _name(node: ast.expr) -> str | None:
    """Returns a name with dots, such as `os.path.join`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _is_name(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_numeric(value: Any) -> bool:
    return isinstance(value, int | float)


def _computed(node: ast.expr, op: ast.operator, left: Any, right: Any) -> Any:
    """Returns the result of an operation of two numbers, or of two texts or lists that are joined."""
    numeric = _is_numeric(left) and _is_numeric(right)
    joined = isinstance(op, ast.Add) and type(left) is type(right) and isinstance(left, str | list) and len(left) < LONGEST_TEXT
    fits = not isinstance(op, ast.Pow) or (numeric and abs(right) <= LARGEST_POWER and abs(left) <= 2**LARGEST_POWER)
    try:
        if type(op) in OPERATORS and (joined or (numeric and fits)):
            result = OPERATORS[type(op)](left, right)
            if not isinstance(result, complex):
                return result
    except ArithmeticError as error:
        raise _UnknownError(f"{_piece(node)}: {error}") from error
    raise _UnknownError(f"{_piece(node)}: only Python knows its value")


def _limit(node: ast.expr) -> int | None:
    """Returns the limit of a type of numpy, as in `numpy.iinfo(numpy.uint32).max`."""
    match node:
        case ast.Attribute(value=ast.Call(func=function, args=[kind], keywords=[]), attr="max" | "min" as which):
            module, _, name = (_name(kind) or "").rpartition(".")
            called = (_name(function) or "").rpartition(".")
            if called[2] == "iinfo" and module == called[0] and module in ("numpy", "np"):
                kind_of = getattr(np, name, None)
                if isinstance(kind_of, type) and issubclass(kind_of, np.integer) and kind_of is not np.integer:
                    return int(getattr(np.iinfo(kind_of), which))
    return None


def _piece(node: ast.AST) -> str:
    """Returns a piece of the source for a message, on one line."""
    text = shown(" ".join(ast.unparse(node).split()))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
