"""What is told of a snapshot is what a restore finds in it, and nothing that a pickle holds is run to tell it."""

import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import torch

from runner.errors import SnapshotError, SnapshotRefusedError
from runner.graph import Workflow
from runner.snapshots import codecs
from runner.snapshots.codecs import Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import Digest, header_bytes, header_size
from runner.snapshots.restoring.restore import restore
from runner.snapshots.shelf import outline
from runner.snapshots.shelf.contents import read_contents
from runner.snapshots.shelf.outline import Content, Parts, read_outline
from runner.snapshots.stores.file_reading import blocks
from tests.hostile import samples
from tests.stored.test_stored import FILES, ROOT
from tests.workflows import holding

HEADER = Header(name="a", prefix="a", workflow="a", workflow_class="m:C", run_id="r", log_id="r", codec="none")


def whole(pickle: bytes, header: Header = HEADER) -> Iterator[bytes]:
    """Returns a snapshot with this pickle, in one block."""
    digest = Digest()
    digest.update(begin := header_bytes(header))
    digest.update(pickle)
    return iter([begin + pickle + digest.trailer()])


def plain(path: Path) -> tuple[bytes, int]:
    """Returns a plain stream, and where its pickle begins."""
    data = b"".join(blocks(str(path)))
    codec: Codec = codecs.detect(data)
    data = b"".join(codecs.decode(codec, [data]))
    return data, header_size(data)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_arrays_are_those_that_a_restore_finds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    restored = restore(path, trusted=["tests"])
    contents = read_contents(blocks(str(path)))
    assert contents.header == restored.header
    assert contents.state == len(plain(path)[0]) - 57
    told = {array.path: (array.dtype.rpartition("torch.")[2], array.shape) for array in contents.arrays}
    found = {}
    for unit in restored.workflow.units:
        for name, value in vars(unit).items():
            if isinstance(value, torch.Tensor) and not name.endswith("_"):
                found[f"{unit.name}.{name}"] = (str(value.dtype).removeprefix("torch."), tuple(value.shape))
    assert found.items() <= told.items()
    units = [(unit.name, type(unit).__name__) for unit in restored.workflow.units]
    listed = [(unit.name, unit.cls.rpartition(".")[2]) for unit in contents.units if "." not in unit.name and unit.cls]
    assert listed[0] == (restored.workflow.name, type(restored.workflow).__name__)
    assert listed[1:] == units


def test_sizes_are_those_of_the_buffers_and_shared_ones_count_once(tmp_path: Path) -> None:
    shared = torch.arange(5_000, dtype=torch.float64)
    big = numpy.ones((300, 7), dtype=numpy.int16)
    value = {"one": shared, "two": shared[10:20], "rows": big, "view": big[::2], "text": "x" * 10_000, "raw": b"y" * 9_000}
    workflow, _, snapshotter = holding(value, tmp_path, blocking=True, compression="zst")
    snapshotter.export()
    contents = read_contents(blocks(str(snapshotter.last_location)))
    (unit,) = (unit for unit in contents.units if unit.name == "holder")
    assert unit.size == 5_000 * 8 + big.nbytes + 10_000 + 9_000
    shapes = {array.path: (array.dtype, array.shape) for array in unit.arrays}
    assert shapes == {
        "holder.value.one": ("float64", (5_000,)),
        "holder.value.two": ("float64", (10,)),
        "holder.value.rows": ("<i2", (300, 7)),
        "holder.value.view": ("<i2", (150, 7)),
    }
    assert isinstance(workflow, Workflow)


def test_hostile_pickles_run_nothing(tmp_path: Path) -> None:
    told = 0
    for sample in samples(tmp_path):
        try:
            read_contents(whole(sample.data))
        except SnapshotError:
            told += 1
    assert not any(tmp_path.iterdir())
    assert told > 20


