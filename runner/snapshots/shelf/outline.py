"""Reads what a pickle describes without making any of it: a tree of names, numbers and sizes.

Nothing is imported or called, whatever the pickle says, and the contents of arrays pass by in parts. So it may come from
anybody, be of any size, and hold classes that are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from runner.errors import SnapshotDamagedError, SnapshotRefusedError

SMALL = 4096
"""Bytes up to which texts and byte strings are kept."""
MOST_STEPS = 20_000_000
"""Opcodes that are read: a network of a million tensors has fewer."""
MOST_OBJECTS = 5_000_000
"""Objects that are kept at a time."""
LONGEST_INTEGER = 1 << 16

_U8, _U16, _U32, _U64, _I32, _F64 = Struct("<B"), Struct("<H"), Struct("<I"), Struct("<Q"), Struct("<i"), Struct(">d")
_MARK = object()


@dataclass(slots=True, eq=False)
class Content:
    """Bytes, or a long text, of which only the beginning is kept.

    Attributes:
        number: which content of the pickle it is, counted from 0.
        size: bytes.
        begin: the first of them.
    """

    number: int
    size: int
    begin: bytes


@dataclass(slots=True, eq=False)
class Name:
    """A class or a function that the pickle names."""

    name: str


@dataclass(slots=True, eq=False)
class Made:
    """What the pickle would have a class or a function make.

    Attributes:
        maker: what makes it: a `Name`, or what was made of one.
        arguments: what it is given.
        state: what is set in it afterwards.
        items: what is put into it afterwards, as a list or a dict takes it.
    """

    maker: Any
    arguments: Any
    state: Any = None
    items: list[Any] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Pairs:
    """A dict. Its keys may be anything, and are not hashed."""

    items: list[tuple[Any, Any]] = field(default_factory=list)

    def get(self, key: str) -> Any:
        """Returns the last value with this text as its key; None if there is none."""
        return next((value for name, value in reversed(self.items) if type(name) is str and name == key), None)


@dataclass(slots=True, eq=False)
class Items:
    """A list or a set."""

    items: list[Any] = field(default_factory=list)


class Parts:
    """A stream that comes in parts of any size."""

    def __init__(self, parts: Iterable[memoryview]) -> None:
        self._parts = iter(parts)
        self._part = memoryview(b"")

    def take(self, size: int) -> bytes:
        """Returns the next bytes.

        Raises:
            SnapshotRefusedError: there are fewer.
        """
        if size <= len(self._part):
            found = bytes(self._part[:size])
            self._part = self._part[size:]
            return found
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Yields the next bytes as they come; all of them must be taken.

        Raises:
            SnapshotRefusedError: there are fewer.
        """
        while size:
            if not self._part:
                following = next(self._parts, None)
                if following is None:
                    raise SnapshotRefusedError("its pickle ends in the middle")
                self._part = following
            piece = self._part[:size]
            self._part = self._part[size:]
            size -= len(piece)
            yield piece

    def rest(self) -> None:
        """Passes over all that follows, so that the end of the stream is seen."""
        self._part = memoryview(b"")
        for _ in self._parts:
            pass


Visit = Callable[[Content, Iterator[memoryview]], None]
"""Is given each large content, with its bytes; it need not take all of them."""


def read_outline(parts: Parts, visit: Visit | None = None, names: set[tuple[str, str]] | None = None) -> Any:
    """Reads one pickle, and returns what it describes, in terms of this module.

    Args:
        parts: the pickle, from its beginning.
        visit: is given the bytes of each content of more than `SMALL` bytes.
        names: gets the module and the name of all classes and functions that it names.

    Raises:
        SnapshotRefusedError: it is no pickle of protocol 5, ends in the middle, or has more objects than can be kept.
    """
    return _Reader(parts, visit, set() if names is None else names).run()


