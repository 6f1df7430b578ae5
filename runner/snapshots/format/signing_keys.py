"""Keys that sign snapshots, and keys that check signatures.

There are two kinds. A secret of at least 128 bits signs and checks with HMAC-SHA256: whoever checks can sign as well. A pair of
Ed25519 keys signs with the private key and checks with the public one, which may be known to everybody.

Which kind a key is, its content says: PEM is never taken for a secret. Otherwise a public key would be one, and whoever knows
it could sign.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import shlex
import stat
import string
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

from runner.errors import ConfigError
from runner.snapshots.format.header import FORMAT

KEY_BITS = 128
"""Bits of chance that a secret must be able to hold."""
_LIMIT = 1 << 16
"""Bytes that a key may have."""
_FEW = 6
"""A secret of fewer different characters is counted as one over an alphabet of just these."""
_ALPHABETS = [
    set(characters.encode())
    for characters in (
        *(string.digits, "0123456789abcdef", "0123456789ABCDEF", string.ascii_lowercase, string.ascii_uppercase),
        *(string.ascii_letters + string.digits + "+/=-_", string.printable),
    )
]
"""What secrets are written with, from the smallest on."""
_NEW_SECRET = "make one with: head -c 32 /dev/urandom | base64"
_NEW_PAIR = (
    "make a pair with: openssl genpkey -algorithm ed25519 -out FILE.pem; openssl pkey -in FILE.pem -pubout -out FILE.pub"
)


class Hash(Protocol):
    """What runs over the signed bytes."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Takes the next bytes."""

    def digest(self) -> bytes:
        """Returns what they come to."""


class Key(ABC):
    """A key: it signs, or checks a signature, or both.

    Attributes:
        kind: the algorithm, as it stands in a signature.
        size: bytes of what it makes.
        signs: whether it can sign.
    """

    kind: ClassVar[str]
    size: ClassVar[int]
    signs: bool = True

    @abstractmethod
    def hash(self) -> Hash:
        """Returns what is to run over the signed bytes."""

    @abstractmethod
    def sign(self, hashed: Hash) -> bytes:
        """Returns the code for what was hashed."""

    @abstractmethod
    def fits(self, code: bytes, hashed: Hash) -> bool:
        """Whether the code was made by this key, or its private one, for what was hashed."""


class SecretKey(Key):
    """A secret for HMAC-SHA256.

    Args:
        secret: its bytes.
    """

    kind = "hmac-sha256"
    size = 32

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def hash(self) -> Hash:
        return hmac.new(self._secret, digestmod=hashlib.sha256)

    def sign(self, hashed: Hash) -> bytes:
        return hashed.digest()

    def fits(self, code: bytes, hashed: Hash) -> bool:
        return hmac.compare_digest(code, hashed.digest())


class Ed25519Key(Key):
    """A key of a pair. What is signed is `context` and the SHA-512 of the stream, since Ed25519 takes a message in one piece.

    Args:
        public: the public key, of the package `cryptography`.
        private: the private key, if it is known.
    """

    kind = "ed25519"
    size = 64
    context = b"veles-run snapshot, format %d: SHA-512 of header and pickle\n" % FORMAT

    def __init__(self, public: Any, private: Any = None) -> None:
        self._public = public
        self._private = private
        self.signs = private is not None

    def hash(self) -> Hash:
        return hashlib.sha512()

    def sign(self, hashed: Hash) -> bytes:
        code: bytes = self._private.sign(self.context + hashed.digest())
        return code

    def fits(self, code: bytes, hashed: Hash) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(code, self.context + hashed.digest())
        except InvalidSignature:
            return False
        return True


KINDS = (SecretKey, Ed25519Key)


def read_key(source: str, *, signing: bool = False) -> Key:
    """Reads a key.

    Args:
        source: the path of a file, or `env:NAME`; line ends after a secret do not count.
        signing: whether it has to sign; a public key will do to check.

    Raises:
        ConfigError: there is no such file or variable, others can read it, or it is no key for this.
    """
    kind, _, name = source.partition(":")
    data, mode = (_variable(name), 0o600) if kind == "env" else _file(source)
    key = _pem(data, source) if b"-----BEGIN" in data else _secret(data, source)
    if key.signs and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"the key {source!r} can be used by others (mode {mode:04o}): chmod 600 {shlex.quote(source)}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"the key {source!r} can be replaced by others (mode {mode:04o}): chmod go-w {shlex.quote(source)}")
    if signing and not key.signs:
        raise ConfigError(f"the key {source!r} is a public one, which signs nothing: name its private key")
    return key


def _variable(name: str) -> bytes:
    try:
        return os.environb[os.fsencode(name)]
    except (KeyError, ValueError) as error:
        raise ConfigError(f"there is no key: the environment has no variable {name!r}") from error


def _file(path: str) -> tuple[bytes, int]:
    """Returns content and permissions of a file."""
    try:
        # O_NONBLOCK: a pipe is not waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LIMIT + 1) if stat.S_ISREG(mode) else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"the key {path!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if data is None:
        raise ConfigError(f"the key {path!r} cannot be read: it is not a regular file")
    if len(data) > _LIMIT:
        raise ConfigError(f"the key {path!r} cannot be used: it has more than {_LIMIT} bytes")
    return data, stat.S_IMODE(mode)


def _secret(data: bytes, source: str) -> SecretKey:
    secret = data.rstrip(b"\r\n")
    if not secret:
        raise ConfigError(f"the key in {source!r} is empty; {_NEW_SECRET}")
    if secret.startswith((b"ssh-", b"ecdsa-")):
        raise ConfigError(f"{source!r} holds a key of OpenSSH, which does not sign snapshots; {_NEW_PAIR}")
    if (bits := _bits(secret)) < KEY_BITS:
        raise ConfigError(
            f"the key in {source!r} is too easy to guess: it holds at most {bits} bits of chance, and {KEY_BITS} are needed;"
            f" {_NEW_SECRET}"
        )
    return SecretKey(secret)


def _bits(secret: bytes) -> int:
    """Returns how many bits of chance a secret can hold: its length times those of a character, without what repeats."""
    # A pattern is one that stands there twice at least: the last character of a good key may be its first by chance.
    patterns = (size for size in range(1, min(len(secret) // 2, KEY_BITS) + 1) if secret[size:] == secret[:-size])
    characters = set(secret)
    alphabets = [len(known) for known in _ALPHABETS if characters <= known] or [256]
    alphabet = len(characters) if len(characters) < _FEW else alphabets[0]
    return int(next(patterns, len(secret)) * math.log2(alphabet))


def _pem(data: bytes, source: str) -> Ed25519Key:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    except ImportError as error:
        raise ConfigError(
            f"the key {source!r} is one of Ed25519, for which the package cryptography is missing:"
            " pip install 'veles-runner[sign]'"
        ) from error
    key: object
    try:
        if b"PRIVATE KEY-----" in data:
            key = serialization.load_pem_private_key(data, password=None)
        else:
            key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # What it says may be long, and is about the encoding; one that needs a password is a TypeError.
        reason = "it needs a password" if isinstance(error, TypeError) else "it cannot be read"
        raise ConfigError(f"the key {source!r} is no Ed25519 key in PEM: {reason}; {_NEW_PAIR}") from error
    if isinstance(key, Ed25519PrivateKey):
        return Ed25519Key(key.public_key(), key)
    if isinstance(key, Ed25519PublicKey):
        return Ed25519Key(key)
    raise ConfigError(f"the key {source!r} is no Ed25519 key in PEM: it is one of another kind; {_NEW_PAIR}")
