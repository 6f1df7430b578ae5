"""The codecs: one row each, both directions.

A snapshot is cut in chunks, and each becomes an independent member of the codec's own format. Members may be
concatenated in all of these formats, so standard tools read the file, and chunks are compressed in parallel.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from runner.errors import ConfigError, SnapshotDamagedError, known
from runner.snapshots.limits import Budget

_gzip_library: ModuleType
try:
    from isal import isal_zlib as _gzip_library
except ModuleNotFoundError:
    _gzip_library = zlib

Buffer = bytes | bytearray | memoryview

_LOCAL = threading.local()

ISAL_LEVEL = 3
"""The highest level that isal has; beyond it the standard library compresses, ten times slower."""


PIECE = 4 << 20
"""Bytes that a decoder is asked for at a time."""


class Decoder(Protocol):
    """Decodes one member: what decoding needs of the standard library's `BZ2Decompressor`."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether all that can be decoded was."""

    @property
    def unused_data(self) -> bytes:
        """What came behind its end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Returns what the data decodes to, or the first part of it, about so long; the rest comes with the next call."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A row of the table.

    Attributes:
        name: as in `snapshotter.compression`.
        magic: the first bytes of every member.
        prefix: how many bytes all full members begin with; 0 when a stream cannot be cut into members.
        levels: the levels it takes; empty when it has none.
        default_level: the level that pays: more costs much time and gains little on weights.
        encode: makes one member of a chunk.
        decoder: makes a decoder of one member.
        smallest: bytes that are worth a member, and a thread, of their own.
    """

    name: str
    magic: bytes
    prefix: int
    levels: range
    default_level: int
    encode: Callable[[Buffer, int], Buffer]
    decoder: Callable[[], Decoder]
    smallest: int = 1 << 18

    @property
    def extension(self) -> str:
        """The end of a file's name: `.pickle.gz`, `.pickle` for none."""
        return ".pickle" if self.name == "none" else f".pickle.{self.name}"

    def check_level(self, level: int | None) -> int:
        """Returns the level to use.

        Raises:
            ConfigError: the codec does not take that level.
        """
        if level is None:
            return self.default_level
        if level not in self.levels:
            takes = f"{self.levels[0]} to {self.levels[-1]}" if self.levels else "none"
            raise ConfigError(f"snapshotter.compression_level={level} is not a level of {self.name!r}, which takes {takes}")
        return level


def find(name: str | None) -> Codec:
    """Returns the codec of that name; an empty name and None mean `none`, as in VELES.

    Raises:
        ConfigError: no codec has that name.
    """
    name = "none" if not name or name == "None" else name
    if name not in CODECS:
        raise ConfigError(f"snapshotter.compression={name!r} is not a codec; known: {known(CODECS)}")
    return CODECS[name]


def detect(start: bytes) -> Codec:
    """Returns the codec whose members begin like the given bytes.

    Raises:
        SnapshotDamagedError: none does.
    """
    if not start:
        raise SnapshotDamagedError("it is empty")
    for codec in CODECS.values():
        if start.startswith(codec.magic):
            return codec
    raise SnapshotDamagedError(f"it is not a snapshot of veles-run: it begins with {start[:8]!r}")


def decode(codec: Codec, blocks: Iterable[bytes], budget: Budget | None = None) -> Iterator[bytes]:
    """Decodes concatenated members strictly.

    Args:
        codec: how they are encoded.
        blocks: the encoded stream, cut anywhere.
        budget: what it may decode to.

    Raises:
        SnapshotDamagedError: a member is damaged or incomplete, something else follows a member, or it decodes to too much.
    """
    budget = budget or Budget()
    decoder: Decoder | None = None
    for data in blocks:
        while data or (decoder is not None and not decoder.needs_input):
            decoder = decoder or codec.decoder()
            try:
                plain = decoder.decompress(data, PIECE)
            except _decoding_errors() as error:
                raise SnapshotDamagedError(f"it is damaged: {codec.name} says {error}") from error
            rest = decoder.unused_data if decoder.eof else b""
            budget.spend(len(data) - len(rest), len(plain))
            data, decoder = rest, None if decoder.eof else decoder
            if plain:
                yield plain
    if decoder is not None:
        raise IncompleteMemberError(f"it is truncated within a member of {codec.name}")


