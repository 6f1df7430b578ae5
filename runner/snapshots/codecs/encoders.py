"""Making members of chunks, by libraries that give the interpreter's lock away meanwhile."""

from __future__ import annotations

import sys
import threading
import zlib
from typing import TYPE_CHECKING

from runner.snapshots.codecs import libraries

if TYPE_CHECKING:
    from runner.snapshots.codecs.codec import Buffer

ISAL_LEVEL = 3
"""The highest level that isal has; beyond it the standard library compresses, ten times slower."""

_LOCAL = threading.local()


def gzip(chunk: Buffer, level: int) -> Buffer:
    """Makes a member of gzip."""
    if libraries.gzip_library is not zlib and level <= ISAL_LEVEL:
        return bytes(libraries.gzip_library.compress(chunk, level, 31))
    compressor = zlib.compressobj(level, wbits=31)
    return compressor.compress(chunk) + compressor.flush()


def zstd(chunk: Buffer, level: int) -> Buffer:
    """Makes a frame of zstd, with a checksum.

    Raises:
        ConfigError: zstandard is missing.
    """
    zstandard = libraries.require("zstandard", "zstandard", "zst")
    if getattr(_LOCAL, "level", None) != level:
        # A compressor has megabytes of tables and serves one thread.
        _LOCAL.level, _LOCAL.compressor = level, zstandard.ZstdCompressor(level=level, write_checksum=True)
    frame: Buffer = _LOCAL.compressor.compress(chunk)
    return frame


def snappy(chunk: Buffer, level: int) -> Buffer:
    """Makes a stream of snappy's framing format.

    Raises:
        ConfigError: python-snappy is missing.
    """
    # python-snappy's own classes copy twice and hold the interpreter's lock; the library beneath them does neither.
    libraries.require("snappy", "python-snappy", "snappy")
    frames: Buffer = memoryview(sys.modules["cramjam"].snappy.compress(chunk))
    return frames
