"""The layout of a snapshot's plain stream: header, pickle, signature, trailer.

* header: a pickle fragment that pushes a JSON string and pops it again, so that `pickle.load()` passes over it;
* pickle: protocol 5, of the workflow;
* signature, if a key is configured: see `signing`;
* trailer, behind the pickle's end where `pickle.load()` never looks: a pickle of
  `("veles-run", format, "blake3", digest, length)`, always of the same size, over everything before it.
"""

from __future__ import annotations

import struct

from blake3 import blake3

from runner.errors import SnapshotDamagedError, SnapshotMismatchError
from runner.snapshots.header import FORMAT, Header, newer_format

HEADER_START = b"\x80\x05X"  # PROTO 5, BINUNICODE
HEADER_END = b"0"  # POP
HEADER_LIMIT = 16 << 20
_LENGTH = struct.Struct("<I")

# PROTO 5, MARK, SHORT_BINUNICODE, BININT1, SHORT_BINUNICODE, SHORT_BINBYTES, LONG1 of 9 bytes, TUPLE, STOP
_MARK = b"\x80\x05(\x8c\x09veles-runK"
_TRAILER = _MARK + bytes([FORMAT]) + b"\x8c\x06blake3C\x20%b\x8a\x09%bt."
TRAILER_SIZE = len(_TRAILER) - 4 + 32 + 9


def header_bytes(header: Header) -> bytes:
    """Returns the header as the fragment that begins the stream."""
    text = header.to_json().encode()
    return HEADER_START + _LENGTH.pack(len(text)) + text + HEADER_END


def header_size(start: bytes | bytearray) -> int:
    """Returns how many bytes the header takes, from the first bytes of the stream (8 are enough).

    Raises:
        SnapshotDamagedError: the stream does not begin as a snapshot does.
    """
    prefix = len(HEADER_START)
    if len(start) < prefix + _LENGTH.size or not start.startswith(HEADER_START):
        raise SnapshotDamagedError("it is not a snapshot of veles-run: it does not begin with a header")
    (length,) = _LENGTH.unpack_from(start, prefix)
    if length > HEADER_LIMIT:
        raise SnapshotDamagedError(f"its header claims {length} bytes, more than the {HEADER_LIMIT} that one may have")
    return prefix + _LENGTH.size + int(length) + len(HEADER_END)


def parse_header(data: bytes | bytearray) -> Header:
    """Reads the header from the fragment that `header_bytes` made."""
    if len(data) != header_size(data) or not data.endswith(HEADER_END):
        raise SnapshotDamagedError("it ends within its header")
    try:
        text = data[len(HEADER_START) + _LENGTH.size : -len(HEADER_END)].decode()
    except UnicodeDecodeError as error:
        raise SnapshotDamagedError("its header cannot be read") from error
    return Header.from_json(text)


class Digest:
    """The running digest over a plain stream.

    BLAKE3, because it is several times as fast as SHA-256 and as strong: the digest must not be what a fast codec waits for.
    """

    def __init__(self) -> None:
        self._hash = blake3()
        self.length = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes of the stream."""
        self._hash.update(data)
        self.length += len(data)

    def copy(self) -> Digest:
        """Returns a digest that goes on by itself."""
        other = Digest()
        other._hash, other.length = self._hash.copy(), self.length
        return other

    def trailer(self) -> bytes:
        """Returns the trailer for what was taken."""
        return _TRAILER % (self._hash.digest(), self.length.to_bytes(9, "little"))

    def check(self, trailer: bytes) -> None:
        """Compares a trailer with what was taken.

        Raises:
            SnapshotDamagedError: the trailer is missing, or digest or length differ.
            SnapshotMismatchError: the trailer is of a newer format.
        """
        expected = self.trailer()
        if trailer == expected:
            return
        version, rest = len(_MARK), len(_MARK) + 1
        # A trailer that is ours but for its version is damaged: a newer one comes with a newer header.
        if trailer.startswith(_MARK) and trailer[version] > FORMAT and trailer[rest:] != expected[rest:]:
            raise SnapshotMismatchError(newer_format(trailer[version]))
        if not trailer.startswith(expected[:23]):
            raise SnapshotDamagedError(f"it is truncated: no trailer after {self.length} bytes")
        raise SnapshotDamagedError("it is damaged: its content does not have the digest that its trailer gives")
