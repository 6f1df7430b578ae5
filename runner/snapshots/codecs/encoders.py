"""Encodes chunks as members, with libraries that release the GIL while they work."""

from __future__ import annotations

import sys
import threading
import zlib
from typing import TYPE_CHECKING

from runner.snapshots.codecs import libraries

if TYPE_CHECKING:
    from runner.snapshots.codecs.codec import Buffer

ISAL_LEVEL = 3
"""The highest level of isal. Higher levels use the standard library, which is ten times slower."""

_LOCAL = threading.local()


def gzip(chunk: Buffer, level: int) -> Buffer:
    """Encodes a chunk as a gzip member."""
    if libraries.gzip_library is not zlib and level <= ISAL_LEVEL:
        return bytes(libraries.gzip_library.compress(chunk, level, 31))
    compressor = zlib.compressobj(level, wbits=31)
    return compressor.compress(chunk) + compressor.flush()


def zstd(chunk: Buffer, level: int) -> Buffer:
    """Encodes a chunk as a zstd frame with a checksum.

    Raises:
        ConfigError: zstandard is missing.
    """
    zstandard = libraries.require("zstandard", "zstandard", "zst")
    if getattr(_LOCAL, "level", None) != level:
        # Reused, since a compressor has megabytes of tables; one per thread, since it is not thread-safe.
        _LOCAL.level, _LOCAL.compressor = level, zstandard.ZstdCompressor(level=level, write_checksum=True)
    frame: Buffer = _LOCAL.compressor.compress(chunk)
    return frame


def snappy(chunk: Buffer, level: int) -> Buffer:
    """Encodes a chunk as a stream in snappy's framing format.

    Raises:
        ConfigError: python-snappy is missing.
    """
    # python-snappy's own classes copy twice and hold the GIL; the library beneath them does neither.
    libraries.require("snappy", "python-snappy", "snappy")
    frames: Buffer = memoryview(sys.modules["cramjam"].snappy.compress(chunk))
    return frames
