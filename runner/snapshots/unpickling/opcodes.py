"""What each opcode of protocol 5 does, but for the commonest, which stand in the machine itself."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from runner.errors import SnapshotRefusedError
from runner.snapshots.unpickling.allowed.containers import add_items, append_items, check_set, set_items
from runner.snapshots.unpickling.allowed.entries import Unbuilt

if TYPE_CHECKING:
    from runner.snapshots.unpickling.unpickler import Unpickler

Handler = Callable[["Unpickler", bytes, int], int]
"""Takes the machine, the bytes at hand and the opcode's position in them; returns the position of the next."""

INTEGER_LIMIT = 1 << 16
"""Bytes of an integer."""

_MEMOIZE = 0x94
_U8, _U16, _U32, _U64, _I32, _F64 = Struct("<B"), Struct("<H"), Struct("<I"), Struct("<Q"), Struct("<i"), Struct(">d")


def check_memoized(data: bytes, pos: int) -> None:
    """Checks that the container that an opcode makes is memoized by the next one."""
    # Every pickler memoizes a container that it is about to fill; a stream of bare ones costs a hundred bytes for each of its.
    if data[pos + 1] != _MEMOIZE:
        raise SnapshotRefusedError("an empty container is not memoized")


def long4_size(data: bytes, pos: int) -> int:
    """Returns how many bytes an integer has."""
    size: int = _I32.unpack_from(data, pos)[0]
    if not 0 <= size <= INTEGER_LIMIT:
        raise SnapshotRefusedError(f"an integer claims {size} bytes, more than {INTEGER_LIMIT}")
    return size


def _cut(data: bytes, start: int, size: int) -> bytes:
    """Returns an argument that must lie within its frame."""
    if size >= len(data) - start:
        raise SnapshotRefusedError(f"an argument claims {size} bytes and its frame ends before")
    return data[start : start + size]


def _unknown(vm: Unpickler, data: bytes, pos: int) -> int:
    raise SnapshotRefusedError(f"opcode 0x{data[pos]:02x} is not one that protocol 5 writers emit")


def _constant(value: object) -> Handler:
    def push(vm: Unpickler, data: bytes, pos: int) -> int:
        vm.stack.append(value)
        return pos + 1

    return push


def _number(layout: Struct) -> Handler:
    def push(vm: Unpickler, data: bytes, pos: int) -> int:
        vm.stack.append(layout.unpack_from(data, pos + 1)[0])
        return pos + 1 + layout.size

    return push


def _counted(layout: Struct, convert: Callable[[bytes], object]) -> Handler:
    def push(vm: Unpickler, data: bytes, pos: int) -> int:
        start = pos + 1 + layout.size
        argument = _cut(data, start, layout.unpack_from(data, pos + 1)[0])
        vm.stack.append(convert(argument))
        return start + len(argument)

    return push


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _long4(vm: Unpickler, data: bytes, pos: int) -> int:
    argument = _cut(data, pos + 5, long4_size(data, pos + 1))
    vm.stack.append(_integer(argument))
    return pos + 5 + len(argument)


def _empty(make: Callable[[], object]) -> Handler:
    def push(vm: Unpickler, data: bytes, pos: int) -> int:
        check_memoized(data, pos)
        vm.stack.append(make())
        return pos + 1

    return push


def _long_binget(vm: Unpickler, data: bytes, pos: int) -> int:
    vm.stack.append(vm.memo[_U32.unpack_from(data, pos + 1)[0]])
    return pos + 5


def _pop(vm: Unpickler, data: bytes, pos: int) -> int:
    vm.stack.pop()
    return pos + 1


def _pop_mark(vm: Unpickler, data: bytes, pos: int) -> int:
    vm.pop_mark()
    return pos + 1


def _tuple1(vm: Unpickler, data: bytes, pos: int) -> int:
    stack = vm.stack
    inner = stack[-1]
    stack[-1] = outer = (inner,)
    vm.nest(inner, outer)
    return pos + 1


def _tuple_of(size: int) -> Handler:
    def push(vm: Unpickler, data: bytes, pos: int) -> int:
        stack = vm.stack
        outer = tuple(stack[-size:])
        if len(outer) != size:
            raise SnapshotRefusedError(f"it makes a tuple of {size} out of {len(outer)}")
        del stack[-size:]
        stack.append(outer)
        inner = vm.innermost
        vm.nest(inner if outer[0] is inner or outer[1] is inner or outer[-1] is inner else None, outer)
        return pos + 1

    return push


def _tuple(vm: Unpickler, data: bytes, pos: int) -> int:
    outer = tuple(vm.pop_mark())
    vm.stack.append(outer)
    vm.nest(outer[-1] if outer else None, outer)
    return pos + 1


def _frozenset(vm: Unpickler, data: bytes, pos: int) -> int:
    items = vm.pop_mark()
    check_set(vm.allowed, items)
    vm.stack.append(frozenset(items))
    return pos + 1


