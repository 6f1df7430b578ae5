"""The differences that are told are those that numpy finds in the restored arrays."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from runner.errors import SnapshotDamagedError
from runner.snapshots.shelf.comparing import Difference, compare
from runner.snapshots.stores.file_reading import blocks
from tests.workflows import holding

rng = numpy.random.default_rng(5)
BIG = rng.standard_normal((700, 900))


def opened(value: Any, folder: Path, codec: str = "zst") -> Callable[[], Iterator[bytes]]:
    _, _, snapshotter = holding(value, folder, blocking=True, compression=codec)
    snapshotter.export()
    return lambda: blocks(str(snapshotter.last_location))


def compared(one: Any, other: Any, folder: Path, codec: str = "zst") -> dict[str, Difference | None]:
    found = compare(opened(one, folder / "a"), opened(other, folder / "b", codec))
    return {path.removeprefix("holder.value."): value for path, value in found.arrays.items() if path.startswith("holder")}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int64", "bool", "complex64"])
@pytest.mark.parametrize("size", [30, 700 * 900])
def test_differences_are_those_of_numpy(dtype: str, size: int, tmp_path: Path) -> None:
    one = (torch.from_numpy(BIG.reshape(-1)[:size].copy()) * 3).to(getattr(torch, dtype))
    other = one.clone()
    other[size // 2 :] = other[size // 2 :] * 2 if dtype != "bool" else ~other[size // 2 :]
    found = compared({"same": one, "array": one}, {"same": one, "array": other}, tmp_path, "gz")  # shared only in the first
    assert found["same"] == Difference(True, 0.0, 0.0, 0.0)
    wide = torch.complex128 if one.is_complex() else torch.float64
    apart, norm = (one.to(wide) - other.to(wide)).abs(), one.to(wide).norm()
    told = found["array"]
    assert told is not None
    assert not told.equal
    assert told.largest == pytest.approx(float(apart.max()))
    assert told.mean == pytest.approx(float(apart.mean()))
    assert told.relative == pytest.approx(float(apart.norm() / norm))


def test_arrays_that_have_come_in_between_confuse_nothing(tmp_path: Path) -> None:
    first = {"a": BIG, "c": BIG + 1, "d": BIG.astype("float32"), "e": BIG[:5], "only": BIG}
    second = {"a": BIG, "b": BIG * 2, "c": BIG + 2, "d": BIG.astype("float32") + 1, "e": BIG[:6], "f": BIG}
    found = compared(first, second, tmp_path)
    assert found.keys() == {"a", "c", "d", "e"}
    assert found["a"] == Difference(True, 0.0, 0.0, 0.0)
    assert found["e"] is None
    for path in ("c", "d"):
        assert found[path] is not None
        assert found[path].largest == pytest.approx(1.0)
        assert found[path].mean == pytest.approx(1.0)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    other = BIG.copy()
    other[3, 4] = numpy.nan
    found = compared({"a": BIG, "b": numpy.zeros(9)}, {"a": other, "b": numpy.ones(9)}, tmp_path)
    assert found["a"] is not None
    assert not found["a"].equal
    assert numpy.isnan(found["a"].largest)
    assert found["b"] == Difference(False, 1.0, 1.0, numpy.inf)


def test_damage_is_told(tmp_path: Path) -> None:
    one, other = opened(BIG, tmp_path / "a"), opened(BIG, tmp_path / "b")
    data = bytearray(b"".join(other()))
    data[len(data) // 2] ^= 1
    for pair in ((one, lambda: iter([bytes(data)])), (lambda: iter([bytes(data)]), one)):
        with pytest.raises(SnapshotDamagedError):
            compare(*pair)
