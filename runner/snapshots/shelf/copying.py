"""Copies snapshots from one store to another, and to another codec: the plain stream, its signature and the UUID stay."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

from runner import cores
from runner.snapshots import codecs
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.layout import Digest
from runner.snapshots.format.reader import closed, plain_stream
from runner.snapshots.stores.store import Entry, Store

CHUNK = 4 << 20
"""Bytes of the plain stream in a member, as when a run writes it."""


def copy(entry: Entry, source: Store, target: Store, codec: Codec | None = None, level: int | None = None) -> str:
    """Copies a snapshot, and returns where the copy is once it is durable.

    With the codec that it has, the encoded bytes are copied as they are. For another one, or another level, it is decoded,
    verified and encoded again. It takes little memory, whatever the size.

    Args:
        entry: the snapshot.
        source: where it is.
        target: where the copy goes.
        codec: the codec of the copy. Default: the one that it has.
        level: the codec's level. Default: the codec's own.

    Raises:
        SnapshotDamagedError: it is damaged, which is found out if the codec changes.
        StoreError: a store refuses.
    """
    with closed(source.open(entry.location)) as blocks:
        first = next(blocks, b"")
        here = codecs.detect(first)
        whole = chain([first], blocks)
        if level is None and codec in (None, here):
            return target.put(entry.header, here, whole)
        codec = codec or here
        with plain_stream(whole) as (_, parts):
            return target.put(entry.header, codec, _encoded(_sealed(parts), codec, codec.check_level(level)))


def _sealed(parts: Iterable[memoryview]) -> Iterator[Buffer]:
    """Yields a plain stream with its trailer, which was found to be the one that its bytes have."""
    digest = Digest()
    for part in parts:
        digest.update(part)
        yield part
    yield digest.trailer()


def _encoded(parts: Iterable[Buffer], codec: Codec, level: int) -> Iterator[Buffer]:
    """Yields the members of a stream; they are encoded ahead in other threads."""
    workers = cores.usable()
    ahead: deque[Future[Buffer]] = deque()
    with ThreadPoolExecutor(workers, "copy-codec") as executor:
        for chunk in _chunks(parts):
            ahead.append(executor.submit(codec.encode, chunk, level))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _chunks(parts: Iterable[Buffer]) -> Iterator[bytes]:
    pending = bytearray()
    for part in parts:
        pending += part
        while len(pending) >= CHUNK:
            yield bytes(memoryview(pending)[:CHUNK])
            del pending[:CHUNK]
    if pending:
        yield bytes(pending)
