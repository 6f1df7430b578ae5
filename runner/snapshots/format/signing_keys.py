"""Keys that sign snapshots and check signatures.

There are two kinds. A secret of at least 128 bits signs and checks with HMAC-SHA256: whoever can check can also sign. A pair of
Ed25519 keys signs with the private key and checks with the public key, which everybody may know.

The content decides which kind a key is: PEM is never taken for a secret. Otherwise a public key could serve as a secret, and
everybody who knows it could sign.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import stat
import string
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

from runner import shell
from runner.errors import ConfigError
from runner.snapshots.format.header import FORMAT

KEY_BITS = 128
"""Minimum entropy of a secret, in bits."""
_LIMIT = 1 << 16
"""Maximum size of a key, in bytes."""
_FEW = 6
"""A secret with fewer distinct characters than this is assumed to use an alphabet of only those."""
_ALPHABETS = [
    set(characters.encode())
    for characters in (
        *(string.digits, "0123456789abcdef", "0123456789ABCDEF", string.ascii_lowercase, string.ascii_uppercase),
        *(string.ascii_letters + string.digits + "+/=-_", string.printable),
    )
]
"""The alphabets that secrets are written in, smallest first."""
_NEW_SECRET = "make one with: head -c 32 /dev/urandom | base64"
_NEW_PAIR = (
    "make a pair with: openssl genpkey -algorithm ed25519 -out FILE.pem; openssl pkey -in FILE.pem -pubout -out FILE.pub"
)


class Hash(Protocol):
    """A running hash of the signed bytes."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Adds the next bytes."""

    def digest(self) -> bytes:
        """Returns the hash of the bytes so far."""


class Key(ABC):
    """A key that signs, checks signatures, or both.

    Attributes:
        kind: the name of the algorithm, as signatures give it.
        size: bytes of the code that it makes.
        signs: whether it can sign.
    """

    kind: ClassVar[str]
    size: ClassVar[int]
    signs: bool = True

    @abstractmethod
    def hash(self) -> Hash:
        """Returns a new hash for the bytes to sign."""

    @abstractmethod
    def sign(self, hashed: Hash) -> bytes:
        """Returns the code for the hashed bytes."""

    @abstractmethod
    def fits(self, code: bytes, hashed: Hash) -> bool:
        """Whether this key, or its private key, made the code for the hashed bytes."""


class SecretKey(Key):
    """A secret for HMAC-SHA256."""

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
    """An Ed25519 key pair, or its public key alone.

    It signs `context` followed by the SHA-512 of the stream, since Ed25519 takes a message in one piece.

    Args:
        public: the public key, an object of the package `cryptography`.
        private: the private key, if known.
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
        source: the path of a file, or `env:NAME`. Line breaks after a secret are ignored.
        signing: whether the key must be able to sign; a public key can only check.

    Raises:
        ConfigError: the file or variable does not exist, other users can access it, or the key is unsuitable.
    """
    kind, _, name = source.partition(":")
    data, mode = (_variable(name), 0o600) if kind == "env" else _file(source)
    key = _pem(data, source) if b"-----BEGIN" in data else _secret(data, source)
    if key.signs and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"the key {source!r} can be used by others (mode {mode:04o}): chmod 600 {shell.quote(source)}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"the key {source!r} can be replaced by others (mode {mode:04o}): chmod go-w {shell.quote(source)}")
    if signing and not key.signs:
        raise ConfigError(f"the key {source!r} is a public key, which cannot sign: name its private key")
    return key


def _variable(name: str) -> bytes:
    try:
        return os.environb[os.fsencode(name)]
    except (KeyError, ValueError) as error:
        raise ConfigError(f"there is no key: the environment has no variable {name!r}") from error


def _file(path: str) -> tuple[bytes, int]:
    """Returns the content and permissions of a file."""
    if not path:
        raise ConfigError("the key has no name: give the path of a file, env:NAME, or null for none")
    try:
        # O_NONBLOCK: do not wait for a writer if it is a pipe.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
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
        raise ConfigError(f"{source!r} holds an OpenSSH key, which cannot sign snapshots; {_NEW_PAIR}")
    if (bits := _bits(secret)) < KEY_BITS:
        raise ConfigError(
            f"the key in {source!r} is too easy to guess: it has at most {bits} bits of entropy, and {KEY_BITS} are needed;"
            f" {_NEW_SECRET}"
        )
    return SecretKey(secret)


def _bits(secret: bytes) -> int:
    """Returns an upper bound for a secret's entropy in bits: its length, without repetitions, times the bits of a character."""
    # A pattern must occur at least twice: in a good key, the last character may equal the first by chance.
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
            f"the key {source!r} is in PEM, and Ed25519 keys need the package cryptography, which is missing:"
            " pip install 'veles-runner[sign]'"
        ) from error
    key: object
    try:
        if b"PRIVATE KEY-----" in data:
            key = serialization.load_pem_private_key(data, password=None)
        else:
            key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The library's message may be long, and is about the encoding. A missing password is a TypeError.
        reason = "it needs a password" if isinstance(error, TypeError) else "it cannot be read"
        raise ConfigError(f"the key {source!r} is not an Ed25519 key in PEM: {reason}; {_NEW_PAIR}") from error
    if isinstance(key, Ed25519PrivateKey):
        return Ed25519Key(key.public_key(), key)
    if isinstance(key, Ed25519PublicKey):
        return Ed25519Key(key)
    raise ConfigError(f"the key {source!r} is not an Ed25519 key in PEM, but one of another kind; {_NEW_PAIR}")
