"""The restricted unpickler: a machine of our own that builds what a pickle describes, and never runs what it names.

It knows the opcodes that protocol 5 writers emit and no others, and works only with what `Allowed` gives it: an opcode that
names, calls, instantiates or sets a state asks there. Allow-listing names on the stock unpickler would not do: its BUILD writes
into anything, and its look-ups follow what the stream has put into an instance.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from runner.errors import SnapshotError, SnapshotMismatchError, SnapshotRefusedError
from runner.snapshots.codecs.budget import Budget
from runner.snapshots.format.placing import FRAME_LIMIT, Placed
from runner.snapshots.unpickling.allowed import Allowed
from runner.snapshots.unpickling.allowed.containers import set_items
from runner.snapshots.unpickling.allowed.entries import Name
from runner.snapshots.unpickling.opcodes import COUNTED, FIXED, HANDLERS, LARGE, LONG4, check_memoized, long4_size
from runner.storages import bytes_of

NESTING_LIMIT = 2_000
"""Containers within one another; Python's own pickler stops at about 500."""
GROWTH_STEP = 1 << 20
"""Bytes of the stream after which the memory is looked at: no more than a hundred times as much can have been taken."""
STORAGE = "runner.pickled.storage"
"""The function whose buffers become memory of tensors as they lie there."""
UNFRAMED_LIMIT = 16
"""Opcodes in a row outside of frames; picklers leave at most four bytes so."""

_FRAME, _STOP, _END = 0x95, 0x2E, 0x00
_MEMOIZE, _SHORT_UNICODE, _BINGET, _MARK = 0x94, 0x8C, 0x68, 0x28
_BININT1, _BINFLOAT, _EMPTY_DICT, _SETITEMS = 0x4B, 0x47, 0x7D, 0x75
_U64, _F64 = Struct("<Q"), Struct(">d")


