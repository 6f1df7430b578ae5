"""What decodes to too much is refused early, and a size that is a lie is not believed."""

import pickle
import re
import sqlite3
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from runner import memory
from runner.errors import SnapshotDamagedError, SnapshotRefusedError
from runner.snapshots.codecs import CODECS
from runner.snapshots.codecs import budget as limits
from runner.snapshots.codecs.budget import RATIO, SLACK, Budget
from runner.snapshots.format.layout import HEADER_LIMIT, HEADER_START, Digest, header_bytes
from runner.snapshots.format.reader import read_header, read_verified
from runner.snapshots.odbc import session
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring.restore import restore
from runner.snapshots.unpickling.allowed import Allowed, key_budget
from runner.snapshots.unpickling.unpickler import Unpickler
from tests.placing import placed
from tests.stress.damage import peak_memory
from tests.unit.snapshots.stores.test_file import header
from tests.workflows import stored

LIMIT = 64 << 20
"""Bytes that the machine is said to have."""
MEMBER = 16 << 20

EXPANDING = [name for name in CODECS if name != "none"]


def bomb(codec: str, folder: Path) -> Path:
    """Writes a file that begins as a snapshot does, and decodes to four times the limit."""
    row = CODECS[codec]
    zeros = bytes(row.encode(bytes(MEMBER), row.default_level))
    path = folder / f"bomb.5{row.extension}"
    path.write_bytes(bytes(row.encode(header_bytes(header()), row.default_level)) + zeros * (4 * LIMIT // MEMBER))
    return path


def restore_bombs(folder: str) -> None:
    """Restores a bomb of each codec, and prints the error and the memory that it took; what a process of its own does."""
    limits.available = lambda: LIMIT
    for path in [bomb(codec, Path(folder)) for codec in EXPANDING]:
        before = peak_memory()
        try:
            restore(path)
        except SnapshotRefusedError as error:
            print(peak_memory() - before, error)


def test_a_bomb_takes_no_more_memory_than_there_is(tmp_path: Path) -> None:
    script = f"from tests.unit.snapshots.test_limits import *\nrestore_bombs({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(EXPANDING)
    for line in lines:
        used, message = line.split(maxsplit=1)
        assert f"it decodes to more than the {LIMIT} bytes of memory that are free" in message
        assert int(used) < 2 * LIMIT  # members are decoded ahead in threads
    for codec in EXPANDING:
        assert read_header([(tmp_path / f"bomb.5{CODECS[codec].extension}").read_bytes()]).workflow == "mnist"


def test_what_expands_more_than_any_snapshot_is_refused_when_little_of_it_is_decoded(tmp_path: Path) -> None:
    row = CODECS["bz2"]
    data = bytes(row.encode(resigned(header_bytes(header()) + bytes(SLACK + (64 << 20))), 9))
    assert len(data) * RATIO < 64 << 20
    with pytest.raises(SnapshotRefusedError, match=r"more than a snapshot of \d+ bytes may .*restore\.max_bytes"):
        read_verified(iter([data]))
    read_verified(iter([data]), None, Budget(2 * SLACK))


def test_all_members_share_one_budget() -> None:
    budget = Budget(10 << 20)
    for _ in range(10):
        budget.spend(1 << 20, 1 << 20)
    with pytest.raises(SnapshotRefusedError, match=r"more than restore\.max_bytes=10485760 bytes"):
        budget.spend(1, 1)


def test_the_limit_is_the_memory_that_is_free() -> None:
    with pytest.raises(SnapshotRefusedError, match="bytes of memory that are free"):
        Budget().spend(memory.memory(), memory.memory())


def test_small_containers_cannot_take_all_memory() -> None:
    """Two bytes make an empty set of 216."""
    sets = b"\x8f\x94" * (1 << 19)
    frames = [b"\x95" + len(part).to_bytes(8, "little") + part for part in (b"(", *[sets] * 4, b"t.")]
    with pytest.raises(SnapshotRefusedError, match=r"its objects take more than restore\.max_bytes"):
        Unpickler(placed(b"\x80\x05" + b"".join(frames)), Allowed(), Budget(64 << 20)).load()


def test_the_memory_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("v2", "1048576\n"), ("none", "max\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CONTAINER", [str(tmp_path / name) for name in ("none", "v2", "missing")])
    assert memory.memory() == 1 << 20


@pytest.mark.parametrize("codec", EXPANDING)
def test_a_header_that_claims_much_is_not_waited_for(codec: str) -> None:
    row = CODECS[codec]
    for claimed, message in ((HEADER_LIMIT + 1, "its header claims"), (HEADER_LIMIT, "its header|-fold")):
        plain = HEADER_START + claimed.to_bytes(4, "little") + b" " * (2 * HEADER_LIMIT)
        with pytest.raises(SnapshotDamagedError, match=message):
            read_header([bytes(row.encode(plain, row.default_level))])


def resigned(body: bytes) -> bytes:
    """Returns a stream with the trailer that it should have."""
    digest = Digest()
    digest.update(body)
    return body + digest.trailer()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("change", [-10, -1, 1, 10, 5_000])
def test_a_header_that_lies_about_its_length(change: int, codec: str) -> None:
    good = header_bytes(header()) + bytes(2_000)
    size = int.from_bytes(good[3:7], "little") + change
    row = CODECS[codec]
    data = bytes(row.encode(resigned(good[:3] + size.to_bytes(4, "little") + good[7:]), row.default_level))
    with pytest.raises(SnapshotDamagedError, match=r"its header|ends within its header|begin with a header"):
        read_verified(iter([data]))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length", [0, 1, 2**32, 2**63, 2**72 - 1])
def test_a_trailer_that_lies_about_the_length(length: int, codec: str) -> None:
    plain = resigned(header_bytes(header()) + b"content")
    wrong = plain[:-11] + length.to_bytes(9, "little") + plain[-2:]
    assert len(wrong) == len(plain)
    row = CODECS[codec]
    with pytest.raises(SnapshotDamagedError, match="the digest of its content is not the one in its trailer"):
        read_verified(iter([bytes(row.encode(wrong, row.default_level))]))


def gz_size(data: bytes) -> bytes:
    return data[:-4] + (int.from_bytes(data[-4:], "little") + 1).to_bytes(4, "little")


def zst_size(data: bytes) -> bytes:
    size = zstandard.get_frame_parameters(data).content_size
    return data.replace(size.to_bytes(4, "little"), (size + 1).to_bytes(4, "little"), 1)


def zst_window(data: bytes) -> bytes:
    plain = zstandard.ZstdDecompressor().decompress(data)
    parameters = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    return (
        zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(plain) or data[:5] + b"\xa8" + data[6:]
    )


def xz_dictionary(data: bytes) -> bytes:
    """Asks for 4 GiB of memory to decode with."""
    size = 4 * (data[12] + 1)
    block = bytearray(data[12 : 12 + size - 4])
    at = block.index(b"\x21\x01") + 2
    block[at] = 40
    return data[:12] + bytes(block) + zlib.crc32(block).to_bytes(4, "little") + data[12 + size :]


def xz_index(data: bytes) -> bytes:
    """The index in which a stream says of its blocks how large they are."""
    return data[:-16] + bytes([data[-16] ^ 1]) + data[-15:]


@pytest.mark.parametrize(
    ("codec", "lie"), [("gz", gz_size), ("zst", zst_size), ("zst", zst_window), ("xz", xz_dictionary), ("xz", xz_index)]
)
def test_a_member_that_lies_about_its_size(codec: str, lie: Callable[[bytes], bytes]) -> None:
    row = CODECS[codec]
    data = bytes(row.encode(resigned(header_bytes(header()) + bytes(100_000)), row.default_level))
    wrong = lie(data)
    assert wrong != data
    with pytest.raises(SnapshotDamagedError, match=f"it is damaged: {codec} says|it is truncated within a member"):
        read_verified(iter([wrong]))


@pytest.fixture
def rows(tmp_path: Path, odbc_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, sqlite3.Connection]]:
    """A snapshot in several rows of a database, and the database by its back door."""
    monkeypatch.setattr(session, "ROW", 1_000)
    store = OdbcStore(f"DRIVER={{SQLite3}};Database={tmp_path / 'x.db'}")
    store.prepare()
    _, _, snapshotter = stored(bytes(range(256)) * 20, store, compression="none", blocking=True)
    snapshotter.export()
    database = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    yield snapshotter.last_location, database
    database.close()


MANIFEST = rb'\{"veles-run chunks":(\d+),"bytes":(\d+),"xxh3-128":"(\w+)"\}'


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (b'{"veles-run chunks":1,"bytes":%(bytes)d,"xxh3-128":"%(digest)s"}', "the digest of its rows is not the one"),
        (b'{"veles-run chunks":0,"bytes":0,"xxh3-128":"%(digest)s"}', "the digest of its rows is not the one"),
        (b'{"veles-run chunks":-5,"bytes":-5,"xxh3-128":"%(digest)s"}', "the digest of its rows is not the one"),
        (b'{"veles-run chunks":9999999999,"bytes":%(bytes)d,"xxh3-128":"%(digest)s"}', "it is incomplete: part"),
        (b'{"veles-run chunks":1e308,"bytes":%(bytes)d,"xxh3-128":"%(digest)s"}', "it is incomplete: part"),
        (b'{"veles-run chunks":Infinity,"xxh3-128":"%(digest)s"}', "the list of its rows cannot be read"),
        (b'{"veles-run chunks":NaN,"xxh3-128":"%(digest)s"}', "the list of its rows cannot be read"),
        (b'{"veles-run chunks":"many","xxh3-128":"%(digest)s"}', "the list of its rows cannot be read"),
        (b'{"veles-run chunks":' + b"[" * 100_000, "the list of its rows cannot be read"),
        (b'{"veles-run chunks":' + b"9" * 5_000 + b"}", "the list of its rows cannot be read"),
        (b'{"veles-run chunks":%(rows)d,"bytes":%(bytes)d}', "the list of its rows cannot be read"),
        (b'{"veles-run chunks":%(rows)d,"bytes":%(bytes)d,"xxh3-128":""}', "the digest of its rows is not the one"),
    ],
)
def test_a_manifest_that_lies(lie: bytes, message: str, rows: tuple[str, sqlite3.Connection]) -> None:
    location, database = rows
    count, size, digest = re.fullmatch(MANIFEST, database.execute("SELECT data FROM veles").fetchone()[0]).groups()
    assert int(count) > 3
    wrong = lie % {b"rows": int(count), b"bytes": int(size), b"digest": digest} if b"%(" in lie else lie
    database.execute("UPDATE veles SET data = ?", [wrong])
    with pytest.raises(SnapshotDamagedError, match=message):
        restore(location, trusted=["tests"])


