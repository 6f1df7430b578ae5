"""Decoders for one member, all with the interface of the standard library's `BZ2Decompressor`."""

from __future__ import annotations

from typing import Any, Protocol

from runner.snapshots.codecs import libraries


class Decoder(Protocol):
    """Decodes one member: the part of `BZ2Decompressor` that decoding needs."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether more input is needed before anything more can be decoded."""

    @property
    def unused_data(self) -> bytes:
        """The input that follows the end of the member."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Returns the decoded data, up to about `max_length` bytes; the rest comes with the next call."""


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
        # After a full piece there may be more output, even if all input has been consumed.
        self.needs_input = self.eof or (len(plain) < max_length and not self._stream.unconsumed_tail)
        return plain


class PlainDecoder:
    """Passes data through: `none` has no members. The trailer shows whether the stream is complete."""

    eof = True
    needs_input = True
    unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decodes as `Decoder` says."""
        return data


class SteppingDecoder:
    """Decodes with a library that has no output limit, by giving it little input at a time.

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
    """Decodes snappy's framing format. python-snappy reads the frames but does not report truncation.

    Data expands 22-fold at most.
    """

    step = 1 << 18

    def _make(self) -> Any:
        return libraries.require("snappy", "python-snappy", "snappy").StreamDecompressor()

    @property
    def eof(self) -> bool:
        return not self._stream.remains and not self._data


class ZstdDecoder(SteppingDecoder):
    """Decodes one zstd frame. A frame may request at most 128 MiB of memory. Data may expand 32,768-fold."""

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