def members(codec: Codec, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cuts an encoded stream where members begin, so that they can be decoded in parallel.

    A member begins with the same few bytes as the first one. These may also stand within a member, where a state holds data of
    the same codec: a piece that ends within a member goes on in the next. A stream of one member, made by another tool, is not
    cut.
    """
    if not codec.prefix:
        yield from blocks
        return
    blocks = iter(blocks)
    pending = bytearray()
    while len(pending) < codec.prefix and (block := next(blocks, b"")):
        pending += block
    prefix = bytes(pending[: codec.prefix])
    searched = len(prefix)
    while True:
        begin = 0
        while (found := pending.find(prefix, searched)) >= 0:
            yield bytes(memoryview(pending)[begin:found])
            begin, searched = found, found + len(prefix)
        del pending[:begin]
        searched = max(len(prefix), len(pending) - len(prefix))
        block = next(blocks, b"")
        if not block:
            yield bytes(pending)
            return
        pending += block


class IncompleteMemberError(SnapshotDamagedError):
    """The data end within a member."""


def _require(module: str, package: str, codec: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"codec {codec!r} needs the package {package}: pip install {package}") from error


def _decoding_errors() -> tuple[type[Exception], ...]:
    """The errors of damaged data; each library has its own, known once it is loaded."""
    modules = {"isal.isal_zlib": "error", "zstandard": "ZstdError", "cramjam": "DecompressionError"}
    loaded = [getattr(sys.modules[module], name) for module, name in modules.items() if module in sys.modules]
    return (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, *loaded)


def _gzip(chunk: Buffer, level: int) -> Buffer:
    if _gzip_library is not zlib and level <= ISAL_LEVEL:
        return bytes(_gzip_library.compress(chunk, level, 31))
    compressor = zlib.compressobj(level, wbits=31)
    return compressor.compress(chunk) + compressor.flush()


def _zstd(chunk: Buffer, level: int) -> Buffer:
    zstandard = _require("zstandard", "zstandard", "zst")
    if getattr(_LOCAL, "level", None) != level:
        # A compressor has megabytes of tables and serves one thread.
        _LOCAL.level, _LOCAL.compressor = level, zstandard.ZstdCompressor(level=level, write_checksum=True)
    frame: Buffer = _LOCAL.compressor.compress(chunk)
    return frame


def _snappy(chunk: Buffer, level: int) -> Buffer:
    # python-snappy's own classes copy twice and hold the interpreter's lock; the library beneath them does neither.
    _require("snappy", "python-snappy", "snappy")
    frames: Buffer = memoryview(sys.modules["cramjam"].snappy.compress(chunk))
    return frames


class _GzipDecoder:
    """Decodes one gzip member."""

    def __init__(self) -> None:
        self._stream: Any = _gzip_library.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        plain = bytes(self._stream.decompress(self._stream.unconsumed_tail + data, max_length))
        # A full piece may not be all, even when the whole of the data is taken.
        self.needs_input = self.eof or (len(plain) < max_length and not self._stream.unconsumed_tail)
        return plain


class _PlainDecoder:
    """Passes data through: `none` has no members, and the trailer says whether the whole is there."""

    eof = True
    needs_input = True
    unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return data


class _SteppingDecoder:
    """Decodes by a library that returns all that its input gives: it gets little at a time.

    Attributes:
        step: bytes of input at a time.
    """

    step: int

    def __init__(self) -> None:
        self._stream = self._make()
        self._data = memoryview(b"")

    def _make(self) -> Any:
        raise NotImplementedError

    @property
    def eof(self) -> bool:
        raise NotImplementedError

    @property
    def needs_input(self) -> bool:
        return not self._data

    @property
    def unused_data(self) -> bytes:
        return bytes(self._data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._data = memoryview(bytes(self._data) + data)
        parts, size = [], 0
        while self._data and not self.eof and size < max_length:
            part = self._stream.decompress(bytes(self._data[: self.step]))
            self._data = self._data[self.step :]
            parts.append(part)
            size += len(part)
        return b"".join(parts)


class _SnappyDecoder(_SteppingDecoder):
    """Decodes snappy's framing format, whose frames python-snappy reads but whose truncation it does not report.

    Data expand 22-fold at most.
    """

    step = 1 << 18

    def _make(self) -> Any:
        return _require("snappy", "python-snappy", "snappy").StreamDecompressor()

    @property
    def eof(self) -> bool:
        return not self._stream.remains and not self._data


class _ZstdDecoder(_SteppingDecoder):
    """Decodes one zstd frame; limits the memory that a frame may ask for to 128 MiB. Data may expand 32,768-fold."""

    step = 2048

    def _make(self) -> Any:
        zstandard = _require("zstandard", "zstandard", "zst")
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data) + bytes(self._data)


CODECS = {
    codec.name: codec
    for codec in (
        Codec(
            name="none",
            magic=b"\x80",
            prefix=0,
            levels=range(0),
            default_level=0,
            encode=lambda chunk, level: chunk,
            decoder=_PlainDecoder,
            smallest=PIECE,
        ),
        Codec(
            name="snappy",
            magic=b"\xff\x06\x00\x00sNaPpY",
            prefix=10,
            levels=range(0),
            default_level=0,
            encode=_snappy,
            decoder=_SnappyDecoder,
            smallest=PIECE,
        ),
        Codec(
            name="gz",
            magic=b"\x1f\x8b",
            prefix=10,
            levels=range(1, 10),
            default_level=1,
            encode=_gzip,
            decoder=_GzipDecoder,
        ),
        Codec(
            name="bz2",
            magic=b"BZh",
            prefix=10,
            levels=range(1, 10),
            default_level=9,
            encode=lambda chunk, level: bz2.compress(chunk, level),
            decoder=bz2.BZ2Decompressor,
        ),
        Codec(
            name="xz",
            magic=b"\xfd7zXZ\x00",
            prefix=12,
            levels=range(10),
            default_level=0,
            encode=lambda chunk, level: lzma.compress(chunk, check=lzma.CHECK_CRC64, preset=level),
            decoder=lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=1 << 28),
        ),
        Codec(
            name="zst",
            magic=b"\x28\xb5\x2f\xfd",
            prefix=9,
            levels=range(1, 23),
            default_level=1,
            encode=_zstd,
            decoder=_ZstdDecoder,
        ),
    )
}
"""Every codec by its name in the configuration."""
