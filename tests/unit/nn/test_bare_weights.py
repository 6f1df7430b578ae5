"""Tensors that are read without making anything of a pickle."""

from pathlib import Path

import pytest
import torch

from runner.errors import SnapshotDamagedError, SnapshotError
from runner.nn.inference.bare_weights import read_tensors
from runner.snapshots.stores.file_reading import blocks
from tests.hostile.assemble import call, framed, mapping, tensor, text
from tests.unit.snapshots.shelf.test_contents import whole
from tests.workflows import holding


def test_tensors_are_those_that_were_captured(tmp_path: Path) -> None:
    large, bits = torch.randn(40, 60, dtype=torch.float64), torch.tensor([True, False])
    image = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    value = {"large": large, "turned": large.t()[3:5], "bits": bits, "one": torch.tensor(3), "image": image}
    workflow, _, snapshotter = holding(value, tmp_path, blocking=True, compression="zst")
    snapshotter.export()
    header, found = read_tensors(blocks(str(snapshotter.last_location)))
    assert header.workflow == workflow.name
    assert found.keys() == {f"holder.value.{name}" for name in value}
    for name, expected in value.items():
        assert torch.equal(found[f"holder.value.{name}"], expected)
        assert found[f"holder.value.{name}"].dtype == expected.dtype


@pytest.mark.parametrize(
    "forged",
    [
        tensor(b"1234", 2),
        tensor(b"1234", 1 << 40, 0),
        tensor(b"1234", 1, 1, 1),
        tensor(b"12345678", 2, -1, 1),
        tensor(b"1234", 1, 1, -1),
    ],
)
def test_a_tensor_that_shows_more_than_there_is_is_refused(forged: bytes) -> None:
    state = mapping(name=text("w"), weights=forged)
    made = call("runner.pickled:unit", call("runner.pickled:class_", text("Unit"))) + mapping(own=state) + b"b"
    with pytest.raises(SnapshotDamagedError, match=r"'w\.weights'"):
        read_tensors(whole(framed(made + b".")))
    with pytest.raises(SnapshotError):
        read_tensors(whole(framed(made)))
