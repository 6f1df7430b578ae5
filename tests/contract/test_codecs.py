"""Every codec with every kind of state: what a snapshot gives back is what went in."""

import bz2
import gzip
import lzma
import pickle
import random
import shutil
import subprocess
import sys
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runner.errors import ConfigError, SnapshotDamagedError
from runner.snapshots import codecs
from runner.snapshots.capture.staging import CHUNK
from runner.snapshots.codecs import CODECS, encoders, libraries
from runner.snapshots.restoring.restore import restore
from tests.workflows import holding, restored

each_codec = pytest.mark.parametrize("codec", CODECS)


def dtypes() -> list[torch.dtype]:
    names = "float16 bfloat16 float32 float64 complex64 complex128 uint8 int8 int16 int32 int64 bool float8_e4m3fn uint16"
    return [getattr(torch, name) for name in names.split()]


def trained_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    return module, optimizer


STATES: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "every dtype": lambda: [torch.arange(6).to(dtype) for dtype in dtypes()],
    "layouts": lambda: [torch.zeros(0), torch.tensor(3.0), torch.arange(12.0).view(3, 4).t(), torch.arange(9.0)[::2]],
    "arrays": lambda: [np.arange(6.0), np.asfortranarray(np.ones((2, 3))), np.array(["a", None], object), np.zeros((0, 3))],
    "1,000 small tensors": lambda: [torch.full((3,), float(number)) for number in range(1_000)],
    "larger than a chunk": lambda: torch.arange(3 * CHUNK // 8 + 17, dtype=torch.float64),
    "exactly a chunk": lambda: bytes(CHUNK),
    "text": lambda: "a state of words " * 100_000,
    "containers": lambda: OrderedDict(a={1, 2}, b=(3, [4.5]), c={"d": b"e"}),
}


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape and first.stride() == second.stride()
        return same and raw(first) == raw(second)
    if isinstance(first, np.ndarray):
        same = first.dtype == second.dtype and (first.strides == second.strides or not first.size)
        return same and np.array_equal(first, second)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return type(first) is type(second) and first == second


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@each_codec
@pytest.mark.parametrize("state", STATES)
def test_state_comes_back(codec: str, state: str, tmp_path: Path) -> None:
    value = STATES[state]()
    workflow, _, snapshotter = holding(value, tmp_path, compression=codec)
    workflow.run()
    again = restored(snapshotter.last_location)
    assert equal(value, again.workflow["holder"].value)
    assert again.header.codec == codec