def _append(vm: Unpickler, data: bytes, pos: int) -> int:
    inner = vm.stack.pop()
    outer = vm.stack[-1]
    append_items(vm.allowed, outer, [inner])
    vm.nest(inner, outer)
    return pos + 1


def _appends(vm: Unpickler, data: bytes, pos: int) -> int:
    items = vm.pop_mark()
    outer = vm.stack[-1]
    append_items(vm.allowed, outer, items)
    vm.nest(items[-1] if items else None, outer)
    return pos + 1


def _setitem(vm: Unpickler, data: bytes, pos: int) -> int:
    value, key = vm.stack.pop(), vm.stack.pop()
    outer = vm.stack[-1]
    set_items(vm.allowed, outer, [key, value])
    vm.nest(value, outer)
    return pos + 1


def _additems(vm: Unpickler, data: bytes, pos: int) -> int:
    items = vm.pop_mark()
    add_items(vm.allowed, vm.stack[-1], items)
    return pos + 1


def _stack_global(vm: Unpickler, data: bytes, pos: int) -> int:
    name, module = vm.stack.pop(), vm.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise SnapshotRefusedError("a name is not text")
    vm.stack.append(vm.allowed.find(module, name))
    return pos + 1


def _reduce(vm: Unpickler, data: bytes, pos: int) -> int:
    arguments = vm.stack.pop()
    result = vm.stack[-1] = vm.allowed.call(vm.stack[-1], arguments)
    vm.nest(arguments, result)
    if type(result) is Unbuilt:
        result.index = len(vm.memo)
    return pos + 1


def _newobj(vm: Unpickler, data: bytes, pos: int) -> int:
    arguments = vm.stack.pop()
    vm.stack[-1] = vm.allowed.make(vm.stack[-1], arguments, {})
    return pos + 1


def _newobj_ex(vm: Unpickler, data: bytes, pos: int) -> int:
    keywords, arguments = vm.stack.pop(), vm.stack.pop()
    vm.stack[-1] = vm.allowed.make(vm.stack[-1], arguments, keywords)
    return pos + 1


def _build(vm: Unpickler, data: bytes, pos: int) -> int:
    state = vm.stack.pop()
    instance = vm.stack[-1]
    made = vm.allowed.build(instance, state)
    vm.nest(state, instance)
    if made is not None:
        vm.stack[-1] = vm.memo[instance.index] = made
    return pos + 1


LONG4 = 0x8B
COUNTED = frozenset({0x8C, 0x43, 0x8A})
"""Opcodes with an argument of at most 255 bytes: SHORT_BINUNICODE, SHORT_BINBYTES, LONG1."""
FIXED = {0x4A: 4, 0x4B: 1, 0x4D: 2, 0x47: 8, 0x68: 1, 0x6A: 4, LONG4: 4, **dict.fromkeys(COUNTED, 1), 0x7D: 1, 0x5D: 1, 0x8F: 1}
"""Bytes of the fixed part of an argument; for an empty container, of the MEMOIZE behind it."""
LARGE: dict[int, tuple[Struct, Callable[[bytes], object]]] = {
    0x58: (_U32, _text),  # BINUNICODE
    0x8D: (_U64, _text),  # BINUNICODE8
    0x42: (_U32, bytes),  # BINBYTES
    0x8E: (_U64, bytes),  # BINBYTES8
    0x96: (_U64, bytearray),  # BYTEARRAY8
}
"""Opcodes whose argument stands outside of frames when it is large: the layout of its length, and what it becomes."""

HANDLERS: list[Handler] = [_unknown] * 256
"""For each opcode what it does."""

for _opcode, _handler in {
    0x4E: _constant(None),  # NONE
    0x88: _constant(True),  # NEWTRUE
    0x89: _constant(False),  # NEWFALSE
    0x4A: _number(_I32),  # BININT
    0x4D: _number(_U16),  # BININT2
    0x8A: _counted(_U8, _integer),  # LONG1
    LONG4: _long4,
    0x43: _counted(_U8, bytes),  # SHORT_BINBYTES
    **{opcode: _counted(*how) for opcode, how in LARGE.items()},
    0x6A: _long_binget,
    0x30: _pop,
    0x31: _pop_mark,
    0x29: _constant(()),  # EMPTY_TUPLE
    0x85: _tuple1,
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    0x74: _tuple,
    0x5D: _empty(list),
    0x8F: _empty(set),
    0x91: _frozenset,
    0x61: _append,
    0x65: _appends,
    0x73: _setitem,
    0x90: _additems,
    0x93: _stack_global,
    0x52: _reduce,
    0x81: _newobj,
    0x92: _newobj_ex,
    0x62: _build,
}.items():
    HANDLERS[_opcode] = _handler