class Unpickler:
    """Loads one pickle of protocol 5.

    Args:
        file: the pickle; it is read up to its end and no further.
        allowed: what the pickle may name.
        budget: what its objects may take.
    """

    def __init__(self, file: Placed, allowed: Allowed, budget: Budget | None = None) -> None:
        self.file = file
        self.allowed = allowed
        self.budget = budget or Budget()
        self.checked = 0  # where in the stream the memory was last looked at
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.base = 0  # where in the stream the bytes at hand begin
        self.unframed = 0
        self.innermost: Any = None
        self.depth = 0

    def load(self) -> Any:
        """Returns what the pickle describes.

        Raises:
            SnapshotRefusedError: it holds an opcode, a name, a call, a state or a size that is not allowed, or is no pickle.
            SnapshotMismatchError: a class of veles-run or of a declared module is not here.
        """
        if self.file.read(2) != b"\x80\x05":
            raise SnapshotRefusedError("it does not begin as a pickle of protocol 5 does, at byte 0 of its pickle")
        self.base = 2
        return self._run()

    def _run(self) -> Any:
        """The machine. The commonest opcodes stand here: a call of a handler costs more than they do."""
        stack, marks, memo = self.stack, self.marks, self.memo
        push, memoize, float_at = stack.append, memo.append, _F64.unpack_from
        data, pos = b"\0", 0
        try:
            while True:
                opcode = data[pos]
                if opcode == _BINGET:
                    push(memo[data[pos + 1]])
                    pos += 2
                elif opcode == _SHORT_UNICODE:
                    end = pos + 2 + data[pos + 1]
                    text = data[pos + 2 : end].decode("utf-8", "surrogatepass")
                    push(text)
                    pos = end
                    if data[pos] == _MEMOIZE:
                        memoize(text)
                        pos += 1
                elif opcode == _SETITEMS:
                    mark = marks.pop()
                    items = stack[mark:]
                    del stack[mark:]
                    target = stack[-1]
                    set_items(self.allowed, target, items)
                    pos += 1
                elif opcode == _EMPTY_DICT:
                    check_memoized(data, pos)
                    empty: dict[Any, Any] = {}
                    push(empty)
                    memoize(empty)
                    pos += 2
                elif opcode == _MARK:
                    if len(marks) == NESTING_LIMIT:
                        raise SnapshotRefusedError(f"it nests more than {NESTING_LIMIT} containers")
                    marks.append(len(stack))
                    pos += 1
                elif opcode == _BININT1:
                    push(data[pos + 1])
                    pos += 2
                elif opcode == _MEMOIZE:
                    memoize(stack[-1])
                    pos += 1
                elif opcode == _BINFLOAT:
                    push(float_at(data, pos + 1)[0])
                    pos += 9
                elif opcode == _END:
                    data, pos = self._refill(data, pos), 0
                elif opcode == _STOP:
                    items = target = text = empty = None  # type: ignore[assignment]  # they may hold what nothing may keep
                    return self._stop(data, pos)
                else:
                    pos = HANDLERS[opcode](self, data, pos)
        except SnapshotMismatchError:
            raise
        except Exception as error:
            raise SnapshotRefusedError(f"{_reason(error)}, at byte {self.base + pos} of its pickle") from error

    def _refill(self, data: bytes, pos: int) -> bytes:
        """Returns the next frame, or opcode outside of frames, with an end mark behind; takes large arguments as they lie."""
        if pos != len(data) - 1:
            raise SnapshotRefusedError("opcode 0x00 is not one that protocol 5 writers emit")
        self.base += pos
        self._check_growth()
        while True:
            opcode = self._read(1)[0]
            if opcode == _FRAME:
                self.unframed = 0
                size = _U64.unpack(self._read(8))[0]
                if size > FRAME_LIMIT:
                    raise SnapshotRefusedError(f"a frame claims {size} bytes, more than {FRAME_LIMIT}")
                frame = self._read(size)
                self.allowed.keys.allow(size)
                self.base += 9
                return frame + b"\0"
            if opcode not in LARGE:
                return self._unframed(opcode)
            self.unframed = 0
            layout, convert = LARGE[opcode]
            (size,) = layout.unpack(self._read(layout.size))
            self.stack.append(self._argument(size, convert))
            self.base += 1 + layout.size + size

    def _check_growth(self) -> None:
        if self.base - self.checked >= GROWTH_STEP:
            self.checked = self.base
            self.budget.check_growth()

    def _unframed(self, opcode: int) -> bytes:
        self.unframed += 1
        if self.unframed > UNFRAMED_LIMIT:
            raise SnapshotRefusedError(f"more than {UNFRAMED_LIMIT} opcodes stand outside of frames")
        arguments = self._read(FIXED.get(opcode, 0))
        if opcode in COUNTED:
            arguments += self._read(arguments[0])
        elif opcode == LONG4:
            arguments += self._read(long4_size(arguments, 0))
        return bytes([opcode]) + arguments + b"\0"

    def _stop(self, data: bytes, pos: int) -> Any:
        if pos != len(data) - 2:
            raise SnapshotRefusedError("its last frame goes on after its end")
        if len(self.stack) != 1 or self.marks:
            raise SnapshotRefusedError("it ends with other than one object")
        value = self.stack.pop()
        self.memo.clear()
        self.innermost = None
        self.allowed.check_consumed()
        return value

    def _read(self, size: int) -> bytes:
        data = self.file.read(size)
        if len(data) != size:
            raise SnapshotRefusedError(f"it ends within {size} bytes that it claims")
        return data

    def _argument(self, size: int, convert: Callable[[bytes], object]) -> Any:
        """Returns an argument that stands outside of frames."""
        placed = self.file.take(size) if convert is bytearray else None
        if placed is None:
            return convert(self._read(size))
        of_storage = self.stack and type(self.stack[-1]) is Name and self.stack[-1].text == STORAGE
        return placed if of_storage or type(placed) is bytearray else bytearray(bytes_of(placed.untyped_storage()))

    def pop_mark(self) -> list[Any]:
        """Takes what stands on the stack above the last mark."""
        mark = self.marks.pop()
        if mark > len(self.stack):
            raise SnapshotRefusedError("it has taken what stood below a mark")
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def nest(self, inner: object, outer: object) -> None:
        """Notes that one container was put into another; picklers close nested ones one right after the other."""
        self.depth = self.depth + 1 if inner is self.innermost else 1
        self.innermost = outer
        if self.depth > NESTING_LIMIT:
            raise SnapshotRefusedError(f"it nests more than {NESTING_LIMIT} containers")


def _reason(error: Exception) -> str:
    """Says what is wrong without touching the values in the error, whose `repr` may be endless."""
    if isinstance(error, SnapshotError):
        return str(error)
    if isinstance(error, IndexError):
        return "it takes more from its frame, stack or memo than there is"
    text = next((f": {value[:200].splitlines()[0]}" for value in error.args[:1] if type(value) is str and value), "")
    return f"it cannot be built ({type(error).__name__}{text})"
