"""Pickles as trees that can be changed anywhere, and written again."""

from __future__ import annotations

import functools
import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

from tests.hostile.assemble import text, whole


class Global:
    """A name."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class Tuple:
    """A tuple, whose items can be changed."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Made:
    """An object: what makes it, with which arguments, its items and its state.

    Attributes:
        opcode: REDUCE, NEWOBJ or NEWOBJ_EX.
        parts: function or class, and arguments; its state, if it has one, comes last.
        items, pairs: what is appended to it, and set in it.
    """

    __slots__ = ("items", "opcode", "pairs", "parts", "stateful")

    def __init__(self, opcode: bytes, *parts: Any) -> None:
        self.opcode = opcode
        self.parts = list(parts)
        self.stateful = False
        self.items: list[Any] = []
        self.pairs: dict[Any, Any] = {}

    def append(self, item: Any) -> None:
        self.items.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs[key] = value


class Before:
    """Writes one node, forgets it, and stands for another."""

    __slots__ = ("first", "then")

    def __init__(self, first: Any, then: Any) -> None:
        self.first = first
        self.then = then


class Filled:
    """Stands for a container that was written before, and gets more items now."""

    __slots__ = ("container", "pairs")

    def __init__(self, container: Any, pairs: dict[Any, Any]) -> None:
        self.container = container
        self.pairs = pairs


class _Reader(pickle._Unpickler):  # type: ignore[name-defined, misc]
    """Python's machine, but for what calls and names."""

    dispatch = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def find_class(self, module: str, name: str) -> Global:
        return Global(module, name)

    def _made(self, opcode: bytes, count: int) -> None:
        parts = self.stack[-count:]
        self.stack[-count:] = [Made(opcode, *parts)]

    def _build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        made.parts.append(state)
        made.stateful = True

    def _tuple(self, count: int) -> None:
        items = self.stack[-count:]
        self.stack[-count:] = [Tuple(items)]

    def _tuple_of_mark(self) -> None:
        items = self.pop_mark()
        self.append(Tuple(items))

    dispatch[pickle.REDUCE[0]] = lambda self: self._made(b"R", 2)
    dispatch[pickle.NEWOBJ[0]] = lambda self: self._made(b"\x81", 2)
    dispatch[pickle.NEWOBJ_EX[0]] = lambda self: self._made(b"\x92", 3)
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.TUPLE[0]] = _tuple_of_mark
    dispatch[pickle.EMPTY_TUPLE[0]] = lambda self: self.append(Tuple([]))
    dispatch[pickle.TUPLE1[0]] = lambda self: self._tuple(1)
    dispatch[pickle.TUPLE2[0]] = lambda self: self._tuple(2)
    dispatch[pickle.TUPLE3[0]] = lambda self: self._tuple(3)


def read(data: bytes) -> Any:
    """Returns a pickle as a tree: plain values, lists and dicts as they are, the rest as `Global`, `Tuple` and `Made`."""
    return _Reader(io.BytesIO(data)).load()


_text = functools.cache(text)
_identity = object.__hash__
"""Tells one object from another, as `id` does, of whose calls the audit hook would hear: half of the time that a tree takes."""


class _Writer:
    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.memo: dict[int, int] = {}
        self.texts: dict[str, int] = {}
        self.kept: list[Any] = []

    def memoize(self, node: Any) -> None:
        self.memo[_identity(node)] = len(self.memo)
        self.kept.append(node)
        self.out.append(b"\x94")

    def get(self, index: int) -> None:
        self.out.append(b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index))

    def write(self, node: Any) -> None:
        kind = type(node)
        if kind is str:
            self.out.append(_text(node))
            return
        index = self.memo.get(_identity(node))
        if index is not None:
            self.get(index)
        else:
            _WRITERS.get(kind, _Writer.plain)(self, node)

    def plain(self, node: Any) -> None:
        match node:
            case None:
                self.out.append(b"N")
            case bool():
                self.out.append(b"\x88" if node else b"\x89")
            case _:
                self.out.append(b"G" + struct.pack(">d", node))

    def bytes_(self, node: bytes) -> None:
        self.out.append(b"B" + struct.pack("<I", len(node)) + node)

    def bytearray_(self, node: bytearray) -> None:
        self.out.append(b"\x96" + struct.pack("<Q", len(node)) + bytes(node))
        self.memoize(node)

    def number(self, node: int) -> None:
        if 0 <= node < 256:
            self.out.append(b"K" + bytes([node]))
            return
        data = pickle.encode_long(node)
        self.out.append(
            b"\x8a" + bytes([len(data)]) + data if len(data) < 256 else b"\x8b" + struct.pack("<i", len(data)) + data
        )

    def global_(self, node: Global) -> None:
        self.out.append(_text(node.module) + _text(node.name) + b"\x93")
        self.memoize(node)

    def tuple_(self, node: Tuple) -> None:
        self.out.append(b"(")
        for item in node.items:
            self.write(item)
        if _identity(node) in self.memo:  # it holds itself
            self.out.append(b"1")
            self.get(self.memo[_identity(node)])
            return
        self.out.append(b"t")
        self.memoize(node)

    def list_(self, node: list[Any]) -> None:
        self.out.append(b"]")
        self.memoize(node)
        self.fill(node)

    def fill(self, items: list[Any]) -> None:
        if items:
            self.out.append(b"(")
            for item in items:
                self.write(item)
            self.out.append(b"e")

    def dict_(self, node: dict[Any, Any]) -> None:
        self.out.append(b"}")
        self.memoize(node)
        self.set_items(node)

    def set_items(self, items: dict[Any, Any]) -> None:
        if items:
            self.out.append(b"(")
            for key, value in items.items():
                self.write(key)
                self.write(value)
            self.out.append(b"u")

    def set_(self, node: Any) -> None:
        self.out.append(b"\x8f")
        self.memoize(node)
        self.out.append(b"(")
        for item in node:
            self.write(item)
        self.out.append(b"\x90")

    def frozenset_(self, node: Any) -> None:
        self.out.append(b"(")
        for item in node:
            self.write(item)
        self.out.append(b"\x91")
        self.memoize(node)

    def made(self, node: Made) -> None:
        *parts, state = node.parts if node.stateful else (*node.parts, None)
        for part in parts:
            self.write(part)
        self.out.append(node.opcode)
        self.memoize(node)
        self.fill(node.items)
        self.set_items(node.pairs)
        if node.stateful:
            self.write(state)
            self.out.append(b"b")

    def before(self, node: Before) -> None:
        self.write(node.first)
        self.out.append(b"0")
        self.write(node.then)

    def filled(self, node: Filled) -> None:
        self.write(node.container)
        self.set_items(node.pairs)


_WRITERS: dict[type, Callable[[_Writer, Any], None]] = {
    bytes: _Writer.bytes_,
    bytearray: _Writer.bytearray_,
    int: _Writer.number,
    Global: _Writer.global_,
    Tuple: _Writer.tuple_,
    list: _Writer.list_,
    dict: _Writer.dict_,
    set: _Writer.set_,
    frozenset: _Writer.frozenset_,
    Made: _Writer.made,
    Before: _Writer.before,
    Filled: _Writer.filled,
}


def write(node: Any) -> bytes:
    """Returns the pickle of a tree. A tree that nests too deeply is a RecursionError."""
    writer = _Writer()
    writer.write(node)
    return whole(b"".join(writer.out))