class _Reader:
    def __init__(self, parts: Parts, visit: Visit | None, names: set[tuple[str, str]]) -> None:
        self.parts = parts
        self.names = names
        self.visit = visit
        self.stack: list[Any] = []
        self.memo: list[Any] = []
        self.contents = 0

    def run(self) -> Any:
        take, stack, memo = self.parts.take, self.stack, self.memo
        if take(2) != b"\x80\x05":
            raise SnapshotRefusedError("it does not begin as a pickle of protocol 5 does")
        try:
            for _ in range(MOST_STEPS):
                opcode = take(1)[0]
                if opcode == 0x94:  # MEMOIZE
                    memo.append(stack[-1])
                elif opcode == 0x68:  # BINGET
                    stack.append(memo[take(1)[0]])
                elif opcode == 0x8C:  # SHORT_BINUNICODE
                    stack.append(_text(take(take(1)[0])))
                elif opcode == 0x2E:  # STOP
                    return stack.pop()
                else:
                    _OPCODES[opcode](self)
                if len(stack) > MOST_OBJECTS or len(memo) > MOST_OBJECTS:
                    break
        except SnapshotDamagedError:
            raise
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise SnapshotRefusedError("its pickle is not one that a pickler of protocol 5 writes") from error
        raise SnapshotRefusedError(f"its pickle has more than {MOST_OBJECTS:,} objects")

    def to_mark(self) -> list[Any]:
        """Takes what is above the last mark, and the mark, off the stack."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise IndexError
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def number(self, layout: Struct) -> Any:
        """Reads a number."""
        return layout.unpack(self.parts.take(layout.size))[0]

    def content(self, size: int) -> Content:
        """Reads a content, or has it visited."""
        number, self.contents = self.contents, self.contents + 1
        if size <= SMALL:
            return Content(number, size, self.parts.take(size))
        content, pieces = Content(number, size, b""), self.parts.pieces(size)
        if self.visit is not None:
            self.visit(content, pieces)
        for _ in pieces:
            pass
        return content

    def text(self, size: int) -> str | Content:
        """Reads a text; a long one is a content."""
        return _text(self.parts.take(size)) if size <= SMALL else self.content(size)

    def integer(self, size: int) -> int:
        """Reads an integer of any size."""
        if not 0 <= size <= LONGEST_INTEGER:
            raise ValueError
        return int.from_bytes(self.parts.take(size), "little", signed=True)

    def fill(self, items: Iterable[Any]) -> None:
        """Puts items into the container on top of the stack."""
        self.stack[-1].items.extend(items)

    def pairs(self, values: list[Any]) -> None:
        """Puts keys and values into the container on top of the stack."""
        self.fill(zip(values[::2], values[1::2], strict=True))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _tuple(size: int) -> Callable[[_Reader], None]:
    def make(reader: _Reader) -> None:
        if len(reader.stack) < size:
            raise IndexError
        found = tuple(reader.stack[-size:])
        del reader.stack[-size:]
        reader.stack.append(found)

    return make


def _made(reader: _Reader) -> None:
    arguments, maker = reader.stack.pop(), reader.stack.pop()
    reader.stack.append(Made(maker, arguments))


def _made_with_keywords(reader: _Reader) -> None:
    keywords, arguments, maker = reader.stack.pop(), reader.stack.pop(), reader.stack.pop()
    reader.stack.append(Made(maker, (arguments, keywords)))


def _named(reader: _Reader) -> None:
    name, module = reader.stack.pop(), reader.stack.pop()
    if not isinstance(module, str) or not isinstance(name, str):
        module, name = "", "?"
    reader.names.add((module, name))
    reader.stack.append(Name(f"{module}.{name}" if module else name))


def _build(reader: _Reader) -> None:
    state = reader.stack.pop()
    made = reader.stack[-1]
    if isinstance(made, Made):
        made.state = state


def _setitem(reader: _Reader) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    reader.pairs([key, value])


def _append(reader: _Reader) -> None:
    item = reader.stack.pop()
    reader.fill([item])


def _push(read: Callable[[_Reader], Any]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(read(reader))


_OPCODES: dict[int, Callable[[_Reader], object]] = {
    0x95: lambda reader: reader.parts.take(8),  # FRAME: where the opcodes are cut says nothing
    0x28: _push(lambda reader: _MARK),
    0x4E: _push(lambda reader: None),
    0x88: _push(lambda reader: True),
    0x89: _push(lambda reader: False),
    0x4B: _push(lambda reader: reader.number(_U8)),
    0x4D: _push(lambda reader: reader.number(_U16)),
    0x4A: _push(lambda reader: reader.number(_I32)),
    0x47: _push(lambda reader: reader.number(_F64)),
    0x8A: _push(lambda reader: reader.integer(reader.number(_U8))),
    0x8B: _push(lambda reader: reader.integer(reader.number(_I32))),
    0x58: _push(lambda reader: reader.text(reader.number(_U32))),
    0x8D: _push(lambda reader: reader.text(reader.number(_U64))),
    0x43: _push(lambda reader: reader.content(reader.number(_U8))),
    0x42: _push(lambda reader: reader.content(reader.number(_U32))),
    0x8E: _push(lambda reader: reader.content(reader.number(_U64))),
    0x96: _push(lambda reader: reader.content(reader.number(_U64))),
    0x6A: _push(lambda reader: reader.memo[reader.number(_U32)]),
    0x30: lambda reader: reader.stack.pop(),
    0x31: lambda reader: reader.to_mark(),
    0x29: _push(lambda reader: ()),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    0x74: _push(lambda reader: tuple(reader.to_mark())),
    0x7D: _push(lambda reader: Pairs()),
    0x5D: _push(lambda reader: Items()),
    0x8F: _push(lambda reader: Items()),
    0x91: _push(lambda reader: Items(reader.to_mark())),
    0x61: _append,
    0x65: lambda reader: reader.fill(reader.to_mark()),
    0x90: lambda reader: reader.fill(reader.to_mark()),
    0x73: _setitem,
    0x75: lambda reader: reader.pairs(reader.to_mark()),
    0x93: _named,
    0x52: _made,
    0x81: _made,
    0x92: _made_with_keywords,
    0x62: _build,
}
"""What each opcode of protocol 5 does, but for the commonest."""