def test_any_change_of_a_pickle_is_told_or_refused(rng: random.Random) -> None:
    seeds = [plain(path) for path in FILES]
    for _ in range(400):
        data, begin = rng.choice(seeds)
        pickle = bytearray(data[begin:-57])
        for _ in range(rng.randrange(1, 4)):
            pickle[rng.randrange(len(pickle))] = rng.randrange(256)
        if rng.random() < 0.2:
            del pickle[rng.randrange(len(pickle)) :]
        try:
            read_contents(whole(bytes(pickle)))
        except SnapshotRefusedError:
            continue


def test_damage_anywhere_is_told(rng: random.Random) -> None:
    for path in FILES:
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            found = read_contents(iter([bytes(data)]))
        except SnapshotError:
            continue
        assert found.state == read_contents(blocks(str(path))).state  # a bit of the codec's own that means nothing, as a time


def test_endless_pickles_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "MOST_OBJECTS", 100_000)
    with pytest.raises(SnapshotRefusedError, match="objects"):
        read_outline(Parts(iter([memoryview(b"\x80\x05" + b"N" * 200_000 + b".")])))


VIEW, TENSOR = (b"\x80\x05\x8c\x0erunner.pickled\x8c" + name + b"\x93\x94h\x00)R" for name in (b"\x04view", b"\x06tensor"))
"""The beginning of a pickle whose root is made by such a name, which `h\\x00` repeats."""
OWN = b"}\x8c\x03own"
NUMBER = b"\x8b" + (60_000).to_bytes(4, "little") + b"\x01" * 60_000
DEEP = b"N" + b"\x85" * 100_000
STORAGE = b"h\x00C\x01x\x85R"
KEY = b"}X" + (4096).to_bytes(4, "little") + b"k" * 4096


@pytest.mark.parametrize(
    "pickle",
    [
        VIEW + b"h\x00(" * 50_000 + b"N" + b"NNNNNtR" * 50_000 + b"b.",
        VIEW + DEEP + b"b.",
        VIEW + b"}(\x8c\x03own}\x8c\x06shells]Na\x8c\x06states](" * 20_000 + b"N" + b"eu" * 20_000 + b"b.",
        VIEW + OWN + b"}" + NUMBER + b"]ssb.",
        TENSOR + OWN + b"}\x8c\x01ah\x00(" + STORAGE + DEEP + b"NNNNNtRssb.",
        TENSOR + OWN + b"}\x8c\x01ah\x00(" + STORAGE + b"NN" + NUMBER + b"\x85NNNtRssb.",
        TENSOR + OWN + KEY * 9 + b"](" + (b"h\x00(" + STORAGE + b"NNNNNNtR") * 20_000 + b"e" + b"s" * 10 + b"b.",
    ],
    ids=["views of views", "a deep tuple", "workflows in workflows", "a key", "a type", "a shape", "long paths"],
)
def test_what_is_deep_or_long_is_told_briefly(pickle: bytes) -> None:
    tracemalloc.start()
    try:
        found = read_contents(whole(pickle))
        assert tracemalloc.get_traced_memory()[1] < 100 * len(pickle) + 50_000_000
    finally:
        tracemalloc.stop()
    assert len(repr([(one.path, one.dtype, one.shape) for one in found.arrays])) < 20 * len(pickle)
    assert all(len(array.path) <= 300 for array in found.arrays)


def test_large_contents_pass_by() -> None:
    seen: list[int] = []

    def parts() -> Iterator[memoryview]:
        yield memoryview(b"\x80\x05\x96" + (1 << 30).to_bytes(8, "little"))
        for _ in range(1 << 8):
            yield memoryview(bytes(1 << 22))
        yield memoryview(b"\x94.")

    found = read_outline(Parts(parts()), lambda content, pieces: seen.extend(len(piece) for piece in pieces))
    assert isinstance(found, Content)
    assert (found.size, sum(seen)) == (1 << 30, 1 << 30)


def test_it_starts_without_torch_numpy_and_hydra() -> None:
    script = (
        "import sys, runner.cli.shelf.app; sys.exit(bool({'torch', 'numpy', 'hydra', 'omegaconf', 'pyodbc'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
