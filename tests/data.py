"""Writes data sets in the formats that loaders read."""

from __future__ import annotations

import csv
import gzip
import random
import struct
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset


def numbers() -> np.random.Generator:
    """Returns random numbers that are always the same: what is written is read again."""
    return np.random.default_rng(1)


def idx(values: np.ndarray) -> bytes:
    """Returns bytes in the IDX format."""
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.astype(np.uint8).tobytes()


def write_idx(folder: Path, *, train: int = 40, validation: int = 20, compress: bool = True) -> Path:
    """Writes a data set of MNIST's format with images of 4 x 5."""
    drawn = numbers()
    for name, size in (("train", train), ("t10k", validation)):
        for kind, values in (("images-idx3", drawn.integers(256, size=(size, 4, 5))), ("labels-idx1", np.arange(size) % 3)):
            data = idx(values)
            (folder / f"{name}-{kind}-ubyte{'.gz' if compress else ''}").write_bytes(gzip.compress(data) if compress else data)
    return folder


def write_cifar10(folder: Path, *, train: int = 30, validation: int = 10) -> Path:
    """Writes five small batches and a test batch in the binary format of CIFAR-10."""
    drawn = numbers()
    for name, size in [*((f"data_batch_{number}", train // 5) for number in range(1, 6)), ("test_batch", validation)]:
        labels = np.arange(size).reshape(-1, 1) % 10
        pixels = drawn.integers(256, size=(size, 3 * 32 * 32))
        (folder / f"{name}.bin").write_bytes(np.concatenate([labels, pixels], axis=1).astype(np.uint8).tobytes())
    return folder


def write_table(path: Path, size: int = 60) -> Path:
    """Writes a .csv, .parquet or .npz with the columns a, b, kind (text) and y."""
    drawn = numbers()
    a, b = drawn.normal(size=(2, size))
    columns = {"a": a, "b": b, "kind": np.array(["no", "maybe", "yes"])[np.arange(size) % 3], "y": 2 * a - b}
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    elif path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(columns), path)
    elif path.suffix == ".npy":
        np.save(path, np.column_stack([a, b, np.arange(size) % 3, columns["y"]]))
    else:
        np.savez(path, **columns)
    return path


def write_images(folder: Path, *, size: int = 8, shape: tuple[int, int] = (6, 5)) -> Path:
    """Writes so many images for each of two classes, one of them in a folder of its own below the class's."""
    from PIL import Image

    drawn = numbers()
    for name in ("cat", "dog"):
        (folder / name / "more").mkdir(parents=True, exist_ok=True)
        for number in range(size):
            image = Image.fromarray(drawn.integers(256, size=(*shape, 3)).astype(np.uint8))
            image.save(folder / name / ("more" if number == 0 else "") / f"{number}.png")
    return folder


class Points(Dataset):
    """Points and the half plane that they are in, one by one, as tensors."""

    def __init__(self, size: int, value: bool = False) -> None:
        self.points = torch.from_numpy(numbers().normal(size=(size, 3)))
        self.value = value

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, object]:
        point = self.points[index]
        return point, point[:1] * 2 if self.value else int(point[0] > 0)


class Ragged(Points):
    """Items of different shapes."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, object]:
        return torch.zeros(index + 1), 0


class Broken(Points):
    """An item that cannot be had."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, object]:
        raise RuntimeError("as asked for")


class Triples(Points):
    """Items of three parts."""

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        return 1, 2, 3


class Listed(Dataset):
    """The items that a test puts here."""

    items: list[object] = []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


class Augmented(Points):
    """Points that are shifted at random whenever they are read, by each of the global generators."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, object]:
        point, label = super().__getitem__(index)
        return point + torch.randn(3) + random.gauss() + float(np.random.normal()), label


class Sentences(Dataset):
    """Tokens, and whether the last one is large."""

    def __init__(self, size: int) -> None:
        self.tokens = torch.from_numpy(numbers().integers(1000, size=(size, 3)))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.tokens[index], int(self.tokens[index, -1] >= 500)