def test_a_manifest_whose_number_of_bytes_is_a_lie_is_harmless(rows: tuple[str, sqlite3.Connection]) -> None:
    """Nothing relies on it: what is read ends with the rows, and the digest is over all of them."""
    location, database = rows
    data = database.execute("SELECT data FROM veles").fetchone()[0]
    database.execute("UPDATE veles SET data = ?", [re.sub(rb'"bytes":\d+', b'"bytes":1099511627776', data)])
    assert restore(location, trusted=["tests"]).workflow["holder"].value == bytes(range(256)) * 20


def meeting(bits: int) -> list[int]:
    """Returns integers of which the last pass by more than half of a dict's slots, and come to the same slot in the end."""
    size = 1 << bits
    orbit, slot = np.empty(size, np.int64), 0
    for position in range(size):  # the slots in the order in which they are tried once the upper bits of a hash are used up
        orbit[position], slot = slot, (5 * slot + 1) % size
    place = np.empty(size, np.int64)
    place[orbit] = np.arange(size)
    filled = size * 58 // 100
    chosen: list[int] = []
    random = np.random.default_rng(1)
    while len(chosen) < size * 66 // 100 - filled:
        numbers = random.integers(size, 1 << 60, 1_000_000, dtype=np.int64)
        slots, upper = numbers % size, numbers.copy()
        for _ in range(13):
            taken = place[slots] < filled
            numbers, slots, upper = numbers[taken], slots[taken], upper[taken] >> 5
            slots = (slots * 5 + upper + 1) % size
        chosen += numbers[place[slots] < filled // 2].tolist()
    return [*orbit[:filled].tolist(), *chosen[: size * 66 // 100 - filled]]


@pytest.mark.parametrize("make", [dict.fromkeys, Counter])
def test_keys_that_were_chosen_to_meet_in_a_hash_table(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_budget, "FREE_SECONDS", 0.05)  # a smaller file will do
    monkeypatch.setattr(key_budget, "SECONDS_OF_KEY", 1e-6)
    with pytest.raises(SnapshotRefusedError, match="chosen to meet"):
        Unpickler(placed(pickle.dumps(make(meeting(16)), 5)), Allowed()).load()


def meeting_in_a_set(bits: int) -> list[int]:
    """Returns integers of which the last pass by most of a set's slots, which it looks at by ten in a row."""
    size, slot = 1 << bits, 0
    orbit = np.empty(size, np.int64)
    for position in range(size):
        orbit[position], slot = slot, (5 * slot + 1) % size
    place = np.empty(size, np.int64)
    place[orbit] = np.arange(size)
    taken, passed = np.zeros(size + 9, bool), 0  # as many neighborhoods as fit, in the order in which they are tried
    while taken.sum() < size * 0.585:
        taken[orbit[passed] :][:10] = True
        passed += 1
    full = np.lib.stride_tricks.sliding_window_view(taken, 10).all(axis=1)
    numbers = np.arange(size, 1 << 22)
    slots, upper = numbers % size, numbers.copy()
    for _ in range(5):
        meets = full[slots]
        numbers, slots, upper = numbers[meets], slots[meets], upper[meets] >> 5
        slots = (slots * 5 + upper + 1) % size
    last = numbers[np.argsort(place[slots])]
    first = np.flatnonzero(taken[:size])
    return [*first.tolist(), *last[: size * 6 // 10 - len(first) - 1].tolist()]


@pytest.mark.parametrize(("before", "after"), [(b"\x8f\x94(", b"\x90"), (b"(", b"\x91\x94")], ids=["set", "frozenset"])
def test_keys_that_were_chosen_to_meet_in_a_set(before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_budget, "FREE_SECONDS", 0.05)
    monkeypatch.setattr(key_budget, "SECONDS_OF_KEY", 1e-7)
    keys = b"".join(b"\x8a\x08" + number.to_bytes(8, "little") for number in meeting_in_a_set(17))
    pickled = before + keys + after + b"."
    with pytest.raises(SnapshotRefusedError, match="chosen to meet"):
        Unpickler(placed(b"\x80\x05\x95" + len(pickled).to_bytes(8, "little") + pickled), Allowed()).load()


@pytest.mark.parametrize("shift", [0, 13, 32])
def test_keys_that_meet_by_chance_are_taken(shift: int) -> None:
    value = {number << shift: None for number in range(100_000)}
    assert Unpickler(placed(pickle.dumps((value, frozenset(value)), 5)), Allowed()).load() == (value, frozenset(value))