@each_codec
def test_state_larger_than_the_staging_memory(codec: str, tmp_path: Path) -> None:
    value = torch.arange(4 * CHUNK // 8, dtype=torch.int64)
    workflow, _, snapshotter = holding(value, tmp_path, compression=codec, staging=0, compression_level=None)
    workflow.run()
    assert torch.equal(restored(snapshotter.last_location).workflow["holder"].value, value)


STANDARD_OPEN = {"none": open, "gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
TOOLS = {"gz": "gunzip", "bz2": "bunzip2", "xz": "unxz", "zst": "unzstd"}


@pytest.mark.parametrize("codec", STANDARD_OPEN)
def test_plain_pickle_load_gives_the_workflow(codec: str, tmp_path: Path) -> None:
    workflow, _, snapshotter = holding(torch.arange(2 * CHUNK // 8), tmp_path, compression=codec)
    workflow.run()
    with STANDARD_OPEN[codec](snapshotter.last_location, "rb") as file:
        loaded = pickle.load(file)
    assert torch.equal(loaded["holder"].value, workflow["holder"].value)


@pytest.mark.parametrize("codec", TOOLS)
def test_standard_tool_reads_the_file(codec: str, tmp_path: Path) -> None:
    workflow, _, snapshotter = holding(list(range(1000)), tmp_path, compression=codec)
    workflow.run()
    assert shutil.which(TOOLS[codec])
    plain = subprocess.run([TOOLS[codec], "-c", snapshotter.last_location], capture_output=True, check=True).stdout
    assert pickle.loads(plain)["holder"].value == list(range(1000))


@each_codec
def test_file_made_again_by_another_tool_is_read(codec: str, tmp_path: Path) -> None:
    """One member in place of many is legal, and so is another level."""
    row = CODECS[codec]
    workflow, _, snapshotter = holding(torch.arange(2 * CHUNK // 8), tmp_path, compression=codec)
    workflow.run()
    path = Path(snapshotter.last_location)
    plain = b"".join(codecs.decode(row, [path.read_bytes()]))
    path.write_bytes(row.encode(plain, row.default_level))
    assert torch.equal(restored(path).workflow["holder"].value, workflow["holder"].value)


@each_codec
def test_members_are_cut_where_they_begin(codec: str, rng: random.Random) -> None:
    row = CODECS[codec]
    chunks = [rng.randbytes(CHUNK) for _ in range(2)] + [rng.randbytes(100)]
    encoded = b"".join(bytes(row.encode(chunk, row.default_level)) for chunk in chunks)
    size = rng.randrange(1, 1 << 20)
    blocks = [encoded[at : at + size] for at in range(0, len(encoded), size)]
    members = list(codecs.members(row, blocks))
    assert b"".join(map(b"".join, members)) == encoded
    assert b"".join(b"".join(codecs.decode(row, member)) for member in members) == b"".join(chunks)
    if row.prefix:
        assert len(members) >= 2


@each_codec
def test_members_are_cut_alike_wherever_blocks_end(codec: str, rng: random.Random) -> None:
    row = CODECS[codec]
    parts = [bytes(row.encode(rng.randbytes(size), row.default_level)) for size in (1, 40, 0, 200, 7)]
    prefix = parts[0][: row.prefix]
    if any(part[: row.prefix] != prefix for part in parts):  # what is so short has another one in this codec
        parts = [prefix + rng.randbytes(size) for size in (0, 1, 30, 200)]
    encoded = b"".join(parts) + prefix[:-1] + b"x"
    for size in range(1, 40):
        blocks = [encoded[at : at + size] for at in range(0, len(encoded), size)]
        pieces = [b"".join(piece) for piece in codecs.members(row, blocks)]
        assert b"".join(pieces) == encoded
        if row.prefix:
            assert pieces == [*parts[:-1], parts[-1] + prefix[:-1] + b"x"]
    assert list(codecs.members(row, [])) == [[b""]]
    assert list(codecs.members(row, [encoded[:5]])) == [[encoded[:5]]]


@each_codec
def test_state_that_holds_data_of_the_same_codec(codec: str, tmp_path: Path, rng: random.Random) -> None:
    """What looks like the beginning of a member, within a member, does not end it."""
    row = CODECS[codec]
    inner = [bytes(row.encode(rng.randbytes(size), row.default_level)) for size in (CHUNK, 1000, 1000)]
    start = inner[0][: row.prefix]
    blob = (
        rng.randbytes(100_000) + inner[0] + rng.randbytes(100) + inner[1] * 2 + start * 1000 + inner[2] + rng.randbytes(CHUNK)
    )
    workflow, _, snapshotter = holding(blob, tmp_path, compression=codec)
    workflow.run()
    assert restored(snapshotter.last_location).workflow["holder"].value == blob


@each_codec
@pytest.mark.parametrize("size", [1000, 2 * CHUNK])
def test_zero_bytes_after_the_end(codec: str, size: int, tmp_path: Path, rng: random.Random) -> None:
    """As dd and tar leave them behind what does not fill a block; anything else behind them is damage."""
    secret = tmp_path / "secret"
    secret.write_text(rng.randbytes(32).hex())
    secret.chmod(0o600)
    workflow, holder, snapshotter = holding(bytes(size), tmp_path, compression=codec)
    snapshotter.configure(store=snapshotter.store, key=str(secret))
    workflow.run()
    path, padded = Path(snapshotter.last_location), tmp_path / "padded"
    for block in (512, 10_240, 5 << 20):
        data = path.read_bytes()
        padded.write_bytes(data + bytes(block - len(data) % block))
        assert restored(padded).workflow["holder"].value == holder.value
        assert restore(padded, trust="signed", key=str(secret)).workflow["holder"].value == holder.value
    padded.write_bytes(padded.read_bytes() + b"x")
    with pytest.raises(SnapshotDamagedError):
        restored(padded)


@each_codec
def test_level_is_checked(codec: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"compression_level=99 is not a level of '{codec}', which takes"):
        holding(None, tmp_path, compression=codec, compression_level=99)


@pytest.mark.parametrize("spelling", ["", "None", None])
def test_velesian_spellings_of_none(spelling: str | None) -> None:
    assert codecs.find(spelling) is CODECS["none"]


def test_unknown_codec_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="compression='rar' is not a codec; known: bz2, gz, none, snappy, xz, zst"):
        codecs.find("rar")


@pytest.mark.parametrize(
    ("codec", "module", "package"), [("snappy", "snappy", "python-snappy"), ("zst", "zstandard", "zstandard")]
)
def test_missing_package_is_named_with_the_command(
    codec: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "_LOCAL", threading.local())
    monkeypatch.setitem(sys.modules, module, None)  # what Python does for a module that cannot be imported
    with pytest.raises(ConfigError, match=rf"codec '{codec}' needs the package {package}: pip install {package}"):
        CODECS[codec].encode(b"data", 1)


def test_gz_does_without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "gzip_library", zlib)
    encoded = CODECS["gz"].encode(b"data" * 1000, 1)
    assert b"".join(codecs.decode(CODECS["gz"], [bytes(encoded)])) == b"data" * 1000
