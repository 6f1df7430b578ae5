"""Writes a snapshot: the workflow is pickled into chunks, these are compressed in parallel and handed to the store."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from runner.graph import Workflow
from runner.snapshots import pickler
from runner.snapshots.codecs import Codec
from runner.snapshots.format import Digest, header_bytes
from runner.snapshots.header import Header
from runner.snapshots.signing import Signer
from runner.snapshots.store import Store

CHUNK = 4 << 20


@dataclass(frozen=True)
class Written:
    """What a snapshot came to.

    Attributes:
        location: where it is.
        state: bytes of the plain stream.
        stored: bytes written.
        pause: seconds during which the run stood still.
        seconds: from the beginning to durable.
    """

    location: str
    state: int
    stored: int
    pause: float
    seconds: float


def write(workflow: Workflow, header: Header, codec: Codec, level: int, store: Store, *, key: bytes | None = None) -> Written:
    """Writes a snapshot of the workflow, signed if there is a key, and returns when it is durable.

    Raises:
        StateError: something in the workflow cannot be pickled.
        StoreError: the store refused it; nothing of it is left there.
    """
    began = time.perf_counter()
    chunks = capture(workflow, header, key)
    stored = 0

    def counted(members: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal stored
        for member in members:
            stored += len(member)
            yield member

    with ThreadPoolExecutor(os.cpu_count(), "snapshot") as pool:
        members = _in_order(pool, lambda chunk: codec.encode(chunk, level), chunks)
        location = store.put(header, codec, counted(members))
    seconds = time.perf_counter() - began
    return Written(location, sum(map(len, chunks)), stored, seconds, seconds)


def capture(workflow: Workflow, header: Header, key: bytes | None = None) -> list[memoryview]:
    """Returns the plain stream of a snapshot, cut in chunks."""
    staging = Staging()
    staging.write(header_bytes(header))
    pickler.dump(workflow, staging)
    if key is not None:
        signer = Signer(key)
        for chunk in staging.chunks():
            signer.update(chunk)
        staging.write(signer.signature())
    digest = Digest()
    for chunk in staging.chunks():
        digest.update(chunk)
    staging.write(digest.trailer())
    return staging.chunks()


class Staging:
    """Collects what a pickler writes, in chunks of 4 MiB."""

    def __init__(self) -> None:
        self._chunks = [bytearray(CHUNK)]
        self._filled = 0

    def write(self, data: Any) -> int:
        """Copies the data in; it may be reused when this returns."""
        view = memoryview(data).cast("B")
        size = len(view)
        while view:
            if self._filled == CHUNK:
                self._chunks.append(bytearray(CHUNK))
                self._filled = 0
            part = view[: CHUNK - self._filled]
            self._chunks[-1][self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            view = view[len(part) :]
        return size

    def chunks(self) -> list[memoryview]:
        """Returns what was written so far."""
        return [*(memoryview(chunk) for chunk in self._chunks[:-1]), memoryview(self._chunks[-1])[: self._filled]]


def _in_order(pool: ThreadPoolExecutor, encode: Callable[[memoryview], bytes], chunks: Iterable[memoryview]) -> Iterator[bytes]:
    """Yields the encoded chunks in their order, encoding a few ahead."""
    ahead: deque[Future[bytes]] = deque()
    for chunk in chunks:
        ahead.append(pool.submit(encode, chunk))
        if len(ahead) > 2 * (os.cpu_count() or 1):
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()
