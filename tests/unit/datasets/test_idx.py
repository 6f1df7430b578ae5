import gzip
from pathlib import Path

import numpy as np
import pytest

from runner.datasets import idx
from runner.errors import ConfigError
from tests import data


@pytest.mark.parametrize("compress", [True, False])
def test_a_folder_is_read_with_and_without_gzip(compress: bool, tmp_path: Path) -> None:
    sets = idx.load_folder(str(data.write_idx(tmp_path, compress=compress)))
    assert list(sets) == ["train", "t10k"]
    assert sets["train"].data.shape == (40, 4, 5)
    assert sets["t10k"].labels.tolist() == [number % 3 for number in range(20)]
    assert np.array_equal(sets["train"].data, data.numbers().integers(256, size=(40, 4, 5)))


def test_the_other_spelling_is_read_and_the_validation_set_may_be_missing(tmp_path: Path) -> None:
    data.write_idx(tmp_path, compress=False)
    for path in tmp_path.iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert list(idx.load_folder(str(tmp_path))) == ["train", "t10k"]
    for path in tmp_path.glob("t10k*"):
        path.unlink()
    assert list(idx.load_folder(str(tmp_path))) == ["train"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "has no train-labels-idx1-ubyte, nor one with .gz"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "train-labels.* cannot be read: Compressed file ended"),
        (lambda path: path.write_bytes(gzip.compress(b"\0\0\x0d\1abcd")), "begins with 00 00 0d 01, not with the magic number"),
        (lambda path: path.write_bytes(b""), "begins with nothing, not with the magic number"),
        (lambda path: path.write_bytes(b"\0\0\x08\1\0"), "it ends within its header"),
        (lambda path: path.write_bytes(data.idx(np.zeros(40))[:-1]), "its header announces 40 values, and it has 39"),
        (lambda path: path.write_bytes(data.idx(np.zeros((40, 1)))), "has 2 dimensions instead of 1"),
        (lambda path: path.write_bytes(data.idx(np.zeros(41))), "has 40 train images and 41 labels for them"),
    ],
)
def test_a_wrong_file_is_named(damage, message: str, tmp_path: Path) -> None:
    data.write_idx(tmp_path)
    damage(tmp_path / "train-labels-idx1-ubyte.gz")
    with pytest.raises(ConfigError, match=message):
        idx.load_folder(str(tmp_path))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loader.data_dir='.*/none' is not a folder"):
        idx.load_folder(str(tmp_path / "none"))
