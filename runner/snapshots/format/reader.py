"""Reads encoded snapshots: the header alone, or the whole, verified before anything of it is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain

from runner import cores
from runner.errors import SnapshotDamagedError
from runner.memory import keep_freed
from runner.snapshots import codecs
from runner.snapshots.codecs import Codec
from runner.snapshots.codecs.budget import Budget
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import TRAILER_SIZE, header_size, parse_header
from runner.snapshots.format.placing import Placed, place
from runner.snapshots.format.seal import SIGNATURE_SIZE, Seal
from runner.snapshots.format.signing_keys import Key

HEADER_STEP = 1 << 14
"""Bytes that are taken at a time in search of the end of the header."""
_UNLIMITED = 1 << 63
"""What a snapshot may decode to if nothing of it is kept."""


def read_header(blocks: Iterable[bytes]) -> Header:
    """Reads the header, decoding no more than it needs.

    Raises:
        SnapshotDamagedError: empty, not a snapshot, or damaged within the header.
        SnapshotMismatchError: of a newer format.
    """
    return read_start(blocks)[0]


def read_start(blocks: Iterable[bytes]) -> tuple[Header, Codec]:
    """Reads the header as `read_header` does; returns also the codec that the stream really has, whatever the header says."""
    codec, blocks = _detected(blocks)
    return _begun(codecs.decode(codec, _small(blocks)))[0], codec


def read_verified(blocks: Iterator[bytes], key: Key | None = None, budget: Budget | None = None) -> tuple[Header, Placed]:
    """Decodes and verifies a whole snapshot; returns its header and its pickle, laid out in memory.

    Args:
        blocks: the encoded snapshot.
        key: it must be signed with; any snapshot will do without one.
        budget: what it may decode to.

    Raises:
        SnapshotDamagedError: anything is missing, altered, or too much.
        SnapshotRefusedError: it is not signed with the key.
        SnapshotMismatchError: of a newer format, which may have another digest, too.
    """
    with closed(blocks) as opened:
        codec, blocks = _detected(opened)
        with closed(_decoded_ahead(codec, blocks, budget or Budget())) as decoded:
            header, size, stream = _begun(decoded)
            return header, place(_verifying(stream, key), size)


def verify(blocks: Iterator[bytes], key: Key | None = None) -> Header:
    """Decodes a whole snapshot and compares its digest, keeping nothing of it; returns its header.

    Args:
        blocks: the encoded snapshot.
        key: it must be signed with; any snapshot will do without one.

    Raises:
        SnapshotDamagedError: anything is missing, altered, or too much.
        SnapshotRefusedError: it is not signed with the key.
        SnapshotMismatchError: of a newer format.
    """
    with plain_stream(blocks, key) as (header, parts):
        for _ in parts:
            pass
    return header


@contextmanager
def plain_stream(blocks: Iterator[bytes], key: Key | None = None) -> Iterator[tuple[Header, Iterator[memoryview]]]:
    """Decodes a snapshot of any size in little memory, for readers that build nothing of it.

    What comes is verified at its end: before the last part, an error is raised if anything of the whole is wrong.

    Args:
        blocks: the encoded snapshot.
        key: it must be signed with; any snapshot will do without one.

    Yields:
        The header, and the plain stream up to its trailer, header fragment and signature included, in parts.
    """
    with closed(blocks) as opened:
        codec, blocks = _detected(opened)
        with closed(_decoded_ahead(codec, blocks, Budget(_UNLIMITED))) as decoded:
            header, _, stream = _begun(decoded)
            yield header, _verifying(stream, key)


@contextmanager
def closed(blocks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Closes what the blocks are read from, also after an error, which would keep a database locked."""
    try:
        yield blocks
    finally:
        if isinstance(blocks, Generator):
            blocks.close()


def _begun(stream: Iterator[bytes]) -> tuple[Header, int, Iterator[bytes]]:
    """Reads the header at the beginning of a plain stream; returns it, its size, and the whole stream."""
    start, taken = bytearray(), []
    for part in stream:
        taken.append(part)
        for piece in _small([part]):
            start += piece
            if len(start) >= 8 and len(start) >= (size := header_size(start)):
                return parse_header(start[:size]), size, chain(taken, stream)
    raise SnapshotDamagedError("it is truncated: it ends within its header")


def _verifying(stream: Iterable[bytes], key: Key | None) -> Iterator[memoryview]:
    """Yields a plain stream but for the trailer; what is wrong is an error before the last part."""
    seal = Seal(key)
    parts = _HeldBack(stream, SIGNATURE_SIZE + TRAILER_SIZE)
    for part in parts:
        seal.update(part)
        yield part
    # What may be a signature stands at the end of what is before the trailer; it signs all before it.
    end, trailer = parts.tail[:-TRAILER_SIZE], parts.tail[-TRAILER_SIZE:]
    seal.check(end, trailer)
    yield memoryview(end)


def _small(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cuts blocks so that little is taken at a time."""
    for block in blocks:
        for begin in range(0, len(block), HEADER_STEP):
            yield block[begin : begin + HEADER_STEP]


def _decoded_ahead(codec: Codec, blocks: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    """Yields the plain stream; members are read and decoded ahead in other threads.

    A stream of one block, or one that is not compressed, is not worth the threads. From the first piece on that turns out to
    end within a member, the rest is decoded in one go.
    """
    first, second = next(blocks, b""), next(blocks, b"")
    blocks = chain([first, second], blocks)
    if not second or not codec.prefix:
        yield from codecs.decode(codec, blocks, budget)
        return
    keep_freed()  # what is decoded is copied into its place piece by piece
    workers = cores.usable()
    ahead: deque[tuple[list[bytes], Future[list[bytes]]]] = deque()
    with ThreadPoolExecutor(1, "restore-read") as reading, ThreadPoolExecutor(workers, "restore-codec") as decoding:
        pieces = _read_ahead(codecs.members(codec, blocks), reading)
        while True:
            while len(ahead) <= 2 * workers and (piece := next(pieces, None)) is not None:
                ahead.append((piece, decoding.submit(_decoded_member, codec, piece, budget)))
            if not ahead:
                return
            try:
                plain = ahead[0][1].result()
            except codecs.IncompleteMemberError:
                rest = chain.from_iterable(chain([piece for piece, _ in ahead], pieces))
                yield from codecs.decode(codec, rest, Budget(budget.max_bytes))
                return
            ahead.popleft()
            yield from plain


def _read_ahead(members: Iterator[list[bytes]], executor: ThreadPoolExecutor) -> Iterator[list[bytes]]:
    following = executor.submit(next, members, None)
    while (member := following.result()) is not None:
        following = executor.submit(next, members, None)
        yield member


def _decoded_member(codec: Codec, member: list[bytes], budget: Budget) -> list[bytes]:
    return list(codecs.decode(codec, member, budget))


def _detected(blocks: Iterable[bytes]) -> tuple[Codec, Iterator[bytes]]:
    blocks = iter(blocks)
    first = next(blocks, b"")
    codec = codecs.detect(first)
    return codec, codecs.unpadded(codec, chain([first], blocks))


class _HeldBack:
    """Iterates over a stream but for its last bytes, which are in `tail` at the end."""

    def __init__(self, parts: Iterable[bytes], size: int) -> None:
        self._parts = parts
        self._size = size
        self.tail = b""

    def __iter__(self) -> Iterator[memoryview]:
        for part in self._parts:
            if len(part) < self._size:
                part = self.tail + part
            elif self.tail:
                yield memoryview(self.tail)
            body = max(0, len(part) - self._size)
            yield memoryview(part)[:body]
            self.tail = part[body:]
