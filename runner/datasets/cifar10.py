"""CIFAR-10 in its binary version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from runner.datasets.files import check_folder
from runner.errors import ConfigError

Bytes = npt.NDArray[np.uint8]

SHAPE = (3, 32, 32)
CLASSES = 10
RECORD = 1 + 3 * 32 * 32
"""Bytes of a record: the label, then the red, the green and the blue plane."""


def load(folder: str) -> tuple[tuple[Bytes, Bytes], tuple[Bytes, Bytes] | None]:
    """Returns images of shape (samples, 3, 32, 32) and labels: those for training, and those of the test batch if it is there.

    Raises:
        ConfigError: there are no training batches, or a file is of another format.
    """
    path = check_folder("loader.data_dir", folder)
    if not list(path.glob("data_batch_*.bin")) and (path / "cifar-10-batches-bin").is_dir():
        path /= "cifar-10-batches-bin"
    batches = [read(file) for file in sorted(path.glob("data_batch_*.bin"))]
    if not batches:
        raise ConfigError(
            f"loader.data_dir={folder!r} has no data_batch_1.bin to data_batch_5.bin, the binary version of CIFAR-10"
        )
    data, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    test = path / "test_batch.bin"
    return (data, labels), read(test) if test.is_file() else None


def read(path: Path) -> tuple[Bytes, Bytes]:
    """Returns the images and labels of a batch; raises a ConfigError if it is none."""
    try:
        values = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}") from error
    if not values.size or values.size % RECORD:
        raise ConfigError(
            f"{str(path)!r} has {values.size} bytes, which is not a multiple of a record's {RECORD}: it is damaged"
        )
    records = values.reshape(-1, RECORD)
    data, labels = records[:, 1:].reshape(-1, *SHAPE), records[:, 0]
    if labels.max() >= CLASSES:
        raise ConfigError(f"{str(path)!r} has the label {labels.max()}, and CIFAR-10 has 0 to 9: it is another kind of file")
    return data, labels
