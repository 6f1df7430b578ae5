"""What protects a snapshot: its trailer finds every truncation and every flipped bit, in every codec."""

import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import SnapshotDamagedError, SnapshotMismatchError
from runner.snapshots import codecs
from runner.snapshots.codecs import CODECS
from runner.snapshots.format.header import FORMAT, Header
from runner.snapshots.format.layout import (
    HEADER_END,
    HEADER_LIMIT,
    HEADER_START,
    TRAILER_SIZE,
    Digest,
    header_bytes,
    header_size,
    parse_header,
)
from runner.snapshots.format.reader import read_header, read_verified
from runner.snapshots.stores.file import FileStore
from tests.unit.snapshots.stores.test_file import header, put
from tests.workflows import holding

BLOCK = 1000


def blocks(data: bytes) -> Iterator[bytes]:
    return (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))


def content(data: bytes) -> bytes:
    """Returns header and pickle of an encoded snapshot, verified."""
    of, file = read_verified(blocks(data))
    return header_bytes(of) + file.read()


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small snapshot in each codec."""
    made = {}
    for name in CODECS:
        folder = tmp_path_factory.mktemp(name)
        workflow, *_ = holding(random.Random(1).randbytes(500) + bytes(500), folder, compression=name)
        workflow.run()
        (path,) = folder.glob("holding_run_1*")
        made[name] = path.read_bytes()
    return made


each_codec = pytest.mark.parametrize("codec", CODECS)


@each_codec
def test_every_truncation_is_found(codec: str, snapshots: dict[str, bytes]) -> None:
    data = snapshots[codec]
    for size in {*range(64), *range(0, len(data), 29), *range(len(data) - 64, len(data))}:
        with pytest.raises(SnapshotDamagedError):
            content(data[:size])


@each_codec
def test_no_flipped_bit_changes_what_is_read(codec: str, snapshots: dict[str, bytes], rng: random.Random) -> None:
    data = snapshots[codec]
    sound = content(data)
    ends = [*range(8 * 12), *range(8 * (len(data) - 12), 8 * len(data))]
    read = 0
    for bit in [*ends, *rng.sample(range(8 * len(data)), 200)]:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            # Some bits of a codec's own header, such as gzip's time of modification, mean nothing.
            assert content(bytes(changed)) == sound
            read += 1
        except (SnapshotDamagedError, SnapshotMismatchError):
            continue
    assert read < 100
    if codec == "none":
        assert read == 0


@each_codec
def test_junk_behind_the_end_is_found(codec: str, snapshots: dict[str, bytes]) -> None:
    row = CODECS[codec]
    for junk in (b"\0\n", b"\n", b"junk" * 100, bytes(row.encode(b"x", row.default_level)), snapshots[codec]):
        with pytest.raises(SnapshotDamagedError):
            content(snapshots[codec] + junk)


@each_codec
def test_a_member_that_is_missing_or_in_another_place_is_found(codec: str, snapshots: dict[str, bytes]) -> None:
    row = CODECS[codec]
    plain = b"".join(codecs.decode(row, [snapshots[codec]]))
    parts = [bytes(row.encode(plain[at : at + 700], row.default_level)) for at in range(0, len(plain), 700)]
    assert content(b"".join(parts)) == content(snapshots[codec])
    for wrong in (parts[:-1], [*parts[:1], *parts[2:]], [parts[0], *parts[:0:-1]], [*parts[:1], *parts]):
        with pytest.raises(SnapshotDamagedError):
            content(b"".join(wrong))


@each_codec
def test_a_header_is_read_from_the_beginning_alone(codec: str, snapshots: dict[str, bytes]) -> None:
    assert read_header(blocks(snapshots[codec])).codec == codec
    assert read_header(bytes([byte]) for byte in snapshots["none"]).workflow == "holding"
    with pytest.raises(SnapshotDamagedError):
        read_header(blocks(snapshots[codec][:30]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"hello", "it is not a snapshot of veles-run: it begins with b'hello'"),
        (pickle.dumps([1, 2, 3]), "it is not a snapshot of veles-run: it does not begin with a header"),
        (b"\x80\x05X\xff\xff\xff\xff" + b"x" * 100, f"its header claims 4294967295 bytes, more than the {HEADER_LIMIT}"),
        (header_bytes(header())[:-5], "it is truncated: it ends within its header"),
        (b"\x80\x05X\x02\0\0\0\xff\xff0", "its header cannot be read"),
        *(
            (b"\x80\x05X" + len(text).to_bytes(4, "little") + text + b"0", "its header")
            for text in (b"[]", b"{}", b"3", b"", b'{"format":"x"}', b'{"format":2}', b'{"format":Infinity}', b"[" * 5000)
        ),
    ],
)
def test_what_is_no_snapshot_is_said(data: bytes, message: str) -> None:
    with pytest.raises(SnapshotDamagedError, match=message):
        read_header([data] if data else [])


@pytest.mark.parametrize(
    "values",
    [
        {"time": 5},
        {"time": "yesterday"},
        {"time": ""},
        {"name": None},
        {"prefix": ["x"]},
        {"log_id": {}},
        {"uuid": 1},
        {"epoch": "1"},
        {"epoch": 1.5},
        {"score": "low"},
        {"metrics": []},
        {"overrides": "x"},
        {"overrides": ["a=b", 1.5]},
        {"identity_without": [[]]},
        {"versions": {"torch": None}},
        {"previous": 3},
        {"format": 0.5},
    ],
)
def test_a_header_whose_values_are_of_the_wrong_kind_is_passed_over(values: dict[str, object], tmp_path: Path) -> None:
    """They would be compared and used as what they are not, with no error that says which file it is."""
    store = FileStore(tmp_path)
    put(store, "mnist_a")
    text = json.dumps(json.loads(header("mnist_b").to_json()) | values).encode()
    (tmp_path / "mnist_b.5.pickle").write_bytes(HEADER_START + len(text).to_bytes(4, "little") + text + HEADER_END)
    told: list[str] = []
    assert [entry.header.name for entry in store.list(lambda location, error: told.append(str(error)))] == ["mnist_a"]
    (message,) = told
    assert message.startswith("its header ")


def test_a_number_without_a_point_is_one() -> None:
    assert Header.from_json(json.dumps(json.loads(header().to_json()) | {"score": 2})).score == 2


def test_headers_come_back() -> None:
    of = header(metrics={"validation": 1.48}, overrides=["a=1"], conf="mnist", config={"layers": {"ü": None}})
    data = header_bytes(of)
    assert header_size(data[:8]) == len(data)
    assert parse_header(data) == of
    assert pickle.loads(data + pickle.dumps("behind")) == "behind"


ODD = (
    *(None, True, 3, -1, 2**70, 0.5, 1e300, "", "x", "2026-11-10T10:00:00", [], [1], ["a"], {}, {"a": 1}, {"a": "b"}),
    {"a": float("nan"), "b": [float("inf"), 10**400], "c": {"d": "e"}},
    float("nan"),
    -float("inf"),
    10**400,
    "\ud800",
)


@pytest.mark.parametrize("name", vars(header()))
def test_a_header_that_has_every_field_is_read_as_one_of_an_earlier_version(name: str) -> None:
    """One that lacks a field is read in another way, which takes longer."""

    def read(values: dict[str, object]) -> object:
        try:
            return Header.from_json(json.dumps(values))
        except (SnapshotDamagedError, SnapshotMismatchError) as error:
            return f"{type(error).__name__}: {error}"

    lacking = "conf" if name == "kept_code" else "kept_code"
    for value in ODD:
        whole = json.loads(header(metrics={"a": 0.5}, kept_code=None, conf=None).to_json()) | {name: value}
        assert read(whole) == read({key: item for key, item in whole.items() if key != lacking}), value


def test_fields_that_this_version_does_not_know_are_passed_over() -> None:
    text = json.loads(header().to_json()) | {"colour": "red"}
    assert Header.from_json(json.dumps(text)) == Header.from_json(json.dumps({k: v for k, v in text.items() if k != "colour"}))


def test_a_trailer_of_another_version_alone_is_damaged(snapshots: dict[str, bytes]) -> None:
    plain = snapshots["none"]
    trailer = plain[-TRAILER_SIZE:].replace(b"veles-runK" + bytes([FORMAT]), b"veles-runK" + bytes([FORMAT + 1]))
    with pytest.raises(SnapshotDamagedError, match="it is truncated: no trailer"):
        content(plain[:-TRAILER_SIZE] + trailer)


@pytest.mark.parametrize("place", ["header", "both"])
def test_a_newer_format_is_said_to_be_newer(place: str, snapshots: dict[str, bytes]) -> None:
    plain = snapshots["none"]
    newer = FORMAT + 1
    body, trailer = plain[:-TRAILER_SIZE], plain[-TRAILER_SIZE:]
    body = body.replace(b'"format":%d' % FORMAT, b'"format":%d' % newer)
    digest = Digest()
    digest.update(body)
    trailer = digest.trailer()
    if place != "header":
        trailer = trailer.replace(b"veles-runK" + bytes([FORMAT]), b"veles-runK" + bytes([newer])).replace(b"xxh3", b"xxh4")
    message = f"it has format version {newer}, and this veles-run reads up to {FORMAT}: upgrade veles-run"
    with pytest.raises(SnapshotMismatchError, match=message):
        content(body + trailer)


def test_the_trailer_is_a_pickle_of_plain_data_of_one_size(snapshots: dict[str, bytes]) -> None:
    plain = snapshots["none"]
    mark, version, name, digest, length = pickle.loads(plain[-TRAILER_SIZE:])
    assert (mark, version, length) == ("veles-run", FORMAT, len(plain) - TRAILER_SIZE)
    assert len(digest) == 16
    assert name
    empty = Digest()
    empty.update(bytes(1 << 20))
    assert len(empty.trailer()) == TRAILER_SIZE


@each_codec
def test_a_restore_reads_what_pickle_load_reads(codec: str, snapshots: dict[str, bytes], tmp_path: Path) -> None:
    row = CODECS[codec]
    plain = b"".join(codecs.decode(row, blocks(snapshots[codec])))
    assert pickle.loads(plain).name == "holding"
    assert plain[:-TRAILER_SIZE] == content(snapshots[codec])
