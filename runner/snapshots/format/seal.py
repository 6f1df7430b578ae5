"""Signatures: who has the key made this snapshot, and nobody has changed it since.

A signed stream has a signature between pickle and trailer: a pickle of `("veles-run", format, "hmac-sha256", code)`, always of
the same size, where the code is the HMAC-SHA256 of header and pickle. `pickle.load()` never looks there, and the digest in the
trailer covers it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from runner.errors import ConfigError, SnapshotRefusedError
from runner.snapshots.format.header import FORMAT
from runner.snapshots.format.layout import Digest

# PROTO 5, MARK, SHORT_BINUNICODE, BININT1, SHORT_BINUNICODE, SHORT_BINBYTES, TUPLE, STOP
_START = b"\x80\x05(\x8c\x09veles-runK" + bytes([FORMAT]) + b"\x8c\x0bhmac-sha256C\x20"
_END = b"t."
SIGNATURE_SIZE = len(_START) + 32 + len(_END)

KEY_MINIMUM = 16
"""Bytes that a key must have."""


def read_key(source: str) -> bytes:
    """Reads a key.

    Args:
        source: the path of a file, or `env:NAME`; line ends behind the key do not count.

    Raises:
        ConfigError: there is no such file or variable, or the key is too short.
    """
    kind, _, name = source.partition(":")
    try:
        key = os.environb[os.fsencode(name)] if kind == "env" else Path(source).read_bytes()
    except (OSError, KeyError) as error:
        where = f"the environment has no variable {name!r}" if kind == "env" else f"{source!r} cannot be read"
        raise ConfigError(f"there is no key to sign snapshots with: {where}") from error
    key = key.rstrip(b"\r\n")
    if len(key) < KEY_MINIMUM:
        raise ConfigError(f"the key in {source!r} has {len(key)} bytes: at least {KEY_MINIMUM} random ones are needed")
    return key


def is_signature(data: bytes) -> bool:
    """Whether these bytes have the form of a signature."""
    return len(data) == SIGNATURE_SIZE and data.startswith(_START) and data.endswith(_END)


class Signer:
    """Signs a stream, or checks its signature.

    Args:
        key: what the stream is, or must be, signed with.
    """

    def __init__(self, key: bytes) -> None:
        self._code = hmac.new(key, digestmod=hashlib.sha256)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes of the stream: header and pickle."""
        self._code.update(data)

    def signature(self) -> bytes:
        """Returns the signature for what was taken."""
        return _START + self._code.digest() + _END

    def check(self, data: bytes) -> None:
        """Checks what stands in the place of the signature.

        Raises:
            SnapshotRefusedError: it is not signed, or with another key.
        """
        if not is_signature(data):
            raise SnapshotRefusedError("it is not signed, and restore.trust=signed asks for a signature")
        if not hmac.compare_digest(data, self.signature()):
            raise SnapshotRefusedError(
                "its signature is not by the key that restore.key names, or it was changed after signing"
            )


class Seal:
    """What follows the pickle of a stream: the signature, if there is a key, and the trailer. It is made, or checked.

    Args:
        key: what the stream is, or must be, signed with; it is not signed, or may be, if None.
    """

    def __init__(self, key: bytes | None) -> None:
        self._digest = Digest()
        self._signer = None if key is None else Signer(key)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes of header and pickle."""
        self._digest.update(data)
        if self._signer is not None:
            self._signer.update(data)

    def end(self) -> bytes:
        """Returns signature and trailer for what was taken."""
        signature = b"" if self._signer is None else self._signer.signature()
        self._digest.update(signature)
        return signature + self._digest.trailer()

    def check(self, signature: bytes, trailer: bytes) -> None:
        """Checks the last bytes of a stream: the trailer, and what stands in the place of a signature.

        Raises:
            SnapshotDamagedError: the trailer is missing, or digest or length differ.
            SnapshotRefusedError: there is a key, and the stream is not signed with it.
        """
        self._digest.update(signature)
        self._digest.check(trailer)
        if self._signer is not None:
            self._signer.check(signature)
