from pathlib import Path

import numpy as np
import pytest

from runner.datasets import cifar10
from runner.errors import ConfigError
from tests import data


def test_batches_are_read_in_planes(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    data.write_cifar10(folder)
    for named in (tmp_path, folder):
        (images, labels), test = cifar10.load(str(named))
        assert images.shape == (30, 3, 32, 32)
        assert labels.tolist() == [0, 1, 2, 3, 4, 5] * 5
        assert len(test[0]) == len(test[1]) == 10
    record = np.frombuffer((folder / "data_batch_1.bin").read_bytes(), np.uint8)[:3073]
    assert record[0] == labels[0]
    assert images[0, 1, 0, 2] == record[1 + 1024 + 2]


def test_the_test_batch_may_be_missing(tmp_path: Path) -> None:
    (data.write_cifar10(tmp_path) / "test_batch.bin").unlink()
    assert cifar10.load(str(tmp_path))[1] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes, which is not a multiple of a record's 3073"),
        (bytes(3072), "has 3072 bytes, which is not a multiple"),
        (b"\x0a" + bytes(3072), "has the label 10, and CIFAR-10 has 0 to 9"),
    ],
)
def test_a_wrong_batch_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    data.write_cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(ConfigError, match=f"data_batch_3.bin' {message}"):
        cifar10.load(str(tmp_path))


def test_a_folder_without_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no data_batch_1.bin to data_batch_5.bin, the binary version"):
        cifar10.load(str(tmp_path))
