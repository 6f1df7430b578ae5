"""A stream that is laid out in memory reads as it was, however it came, and its large buffers lie where tensors stay."""

import pickle
import re
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from runner.graph import Unit, Workflow
from runner.launcher import Launcher
from runner.snapshots.codecs import CODECS
from runner.snapshots.format.placing import Placed, place
from runner.snapshots.restoring.restore import restore
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from tests.workflows import holding

BIG = 70_000
"""More than stands in a frame."""


def laid_out(data: bytes, cuts: list[int], start: int = 0) -> Placed:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})

    def parts() -> Iterator[memoryview]:
        return (memoryview(data)[begin:end] for begin, end in pairwise(edges))

    return place(parts(), start)


OPCODES = st.sampled_from([bytes([opcode]) for opcode in b"\x80\x05\x94\x95\x96\x8d\x8e\x58\x42(a.\x8c"])
CLAIM = st.sampled_from([0, 1, 3, 40, 1 << 16, 1 << 31, 1 << 50, (1 << 64) - 1]).map(lambda size: struct.pack("<Q", size))


@given(st.lists(OPCODES | CLAIM | st.binary(max_size=40), max_size=20).map(b"".join), st.lists(st.integers(0), max_size=5))
def test_anything_reads_as_it_was(data: bytes, cuts: list[int]) -> None:
    assert laid_out(data, cuts).read() == data
    buffer = bytearray(len(data) + 3)
    assert laid_out(b"head" + data, cuts, 4).readinto(buffer) == len(data)
    assert buffer[:-3] == data


VALUES = st.recursive(
    st.integers() | st.binary(max_size=9) | st.integers(BIG, 2 * BIG).map(bytearray) | st.just("é" * BIG) | st.just(b"x" * BIG),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.lists(st.integers(0), max_size=3))
def test_python_reads_what_was_laid_out(value: object, cuts: list[int]) -> None:
    assert pickle.load(laid_out(pickle.dumps(value, 5), cuts)) == value


def test_tensors_stay_where_they_were_read_to(tmp_path: Path) -> None:
    for codec in CODECS:
        tensors = [torch.randn(BIG + number) for number in range(3)]
        array = np.arange(BIG)
        workflow, unit, snapshotter = holding([*tensors, tensors[1][5:], array, array[7:]], tmp_path / codec, compression=codec)
        snapshotter.export()
        snapshotter.finish()
        *one, part, array, view = restore(snapshotter.last_location, trusted=["tests"]).workflow[unit.name].value
        assert all(map(torch.equal, one, tensors))
        assert part.untyped_storage().data_ptr() == one[1].untyped_storage().data_ptr()
        assert all(tensor.data_ptr() % 64 == 0 for tensor in one), "results of BLAS may depend on it"
        one[0].resize_(4 * BIG)
        array[7] = -1
        assert view[0] == -1


def test_a_restore_takes_little_more_memory_than_the_state(tmp_path: Path) -> None:
    size = 60_000_000
    for codec in ("none", "gz"):
        workflow, _, snapshotter = holding([torch.rand(size // 8) for _ in range(2)], tmp_path, compression=codec, prefix=codec)
        snapshotter.export()
        snapshotter.finish()
        del workflow
        location = snapshotter.last_location
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        restored = restore(location, trusted=["tests"])
        assert memory("VmHWM") - before < size + 32_000_000
        del restored


def memory(line: str) -> int:
    return 1024 * int(re.findall(rf"{line}:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


class Growing(Unit):
    """Resizes a tensor of its own again and again."""

    def __init__(self, workflow: Workflow, name: str) -> None:
        super().__init__(workflow, name)
        self.small, self.large = torch.zeros(1), torch.zeros(BIG)

    def run(self) -> None:
        for tensor in (self.small, self.large):
            tensor.resize_(2 * len(tensor)).fill_(len(tensor))


def test_units_may_resize_what_snapshots_were_taken_of(tmp_path: Path) -> None:
    workflow = Workflow(name="growing")
    unit = Growing(workflow, "growing").link_from(workflow.start_point)
    snapshotter = Snapshotter(workflow, "snapshotter", store=FileStore(tmp_path)).link_from(unit)
    workflow.end_point.link_from(snapshotter)
    Launcher().run(workflow)
    workflow = restore(snapshotter.last_location, trusted=["tests"]).workflow
    unit = workflow["growing"]
    unit.run()
    assert (len(unit.small), len(unit.large)) == (4, 4 * BIG)
