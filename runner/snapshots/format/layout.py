"""The layout of a snapshot's plain stream: header, pickle, signature, trailer.

* header: a pickle fragment that pushes a JSON string and pops it again, so that `pickle.load()` ignores it;
* pickle: the workflow, in protocol 5;
* signature, if a key is configured: see `runner.snapshots.format.seal`;
* trailer, after the end of the pickle, where `pickle.load()` never looks: a pickle of
  `("veles-run", format, "xxh3-128", digest, length)`, always of the same size. It covers everything before it.
"""

from __future__ import annotations

import struct

import xxhash

from runner.errors import SnapshotDamagedError
from runner.snapshots.format.header import FORMAT, Header

HEADER_START = b"\x80\x05X"  # PROTO 5, BINUNICODE
HEADER_END = b"0"  # POP
HEADER_LIMIT = 16 << 20
_LENGTH = struct.Struct("<I")

# PROTO 5, MARK, SHORT_BINUNICODE, BININT1, SHORT_BINUNICODE, SHORT_BINBYTES, LONG1 of 9 bytes, TUPLE, STOP
_TRAILER = b"\x80\x05(\x8c\x09veles-runK" + bytes([FORMAT]) + b"\x8c\x08xxh3-128C\x10%b\x8a\x09%bt."
_DIGEST_AT = _TRAILER.index(b"%b")
TRAILER_SIZE = len(_TRAILER) - 4 + 16 + 9


def header_bytes(header: Header) -> bytes:
    """Returns the header as the pickle fragment that begins the stream."""
    text = header.to_json().encode()
    return HEADER_START + _LENGTH.pack(len(text)) + text + HEADER_END


def header_size(start: bytes | bytearray) -> int:
    """Returns the size of the header fragment in bytes, given the first bytes of the stream (8 are enough).

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

    XXH3 with 128 bits detects damage as reliably as a cryptographic hash. A cryptographic one would not help against tampering
    either, since whoever changes a snapshot can update its digest. XXH3 takes a tenth of the time, so a fast codec need not
    wait for it.
    """

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()
        self.length = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Adds the next bytes of the stream."""
        self._hash.update(data)
        self.length += len(data)

    def trailer(self) -> bytes:
        """Returns the trailer for the bytes so far."""
        return _TRAILER % (self._hash.digest(), self.length.to_bytes(9, "little"))

    def check(self, trailer: bytes) -> None:
        """Compares a trailer with the bytes so far, for a stream whose header is of this format.

        Raises:
            SnapshotDamagedError: the trailer is missing, or its digest or length differs.
        """
        expected = self.trailer()
        if trailer == expected:
            return
        if not trailer.startswith(expected[:_DIGEST_AT]):
            raise SnapshotDamagedError(f"it is truncated: no trailer after {self.length} bytes")
        raise SnapshotDamagedError("it is damaged: the digest of its content is not the one in its trailer")


def length_in(end: bytes) -> int | None:
    """Returns the length of what is before the trailer that these bytes end with; None if they do not end with one."""
    trailer = end[-TRAILER_SIZE:]
    if len(trailer) < TRAILER_SIZE or not trailer.startswith(_TRAILER[:_DIGEST_AT]):
        return None
    return int.from_bytes(trailer[-11:-2], "little")
