"""The three modes of trust, and signatures; there is no way from one mode to another."""

import io
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from runner.errors import ConfigError, SnapshotRefusedError
from runner.graph import Workflow
from runner.snapshots import codecs
from runner.snapshots.capture.taking import Request
from runner.snapshots.capture.writer import Writer
from runner.snapshots.format.header import FORMAT, Header
from runner.snapshots.format.seal import Signer, is_signature
from runner.snapshots.format.signing_keys import Ed25519Key, Key, SecretKey
from runner.snapshots.restoring.restore import restore
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.file import FileStore
from tests.conftest import Run
from tests.hostile.assemble import call, text, whole
from tests.own import Doubler
from tests.unit.snapshots.test_hostile import write_snapshot

SECRET = b"Zm9yIHRoZSB0ZXN0cyBvZiBzaWduYXR1cmVz"
KEY = SecretKey(SECRET)
PRIVATE = Ed25519PrivateKey.generate()
PAIR = Ed25519Key(PRIVATE.public_key(), PRIVATE)
KEYS = {"secret": KEY, "pair": PAIR}
BASE = ("conf=mnist_small", "decision.max_epochs=1", "loader.train_size=600", "loader.validation_size=60", "seed=1")
MORE = "decision.max_epochs=2"


class Foreign:
    """What only Python's own unpickler makes."""

    def __reduce__(self) -> Any:
        return eval, ("'made by eval'",)


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """A private key and its public one."""
    private, public = tmp_path / "veles.pem", tmp_path / "veles.pub"
    private.write_bytes(PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(private), str(public)


def snapshot(folder: Path, *, key: Key | None = None, codec: str = "gz", foreign: bool = False) -> str:
    """Writes a snapshot of a small workflow."""
    flow = Workflow(name="flow")
    unit = Doubler(flow, "unit").link_from(flow.start_point)
    unit.value = Foreign() if foreign else bytes(9 << 20)
    flow.end_point.link_from(unit)
    header = Header(name="x", prefix="x", workflow="flow", workflow_class="x:X", run_id="x", log_id="x", codec=codec)
    row = codecs.find(codec)
    writer = Writer(None, 0)
    store = FileStore(folder)
    written = writer.submit(flow, Request(header, row, row.default_level, key, store, lambda written: None, "warn"))
    writer.wait()
    return written.location


def signature(body: bytes, key: Key = KEY) -> bytes:
    """Returns the signature of a stream."""
    signer = Signer(key)
    signer.update(body)
    return signer.signature()


def test_signed(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location = snapshot(tmp_path, key=KEY, foreign=True)
    assert restore(location, trust="signed", key=key).workflow["unit"].value == "made by eval"
    monkeypatch.setenv("THE_KEY", SECRET.decode())
    assert restore(location, trust="signed", key="env:THE_KEY").workflow["unit"].value == "made by eval"


@pytest.mark.parametrize("codec", ["none", "gz", "bz2", "xz", "snappy", "zst"])
def test_signed_snapshots_of_each_codec_load_in_each_mode(tmp_path: Path, key: str, pair: tuple[str, str], codec: str) -> None:
    for kind, sources in (("secret", [key]), ("pair", list(pair))):
        _check_modes(snapshot(tmp_path, key=KEYS[kind], codec=codec), sources)


def _check_modes(location: str, keys: list[str]) -> None:
    for policy in ({}, *({"trust": "signed", "key": source} for source in keys), {"trust": "full"}):
        settings: Any = policy or {"trusted": ["tests"]}
        assert restore(location, **settings).workflow["unit"].value == bytes(9 << 20)


@pytest.mark.parametrize("kind", KEYS)
def test_pickle_passes_over_the_signature(kind: str, tmp_path: Path) -> None:
    location = snapshot(tmp_path, key=KEYS[kind], codec="none")
    with open(location, "rb") as file:
        assert pickle.load(file).name == "flow"


def test_what_is_not_signed_is_refused(tmp_path: Path, key: str, pair: tuple[str, str]) -> None:
    location = snapshot(tmp_path, foreign=True)
    with pytest.raises(SnapshotRefusedError, match="it is not signed"):
        restore(location, trust="signed", key=pair[1])
    with pytest.raises(SnapshotRefusedError, match=r"it is not signed, and restore\.trust=signed asks for a signature"):
        restore(location, trust="signed", key=key)
    with pytest.raises(SnapshotRefusedError, match="it is not signed"):
        restore(write_snapshot(tmp_path / "y.5.pickle", b""), trust="signed", key=key)


def test_another_key_is_refused(tmp_path: Path, key: str) -> None:
    location = snapshot(tmp_path, key=SecretKey(b"another key of 16 bytes"), foreign=True)
    with pytest.raises(SnapshotRefusedError, match=r"its signature is not by the key that restore\.key names"):
        restore(location, trust="signed", key=key)


def test_another_pair_is_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    other = Ed25519PrivateKey.generate()
    location = snapshot(tmp_path, key=Ed25519Key(other.public_key(), other), foreign=True)
    for key in pair:
        with pytest.raises(SnapshotRefusedError, match=r"its signature is not by the key that restore\.key names"):
            restore(location, trust="signed", key=key)


def test_another_kind_of_key_is_refused(tmp_path: Path, key: str, pair: tuple[str, str]) -> None:
    for signed_by, sources, kinds in ((KEY, pair, ("hmac-sha256", "ed25519")), (PAIR, [key], ("ed25519", "hmac-sha256"))):
        location = snapshot(tmp_path, key=signed_by, foreign=True)
        for source in sources:
            with pytest.raises(SnapshotRefusedError, match=f"signed with a key for {kinds[0]}, and .* one for {kinds[1]}"):
                restore(location, trust="signed", key=source)


def test_a_public_key_is_no_secret(tmp_path: Path, pair: tuple[str, str]) -> None:
    """Whoever knows the public key cannot sign with its bytes."""
    forged = snapshot(tmp_path, key=SecretKey(Path(pair[1]).read_bytes().rstrip()), foreign=True)
    with pytest.raises(SnapshotRefusedError, match="signed with a key for hmac-sha256"):
        restore(forged, trust="signed", key=pair[1])


@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_is_for_one_stream(kind: str, tmp_path: Path, key: str, pair: tuple[str, str]) -> None:
    """A right signature behind another pickle, with a right trailer, is refused before anything of it is loaded."""
    marker = tmp_path / "marker"
    path = write_snapshot(
        tmp_path / "x.5.pickle", whole(call("os:mkdir", text(str(marker)))) + signature(b"something else", KEYS[kind])
    )
    with pytest.raises(SnapshotRefusedError, match="changed after signing"):
        restore(path, trust="signed", key={"secret": key, "pair": pair[1]}[kind])
    assert not marker.exists()


@pytest.mark.parametrize("key_given", [False, True])
def test_restricted_does_not_fall_back(tmp_path: Path, key_given: bool) -> None:
    location = snapshot(tmp_path, key=KEY if key_given else None, foreign=True)
    with pytest.raises(SnapshotRefusedError, match=r"it names 'builtins\.eval'"):
        restore(location, trusted=["tests.own"])


def test_full_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    location = snapshot(tmp_path, foreign=True)
    with caplog.at_level(logging.WARNING):
        assert restore(location, trust="full").workflow["unit"].value == "made by eval"
    assert "restore.trust=full: the snapshot is loaded without any check" in caplog.text


def test_what_follows_the_pickle_is_refused(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path / "x.5.pickle", whole(b"N") + b"more")
    with pytest.raises(SnapshotRefusedError, match="it goes on after the end of its pickle"):
        restore(path)


@pytest.mark.parametrize(("key", "kind", "size"), [(KEY, "hmac-sha256", 32), (PAIR, "ed25519", 64)])
def test_the_form_of_a_signature(key: Key, kind: str, size: int) -> None:
    made = signature(b"", key)
    assert is_signature(made)
    assert not is_signature(made + b".")
    assert not is_signature(b"x" + made[1:])
    name, version, algorithm, code = pickle.load(io.BytesIO(made))
    assert (name, version, algorithm, len(code)) == ("veles-run", FORMAT, kind, size)


def test_bad_policies(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mostly' is unknown; known: full, restricted, signed"):
        Policy("mostly")
    with pytest.raises(ConfigError, match=r"restore\.trust=signed needs restore\.key"):
        Policy("signed")
    with pytest.raises(ConfigError, match=r"restore\.key is for restore\.trust=signed: restore\.trust=restricted looks at no"):
        Policy(key="env:THE_KEY")
    with pytest.raises(ConfigError, match="'subprocess', which is not a module of yours"):
        Policy(trusted=["subprocess"])
    with pytest.raises(ConfigError, match="cannot be read"):
        Policy("signed", key=str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"restore\.code=snapshot"):
        Policy(kept_code=True)


@pytest.mark.parametrize("kind", KEYS)
def test_runs_sign_and_check(kind: str, veles_run: Run, tmp_path: Path, key: str, pair: tuple[str, str]) -> None:
    """The whole way: a run signs its snapshots, and goes on from a signed one."""
    signing, checking = {"secret": (key, key), "pair": pair}[kind]
    veles_run(*BASE, f"snapshotter.key={signing}", "snapshotter.directory=signed")
    (signed,) = (path for path in (tmp_path / "signed").iterdir() if not path.is_symlink())
    again = () if signing == checking else (f"snapshotter.key={signing}",)
    done = veles_run(f"snapshot={signed}", MORE, "restore.trust=signed", f"restore.key={checking}", *again)
    assert "Extend: veles-run snapshot=" in done.stdout
    assert f"restore.trust=signed restore.key={checking}" in done.stdout


def test_what_is_not_signed_is_refused_or_trusted_in_full(veles_run: Run, tmp_path: Path, key: str) -> None:
    veles_run(*BASE, "snapshotter.directory=plain")
    (plain,) = (path for path in (tmp_path / "plain").iterdir() if not path.is_symlink())
    mode, more = ("restore.trust=signed", f"restore.key={key}"), MORE
    assert "it is not signed" in (refused := veles_run(f"snapshot={plain}", more, *mode, code=2)).stdout + refused.stderr
    assert (
        "restore.trust=full: the snapshot is loaded"
        in (full := veles_run(f"snapshot={plain}", more, "restore.trust=full")).stdout + full.stderr
    )
    assert "needs restore.key" in (bad := veles_run(f"snapshot={plain}", "restore.trust=signed", code=2)).stdout + bad.stderr


def test_a_snapshot_has_no_say_in_trust(veles_run: Run, tmp_path: Path, key: str) -> None:
    """A run that was restored in full trust hands that on to nobody: the next restore is restricted again."""
    base = ("conf=mnist_small", "loader.train_size=600", "loader.validation_size=60", "seed=1")
    veles_run(*base, "decision.max_epochs=1", "snapshotter.directory=first")
    (first,) = (path for path in (tmp_path / "first").iterdir() if not path.is_symlink())
    veles_run(f"snapshot={first}", "restore.trust=full", "decision.max_epochs=2", "snapshotter.directory=second")
    (second,) = (path for path in (tmp_path / "second").iterdir() if not path.is_symlink())
    done = veles_run(f"snapshot={second}", "decision.max_epochs=3")
    assert "restore.trust=full" not in done.stdout + done.stderr


@pytest.mark.parametrize("new", ["os.system", "runner.graph.Workflow", "nothing", "a b.C"])
def test_classes_are_renamed_to_those_of_modules_of_ones_own(new: str) -> None:
    with pytest.raises(ConfigError, match=r"^restore\.renamed has .*, which is not "):
        Policy(renamed={"old.Name": new})
