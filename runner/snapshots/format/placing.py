"""Lays out the plain stream of a snapshot in memory as it comes, and each large buffer of its pickle where it is to stay.

A state is nearly all large buffers. They stand outside of the pickle's frames, so they can be found without looking at what the
pickle says. What is not as a pickler writes it is laid out as it comes; whether it may be, is for the unpickler to say.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import Any

from runner.memory import copy_to_new

STORAGE = b"\x8c\x07storage"
"""The name of the function whose buffers torch's tensors take over; a pickle spells it before the first of them."""
FRAME_LIMIT = 4 << 20
"""Bytes of a frame; picklers close theirs at 64 KiB."""
PIECE = 4 << 20
"""Bytes to lay out at a time of what is not as a pickler writes it."""

BLOCK = 64 << 20
"""Memory that is taken before the stream has shown that it has as many bytes, unless it is taken only when it is written to."""

_BYTEARRAY8 = 0x96
_LAYOUTS = dict.fromkeys((0x95, _BYTEARRAY8, 0x8D, 0x8E), Struct("<Q")) | dict.fromkeys((0x58, 0x42), Struct("<I"))
"""Frames, and what stands outside of them when it is large, bytearrays, texts and bytes: the layout of their length."""
_BARE = frozenset(b"\x94ae()stuRb\x85\x86\x87")
"""Opcodes without arguments, which stand outside of frames when they are alone between two large buffers."""


class Placed(io.RawIOBase):
    """A stream in memory as one file to read once; what was read is freed.

    Args:
        pieces: its parts: a tensor of bytes or a bytearray for a large buffer, a memoryview for what is around.
    """

    def __init__(self, pieces: deque[Any]) -> None:
        super().__init__()
        self._pieces = pieces
        self._piece: Any = b""
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def take(self, size: int) -> Any:
        """Returns the large buffer that comes next as it lies in memory, or None if none of this size does."""
        if self._rest or not self._pieces or isinstance(self._pieces[0], memoryview) or len(self._pieces[0]) != size:
            return None
        return self._pieces.popleft()

    def read(self, size: int | None = -1) -> bytes:
        left = -1 if size is None else size
        parts = []
        while left and (part := self._cut(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        done = 0
        while done < len(target) and (part := self._cut(len(target) - done)):
            target[done : done + len(part)] = part
            done += len(part)
        return done

    def _cut(self, size: int) -> memoryview:
        """Takes at most so many bytes off the next piece; of a negative number, all of it. At the end there are none."""
        while not self._rest and self._pieces:
            self._piece = self._pieces.popleft()  # it holds the memory that the rest is of
            self._rest = _view(self._piece)
        part = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(part) :]
        return part


def place(parts: Iterator[memoryview], start: int) -> Placed:
    """Lays out a stream of which no more is in memory yet than one part.

    Args:
        parts: the stream.
        start: where in it the pickle begins, in bytes; what is before is left out.

    Raises:
        RunnerError: as `parts` does.
    """
    stream = io.BufferedReader(_Parts(parts), 1 << 16)
    stream.read(start)
    pieces: deque[Any] = deque([memoryview(stream.read(2))])  # PROTO 5
    layout = _Layout(stream, pieces)
    while layout.add():
        pass
    while piece := stream.read(PIECE):
        pieces.append(memoryview(piece))
    return Placed(pieces)


class _Layout:
    """Lays out a pickle, opcode by opcode of those that stand outside of frames."""

    def __init__(self, stream: io.BufferedReader[_Parts], pieces: deque[Any]) -> None:
        self._stream = stream
        self._pieces = pieces
        self._of_torch = False

    def add(self) -> bool:
        """Adds what comes next; returns False at the end, or if it is not as a pickler writes it."""
        head = self._stream.read(1)
        if head and head[0] in _BARE:
            return self._keep(head, True)
        layout = _LAYOUTS.get(head[0]) if head else None
        if layout is None:
            return self._keep(head, False)
        head += self._stream.read(layout.size)
        size = layout.unpack_from(head, 1)[0] if len(head) > layout.size else FRAME_LIMIT + 1
        if head[0] == _BYTEARRAY8 and len(head) > layout.size:
            return self._keep(head, True) and self._place(size)
        if size > FRAME_LIMIT:
            return self._keep(head, False)
        data = self._stream.read(size)
        return self._keep(head + data, len(data) == size)

    def _keep(self, data: bytes, goes_on: bool) -> bool:
        self._pieces.append(memoryview(data))
        self._of_torch = self._of_torch or STORAGE in data
        return goes_on

    def _place(self, size: int) -> bool:
        """Reads a buffer into its place; one that is not whole, or larger than memory, is not as a pickler writes it."""
        memory = _torch_memory(size) if self._of_torch else bytearray(min(size, BLOCK))
        if memory is None:
            return False
        filled = self._fill(memory, 0)
        while isinstance(memory, bytearray) and filled == len(memory) < size:
            memory.extend(bytes(min(size - filled, filled)))
            filled = self._fill(memory, filled)
        self._pieces.append(memory if filled == size else memory[:filled])
        return filled == size

    def _fill(self, memory: Any, filled: int) -> int:
        with _view(memory) as view:
            while filled < len(view) and (count := self._stream.readinto(view[filled:])):
                filled += count
        return filled


def _torch_memory(size: int) -> Any:
    """Returns memory of torch's, taken as it is written to; None if there cannot be so much."""
    import torch

    try:
        return torch.empty(size, dtype=torch.uint8)
    except (RuntimeError, TypeError):  # beyond what there is, or what has 64 bits
        return None


def _view(piece: Any) -> memoryview:
    if isinstance(piece, bytearray | memoryview):
        return memoryview(piece)
    from runner.storages import bytes_of

    return bytes_of(piece.untyped_storage())[: len(piece)]


class _Parts(io.RawIOBase):
    """Parts of a stream as one file to read once."""

    def __init__(self, parts: Iterator[memoryview]) -> None:
        super().__init__()
        self._parts = parts
        self._part = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        done = 0
        while done < len(target):
            if not self._part:
                following = next(self._parts, None)
                if following is None:
                    break
                self._part = following
            part = self._part[: len(target) - done]
            copy_to_new(target[done : done + len(part)], part)
            self._part = self._part[len(part) :]
            done += len(part)
        return done
