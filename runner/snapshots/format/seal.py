"""Signatures: they prove that a holder of the key made a snapshot, and that nobody has changed it since.

A signed stream has a signature between pickle and trailer: a pickle of `("veles-run", format, kind, code)`, whose size depends
only on the kind of key. For `hmac-sha256`, the code is the HMAC-SHA256 of header and pickle. For `ed25519`, it is the Ed25519
signature of `Ed25519Key.context` followed by the SHA-512 of header and pickle. `pickle.load()` never looks there, and the
digest in the trailer covers the signature.
"""

from __future__ import annotations

from runner.errors import SnapshotRefusedError
from runner.snapshots.format.header import FORMAT
from runner.snapshots.format.layout import Digest
from runner.snapshots.format.signing_keys import KINDS, Key

_END = b"t."  # TUPLE, STOP


def _start(kind: str, size: int) -> bytes:
    # PROTO 5, MARK, SHORT_BINUNICODE, BININT1, SHORT_BINUNICODE, SHORT_BINBYTES
    name = kind.encode()
    return b"\x80\x05(\x8c\x09veles-runK%c\x8c%c%bC%c" % (FORMAT, len(name), name, size)


_STARTS = {row.kind: _start(row.kind, row.size) for row in KINDS}
_SIZES = {row.kind: len(_STARTS[row.kind]) + row.size + len(_END) for row in KINDS}
SIGNATURE_SIZE = max(_SIZES.values())
"""Bytes of the longest signature. A reader holds back as many bytes before the trailer to look for one."""


def is_signature(data: bytes) -> bool:
    """Whether these bytes have the form of a signature."""
    kind = kind_at_end(data)
    return kind is not None and len(data) == _SIZES[kind]


def kind_at_end(data: bytes) -> str | None:
    """Returns the kind of signature at the end of the data, or None."""
    fitting = (kind for kind, size in _SIZES.items() if data[-size:].startswith(_STARTS[kind]) and len(data) >= size)
    return next(fitting, None) if data.endswith(_END) else None


class Signer:
    """Signs a stream, or checks its signature.

    Args:
        key: the key to sign with, or to check the signature with.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._hash = key.hash()
        self.size = _SIZES[key.kind]

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Adds the next bytes of the stream: header and pickle."""
        self._hash.update(data)

    def signature(self) -> bytes:
        """Returns the signature for the bytes so far."""
        return _STARTS[self._key.kind] + self._key.sign(self._hash) + _END

    def check(self, end: bytes) -> None:
        """Checks the signature, given the end of a stream before its trailer: the last bytes of the pickle and what follows.

        Raises:
            SnapshotRefusedError: the stream is not signed, or is signed with another key.
        """
        kind = kind_at_end(end)
        if kind is None:
            raise SnapshotRefusedError("it is not signed, and restore.trust=signed asks for a signature")
        if kind != self._key.kind:
            raise SnapshotRefusedError(f"it is signed with a key for {kind}, and restore.key names one for {self._key.kind}")
        self.update(end[: -self.size])
        if not self._key.fits(end[-self.size :][len(_STARTS[kind]) : -len(_END)], self._hash):
            raise SnapshotRefusedError(
                "its signature is not by the key that restore.key names, or it was changed after signing"
            )


class Seal:
    """Makes or checks what follows the pickle of a stream: the signature, if there is a key, and the trailer.

    Args:
        key: the key to sign with, or to check the signature with. If None, streams are written unsigned, and a signature is not
            checked.
    """

    def __init__(self, key: Key | None) -> None:
        self._digest = Digest()
        self._signer = None if key is None else Signer(key)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Adds the next bytes of header and pickle."""
        self._digest.update(data)
        if self._signer is not None:
            self._signer.update(data)

    def end(self) -> bytes:
        """Returns signature and trailer for the bytes so far."""
        signature = b"" if self._signer is None else self._signer.signature()
        self._digest.update(signature)
        return signature + self._digest.trailer()

    def check(self, end: bytes, trailer: bytes) -> None:
        """Checks the last bytes of a stream: its trailer, and the `SIGNATURE_SIZE` bytes before it.

        Raises:
            SnapshotDamagedError: the trailer is missing, or its digest or length differs.
            SnapshotRefusedError: the stream is not signed with the key.
        """
        self._digest.update(end)
        self._digest.check(trailer)
        if self._signer is not None:
            self._signer.check(end)
