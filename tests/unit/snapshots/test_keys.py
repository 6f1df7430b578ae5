"""Keys: what can be one, who may read its file, and what it signs."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from runner.errors import ConfigError
from runner.snapshots.format.signing_keys import Ed25519Key, Key, SecretKey, read_key


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., str]:
    """Puts a key into a file, and returns its path."""

    def put(data: bytes, mode: int = 0o600) -> str:
        path = tmp_path / "a key"
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    return put


def pem(private: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> tuple[bytes, bytes]:
    """Returns a pair of keys in PEM: private, public."""
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return (
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden),
        private.public_key().public_bytes(serialization.Encoding.PEM, public),
    )


PRIVATE, PUBLIC = pem(ed25519.Ed25519PrivateKey.generate())


def signed(key: Key, data: bytes) -> bytes:
    hashed = key.hash()
    hashed.update(data)
    return key.sign(hashed)


def fits(key: Key, code: bytes, data: bytes) -> bool:
    hashed = key.hash()
    hashed.update(data)
    return key.fits(code, hashed)


@pytest.mark.parametrize(
    "secret",
    [
        secrets.token_bytes(16).replace(b"\n", b"x").replace(b"\r", b"x"),
        secrets.token_hex(16).encode(),
        secrets.token_hex(16).upper().encode(),
        secrets.token_urlsafe(16).encode(),
        b"".join(b"%d" % secrets.randbelow(10) for _ in range(40)),
        b"a sentence of some length will do",
        bytes(range(32)),
        secrets.token_bytes(1000) + b"x",
        b"0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    ],
    ids=range(9),
)
def test_secrets_of_128_bits(secret: bytes, put: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (secret, secret + b"\n", secret + b"\r\n"):
        assert signed(read_key(put(data), signing=True), b"x") == signed(SecretKey(secret), b"x")
    if b"\0" not in secret:
        monkeypatch.setitem(os.environb, b"VELES_KEY", secret)
        assert signed(read_key("env:VELES_KEY"), b"x") == signed(SecretKey(secret), b"x")


@pytest.mark.parametrize(
    "secret",
    [
        b"",
        b"\r\n\n",
        b"0123456789abcde",
        b" " * 32,
        b"\0" * 64,
        b"a" * 4096,
        b"ab" * 100,
        b"password" * 8,
        b"passwordpasswordpassw",
        b"0123456789" * 10,
        b"0123456789abcdef",
        b"0123456789abcdef" * 4,
        b"a" * 31 + b"b",
        secrets.token_hex(8).encode(),
        secrets.token_bytes(15),
        secrets.token_bytes(8).replace(b"\n", b"x") * 4,
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@here",
        secrets.token_bytes(1 << 17),
    ],
    ids=range(18),
)
def test_what_is_no_secret(secret: bytes, put: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="a key") as info:
        read_key(put(secret + b"\n"))
    assert "\n" not in str(info.value)
    if shown := secret.strip().decode(errors="replace"):
        assert shown not in str(info.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602, 0o610, 0o666])
def test_a_secret_that_others_can_use_is_refused(mode: int, put: Callable[..., str]) -> None:
    for data in (secrets.token_bytes(32), PRIVATE):
        path = put(data, mode)
        with pytest.raises(ConfigError, match=f"chmod 600 '{path}'"):
            read_key(path)
        Path(path).chmod(0o400)
        read_key(path)


def test_a_public_key_may_be_read_by_all_and_replaced_by_none(put: Callable[..., str]) -> None:
    assert not read_key(put(PUBLIC, 0o644)).signs
    for mode in (0o664, 0o646):
        with pytest.raises(ConfigError, match=r"chmod go-w '.*a key'"):
            read_key(put(PUBLIC, mode))


def other(path: Path, kind: str) -> None:
    """Makes something that is not a file."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_suffix(".pipe"))
        path.symlink_to(path.with_suffix(".pipe"))
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to nothing":
        path.symlink_to("gone")


