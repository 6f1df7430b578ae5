import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from runner.datasets import mnist
from runner.errors import ConfigError


def test_mnist_is_whole() -> None:
    train, validation = mnist.load()
    assert train.data.shape == (60_000, 28, 28)
    assert validation.data.shape == (10_000, 28, 28)
    for images in (train, validation):
        assert images.data.dtype == images.labels.dtype == np.uint8
        assert images.labels.shape == (len(images.data),)
        assert set(images.labels.tolist()) == set(range(10))
        assert (images.data.min(), images.data.max()) == (0, 255)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_the_licence_is_there() -> None:
    assert "MNIST" in (mnist.FOLDER / "LICENSE.txt").read_text()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: gzip.compress(gzip.decompress(data)[:-1] + b"\xff"),
        lambda data: data[: len(data) // 2],
        lambda data: data[:500] + bytes([data[500] ^ 0x55]) + data[501:],
        lambda data: b"",
        lambda data: b"<html>not found</html>",
    ],
    ids=["changed", "truncated", "flipped", "empty", "another file"],
)
def test_a_damaged_copy_is_refused(damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(mnist.FOLDER, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=r"'t10k-labels-idx1-ubyte.gz' is not the original: install veles-runner again"):
        mnist.load()


def test_a_missing_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=r"'train-images-idx3-ubyte.gz' cannot be read"):
        mnist.load()
