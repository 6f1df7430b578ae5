"""Decoding one member by each library, with one interface: that of the standard library's `BZ2Decompressor`."""

from __future__ import annotations

from typing import Any, Protocol

from runner.snapshots.codecs import libraries


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


class GzipDecoder:
    """Decodes one gzip member."""

    def __init__(self) -> None:
        self._stream: Any = libraries.gzip_library.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decodes as `Decoder` says."""
        plain = bytes(self._stream.decompress(self._stream.unconsumed_tail + data, max_length))
        # A full piece may not be all, even when the whole of the data is taken.
        self.needs_input = self.eof or (len(plain) < max_length and not self._stream.unconsumed_tail)
        return plain


class PlainDecoder:
    """Passes data through: `none` has no members, and the trailer says whether the whole is there."""

    eof = True
    needs_input = True
    unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decodes as `Decoder` says."""
        return data


class SteppingDecoder:
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
        """Decodes as `Decoder` says."""
        self._data = memoryview(bytes(self._data) + data)
        parts, size = [], 0
        while self._data and not self.eof and size < max_length:
            part = self._stream.decompress(bytes(self._data[: self.step]))
            self._data = self._data[self.step :]
            parts.append(part)
            size += len(part)
        return b"".join(parts)


class SnappyDecoder(SteppingDecoder):
    """Decodes snappy's framing format, whose frames python-snappy reads but whose truncation it does not report.

    Data expand 22-fold at most.
    """

    step = 1 << 18

    def _make(self) -> Any:
        return libraries.require("snappy", "python-snappy", "snappy").StreamDecompressor()

    @property
    def eof(self) -> bool:
        return not self._stream.remains and not self._data


class ZstdDecoder(SteppingDecoder):
    """Decodes one zstd frame; limits the memory that a frame may ask for to 128 MiB. Data may expand 32,768-fold."""

    step = 2048

    def _make(self) -> Any:
        zstandard = libraries.require("zstandard", "zstandard", "zst")
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data) + bytes(self._data)