KINDS = ("folder", "pipe", "socket", "loop", "link to a pipe", "link to a device", "link to nothing", "missing")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    other(tmp_path / "key", kind)
    with pytest.raises(ConfigError, match="key' cannot be read: ") as info:
        read_key(str(tmp_path / "key"))
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("source", ["", "\0", "env:", "env:NO_SUCH_KEY", "env:A=B", "env:\0", "x" * 5000])
def test_sources_that_lead_nowhere(source: str) -> None:
    with pytest.raises(ConfigError, match="key"):
        read_key(source)


def test_a_link_to_a_key_is_judged_by_what_it_leads_to(put: Callable[..., str], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(put(secrets.token_bytes(32)))
    read_key(str(link))
    link.resolve().chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key(str(link))


def test_a_pair_signs_with_one_key_and_checks_with_both(put: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = read_key(put(PRIVATE), signing=True), read_key(put(b"whose it is\n" + PUBLIC))
    code = signed(private, b"data")
    assert len(code) == private.size == 64
    for key in (private, public):
        assert fits(key, code, b"data")
        assert not fits(key, code, b"date")
        assert not fits(key, bytes(64), b"data")
    assert not fits(Ed25519Key(ed25519.Ed25519PrivateKey.generate().public_key()), code, b"data")
    with pytest.raises(ConfigError, match="public key"):
        read_key(put(PUBLIC), signing=True)
    monkeypatch.setitem(os.environb, b"VELES_KEY", PRIVATE)
    assert fits(public, signed(read_key("env:VELES_KEY", signing=True), b"data"), b"data")


def test_what_is_signed_is_as_documented() -> None:
    """Somebody else's program can check a signature."""
    import hashlib

    private = ed25519.Ed25519PrivateKey.generate()
    message = b"veles-run snapshot, format 2: SHA-512 of header and pickle\n" + hashlib.sha512(b"data").digest()
    private.public_key().verify(signed(Ed25519Key(private.public_key(), private), b"data"), message)


@pytest.mark.parametrize(
    "data",
    [
        *pem(rsa.generate_private_key(65537, 2048)),
        pem(ed25519.Ed25519PrivateKey.generate(), b"password")[0],
        PRIVATE[:60],
        PUBLIC.replace(b"MC", b"XX"),
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        b"-----BEGIN" + secrets.token_bytes(32),
    ],
    ids=["RSA", "RSA public", "encrypted", "cut", "damaged", "certificate", "binary"],
)
def test_pem_of_another_kind_is_no_key(data: bytes, put: Callable[..., str]) -> None:
    """Least of all is it a secret: a public key is known to everybody."""
    with pytest.raises(ConfigError, match="is not an Ed25519 key in PEM") as info:
        read_key(put(data))
    assert "\n" not in str(info.value)


def test_the_commands_of_the_manual_make_keys(tmp_path: Path) -> None:
    manual = Path("docs/security.md").read_text()
    commands = [line.strip() for line in manual.splitlines() if line.strip().startswith(("head -c 32", "openssl "))]
    assert len(commands) == 3
    for command in commands:
        subprocess.run(command, shell=True, check=True, env=os.environ | {"HOME": str(tmp_path)})
    secret, private, public = (read_key(str(tmp_path / name)) for name in (".veles-key", "veles.pem", "veles.pub"))
    assert (secret.signs, private.signs, public.signs) == (True, True, False)
    assert fits(public, signed(private, b"data"), b"data")


def test_without_cryptography_the_error_names_it(put: Callable[..., str]) -> None:
    """A secret needs no package; PEM does."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from runner.snapshots.format.signing_keys import read_key\n"
        "try: read_key(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "else: print('read')"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", code, put(data)], capture_output=True, text=True, check=True).stdout
        for data in (PRIVATE, secrets.token_bytes(32))
    ]
    assert outputs[0].startswith("ConfigError")
    assert "pip install 'veles-runner[sign]'" in outputs[0]
    assert outputs[1] == "read\n"
